//! The protocol of the supervisor's socket, version 1.
//!
//! A stream of frames in both directions: a length (4 bytes, little-endian, of what follows), a kind (1 byte),
//! a body. Kind 1 is a JSON object, kind 2 terminal output (supervisor to view), kind 3 terminal input (view to
//! supervisor).
//!
//! The client speaks first: `{"hello":1}`; the supervisor answers `{"hello":1,"agent":…,"generation":…}`. Then
//! requests `{"id":n,"op":"…",…}`, each answered once by `{"id":n,"ok":{…}}` or
//! `{"id":n,"error":{"kind":…,"message":…}}`, in the order of their outcomes. After `watch` come
//! `{"entry":{…}}` objects, after `view` kind 2 frames and `{"size":{…}}` objects.
//!
//! What one side does not know it answers or skips, never breaks on: an unknown `op`, an unknown kind and an
//! unreadable object are answered by an error; unknown fields are ignored; unknown objects from the supervisor
//! are skipped by the client. New operations and fields may come within version 1; a change of meaning would
//! be version 2, and each side then speaks the lower of both hellos.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version both sides name in their hello.
pub const VERSION: u32 = 1;

/// The longest frame that is read. A prompt is at most 1 MiB; JSON escapes can make it six times longer.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;

/// Kinds of frames.
pub mod kind {
    /// A JSON object.
    pub const JSON: u8 = 1;
    /// Output of the program, for a view's terminal.
    pub const OUTPUT: u8 = 2;
    /// What was typed into a view.
    pub const INPUT: u8 = 3;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// Its body.
    pub body: Vec<u8>,
}

/// A frame as bytes.
pub fn encode(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.extend_from_slice(&(body.len() as u32 + 1).to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

/// A JSON object as a frame.
pub fn encode_json(value: &Value) -> Vec<u8> {
    encode(kind::JSON, value.to_string().as_bytes())
}

/// Collects bytes and gives whole frames.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

/// A length that no sane peer sends. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

impl Decoder {
    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BadFrame> {
        let Some(head) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(BadFrame);
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let frame = Frame {
            kind: self.bytes[4],
            body: self.bytes[5..4 + length].to_vec(),
        };
        self.bytes.drain(..4 + length);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(frame))
    }
}

/// How a prompt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A receipt was seen.
    Delivered,
    /// It waits for the end of the turn.
    Queued,
    /// It was not written.
    Refused,
    /// It was written; no receipt was seen.
    Unverified,
}

/// The answer to `prompt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompted {
    /// How it ended.
    pub outcome: Outcome,
    /// More about it: the receipt, or what was seen instead.
    #[serde(default)]
    pub why: String,
}

/// The answer to `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state, in words.
    pub state: String,
    /// The rule that won.
    pub rule: String,
    /// Sequence of the last fact.
    pub seq: u64,
    /// Rows of the terminal.
    pub rows: u16,
    /// Columns of the terminal.
    pub cols: u16,
    /// Attached views.
    pub views: usize,
    /// Prompts that wait.
    pub queued: usize,
    /// The title that the program set.
    #[serde(default)]
    pub title: Option<String>,
    /// The line that the cursor is in.
    #[serde(default)]
    pub cursor_line: String,
    /// Whether the program asked for bracketed paste.
    #[serde(default)]
    pub bracketed_paste: bool,
    /// Whether it draws on the alternate screen.
    #[serde(default)]
    pub full_screen: bool,
}

/// The answer to `stop`, sent when nothing of the agent runs any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Exit code of the child; none when it never ran.
    pub code: Option<i32>,
    /// Processes that had outlived it and were ended.
    pub swept: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = encode(kind::INPUT, b"abc");
        bytes.extend(encode_json(&serde_json::json!({"id": 1})));
        bytes.extend(encode(kind::OUTPUT, b""));
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().expect("sane") {
                    frames.push((frame.kind, frame.body));
                }
            }
            assert_eq!(
                frames,
                [
                    (kind::INPUT, b"abc".to_vec()),
                    (kind::JSON, b"{\"id\":1}".to_vec()),
                    (kind::OUTPUT, Vec::new())
                ]
            );
        }
    }

    #[test]
    fn an_absurd_length_is_an_error_not_an_allocation() {
        let mut decoder = Decoder::default();
        decoder.push(&[255, 255, 255, 255, 1]);
        assert_eq!(decoder.next_frame(), Err(BadFrame));
    }
}
