//! The files in which programs keep their conversations: what was used in them, for whoever comes after a supervisor that
//! was killed.
//!
//! Where a program keeps them is measured for the versions that fleet is tested with. A file that is not there, or cannot be
//! read, says nothing, and nothing is concluded from that.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use fleet_core::Time;
use fleet_core::usage::{Tokens, Usage};

use super::heard::Written;
use super::written;

/// Longer files are not read.
const LONGEST: u64 = 512 * 1024 * 1024;
/// A line longer than this tells nothing of what was used.
const LONGEST_LINE: u64 = 1024 * 1024;

/// What a file tells of the replies of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Each reply, in order.
    pub replies: Vec<Reply>,
    /// How many bytes were written after the last of them, or in all where there is none.
    pub since: u64,
}

/// One reply of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// When it was written.
    pub at: Option<Time>,
    /// All that it used.
    pub usage: Usage,
}

/// The files that hold the conversation `id` of a program of the harness `name`, its sub-agents' included, below the user's
/// `home`. None where nobody knows where it keeps them.
pub fn session_files(name: &str, home: &Path, id: &str) -> Vec<PathBuf> {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Vec::new();
    }
    let ends = |path: &PathBuf, end: &str| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(end))
    };
    match name {
        "claude" => {
            let projects = below(&home.join(".claude/projects"));
            let mut files = Vec::new();
            for project in projects {
                files.push(project.join(format!("{id}.jsonl")));
                files.extend(below(&project.join(id).join("subagents")));
            }
            files.retain(|file| ends(file, ".jsonl") && file.is_file());
            files
        }
        "codex" => {
            let years = below(&home.join(".codex/sessions"));
            let days = years
                .iter()
                .flat_map(|year| below(year))
                .flat_map(|month| below(&month));
            let end = format!("-{id}.jsonl");
            days.flat_map(|day| below(&day))
                .filter(|file| ends(file, &end))
                .collect()
        }
        "pi" => {
            let folders = below(&home.join(".pi/agent/sessions"));
            let end = format!("_{id}.jsonl");
            let files = folders.iter().flat_map(|folder| below(folder));
            files.filter(|file| ends(file, &end)).collect()
        }
        _ => Vec::new(),
    }
}

/// What the file at `path` tells, which a program of the harness `name` writes; none where it cannot be read.
pub fn read_session(name: &str, path: &Path) -> Option<Session> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > LONGEST {
        return None;
    }
    let mut reader = BufReader::new(file);
    let mut session = Session::default();
    let mut ids: Vec<Option<String>> = Vec::new();
    let mut model = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut length = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).ok()? as u64;
        if length == 0 {
            return Some(session);
        }
        if length == LONGEST_LINE && line.last() != Some(&b'\n') {
            length += reader.skip_until(b'\n').ok()? as u64;
            line.clear();
        }
        session.since += length;
        match written(name, &line) {
            Some(Written::Model(of)) => model = Some(of),
            Some(Written::Reply { id, at, mut usage }) if usage.tokens != Tokens::default() => {
                usage.model = usage.model.or_else(|| model.clone());
                session.since = 0;
                // A reply may be written several times, each time with as much as was known.
                let known = id.as_ref().and_then(|_| ids.iter().rposition(|each| *each == id));
                match known {
                    Some(place) => session.replies[place] = Reply { at, usage },
                    None => {
                        session.replies.push(Reply { at, usage });
                        ids.push(id);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What is in a folder, in order.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "0199-abc";

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn put(home: &Path, path: &str, lines: &[&str]) -> PathBuf {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, lines.join("\n") + "\n").expect("written");
        path
    }

    #[test]
    fn each_program_keeps_a_conversation_where_it_is_looked_for() {
        let home = home();
        let root = home.path();
        let claude = put(root, &format!(".claude/projects/-w-a/{ID}.jsonl"), &[]);
        let helper = put(
            root,
            &format!(".claude/projects/-w-a/{ID}/subagents/agent-1.jsonl"),
            &[],
        );
        put(root, ".claude/projects/-w-a/other.jsonl", &[]);
        let codex = put(
            root,
            &format!(".codex/sessions/2026/11/21/rollout-2026-11-21T00-00-00-{ID}.jsonl"),
            &[],
        );
        let pi = put(root, &format!(".pi/agent/sessions/--w-a--/2026_{ID}.jsonl"), &[]);
        assert_eq!(session_files("claude", root, ID), [claude, helper]);
        assert_eq!(session_files("codex", root, ID), [codex]);
        assert_eq!(session_files("pi", root, ID), [pi]);
        for (name, id) in [("gemini", ID), ("claude", "../x"), ("claude", ""), ("codex", "none")] {
            assert_eq!(session_files(name, root, id), Vec::<PathBuf>::new(), "{name} {id}");
        }
    }

    #[test]
    fn a_reply_that_is_written_twice_counts_once_and_what_comes_after_the_last_is_measured() {
        let home = home();
        let reply = |id: &str, output: u64| {
            format!(
                r#"{{"type":"assistant","timestamp":"2026-11-21T01:00:00.500Z","message":{{"id":"{id}","model":"m","usage":{{"input_tokens":10,"output_tokens":{output}}}}}}}"#
            )
        };
        let (first, second, third) = (reply("a", 1), reply("a", 7), reply("b", 3));
        let after = r#"{"type":"user","message":{"content":"what a tool has said"}}"#;
        let path = put(home.path(), "x.jsonl", &[&first, &second, &third, after, "{ cut of"]);
        let session = read_session("claude", &path).expect("a session");
        let outputs: Vec<u64> = session.replies.iter().map(|reply| reply.usage.tokens.output).collect();
        assert_eq!(outputs, [7, 3]);
        assert_eq!(session.since as usize, after.len() + "{ cut of".len() + 2);
        assert_eq!(read_session("claude", &home.path().join("none")), None);
    }

    #[test]
    fn a_line_of_pi_tells_what_a_reply_used() {
        let home = home();
        let reply = r#"{"type":"message","id":"e1","timestamp":"2026-11-21T01:00:00.000Z","message":{"role":"assistant","model":"m-1","usage":{"input":100,"output":20,"cacheRead":5,"cacheWrite":0,"cost":{"total":0.1}}}}"#;
        let asked = r#"{"type":"message","id":"e0","message":{"role":"user","content":"usage"}}"#;
        let path = put(home.path(), "x.jsonl", &[asked, reply]);
        let session = read_session("pi", &path).expect("a session");
        let [one] = session.replies.as_slice() else {
            panic!("{session:?}")
        };
        assert_eq!((one.usage.tokens.input, one.usage.tokens.output), (100, 20));
        assert_eq!((one.usage.model.as_deref(), session.since), (Some("m-1"), 0));
    }
}
