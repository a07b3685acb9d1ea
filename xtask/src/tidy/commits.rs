//! Commit messages: what they are called, and what has no business in them.

use super::Finding;
use super::prose::phrases;
use super::tree::Tree;

/// Commits that stay as they are, each with its reason: history that others have is not written anew.
const KEPT: &[(&str, &str)] = &[(
    "96fd122126080efd6bd0bf59d7a60f98371763a1",
    "a state between two commits that came in with a merge before messages were checked",
)];

/// A subject with fewer letters after its area says nothing of what changes.
const SHORT: usize = 6;

/// One commit.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its full id.
    pub(crate) id: String,
    /// Its whole message.
    pub(crate) message: String,
}

/// The commits in the answer of `git log -z --format=%H%n%B`.
pub(crate) fn read(log: &str) -> Vec<Commit> {
    let parts = log.split('\0').filter_map(|part| part.trim_start().split_once('\n'));
    parts
        .map(|(id, message)| Commit {
            id: id.to_owned(),
            message: message.trim().to_owned(),
        })
        .collect()
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for commit in tree
        .commits
        .iter()
        .filter(|commit| KEPT.iter().all(|(id, _)| *id != commit.id))
    {
        let name = format!("commit {}", commit.id.get(..7).unwrap_or(&commit.id));
        let subject = commit.message.lines().next().unwrap_or_default();
        if !is_subject(subject) {
            findings.push(Finding::new(
                &name,
                0,
                format!("the subject `{subject}` does not say what changes"),
                "write `[area] What changes for the user`: `git commit --amend`, or `git rebase -i` before it is pushed",
            ));
        }
        for (at, line) in commit.message.lines().enumerate() {
            let found = phrases(line);
            findings.extend(
                found
                    .into_iter()
                    .map(|(what, why)| Finding::new(&name, at + 1, what, why)),
            );
        }
    }
    findings
}

fn is_subject(subject: &str) -> bool {
    if subject.starts_with("Merge ") || subject.starts_with("Revert ") {
        return true;
    }
    let areas = subject.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    areas.is_some_and(|(area, text)| !area.is_empty() && text.chars().filter(|c| c.is_alphabetic()).count() >= SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> Vec<String> {
        let id = "1".repeat(40);
        let commits = read(&format!("{id}\n{message}\n\0"));
        assert_eq!(commits.len(), 1);
        let tree = Tree {
            commits,
            ..Tree::default()
        };
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_subject_names_its_area_and_what_changes() {
        assert!(found("[core, app] contract check says what is wrong").is_empty());
        assert!(found("Merge meter: a proxy that counts exactly").is_empty());
        for bad in [
            "wip",
            "[core] fix",
            "[] Everything is better now",
            "Fix the tests of the store",
        ] {
            assert_eq!(found(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_message_says_nothing_of_one_machine() {
        let message = format!("[core] A better name for the file\n\nSeen in {}work/main.", '/');
        assert_eq!(found(&message).len(), 1);
    }
}
