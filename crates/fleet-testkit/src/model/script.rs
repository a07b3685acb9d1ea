//! The script: what the endpoint answers, how fast, and when it fails. The format is described in
//! `docs/model-endpoint.md`.

use std::collections::BTreeMap;
use std::fmt;

use regex_lite::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What an endpoint answers. Every field has a default: an empty script does what prompts ask (`say`, `run`, …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Turns for prompts that match; the first rule that matches answers.
    pub rules: Vec<Rule>,
    /// Turns for every other prompt. When there are none, the directives in the prompt decide.
    pub turns: Vec<Turn>,
    /// The text of every reply after the last turn.
    pub after: String,
    /// What fails, and when. Every rule counts on its own; the first that fires decides.
    pub faults: Vec<FaultRule>,
    /// How fast answers come.
    pub pace: Pace,
    /// What becomes of requests that offer no tools.
    pub without_tools: WithoutTools,
    /// Answers to side requests by their kind (`title`, `classifier`, …), where they are not the usual ones.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub side: BTreeMap<String, String>,
}

/// Turns for the prompts that match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which prompts.
    pub when: When,
    /// One for each reply, in order.
    pub turns: Vec<Turn>,
}

/// A condition on the text of the last prompt. All that is given must hold; nothing given holds always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The text has this in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The text has a match of this expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<Pattern>,
}

/// A regular expression that is known to be one.
#[derive(Clone)]
pub struct Pattern(Regex);

/// One reply of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// What it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// What it shows of its thinking.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The tools it calls, after the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// The tokens that it reports.
    pub usage: Usage,
    /// Where it differs from the script's pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// What goes wrong, each time that this turn is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// A tool call. All but `tool` are translated to what the client offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToolCall {
    /// Runs a command in the client's shell tool.
    Shell(String),
    /// Writes a file.
    Write {
        /// Its path, as the client takes it.
        path: String,
        /// All of it.
        content: String,
    },
    /// Reads the file at this path.
    Read(String),
    /// Calls the tool of this very name. An MCP tool is `mcp__SERVER__TOOL` for every client.
    Tool {
        /// The name as it was offered.
        name: String,
        /// Its arguments; a text for a tool that takes free text.
        #[serde(default)]
        input: Value,
    },
}

/// The tokens of one reply. They are disjoint but for `reasoning`, which is a part of `output`; each format adds
/// them up as its vendor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Input read from a cache.
    pub cached: u64,
    /// Input written to a cache.
    pub cache_write: u64,
    /// Everything that came out.
    pub output: u64,
    /// How much of the output was thinking.
    pub reasoning: u64,
}

/// How fast an answer comes. What is not given comes from the script, and at last from the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// Milliseconds before the first byte; 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// Milliseconds after each chunk of a stream; 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_ms: Option<u64>,
    /// Characters in a chunk; 24 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_chars: Option<usize>,
}

/// A fault and the requests that it befalls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Only requests whose last prompt matches are counted.
    #[serde(default)]
    pub when: When,
    /// The first request that fails, counted from 1; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// How many in a row fail; 1 when `nth` is given, else all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Whether side requests are counted, and fail, too.
    #[serde(default)]
    pub side: bool,
    /// What happens.
    pub fault: Fault,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The connection is closed without an answer.
    Close,
    /// Nothing is sent until a release; then the answer comes.
    Hang,
    /// After this many chunks nothing is sent until a release; then the rest comes.
    HangAfter(usize),
    /// The connection breaks after this many chunks, or after the last one.
    CutAfter(usize),
    /// The vendor's error, with its status.
    Error(ApiError),
    /// A good beginning, and after some chunks the vendor's error in the stream.
    ErrorAfter {
        /// How many chunks come before it; all, if there are fewer.
        chunks: usize,
        /// The error.
        error: ApiError,
    },
}

/// An error that the vendor's service reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiError {
    /// What is wrong.
    pub is: Trouble,
    /// The status, where it is not the vendor's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The message, where it is not the vendor's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Seconds for the header `retry-after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// What a vendor complains about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The request is wrong.
    BadRequest,
    /// The key is wrong.
    Unauthorized,
    /// The account has no money left.
    NoCredit,
    /// The key may not do this.
    Forbidden,
    /// There is no such model.
    NotFound,
    /// Too many requests.
    RateLimit,
    /// The service failed.
    ServerError,
    /// The service has too much to do.
    Overloaded,
}

/// What becomes of a request that offers no tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutTools {
    /// It is a side request. Coding agents ask so for titles and decisions.
    #[default]
    Side,
    /// It is a conversation, unless it is known to be a side request. For clients that have no tools.
    Conversation,
}

impl Script {
    /// These turns for every prompt.
    pub fn of(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            turns: turns.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The script in this JSON text; the error says what is wrong with it, and where.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("this is no script: {error}"))
    }

    /// The same with a fault.
    pub fn with_fault(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            turns: Vec::new(),
            after: "done".into(),
            faults: Vec::new(),
            pace: Pace::default(),
            without_tools: WithoutTools::default(),
            side: BTreeMap::new(),
        }
    }
}

impl Turn {
    /// A reply that says this.
    pub fn say(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A reply that calls this tool.
    pub fn call(call: ToolCall) -> Self {
        Self {
            calls: vec![call],
            ..Self::default()
        }
    }

    /// A reply that runs this command.
    pub fn shell(command: impl Into<String>) -> Self {
        Self::call(ToolCall::Shell(command.into()))
    }

    /// The same, with these tokens.
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same, with something that goes wrong.
    pub fn with_fault(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            input: 1000,
            cached: 0,
            cache_write: 0,
            output: 50,
            reasoning: 0,
        }
    }
}

impl Usage {
    /// All input, cached or not.
    pub fn all_input(&self) -> u64 {
        self.input + self.cached + self.cache_write
    }

    /// All input and all output.
    pub fn total(&self) -> u64 {
        self.all_input() + self.output
    }
}

impl Pace {
    /// This pace, filled up from another.
    pub fn or(self, other: Self) -> Self {
        Self {
            first_byte_ms: self.first_byte_ms.or(other.first_byte_ms),
            chunk_ms: self.chunk_ms.or(other.chunk_ms),
            chunk_chars: self.chunk_chars.or(other.chunk_chars),
        }
    }
}

impl FaultRule {
    /// Each request fails so.
    pub fn always(fault: Fault) -> Self {
        Self {
            when: When::default(),
            nth: None,
            times: None,
            side: false,
            fault,
        }
    }

    /// The first `times` requests fail so.
    pub fn first(times: u64, fault: Fault) -> Self {
        Self {
            times: Some(times),
            ..Self::always(fault)
        }
    }

    /// Only the `nth` request fails so.
    pub fn nth(nth: u64, fault: Fault) -> Self {
        Self {
            nth: Some(nth),
            ..Self::always(fault)
        }
    }

    /// Whether the request that is the `count`th to match fails.
    pub(crate) fn fires(&self, count: u64) -> bool {
        let first = self.nth.unwrap_or(1);
        let times = self.times.or(self.nth.map(|_| 1));
        count >= first && times.is_none_or(|times| count < first.saturating_add(times))
    }
}

impl ApiError {
    /// The vendor's usual error for this.
    pub fn of(is: Trouble) -> Self {
        Self {
            is,
            status: None,
            message: None,
            retry_after_s: None,
        }
    }
}

impl When {
    /// Whether this text fulfils it.
    pub fn holds(&self, text: &str) -> bool {
        self.contains.as_ref().is_none_or(|part| text.contains(part.as_str()))
            && self.regex.as_ref().is_none_or(|pattern| pattern.0.is_match(text))
    }
}

impl Pattern {
    /// The expression in this text; the error is the parser's.
    pub fn parse(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is no regular expression: {error}"))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.as_str())
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_survives_json() {
        let text = r#"{
            "rules": [{"when": {"regex": "^a.c$"}, "turns": [{"text": "x", "calls": [{"shell": "ls"}, {"read": "f"},
                {"write": {"path": "p", "content": "c"}}, {"tool": {"name": "n", "input": {"k": 1}}}]}]}],
            "turns": [{"fault": {"cut_after": 3}}, {"fault": "hang", "usage": {"input": 7}}],
            "faults": [{"nth": 2, "fault": {"error": {"is": "rate_limit", "retry_after_s": 1}}}],
            "pace": {"chunk_ms": 5}
        }"#;
        let script = Script::from_json(text).unwrap();
        let again = Script::from_json(&serde_json::to_string(&script).unwrap()).unwrap();
        assert_eq!(script, again);
        assert_eq!(script.turns[1].usage.input, 7);
        assert_eq!(script.turns[1].usage.output, 50);
    }

    #[test]
    fn a_mistake_in_a_script_is_named() {
        for (text, named) in [
            (r#"{"turn": []}"#, "turn"),
            (
                r#"{"rules": [{"when": {"regex": "("}, "turns": []}]}"#,
                "no regular expression",
            ),
            (r#"{"turns": [{"fault": "explode"}]}"#, "explode"),
        ] {
            let error = Script::from_json(text).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_fault_counts_its_requests() {
        let fired = |rule: FaultRule| (1..=5).filter(|count| rule.fires(*count)).collect::<Vec<_>>();
        assert_eq!(fired(FaultRule::always(Fault::Close)), [1, 2, 3, 4, 5]);
        assert_eq!(fired(FaultRule::first(2, Fault::Close)), [1, 2]);
        assert_eq!(fired(FaultRule::nth(3, Fault::Close)), [3]);
        let both = FaultRule {
            times: Some(2),
            ..FaultRule::nth(2, Fault::Close)
        };
        assert_eq!(fired(both), [2, 3]);
    }
}
