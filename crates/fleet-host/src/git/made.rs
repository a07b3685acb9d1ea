//! Which commits were made in a worktree, and what they change, by which they are known again after a rebase or a squash.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use fleet_core::{Result, Time};

use super::{at, bare_call, succeed};

/// No more commits than this are looked at.
const MOST: &str = "--max-count=5000";

/// The commits that were made in `worktree` since `since`, oldest first: by its log of HEAD, so that what was pulled or merged
/// in is none of them; and of those, the ones that a branch or its HEAD still has. `base` is what it started from.
///
/// # Errors
/// It is no worktree any more.
pub fn made_in(worktree: &Path, base: Option<&str>, since: Time) -> Result<Vec<String>> {
    let log = bare_call("git.made-log", worktree).args([
        "log",
        "--walk-reflogs",
        "--date=unix",
        "--no-show-signature",
        "--format=%H %gd %gs",
        MOST,
        "HEAD",
        "--",
    ]);
    let log = succeed("read the log of HEAD", log)?.text();
    // In a worktree of its own all is new; in a directory of the user's, what was committed in the second before is theirs.
    let first = since.0 / 1000 + i64::from(base.is_none());
    let made = log.lines().filter_map(made_by).filter(|(_, second)| *second >= first);
    let made: HashSet<&str> = made.map(|(commit, _)| commit).collect();
    if made.is_empty() {
        return Ok(Vec::new());
    }
    // A clock of the past in a commit is no reason to leave it out, so its date does not matter where the base is known.
    let mut list = bare_call("git.made", worktree).args(["rev-list", "--reverse", "HEAD", "--branches"]);
    list = match base {
        Some(base) => list.arg(format!("^{base}")),
        None => list.arg(format!("--since={}", since.0 / 1000)),
    };
    let list = succeed("list commits", list.arg("--"))?.text();
    Ok(list.lines().filter(|id| made.contains(id)).map(str::to_owned).collect())
}

/// A line of the log that says that a commit was made, with the second of it.
fn made_by(line: &str) -> Option<(&str, i64)> {
    let (commit, rest) = line.split_once(' ')?;
    let (place, subject) = rest.split_once("} ")?;
    let second = place.rsplit_once("@{")?.1.parse().ok()?;
    let (act, rest) = subject.split_once(": ").unwrap_or((subject, ""));
    let (word, form) = act.split_once(' ').unwrap_or((act, ""));
    let is_made = match word {
        "commit" | "cherry-pick" | "revert" | "am" => true,
        // Where it begins and ends nothing is made.
        "rebase" => {
            let form = form
                .rsplit_once('(')
                .map_or(form, |(_, form)| form)
                .trim_end_matches(')');
            matches!(
                form,
                "pick" | "reword" | "edit" | "squash" | "fixup" | "continue" | "merge"
            )
        }
        "merge" | "pull" => rest.starts_with("Merge made by"),
        _ => false,
    };
    is_made.then_some((commit, second))
}

/// What each of `commits` changes, as `git patch-id` has it: the same for a commit that was rebased. None of one that changes
/// nothing, and of merges.
pub fn patch_ids(common: &Path, commits: &[String]) -> Result<HashMap<String, String>> {
    if commits.is_empty() {
        return Ok(HashMap::new());
    }
    let call = at("git.patches", common)
        .args([
            "diff-tree",
            "--stdin",
            "--root",
            "-r",
            "-p",
            "--no-ext-diff",
            "--no-textconv",
        ])
        .arg("--format=commit %H")
        .stdin(commits.join("\n") + "\n");
    let patches = succeed("show what commits change", call)?.stdout;
    ids_of(common, patches)
}

/// What all between `base` and `tip` changes together, as [`patch_ids`] has it: the same for a commit that is all of it.
pub fn patch_id_between(common: &Path, base: &str, tip: &str) -> Result<Option<String>> {
    let call = at("git.patch", common).args([
        "diff-tree",
        "-r",
        "-p",
        "--no-ext-diff",
        "--no-textconv",
        base,
        tip,
        "--",
    ]);
    let patch = succeed("show what commits change", call)?.stdout;
    Ok(ids_of(common, patch)?.into_values().next())
}

/// By commit.
fn ids_of(common: &Path, patches: Vec<u8>) -> Result<HashMap<String, String>> {
    let call = at("git.patch-id", common).args(["patch-id", "--stable"]).stdin(patches);
    let text = succeed("tell what commits change", call)?.text();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(patch, commit)| (commit.to_owned(), patch.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_head_tells_what_was_made_from_what_came_from_elsewhere() {
        for (subject, made) in [
            ("commit: add it", true),
            ("commit (initial): begin", true),
            ("commit (amend): better", true),
            ("commit (merge): both", true),
            ("rebase (pick): add it", true),
            ("rebase -i (squash): add it", true),
            ("rebase (continue): add it", true),
            ("rebase (start): checkout main", false),
            ("rebase (finish): returning to refs/heads/x", false),
            ("cherry-pick: one", true),
            ("revert: one", true),
            ("merge main: Merge made by the 'ort' strategy.", true),
            ("merge main: Fast-forward", false),
            ("pull: Fast-forward", false),
            ("reset: moving to HEAD~1", false),
            ("checkout: moving from a to b", false),
            ("", false),
        ] {
            let line = format!("abc HEAD@{{1795000000}} {subject}");
            assert_eq!(made_by(&line), made.then_some(("abc", 1_795_000_000)), "{subject}");
        }
    }
}
