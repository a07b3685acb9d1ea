//! Old supervisors with new commands and the other way round; old journals and databases.
//!
//! The recordings are in `tests/fixtures/v1`. Frames are taken apart and put together here without the product's own
//! code, so that both sides cannot change together unnoticed.

mod kept;
mod talk;

use std::path::PathBuf;

use serde_json::Value;

/// A recording of version 1.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/v1")
        .join(name)
}

/// One frame of the wire: its kind and its body.
#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    body: Vec<u8>,
}

const JSON: u8 = 1;
const OUTPUT: u8 = 2;

impl Frame {
    /// The body of a JSON frame; null when it is none.
    fn json(&self) -> Value {
        let parsed = (self.kind == JSON).then(|| serde_json::from_slice(&self.body).ok());
        parsed.flatten().unwrap_or(Value::Null)
    }

    fn of(value: &Value) -> Frame {
        Frame {
            kind: JSON,
            body: value.to_string().into_bytes(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + 1).expect("a short frame");
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Takes whole frames off the front of `bytes`.
fn frames(bytes: &mut Vec<u8>) -> Vec<Frame> {
    let mut found = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let end = 4 + u32::from_le_bytes(*head) as usize;
        if bytes.len() < end {
            break;
        }
        found.push(Frame {
            kind: bytes[4],
            body: bytes[5..end].to_vec(),
        });
        bytes.drain(..end);
    }
    found
}

/// The frames of a recording.
fn recorded(name: &str) -> Vec<Frame> {
    let mut bytes = std::fs::read(fixture(name)).expect("a recording");
    let found = frames(&mut bytes);
    assert!(bytes.is_empty() && found.len() > 10, "{name} is whole");
    found
}
