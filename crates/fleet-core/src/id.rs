//! Identifiers. Randomness comes in as bytes; what is written is short, lower-case and safe in a path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Crockford's base 32 without the letters that read like digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// `count` characters of base 32 out of random bytes (5 bits of each byte are used).
pub fn base32(random: &[u8], count: usize) -> String {
    random
        .iter()
        .take(count)
        .map(|byte| ALPHABET[usize::from(byte & 31)] as char)
        .collect()
}

/// Lower-case hexadecimal of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id of one agent: 10 characters of base 32 (50 bits), never used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AgentId(String);

impl AgentId {
    /// How many characters an id has.
    pub const LENGTH: usize = 10;

    /// An id out of at least ten random bytes.
    pub fn from_random(random: &[u8; 10]) -> Self {
        Self(base32(random, Self::LENGTH))
    }

    /// The id written as `text`, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == Self::LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte));
        valid.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AgentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_parses_only_if_it_could_have_been_made() {
        let id = AgentId::from_random(&[0, 31, 32, 255, 7, 8, 9, 10, 11, 12]);
        assert_eq!(AgentId::parse(id.as_str()), Some(id));
        assert_eq!(AgentId::parse("fix-42"), None);
        assert_eq!(AgentId::parse("iiiiiiiiii"), None);
    }
}
