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
use super::{own_arguments, written};

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

/// Where a program of the harness `name` that is started in `cwd` as `argv` keeps its conversations. `var` gives the variables
/// of its environment. None where nobody knows.
pub fn sessions_folder(
    name: &str,
    argv: &[String],
    cwd: &Path,
    var: &dyn Fn(&str) -> Option<String>,
) -> Option<PathBuf> {
    let var = |name: &str| var(name).filter(|value| !value.is_empty());
    let home = var("HOME").map(PathBuf::from);
    let own = |variable: &str, usual: &str| match var(variable) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => home.as_ref().map(|home| home.join(usual)),
    };
    let folder = match name {
        "claude" => own("CLAUDE_CONFIG_DIR", ".claude")?.join("projects"),
        "codex" => own("CODEX_HOME", ".codex")?.join("sessions"),
        "pi" => {
            let (args, _) = own_arguments(argv);
            let given = args.windows(2).rfind(|two| two[0] == "--session-dir");
            let folder = match given.map(|two| two[1].clone()).or(var("PI_CODING_AGENT_SESSION_DIR")) {
                Some(folder) => PathBuf::from(folder),
                None => own("PI_CODING_AGENT_DIR", ".pi/agent")?.join("sessions"),
            };
            match (folder.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => folder,
            }
        }
        _ => return None,
    };
    Some(cwd.join(folder))
}

/// The files that hold the conversation `id` of a program of the harness `name`, its sub-agents' included, where it keeps
/// its conversations in `folder`, as [`sessions_folder`] gives it.
pub fn session_files(name: &str, folder: &Path, id: &str) -> Vec<PathBuf> {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Vec::new();
    }
    let ends = |path: &PathBuf, end: &str| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(end))
    };
    match name {
        "claude" => {
            let mut files = Vec::new();
            for project in below(folder) {
                files.push(project.join(format!("{id}.jsonl")));
                files.extend(below(&project.join(id).join("subagents")));
            }
            files.retain(|file| ends(file, ".jsonl") && file.is_file());
            files
        }
        "codex" => {
            let years = below(folder);
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
            // It has a folder for each place it works in, but not in a folder that it was told to use.
            let own = below(folder);
            let files = own.iter().flat_map(|each| below(each)).chain(own.iter().cloned());
            let end = format!("_{id}.jsonl");
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
        let found = |name: &str, id: &str| {
            let var = |name: &str| (name == "HOME").then(|| root.display().to_string());
            let folder = sessions_folder(name, &[], Path::new("/w"), &var);
            folder.map_or(Vec::new(), |folder| session_files(name, &folder, id))
        };
        assert_eq!(found("claude", ID), [claude, helper]);
        assert_eq!(found("codex", ID), [codex]);
        assert_eq!(found("pi", ID), [pi]);
        for (name, id) in [("gemini", ID), ("claude", "../x"), ("claude", ""), ("codex", "none")] {
            assert_eq!(found(name, id), Vec::<PathBuf>::new(), "{name} {id}");
        }
        let flat = put(root, &format!("own/2026_{ID}.jsonl"), &[]);
        assert_eq!(session_files("pi", &root.join("own"), ID), [flat]);
    }

    #[test]
    fn what_moves_the_folder_of_a_program_moves_where_its_conversations_are() {
        let folder = |name: &str, args: &[&str], set: &[(&str, &str)]| {
            let var = |name: &str| {
                let own = set
                    .iter()
                    .chain(&[("HOME", "/home/me")])
                    .find(|(each, _)| *each == name);
                own.map(|(_, value)| (*value).to_owned())
            };
            let argv: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            sessions_folder(name, &argv, Path::new("/w"), &var).expect("a folder")
        };
        for (name, args, set, wanted) in [
            ("claude", &[][..], &[][..], "/home/me/.claude/projects"),
            ("claude", &[], &[("CLAUDE_CONFIG_DIR", "/c")], "/c/projects"),
            ("claude", &[], &[("CLAUDE_CONFIG_DIR", "")], "/home/me/.claude/projects"),
            ("claude", &[], &[("CLAUDE_CONFIG_DIR", "here")], "/w/here/projects"),
            ("claude", &[], &[("HOME", "/other")], "/other/.claude/projects"),
            ("codex", &[], &[("CODEX_HOME", "/x")], "/x/sessions"),
            ("codex", &[], &[("CLAUDE_CONFIG_DIR", "/c")], "/home/me/.codex/sessions"),
            ("pi", &[], &[("PI_CODING_AGENT_DIR", "~/p")], "/home/me/p/sessions"),
            (
                "pi",
                &[],
                &[("PI_CODING_AGENT_DIR", "/p"), ("PI_CODING_AGENT_SESSION_DIR", "/s")],
                "/s",
            ),
            (
                "pi",
                &["pi", "--session-dir", "d"],
                &[("PI_CODING_AGENT_SESSION_DIR", "/s")],
                "/w/d",
            ),
            (
                "pi",
                &["pi", "--", "--session-dir", "d"],
                &[],
                "/home/me/.pi/agent/sessions",
            ),
        ] {
            assert_eq!(
                folder(name, args, set),
                PathBuf::from(wanted),
                "{name} {args:?} {set:?}"
            );
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
