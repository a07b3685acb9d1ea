//! Shells: who may start one, and with what.
//!
//! A line for a shell is never made of values. So each file of the product that names a shell is in a table, with what
//! the shell is given; and no script evaluates text.

use super::Finding;
use super::source::has_word;
use super::tree::{File, Tree};

/// The words by which a shell is started.
const NAMES: &[&str] = &["\"sh\"", "\"/bin/sh\""];

/// Files of the product that may, each with what its shell is given.
const SHELLS: &[(&str, &str)] = &[
    (
        "crates/fleet-app/src/engine/pipeline.rs",
        "a fixed loop; names and lines of checks are its arguments",
    ),
    (
        "crates/fleet-app/src/engine/start.rs",
        "the user's own `eval_command`, as it is",
    ),
    (
        "crates/fleet-app/src/merge/gate.rs",
        "the user's own `--gate` or `--check`, as it is",
    ),
    (
        "crates/fleet-host/src/alone.rs",
        "fixed text; the command is its arguments",
    ),
    (
        "crates/fleet-host/src/supervise/run/programs.rs",
        "the user's own `setup_commands`, as they are",
    ),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let allowed = SHELLS.iter().any(|(path, _)| *path == file.path);
        let starts = of_product(file).find(|(_, text)| NAMES.iter().any(|name| text.contains(name)));
        match (starts, allowed) {
            (Some((line, _)), false) => findings.push(Finding::new(
                &file.path,
                line,
                "it starts a shell",
                "start the program with its arguments, or say in xtask/src/tidy/shells.rs what the shell is given",
            )),
            (None, true) => findings.push(Finding::new(
                &file.path,
                0,
                "it starts no shell",
                "take it out of the table in xtask/src/tidy/shells.rs",
            )),
            _ => {}
        }
        if file.path.ends_with(".sh") {
            for (line, _) in file.lines().filter(|(_, text)| has_word(text, "eval")) {
                findings.push(Finding::new(
                    &file.path,
                    line,
                    "`eval`",
                    "read a variable by `printenv`, or pass an argument",
                ));
            }
        }
    }
    findings
}

/// The lines of a file that are a part of the product: not of its tests, nor of what tests it.
fn of_product(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let is_product = file.path.starts_with("crates/") && file.path.contains("/src/") && file.path.ends_with(".rs");
    let is_test = file.path.starts_with("crates/fleet-testkit/") || file.path.ends_with("/tests.rs");
    let lines = file
        .lines()
        .take_while(|(_, text)| !text.trim_start().starts_with("#[cfg(test)]"));
    lines.filter(move |_| is_product && !is_test)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let all = check(&Tree::of(&[(path, text)]));
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_shell_that_nobody_knows_of_is_found_and_one_of_a_test_is_none() {
        let code = "fn run(line: &str) {\n    Cmd::new(site, \"sh\", folder).args([\"-c\", line]);\n}\n";
        let all = found("crates/fleet-host/src/new.rs", code);
        assert!(
            all.len() == 1 && all[0].starts_with("crates/fleet-host/src/new.rs:2: it starts a shell"),
            "{all:?}"
        );
        assert!(
            found(
                "crates/fleet-host/src/new.rs",
                &format!("#[cfg(test)]\nmod tests {{\n{code}}}\n")
            )
            .is_empty()
        );
        assert!(found("crates/fleet-host/src/new/tests.rs", code).is_empty());
        assert!(found("crates/fleet-host/src/alone.rs", code).is_empty());
        assert_eq!(found("crates/fleet-host/src/alone.rs", "fn nothing() {}\n").len(), 1);
    }

    #[test]
    fn a_script_evaluates_no_text() {
        assert_eq!(found("crates/a/src/hook.sh", "eval \"$1\"\n").len(), 1);
        assert!(found("crates/a/src/hook.sh", "# an evaluation\nprintenv A\n").is_empty());
    }
}
