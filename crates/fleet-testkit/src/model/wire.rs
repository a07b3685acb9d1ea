//! The four wire formats behind one picture: what a request asks, and what a reply is made of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prompts;
use super::script::{ApiError, Usage};

mod chat;
mod gemini;
mod messages;
mod responses;
pub(crate) mod trouble;

/// The vendor's way to talk with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions, which many others speak.
    Chat,
    /// Gemini `generateContent`.
    Gemini,
}

/// What a request asks.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) system: String,
    pub(crate) said: Vec<Said>,
    pub(crate) tools: Vec<Offered>,
    pub(crate) schema: Option<Value>,
    /// The most tokens that may come out.
    pub(crate) limit: Option<u64>,
}

/// One step of the conversation so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What a person typed.
    Prompt(String),
    /// What the client put in by itself in the user's name.
    Aside(String),
    /// The model's.
    Reply,
    /// What a tool gave.
    Result,
}

/// A tool that the client offers.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// Its full name; with a namespace, that and two underscores before it.
    pub(crate) name: String,
    /// Responses only: the namespace and the name in it.
    pub(crate) namespace: Option<(String, String)>,
    /// The JSON schema of its arguments.
    pub(crate) parameters: Value,
    /// Responses only: whether it takes free text instead of arguments.
    pub(crate) free_text: bool,
}

/// A reply, ready to be put into a format.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Unique in the life of an endpoint; ids of messages and calls are made from it.
    pub(crate) id: String,
    pub(crate) model: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) usage: Usage,
    /// Characters in a chunk.
    pub(crate) chunk_chars: usize,
}

/// A call of an offered tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) namespace: Option<(String, String)>,
    pub(crate) free_text: bool,
    pub(crate) input: Value,
}

/// A part of a stream.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: String,
    /// Whether it is one of the chunks that faults and delays count.
    pub(crate) is_chunk: bool,
}

impl Format {
    /// What this request asks.
    pub(crate) fn read(self, body: &Value) -> Asked {
        match self {
            Self::Messages => messages::read(body),
            Self::Responses => responses::read(body),
            Self::Chat => chat::read(body),
            Self::Gemini => gemini::read(body),
        }
    }

    /// The reply as one JSON document.
    pub(crate) fn whole(self, reply: &Reply) -> Value {
        match self {
            Self::Messages => messages::whole(reply),
            Self::Responses => responses::whole(reply),
            Self::Chat => chat::whole(reply),
            Self::Gemini => gemini::whole(reply),
        }
    }

    /// The reply as a stream of events.
    pub(crate) fn stream(self, reply: &Reply) -> Vec<Piece> {
        match self {
            Self::Messages => messages::stream(reply),
            Self::Responses => responses::stream(reply),
            Self::Chat => chat::stream(reply),
            Self::Gemini => gemini::stream(reply),
        }
    }

    /// The event by which a stream that began well reports an error.
    pub(crate) fn error_event(self, reply: &Reply, error: &ApiError) -> Piece {
        let body = trouble::body(self, error);
        match self {
            Self::Messages => Piece::named("error", &body),
            Self::Responses => responses::failed(reply, &body),
            Self::Chat | Self::Gemini => Piece::unnamed(&body),
        }
    }
}

impl Asked {
    /// Takes up a text that came in the user's name.
    fn hear(&mut self, text: &str) {
        let prompts = prompts::typed(text);
        if prompts.is_empty() {
            self.said.push(Said::Aside(text.to_owned()));
        }
        self.said.extend(prompts.into_iter().map(Said::Prompt));
    }

    /// Takes up a text of the client's own, which may have prompts in it.
    fn hear_system(&mut self, text: &str) {
        let prompts = prompts::sent_while_working(text);
        if prompts.is_empty() {
            self.system.push('\n');
            self.system.push_str(text);
        }
        self.said.extend(prompts.into_iter().map(Said::Prompt));
    }

    /// Takes up a part of a reply that may have several.
    fn hear_part_of_reply(&mut self) {
        if self.said.last() != Some(&Said::Reply) {
            self.said.push(Said::Reply);
        }
    }

    /// What people typed, in order.
    pub(crate) fn prompts(&self) -> Vec<String> {
        let prompt = |said: &Said| match said {
            Said::Prompt(text) => Some(text.clone()),
            _ => None,
        };
        self.said.iter().filter_map(prompt).collect()
    }

    /// How many replies there are since the last prompt: the index of the turn that is asked for.
    pub(crate) fn replies_since_prompt(&self) -> usize {
        let since = self
            .said
            .iter()
            .rev()
            .take_while(|said| !matches!(said, Said::Prompt(_)));
        since.filter(|said| **said == Said::Reply).count()
    }

    /// The last text in the user's name, whoever wrote it.
    pub(crate) fn last_heard(&self) -> &str {
        self.said
            .iter()
            .rev()
            .find_map(|said| match said {
                Said::Prompt(text) | Said::Aside(text) => Some(text.as_str()),
                _ => None,
            })
            .unwrap_or_default()
    }
}

impl Offered {
    /// A tool with arguments.
    fn new(name: &str, parameters: &Value) -> Self {
        Self {
            name: name.to_owned(),
            namespace: None,
            parameters: parameters.clone(),
            free_text: false,
        }
    }
}

impl Reply {
    /// The id of its `index`th call.
    fn call_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.id)
    }
}

impl Call {
    /// The arguments as the JSON text, or the free text, that formats carry.
    fn arguments(&self) -> String {
        match &self.input {
            Value::String(text) if self.free_text => text.clone(),
            input => input.to_string(),
        }
    }
}

impl Piece {
    /// An event with a name.
    fn named(name: &str, data: &Value) -> Self {
        Self {
            bytes: format!("event: {name}\ndata: {data}\n\n"),
            is_chunk: false,
        }
    }

    /// An event without a name.
    fn unnamed(data: &Value) -> Self {
        Self {
            bytes: format!("data: {data}\n\n"),
            is_chunk: false,
        }
    }

    /// The same, as one of the chunks.
    fn chunk(self) -> Self {
        Self { is_chunk: true, ..self }
    }
}

/// `text` in chunks of so many characters; none for an empty text.
fn chunks(text: &str, chars: usize) -> Vec<&str> {
    let mut rest = text;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let end = rest.char_indices().nth(chars.max(1)).map_or(rest.len(), |(at, _)| at);
        let (chunk, after) = rest.split_at(end);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// All text in a content that is a text, a list of parts, or one part.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        Value::Object(part) => part.get("text").map(text_of).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The parts of a content that is a list or a lone text.
fn parts(content: &Value) -> Vec<Value> {
    match content {
        Value::Array(parts) => parts.clone(),
        Value::Null => Vec::new(),
        lone => vec![serde_json::json!({"type": "text", "text": text_of(lone)})],
    }
}

/// The elements of a list; none when it is not there.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text; empty when it is not there.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
