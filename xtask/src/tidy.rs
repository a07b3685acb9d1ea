//! `cargo xtask tidy`: the rules that the compiler cannot check, read off the text of the tracked files.
//!
//! - [`tree`]: the files; [`source`]: Rust text without comments, literals and tests
//! - [`rules`]: what code may stand where; [`sites`]: the fault points; [`crates`]: who may depend on whom
//! - [`shells`]: who may start a shell, and with what
//! - [`prose`]: words, links, sizes and names; [`commits`]: messages
//!
//! A rule with exceptions has them in a table beside it, each with its reason.

mod commits;
mod crates;
mod prose;
mod rules;
mod shells;
mod sites;
mod source;
mod tree;

use crate::args::Args;
use crate::{Result, failed};
use tree::Tree;

pub(crate) const USAGE: &str = "usage: cargo xtask tidy

Checks rules that the compiler cannot. Each finding is `file:line: what`, then a hint.";

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root.
    file: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong.
    what: String,
    /// What to do instead.
    hint: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}, {}", self.file, self.what, self.hint),
            line => write!(f, "{}:{line}: {}, {}", self.file, self.what, self.hint),
        }
    }
}

pub(crate) fn main(args: Args) -> Result<()> {
    args.end()?;
    let tree = Tree::read(&crate::run::root())?;
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!(
                "tidy: {} files and {} commits, nothing to say",
                tree.files.len(),
                tree.commits.len()
            );
            Ok(())
        }
        1 => failed("1 finding"),
        count => failed(format!("{count} findings")),
    }
}

/// All findings, sorted by place.
fn check(tree: &Tree) -> Vec<Finding> {
    let checks = [
        rules::check,
        rules::operations,
        shells::check,
        sites::check,
        crates::check,
        prose::check,
        commits::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(tree)).collect();
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        let findings = check(&Tree::read(&crate::run::root()).unwrap());
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(text.is_empty(), "{}", text.join("\n"));
    }
}
