//! Which of the branches that agents work on now would be in conflict with each other.
//!
//! Each worktree is looked at as it is on disk, committed or not. Nothing in it, its index or its repository changes.

use std::path::Path;

use fleet_core::{Result, merge};
use fleet_host::git::{self, Merges};
use fleet_host::parallel;

use crate::merge::plan::{Looked, pairs};
use crate::merge::{Branch, Conflict, Fate, Planned};

/// What is foreseen of branches that are worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Pairs that are in each other's way now.
    pub conflicts: Vec<Conflict>,
    /// Names, and the files that they change and had not declared. Of those that declared nothing nothing is said.
    pub undeclared: Vec<(String, Vec<String>)>,
}

/// What is to be foreseen of `branches` of the repository `common` (its common git directory). A branch that cannot be
/// looked at is left out: a forecast is better without it than not at all. Only pairs that changed a common place are
/// tried.
pub fn look_ahead(common: &Path, branches: &[Branch]) -> Result<Foreseen> {
    let merges = Merges::trial(common)?;
    let looked = parallel::map(branches.iter().collect(), parallel::cores(), |branch: &Branch| {
        look(common, &merges, branch)
            .ok()
            .flatten()
            .map(|looked| (branch, looked))
    });
    let looked: Vec<(&Branch, Looked)> = looked.into_iter().flatten().collect();
    let undeclared = looked.iter().filter(|(branch, _)| !branch.declared.is_empty());
    let undeclared = undeclared.map(|(branch, looked)| {
        let changed = looked.paths.iter().map(|path| path.as_ref());
        (branch.name.clone(), merge::undeclared(changed, &branch.declared))
    });
    Ok(Foreseen {
        undeclared: undeclared.filter(|(_, files)| !files.is_empty()).collect(),
        conflicts: pairs(
            &merges,
            &looked.into_iter().map(|(_, looked)| looked).collect::<Vec<_>>(),
        )?,
    })
}

/// None when it has changed nothing since its start.
fn look(common: &Path, merges: &Merges, branch: &Branch) -> Result<Option<Looked>> {
    let commit = match &branch.worktree {
        Some(worktree) => Some(merges.snapshot(worktree, &branch.foreign)?),
        None => git::branch_tip(common, &branch.branch)?,
    };
    let (Some(commit), Some(base)) = (commit, &branch.base) else {
        return Ok(None);
    };
    if commit == *base {
        return Ok(None);
    }
    let changes = merges.changes(base, &commit)?;
    let paths = changes.into_iter().map(|change| change.path).collect();
    Ok(Some(Looked {
        planned: Planned::new(branch, Fate::Ready),
        commit,
        paths,
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use fleet_testkit::TestEnv;

    use super::*;

    struct Stage {
        env: TestEnv,
        repo: PathBuf,
    }

    impl Stage {
        fn new() -> Stage {
            let env = TestEnv::new();
            let repo = env.repo("repo", 3);
            Stage { env, repo }
        }

        fn git(&self, args: &[&str]) -> String {
            self.env.git(&self.repo, args).success().stdout.trim().to_owned()
        }

        /// A branch with a worktree, from where the repository is now.
        fn branch(&self, name: &str) -> Branch {
            let worktree = self.env.root().join(name);
            let folder = worktree.to_str().expect("text");
            self.git(&["worktree", "add", "--quiet", "-b", name, folder]);
            Branch {
                name: name.to_owned(),
                branch: name.to_owned(),
                base: Some(self.git(&["rev-parse", "HEAD"])),
                worktree: Some(worktree),
                ..Branch::default()
            }
        }

        fn told(&self, branches: &[Branch]) -> Vec<String> {
            let found = look_ahead(&self.repo.join(".git"), branches)
                .expect("a forecast")
                .conflicts;
            let line = |each: &Conflict| format!("{} {} {}", each.a, each.b, each.files.join(" "));
            found.iter().map(line).collect()
        }
    }

    fn write(branch: &Branch, file: &str, text: &str) {
        let path = branch.worktree.as_ref().expect("a worktree").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn living_branches_are_compared_as_they_are_on_disk_and_nothing_is_touched() {
        let stage = Stage::new();
        let all = ["c", "b", "a"].map(|name| stage.branch(name));
        let [c, b, a] = &all;
        assert!(stage.told(&all).is_empty());
        write(a, "dir0/file0.txt", "a\n");
        write(b, "dir0/file0.txt", "b\n");
        stage.env.commit_all(b.worktree.as_ref().expect("a worktree"), "b");
        write(c, "dir0/file1.txt", "c\n");
        write(c, "place/inner", "c\n");
        write(a, "place", "a\n");
        let state = || (stage.git(&["count-objects", "-v"]), stage.git(&["for-each-ref"]));
        let before = state();
        assert_eq!(stage.told(&all), ["a b dir0/file0.txt", "a c place"]);
        assert_eq!(state(), before);
        let left = fs::read_dir(stage.repo.join(".git"))
            .expect("the git directory")
            .flatten();
        let scratch = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("fleet-scratch"));
        assert_eq!(scratch.count(), 0);
    }

    #[test]
    fn what_the_target_got_between_two_starts_is_neithers_conflict() {
        let stage = Stage::new();
        let early = stage.branch("early");
        fs::write(stage.repo.join("dir0/file0.txt"), "meanwhile\n").expect("written");
        stage.env.commit_all(&stage.repo, "meanwhile");
        let late = stage.branch("late");
        // Both touch one place without harm, and one what changed between their starts.
        for branch in [&early, &late] {
            write(branch, "dir0/file1.txt", "the same\n");
        }
        write(&early, "dir0/file0.txt", "early\n");
        assert!(stage.told(&[early, late]).is_empty());
    }

    #[test]
    fn a_branch_that_cannot_be_looked_at_is_left_out() {
        let stage = Stage::new();
        let (a, b, gone) = (stage.branch("a"), stage.branch("b"), stage.branch("gone"));
        fs::remove_dir_all(gone.worktree.as_ref().expect("a worktree")).expect("removed");
        write(&a, "new", "a\n");
        write(&b, "new", "b\n");
        assert_eq!(stage.told(&[a, gone, b]), ["a b new"]);
    }
}
