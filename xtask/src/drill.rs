//! The reboot drill with the real programs: what `cargo xtask test --full back::` wrote down, as a page.

use std::fmt::Write;
use std::fs;

use fleet_host::harness::BUILTIN;
use serde::Deserialize;

use crate::run::{io, root};
use crate::{Failure, Result};

/// What came back of one program's agents. The test writes it when all of it has held.
#[derive(Debug, Default, Deserialize)]
struct Drill {
    /// Agents that had talked before the power went.
    talked: usize,
    /// Those that had not.
    quiet: usize,
    /// Programs that were killed later, and restarted.
    crashed: usize,
}

/// The page `docs/reference/reboot-drill.md`.
pub(crate) fn page() -> Result<String> {
    let mut page = String::from(
        "# The reboot drill\n\n\
         Written by `cargo xtask gen` from what `cargo xtask test --full back::` found with the real programs, at the\n\
         versions that are pinned. The agents of one program share a repository, each in a worktree of its own. All but one\n\
         have had a turn. Then every supervisor, every program and tmux are killed with SIGKILL, the boot id changes, and\n\
         `fleet resume --all` follows. An agent is back in its conversation when the request for its next prompt, in the\n\
         model endpoint's log, holds exactly its own earlier prompts before it. One that had never had a turn has no\n\
         conversation to go on with and starts anew. At the end the program of an agent that was not the last to talk is\n\
         killed with SIGKILL, and `fleet restart` follows.\n\n\
         | program | back | in the same conversation | in it after a crash and `restart` | its conversation is known by |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for cli in BUILTIN {
        let Drill { talked, quiet, crashed } = read(cli)?;
        let all = talked + quiet;
        let _ = writeln!(
            page,
            "| {cli} | {all} of {all} | {talked} of {talked} | {crashed} of {crashed} | {} |",
            known_by(cli)
        );
    }
    Ok(page)
}

fn known_by(cli: &str) -> &'static str {
    match cli {
        "claude" | "gemini" => "the id that fleet chose",
        "opencode" => "the id that it tells, else its list: the newest of the worktree",
        _ => "the id that it tells, else its being the newest of the worktree",
    }
}

fn read(cli: &str) -> Result<Drill> {
    let path = root()
        .join("crates/fleet/tests/fixtures/drill")
        .join(format!("{cli}.json"));
    if !path.exists() {
        return Ok(Drill::default());
    }
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    serde_json::from_str(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drill_was_held_with_five_agents_of_each_program() {
        for cli in BUILTIN {
            let drill = read(cli).unwrap();
            assert!(drill.talked + drill.quiet >= 5 && drill.crashed > 0, "{cli}: {drill:?}");
        }
    }
}
