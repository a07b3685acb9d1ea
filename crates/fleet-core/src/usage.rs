//! What an agent has used, as its program tells it.

use std::ops::{AddAssign, Sub};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of one or more replies. The numbers are disjoint, but for `reasoning`, which is a part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// Read by the model and neither taken from nor put into a cache.
    pub input: u64,
    /// Taken from a cache.
    pub cached: u64,
    /// Put into a cache. 0 as well where the program does not tell it apart from `input`.
    pub cache_write: u64,
    /// Written by the model, its thinking included.
    pub output: u64,
    /// The thinking in `output`. 0 as well where the program does not tell.
    pub reasoning: u64,
}

/// How far a [`Usage`] can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The program's own account of finished replies.
    Reported,
    /// The process ended before it gave an account; this is what its replies had said when they began, so the
    /// output is not counted. A lower bound.
    Partial,
    /// Of a reply that did not come to its end: what is missing is estimated.
    Estimated,
    /// The sum since the conversation began: it was resumed, and what came before is not known.
    WholeConversation,
}

/// What was used since the last event of this kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// The model as the program calls it; none where it does not say.
    pub model: Option<String>,
    /// Tokens since the last account.
    pub tokens: Tokens,
    /// What the program says that they cost, in US dollars, by its own list of prices: a lower bound. None where
    /// it says nothing.
    pub cost_usd: Option<f64>,
    /// Where the numbers are from, such as `result.modelUsage`.
    pub source: String,
    /// How far they can be relied on.
    pub basis: Basis,
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Tokens) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
    }
}

/// What came since an earlier count. A count that went back, as after a conversation was compacted, gives 0.
impl Sub for Tokens {
    type Output = Tokens;

    fn sub(self, earlier: Tokens) -> Tokens {
        Tokens {
            input: self.input.saturating_sub(earlier.input),
            cached: self.cached.saturating_sub(earlier.cached),
            cache_write: self.cache_write.saturating_sub(earlier.cache_write),
            output: self.output.saturating_sub(earlier.output),
            reasoning: self.reasoning.saturating_sub(earlier.reasoning),
        }
    }
}
