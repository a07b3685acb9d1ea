//! What a launch spent whose supervisor was killed: what its journal has, what its program's own files have beyond that, and
//! an estimate of the request that was under way.
//!
//! Whoever asks has ended what was left of the program, so its files say all that they will say. One request is taken to
//! have been under way in each of them: it carried the whole conversation, none of it cached, and its answer was as long as
//! the longest before. Where there are no files, or a price is missing, nobody knows what was spent.

use std::path::PathBuf;

use fleet_core::agent::{Agent, Standing};
use fleet_core::fact::{Entry, Fact};
use fleet_core::money::Usd;
use fleet_core::price::Prices;
use fleet_core::spend;
use fleet_core::usage::Tokens;
use fleet_core::{Result, Time};
use fleet_host::harness::session::{Reply, Session, read_session, session_files, sessions_folder};
use fleet_store::Rest;

use super::counted;
use crate::app::App;

/// No text has more tokens than one for so many bytes.
const BYTES_PER_TOKEN: u64 = 2;

/// What was spent beyond the journal by a launch of `agent`, whose `entries` these are and whose part of them is `launch`;
/// none where nobody can know.
pub(crate) fn beyond(app: &App, agent: &Agent, entries: &[Entry], launch: &[Entry]) -> Result<Option<Rest>> {
    let Some(known) = counted(launch) else { return Ok(None) };
    let Some(began) = launch.first().map(|entry| entry.at) else {
        return Ok(None);
    };
    let conversation = Standing::fold(entries).conversation.or(agent.conversation.clone());
    let files = match &conversation {
        Some(id) => {
            sessions(app, agent, launch).map_or(Vec::new(), |folder| session_files(&agent.harness, &folder, id))
        }
        None => Vec::new(),
    };
    let sessions: Option<Vec<Session>> = files.iter().map(|path| read_session(&agent.harness, path)).collect();
    let Some(sessions) = sessions.filter(|all| all.iter().any(|session| !session.replies.is_empty())) else {
        return Ok(None);
    };
    let prices = app.prices()?;
    let mut spent = Usd::default();
    let mut under_way = Usd::default();
    for session in &sessions {
        let (Some(sum), Some(next)) = (sum(&prices, session, began), next(&prices, session, app.now())) else {
            return Ok(None);
        };
        spent = spent + sum;
        under_way = under_way + next;
    }
    Ok(Some(Rest::About {
        sure: spent.less(known),
        at_most: under_way,
    }))
}

/// Where the program of a launch kept its conversations: where its journal says, or in the user's home by that of an older
/// version.
fn sessions(app: &App, agent: &Agent, launch: &[Entry]) -> Option<PathBuf> {
    let noted = launch.iter().find_map(|entry| match &entry.fact {
        Fact::Launched { sessions, .. } => sessions.clone(),
        _ => None,
    });
    let home = |name: &str| (name == "HOME").then(|| app.user_home.display().to_string());
    noted.or_else(|| sessions_folder(&agent.harness, &[], &agent.worktree, &home))
}

/// What the replies since `began` cost; none where one has no price.
fn sum(prices: &Prices, session: &Session, began: Time) -> Option<Usd> {
    let own = session
        .replies
        .iter()
        .filter(|reply| reply.at.is_none_or(|at| at >= began));
    own.map(|reply| cost(prices, reply)).sum()
}

fn cost(prices: &Prices, reply: &Reply) -> Option<Usd> {
    spend::priced(prices, &reply.usage, reply.at.unwrap_or(Time(0))).0
}

/// What the request after the last reply may cost; none where nobody knows its price. A sub-agent that has not been answered
/// yet is as dear as nothing: what it is told is a part of the conversation that sent it out.
fn next(prices: &Prices, session: &Session, now: Time) -> Option<Usd> {
    let Some(last) = session.replies.last() else {
        return Some(Usd::default());
    };
    let used = last.usage.tokens;
    let longest = session.replies.iter().map(|reply| reply.usage.tokens.output).max();
    let carried = used.input + used.cached + used.cache_write + used.output + session.since / BYTES_PER_TOKEN;
    let output = longest.unwrap_or_default();
    // Some programs have all of it cached, which is dearer than to read it once.
    let read = Tokens {
        input: carried,
        output,
        ..Tokens::default()
    };
    let cached = Tokens {
        cache_write: carried,
        output,
        ..Tokens::default()
    };
    let model = last.usage.model.as_deref();
    let by_table = [read, cached]
        .into_iter()
        .filter_map(|asked| prices.cost(model?, now, asked))
        .max();
    // Without a price in the table the program's own figures are all there is.
    let dearest = session.replies.iter().filter_map(|reply| cost(prices, reply)).max();
    by_table.into_iter().chain(dearest).max()
}
