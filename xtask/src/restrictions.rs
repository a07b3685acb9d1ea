//! What worker types come to with the real programs: what `cargo xtask record --restrictions` found, as a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use fleet_core::plan::model::Act;
use fleet_core::plan::word::WorkerType;
use fleet_host::harness::BUILTIN;
use serde::Deserialize;

use crate::run::{io, root};
use crate::{Failure, Result};

/// For each try by its name, whether it came to anything.
type Outcomes = BTreeMap<String, bool>;

/// What one program was found to let its workers do, by their type.
#[derive(Debug, Deserialize)]
struct Found {
    /// The program's version.
    version: String,
    /// By its own restrictions.
    alone: BTreeMap<WorkerType, Outcomes>,
    /// In bubblewrap as well.
    boundary: BTreeMap<WorkerType, Outcomes>,
}

/// The tries that are an act: with the program's own tool, and with a command.
const TRIES: [(Act, &[&str], &[&str]); 4] = [
    (Act::Write, &["write", "write added"], &[]),
    (Act::Shell, &[], &["shell"]),
    (Act::Web, &["fetch"], &["shell fetch"]),
    (Act::Leave, &["write outside"], &["shell outside"]),
];

/// The page `docs/reference/restrictions.md`.
pub(crate) fn page() -> Result<String> {
    let mut page = String::from(
        "# What worker types come to\n\n\
         Written by `cargo xtask gen` from what `cargo xtask record --restrictions` found with the real programs, at the\n\
         versions that are named. A scripted model tries everything as a worker of each type, started as fleet starts one,\n\
         with a flag in the user's arguments that would undo the restriction where there is such a flag. What came of it is\n\
         seen in files, in the repository, in the endpoint's log and at servers that count who comes.\n\n\
         Bold is what the type forbids and the program lets happen. `fleet check` tells: by a note where only a command can do\n\
         it, else by a warning (`P090`). `missing` is what the type allows and the program does not have (`P091`). Elsewhere is\n\
         what is neither in the worker's folder, nor in one that was added, nor temporary.\n\n\
         - Claude Code, Pi, OpenCode and Gemini CLI keep their own tools to the type. A command goes where the user may go.\n\
         - Codex reads with its shell, so every type has one, in a sandbox. It fetches with that shell, or lets its service search.\n\
         - OpenCode reads nothing elsewhere either, but for a reviewer.\n\
         - Gemini CLI runs no command with a substitution (`$(…)`), and no `git -c`. Its git does not see the user's settings.\n\
         - What users have set up themselves is not looked at here: hooks, folders that they have opened, and Codex's MCP servers,\n  \
         which run outside of its sandbox. The other programs offer MCP servers, if at all, to types with a shell.\n",
    );
    for cli in BUILTIN {
        let found = read(cli)?;
        for (how, outcomes) in [("", &found.alone), (" with `\"sandbox\": \"bwrap\"`", &found.boundary)] {
            let _ = write!(page, "\n## {cli} {}{how}\n\n| type |", found.version);
            for act in Act::ALL {
                let _ = write!(page, " {} |", act.as_str());
            }
            let _ = writeln!(page, " committing |\n|{}", " --- |".repeat(Act::ALL.len() + 2));
            for worker_type in WorkerType::ALL {
                let outcomes = outcomes.get(worker_type).cloned().unwrap_or_default();
                let cells = Act::ALL.iter().map(|act| cell(&outcomes, *worker_type, *act));
                let cells: Vec<String> = cells.collect();
                let commits = if is_done(&outcomes, &["shell commit"]) {
                    "yes"
                } else {
                    "no"
                };
                let _ = writeln!(
                    page,
                    "| `{}` | {} | {commits} |",
                    worker_type.as_str(),
                    cells.join(" | ")
                );
            }
        }
    }
    page.push_str(
        "\n## The boundary\n\n\
         With `\"sandbox\": \"bwrap\"` the program runs in bubblewrap: everything is there to be read, and what the type may\n\
         write is the worker's folder, the folders that were added, git's for types with a shell, temporary files of its own,\n\
         and the program's own folder in the home folder, but for the settings, hooks and extensions that are in it. The\n\
         network stays open, because the model has to be reached. Codex's own sandbox works inside, and is kept: where the\n\
         machine does not let it, Codex refuses every command.\n",
    );
    Ok(page)
}

fn cell(outcomes: &Outcomes, worker_type: WorkerType, act: Act) -> String {
    let (tools, commands) = tries(act);
    let by = [("yes", tools), ("by a command", commands)];
    let done = by.into_iter().find(|(_, tries)| is_done(outcomes, tries));
    match (done, act.is_allowed(worker_type)) {
        (Some(_), true) if act == Act::Shell => "yes".to_owned(),
        (Some((how, _)), true) => how.to_owned(),
        (Some(_), false) if act == Act::Shell => "**yes**".to_owned(),
        (Some((how, _)), false) => format!("**{how}**"),
        (None, true) if act != Act::Leave => "missing".to_owned(),
        (None, _) => "no".to_owned(),
    }
}

fn tries(act: Act) -> (&'static [&'static str], &'static [&'static str]) {
    let row = TRIES.iter().find(|(each, ..)| *each == act);
    row.map_or((&[], &[]), |(_, tools, commands)| (*tools, *commands))
}

fn is_done(outcomes: &Outcomes, tries: &[&str]) -> bool {
    tries
        .iter()
        .any(|name| outcomes.get(*name).copied().unwrap_or_default())
}

fn read(cli: &str) -> Result<Found> {
    let path = root()
        .join("crates/fleet/tests/fixtures/restrictions")
        .join(format!("{cli}.json"));
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    serde_json::from_str(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use fleet_core::plan::model::{gaps, provider};
    use fleet_core::plan::word::Sandbox;
    use fleet_host::harness::builtin;

    use super::*;

    fn is_done_at_all(outcomes: &Outcomes, act: Act) -> bool {
        let (tools, commands) = tries(act);
        is_done(outcomes, tools) || is_done(outcomes, commands)
    }

    #[test]
    fn what_check_warns_of_is_what_was_found() {
        for cli in BUILTIN {
            let found = read(cli).unwrap();
            assert_eq!(found.version, builtin(cli, &[]).unwrap().tested, "{cli}");
            let provider = provider(cli).unwrap();
            for (outcomes, sandbox) in [(&found.alone, None), (&found.boundary, Some(Sandbox::Bwrap))] {
                for worker_type in WorkerType::ALL {
                    let outcomes = &outcomes[worker_type];
                    let open = |act: &Act| !act.is_allowed(*worker_type) && is_done_at_all(outcomes, *act);
                    let open: Vec<Act> = Act::ALL.iter().copied().filter(open).collect();
                    let said = gaps(Some(provider), *worker_type, sandbox);
                    assert_eq!(open, said, "{cli} {worker_type:?} {sandbox:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_type_allows_its_program_does_but_for_the_web_where_there_is_none() {
        for cli in BUILTIN {
            let found = read(cli).unwrap();
            for worker_type in WorkerType::ALL {
                let outcomes = &found.alone[worker_type];
                for act in Act::ALL.iter().filter(|act| act.is_allowed(*worker_type)) {
                    let has_none = *act == Act::Web && !provider(cli).unwrap().web && !worker_type.has_shell();
                    assert_eq!(
                        is_done_at_all(outcomes, *act),
                        !has_none,
                        "{cli} {worker_type:?} {act:?}"
                    );
                }
                assert_eq!(
                    is_done(outcomes, &["shell commit"]),
                    worker_type.has_shell(),
                    "{cli} {worker_type:?}"
                );
                assert_eq!(
                    is_done(outcomes, &["write added"]),
                    worker_type.writes(),
                    "{cli} {worker_type:?}"
                );
            }
        }
    }
}
