//! What services have told of requests, by which the next ones are estimated. It is lost with the process, and then
//! estimates are made from the text alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fleet_core::meter::{Earlier, expected};
use fleet_core::usage::Tokens;

/// How many requests of an agent to a model are remembered: it may lead several conversations at once.
const EACH: usize = 8;
/// How many agents and models are. Agents come and go.
const MOST: usize = 1000;

/// What was told, by agent and model.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<(String, String), Vec<Earlier>>>);

impl Known {
    /// What a request of `agent` to `model` with so many bytes of text is expected to read.
    pub(super) fn expected(&self, agent: &str, model: Option<&str>, text: u64) -> Tokens {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (agent.to_owned(), model.unwrap_or_default().to_owned());
        expected(text, known.get(&key).map_or(&[], Vec::as_slice))
    }

    /// The service has told what such a request read.
    pub(super) fn told(&self, agent: &str, model: Option<&str>, text: u64, read: Tokens) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (agent.to_owned(), model.unwrap_or_default().to_owned());
        if known.len() >= MOST && !known.contains_key(&key) {
            known.clear();
        }
        let all = known.entry(key).or_default();
        if all.len() == EACH {
            all.remove(0);
        }
        let read = Tokens {
            output: 0,
            reasoning: 0,
            ..read
        };
        all.push(Earlier { text, read });
    }
}
