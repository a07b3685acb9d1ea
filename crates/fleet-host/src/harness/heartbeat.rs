//! The heartbeat of a program that writes one itself: a file in the agent's folder, replaced every 15 s.
//!
//! That the process lives is the supervisor's to know. The file says more: that the program still turns its loop, and
//! which model it runs with now. It is data of a program that is not trusted, and is shown, never acted upon.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fleet_core::Time;
use serde::{Deserialize, Serialize};

/// The variable with the path of the file, for the program.
pub const VARIABLE: &str = "FLEET_HEARTBEAT";
/// A program whose file is older than this, in milliseconds, hangs or has stopped writing it: three beats.
pub const STALE_MS: u64 = 45_000;

const NAME: &str = "heartbeat";
/// A larger file is none.
const LARGEST: u64 = 4096;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When it was written.
    pub at: Time,
    /// The process that wrote it.
    pub pid: u32,
    /// The model, `provider/name`.
    #[serde(default)]
    pub model: Option<String>,
    /// Whether it works on a turn.
    #[serde(default)]
    pub works: bool,
}

/// Where it is for an agent whose files for reporting are in `folder`, which is in the agent's own.
pub fn path(folder: &Path) -> Option<PathBuf> {
    folder.parent().map(|agent| agent.join(NAME))
}

/// The heartbeat in the folder of an agent, if there is one that can be read.
pub fn read(agent: &Path) -> Option<Heartbeat> {
    let mut text = String::new();
    let file = File::open(agent.join(NAME)).ok()?;
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    let mut beat: Heartbeat = serde_json::from_str(&text).ok()?;
    beat.model = beat.model.map(|model| super::stream::plain(&model));
    Some(beat)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_heartbeat_is_none_and_no_escape_sequence_comes_through() {
        let agent = tempfile::tempdir().unwrap();
        let path = path(&agent.path().join("reporting")).unwrap();
        assert_eq!(read(agent.path()), None);
        for text in ["", "{}", "[1]", "{\"at\":\"now\",\"pid\":1}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(agent.path()), None, "{text}");
        }
        let text =
            "{\"v\":1,\"at\":\"2026-11-21T01:02:03.456Z\",\"pid\":7,\"model\":\"a/\\u001b[31mb\",\"works\":true}\n";
        fs::write(&path, text).unwrap();
        let beat = read(agent.path()).unwrap();
        assert_eq!(
            (beat.at.to_string().as_str(), beat.pid, beat.works),
            ("2026-11-21T01:02:03Z", 7, true)
        );
        assert!(!beat.model.unwrap().contains('\u{1b}'));
        fs::write(&path, text.replace("a/", &"a".repeat(5000))).unwrap();
        assert_eq!(read(agent.path()), None, "a file that large is none");
    }
}
