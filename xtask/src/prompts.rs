//! What becomes of prompts: the tries of `cargo xtask record --prompts`, as a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use fleet_host::harness::BUILTIN;
use serde::Deserialize;

use crate::run::{io, root};
use crate::{Failure, Result};

/// The tries of one program.
#[derive(Debug, Default, Deserialize)]
struct Tries {
    tries: usize,
    /// By kind, and there by what fleet said and what the endpoint's log has.
    kinds: BTreeMap<String, BTreeMap<String, usize>>,
    /// What fleet said that was not so.
    lies: Vec<String>,
}

/// The page `docs/reference/prompts.md`.
pub(crate) fn page() -> Result<String> {
    let mut page = String::from(
        "# What becomes of prompts\n\n\
         Written by `cargo xtask gen` from what `cargo xtask record --prompts 10` found with the real programs. The first\n\
         word is what fleet said, the second how often the text is among the prompts of the conversation in the model\n\
         endpoint's log: `once`, `never`, `twice`. `delivered` and `queued` promise once, `refused` never, and `unverified`\n\
         that it was not sent twice. Blanks at the ends of a text do not count. Pi asks for no permission.\n\n",
    );
    let all = BUILTIN.iter().map(|cli| read(cli)).collect::<Result<Vec<_>>>()?;
    let heads = BUILTIN
        .iter()
        .zip(&all)
        .map(|(cli, tries)| format!("{cli}, {} tries", tries.tries));
    let _ = writeln!(page, "| prompt | {} |", heads.collect::<Vec<_>>().join(" | "));
    let _ = writeln!(page, "|{}", " --- |".repeat(BUILTIN.len() + 1));
    let mut kinds: Vec<&String> = all.iter().flat_map(|tries| tries.kinds.keys()).collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        let cells: Vec<String> = all.iter().map(|tries| cell(tries, kind)).collect();
        let _ = writeln!(page, "| {kind} | {} |", cells.join(" | "));
    }
    let lies: Vec<String> = BUILTIN
        .iter()
        .zip(&all)
        .flat_map(|(cli, tries)| tries.lies.iter().map(move |lie| format!("- {cli}: {lie}\n")))
        .collect();
    match lies.as_slice() {
        [] => page.push_str("\nNothing was said that was not so.\n"),
        lies => {
            let _ = write!(page, "\nSaid, and not so:\n\n{}", lies.concat());
        }
    }
    Ok(page)
}

fn cell(tries: &Tries, kind: &str) -> String {
    let counts = tries.kinds.get(kind).into_iter().flatten();
    let words = |(found, count): (&String, &usize)| format!("{count} {}", found.replace(", arrived", ","));
    counts.map(words).collect::<Vec<_>>().join("; ")
}

fn read(cli: &str) -> Result<Tries> {
    let path = root()
        .join("crates/fleet-host/tests/fixtures/prompts")
        .join(format!("{cli}.json"));
    if !path.exists() {
        return Ok(Tries::default());
    }
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    serde_json::from_str(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_of_each_kind_and_nothing_said_that_was_not_so() {
        for cli in BUILTIN {
            let found = read(cli).unwrap();
            // The page says of which there are no tries yet.
            if found.tries == 0 && ["gemini", "opencode"].contains(&cli) {
                continue;
            }
            // One of ten prompts that were sent while Gemini came up is lost, though its title says that it is ready.
            let known = |lie: &&String| cli == "gemini" && lie.starts_with("during boot: said queued, arrived never");
            let lies: Vec<&String> = found.lies.iter().filter(|lie| !known(lie)).collect();
            assert!(lies.is_empty() && found.lies.len() <= 1, "{cli}: {:?}", found.lies);
            assert!(found.tries >= 10, "{cli}: {} tries", found.tries);
            let kinds = if cli == "pi" { 14 } else { 15 };
            assert_eq!(found.kinds.len(), kinds, "{cli}: {:?}", found.kinds.keys());
            for (kind, counts) in &found.kinds {
                let all: usize = counts.values().sum();
                assert!(all >= found.tries, "{cli}: {kind}: {all}");
            }
        }
    }
}
