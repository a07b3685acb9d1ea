//! What a reply of a model's service used, read from its bytes as they pass.
//!
//! A [`Reader`] is fed the reply's body in any pieces, streamed or not, and keeps nothing of it but names and numbers.
//! One file for each way of talking. It decides neither what tokens cost nor what may be spent.
//!
//! **A reply that was cut.** Where the service did not come to its final account, what it said so far counts, and the
//! rest is estimated: one token for each [`BYTES_PER_TOKEN`] bytes of text that came out, rounded up, unless the service
//! has told more; and where it told nothing of the input, what was [`expected`] of the request.

mod chat;
mod expected;
mod gemini;
mod json;
mod limit;
mod messages;
mod responses;
mod sse;

use crate::Time;
use crate::usage::Tokens;

use self::json::{Found, Scanner};
use self::sse::{Events, Part};

pub use self::expected::{Earlier, expected};
pub use self::limit::{Limited, Window, limited, windows};

/// Bytes of text for which an estimate counts one token. One of plain English has about four bytes and one of code about
/// three, so this is rather too much than too little.
pub const BYTES_PER_TOKEN: u64 = 3;
/// What an image or a file within a request is taken for, in bytes of text. No service reads its bytes as text.
const MEDIUM: u64 = 6000;

/// The way of talking with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions, which many others speak.
    Chat,
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
}

/// How the bytes of a reply are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Server-sent events.
    Events,
    /// One JSON document.
    Document,
}

/// What a reply has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The model as the service calls it; none where it does not say.
    pub model: Option<String>,
    /// The tokens, estimates among them unless it is `whole`.
    pub tokens: Tokens,
    /// Whether the service came to its final account, so that nothing is estimated.
    pub whole: bool,
    /// Whether the service has told of any tokens.
    pub told: bool,
}

/// Reads one reply.
#[derive(Clone, Debug)]
pub struct Reader {
    format: Format,
    shape: Shape,
    events: Events,
    document: Scanner,
    /// The beginning of the event's data, for a mark that is no JSON.
    head: Vec<u8>,
    account: Account,
}

/// Reads one request: its model and its size.
#[derive(Clone, Debug, Default)]
pub struct RequestReader {
    document: Scanner,
    model: Option<String>,
    bytes: u64,
    /// Bytes of all texts in it.
    text: u64,
}

/// What is known of a reply so far. The files of the formats fill it.
#[derive(Clone, Debug, Default)]
struct Account {
    model: Option<String>,
    /// All of the input as the service counts it.
    input: Option<u64>,
    /// Input that is not counted in `input`.
    beside: u64,
    cached: u64,
    cache_write: u64,
    /// The output without `thoughts`.
    output: Option<u64>,
    /// The thinking in `output`.
    reasoning: u64,
    /// The thinking beside `output`.
    thoughts: u64,
    /// Bytes of text that came out.
    text: u64,
    /// The `type` of the event.
    kind: String,
    /// What in the event or the reply says that the model has ended.
    stopped: bool,
    /// Whether there was an account of the output that can be final.
    accounted: bool,
    /// Nothing that counts comes any more.
    over: bool,
    /// How long a refusal wants the client to wait.
    wait: Option<limit::Wait>,
}

/// The mark at the end of a stream of chat completions.
const DONE: &[u8] = b"[DONE]";

impl Format {
    /// The format of what is asked for at `path` with `method`; none of what costs nothing, or is not known.
    pub fn of(method: &str, path: &str) -> Option<Format> {
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        match last {
            _ if method != "POST" => None,
            "messages" => Some(Format::Messages),
            "responses" => Some(Format::Responses),
            // Codex has its conversations made shorter there.
            "compact" if path.ends_with("/responses/compact") => Some(Format::Responses),
            "completions" => Some(Format::Chat),
            _ => match last.rsplit_once(':') {
                Some((_, "generateContent" | "streamGenerateContent")) => Some(Format::Gemini),
                _ => None,
            },
        }
    }

    /// The model that is named in `path`.
    pub fn model_in(self, path: &str) -> Option<String> {
        let last = path.rsplit('/').next()?;
        let (model, _) = last.rsplit_once(':')?;
        (self == Format::Gemini && !model.is_empty()).then(|| model.to_owned())
    }
}

impl Shape {
    /// How a body of this content type is put together.
    pub fn of(content_type: &str) -> Shape {
        match content_type
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("text/event-stream")
        {
            true => Shape::Events,
            false => Shape::Document,
        }
    }
}

impl Reader {
    /// A reader of a reply.
    pub fn new(format: Format, shape: Shape) -> Reader {
        Reader {
            format,
            shape,
            events: Events::default(),
            document: Scanner::default(),
            head: Vec::new(),
            account: Account::default(),
        }
    }

    /// Reads on. The same bytes give the same account, however they are cut.
    pub fn push(&mut self, bytes: &[u8]) {
        let Reader {
            format,
            shape,
            events,
            document,
            head,
            account,
        } = self;
        if *shape == Shape::Document {
            document.push(bytes, &mut |path, found| account.saw(*format, path, found));
            // A list of replies, as Gemini streams them without events, is over with its last one.
            if document.is_over() {
                account.over = true;
            }
            return;
        }
        events.push(bytes, &mut |part| match part {
            Part::Data(data) => {
                let room = (DONE.len() + 1).saturating_sub(head.len());
                head.extend_from_slice(&data[..data.len().min(room)]);
                document.push(data, &mut |path, found| account.saw(*format, path, found));
            }
            Part::End => {
                document.end(&mut |path, found| account.saw(*format, path, found));
                match head.as_slice() == DONE {
                    true => account.over = true,
                    false => account.end_event(*format),
                }
                document.reset();
                head.clear();
            }
        });
    }

    /// Whether nothing that counts comes any more, though bytes may.
    pub fn is_over(&self) -> bool {
        self.account.over
    }

    /// Until when a refusal wants the client to wait, where its body says so.
    pub fn wait(&self, now: Time) -> Option<Time> {
        self.account.wait.and_then(|wait| wait.until(now))
    }

    /// The account of what was read. `expected` is what the request is taken to have read where the service does not say.
    pub fn reading(&self, expected: Tokens) -> Reading {
        let account = &self.account;
        let whole = match (self.shape, self.format) {
            (Shape::Document, _) => account.over && account.output.is_some(),
            (Shape::Events, Format::Messages | Format::Responses) => account.over && account.accounted,
            (Shape::Events, Format::Chat | Format::Gemini) => account.accounted && (account.stopped || account.over),
        };
        let told = account.input.is_some() || account.output.is_some();
        let read = match account.input {
            None if !whole => Tokens {
                cached: expected.cached.max(account.cached),
                cache_write: expected.cache_write.max(account.cache_write),
                ..expected
            },
            told => {
                let all = told.unwrap_or(0);
                Tokens {
                    // Anthropic's input is what was not cached; everybody else's has all of it.
                    input: match self.format {
                        Format::Messages => all,
                        _ => all.saturating_sub(account.cached.saturating_add(account.cache_write)),
                    },
                    cached: account.cached,
                    cache_write: account.cache_write,
                    ..Tokens::default()
                }
            }
        };
        let input = read.input.saturating_add(account.beside);
        let output = account.output.unwrap_or(0).saturating_add(account.thoughts);
        let output = match whole {
            true => output,
            false => output.max(account.text.div_ceil(BYTES_PER_TOKEN)),
        };
        Reading {
            model: account.model.clone(),
            tokens: Tokens {
                input,
                cached: read.cached,
                cache_write: read.cache_write,
                output,
                reasoning: account.reasoning.saturating_add(account.thoughts).min(output),
            },
            whole,
            told,
        }
    }
}

impl RequestReader {
    /// Reads on.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let RequestReader {
            document, model, text, ..
        } = self;
        document.push(bytes, &mut |path, found| {
            let Found::Text(beginning, length) = found else { return };
            if path == "model" {
                *model = Some(beginning.to_owned());
            }
            *text = text.saturating_add(match is_medium(path) {
                true => length.min(MEDIUM),
                false => length,
            });
        });
    }

    /// The model that was asked for.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// How many bytes of text it had so far; all of its bytes where it cannot be read.
    pub fn text(&self) -> u64 {
        match self.text {
            0 => self.bytes,
            text => text,
        }
    }
}

/// Whether a text at this place is an image or a file.
fn is_medium(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    matches!(last, "data" | "image_url" | "url" | "file_data")
}

impl Account {
    fn saw(&mut self, format: Format, path: &str, found: Found<'_>) {
        self.wait = limit::Wait::of(path, found).or(self.wait);
        match format {
            Format::Messages => messages::saw(self, path, found),
            Format::Responses => responses::saw(self, path, found),
            Format::Chat => chat::saw(self, path, found),
            Format::Gemini => gemini::saw(self, path, found),
        }
    }

    fn end_event(&mut self, format: Format) {
        match format {
            Format::Messages => messages::end_event(self),
            Format::Responses => responses::end_event(self),
            Format::Chat => {}
            Format::Gemini => gemini::end_event(self),
        }
        self.kind.clear();
    }

    fn named(&mut self, model: &str) {
        if !model.is_empty() {
            self.model = Some(model.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
