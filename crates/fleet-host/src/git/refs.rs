//! Branches and HEADs, read from the files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::name::word;
use fleet_core::nearest::nearest;
use fleet_core::{Error, Result};

use super::{Repo, at, past_a_stale_lock, quoted_list, succeed, worktree};

/// Whether there is a local branch of this name.
pub fn branch_exists(common: &Path, branch: &str) -> Result<bool> {
    Ok(branch_tip(common, branch)?.is_some())
}

/// The commit that a local branch points to.
pub fn branch_tip(common: &Path, branch: &str) -> Result<Option<String>> {
    ref_commit(common, &format!("refs/heads/{branch}"))
}

/// The names of all local branches, sorted.
pub fn branches(common: &Path) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    if is_reftable(common) {
        let format = ["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"];
        let output = succeed("list the branches", at("git.branches", common).args(format))?;
        names.extend(output.text().lines().map(str::to_owned));
    } else {
        collect_loose(&common.join("refs/heads"), "", &mut names);
        let packed = fs::read_to_string(common.join("packed-refs")).unwrap_or_default();
        let packed = packed.lines().filter_map(|line| line.split_once(" refs/heads/"));
        names.extend(packed.map(|(_, name)| name.to_owned()));
    }
    Ok(names.into_iter().collect())
}

/// The checkout in which `branch` is checked out, if there is one.
pub fn branch_checked_out_at(repo: &Repo, branch: &str) -> Result<Option<PathBuf>> {
    if !repo.bare && head_branch(&repo.common_dir, &repo.common_dir).as_deref() == Some(branch) {
        return Ok(Some(repo.main_root.clone().unwrap_or_else(|| repo.common_dir.clone())));
    }
    let worktrees = worktree::worktrees(&repo.common_dir)?;
    Ok(worktrees
        .into_iter()
        .find(|each| each.branch.as_deref() == Some(branch))
        .map(|each| each.path))
}

/// Refuses a branch that an agent cannot have.
///
/// A new one must not exist, nor stand in the way of another (`fix` and `fix/a` cannot both be); with `existing`
/// it must exist and be checked out nowhere.
pub fn check_new_branch(repo: &Repo, branch: &str, existing: bool) -> Result<()> {
    let exists = branch_exists(&repo.common_dir, branch)?;
    if existing {
        return match exists {
            false => Err(no_such_branch(&repo.common_dir, branch)),
            true => match branch_checked_out_at(repo, branch)? {
                Some(path) => {
                    Err(
                        Error::conflict(format!("the branch `{branch}` is checked out at {}", path.display())).hint(
                            format!("take a new branch from it: `fleet create NAME --base {}`", word(branch)),
                        ),
                    )
                }
                None => Ok(()),
            },
        };
    }
    if exists {
        let error = Error::conflict(format!("the branch `{branch}` exists already"));
        return Err(match branch_checked_out_at(repo, branch)? {
            Some(path) => error.hint(format!("choose another name: it is checked out at {}", path.display())),
            None => error.hint(format!(
                "choose another name, or work on it: `fleet create {} --existing`",
                word(branch)
            )),
        });
    }
    let in_the_way = |other: &str| {
        Err(
            Error::conflict(format!("`{branch}` cannot be created: the branch `{other}` exists")).hint(format!(
                "git keeps branches as files and folders; choose another name, such as `{}`",
                { branch.replace('/', "-") + if branch.contains('/') { "" } else { "-2" } }
            )),
        )
    };
    for (index, _) in branch.match_indices('/') {
        let parent = &branch[..index];
        if branch_exists(&repo.common_dir, parent)? {
            return in_the_way(parent);
        }
    }
    let below = format!("{branch}/");
    match branches(&repo.common_dir)?.iter().find(|each| each.starts_with(&below)) {
        Some(child) => in_the_way(child),
        None => Ok(()),
    }
}

/// Deletes a local branch, whatever it holds; false when there is none, or when it is checked out somewhere.
///
/// Save what only it holds before ([`crate::salvage`] does).
pub fn delete_branch(site: &'static str, common: &Path, branch: &str) -> Result<bool> {
    let Some(tip) = branch_tip(common, branch)? else {
        return Ok(false);
    };
    let repo = Repo::of(common);
    if branch_checked_out_at(&repo, branch)?.is_some() {
        return Ok(false);
    }
    let name = format!("refs/heads/{branch}");
    // With the tip as expected value, a commit that was made meanwhile is not lost.
    past_a_stale_lock(common, &name, || {
        succeed(
            "delete the branch",
            at(site, common).args(["update-ref", "-d", &name, &tip]),
        )
    })?;
    // Like `git branch -D`: settings of a branch that is gone would apply to the next one of its name.
    let section = format!("branch.{branch}");
    if config_mentions(common, branch) {
        at(site, common)
            .args(["config", "--remove-section", &section])
            .output()?;
    }
    Ok(true)
}

/// The branch that others are merged into: the remote's default, else `main`, `master`, or what the main
/// checkout is on.
pub fn default_branch(common: &Path) -> Result<Option<String>> {
    let remote = fs::read_to_string(common.join("refs/remotes/origin/HEAD")).unwrap_or_default();
    let remote = remote
        .trim()
        .strip_prefix("ref: refs/remotes/origin/")
        .map(str::to_owned);
    let own = head_branch(common, common);
    let candidates = [remote, Some("main".to_owned()), Some("master".to_owned()), own];
    for candidate in candidates.into_iter().flatten() {
        if branch_exists(common, &candidate)? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// The branch that the main checkout of `repo` is on, or the HEAD of a bare repository; none on a plain commit.
pub fn own_branch(repo: &Repo) -> Option<String> {
    head_branch(&repo.common_dir, &repo.common_dir)
}

/// The commit behind any ref; none when the ref does not exist.
pub(crate) fn ref_commit(common: &Path, name: &str) -> Result<Option<String>> {
    if !is_reftable(common) {
        let loose = fs::read_to_string(common.join(name)).unwrap_or_default();
        if let Some(id) = full_id(loose.trim()) {
            return Ok(Some(id));
        }
        if !loose.starts_with("ref: ") {
            return Ok(packed_ref(common, name));
        }
    }
    let output = at("git.ref", common)
        .args(["rev-parse", "--verify", "--quiet", name])
        .output()?;
    Ok(full_id(output.text().trim()))
}

/// The branch that the HEAD of a git directory is on; none when it is on a commit.
pub(crate) fn head_branch(common: &Path, git_dir: &Path) -> Option<String> {
    if is_reftable(common) {
        let output = at("git.head", git_dir)
            .args(["symbolic-ref", "--quiet", "HEAD"])
            .output()
            .ok()?;
        return output.text().trim().strip_prefix("refs/heads/").map(str::to_owned);
    }
    let head = fs::read_to_string(git_dir.join("HEAD")).ok()?;
    head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned)
}

/// The commit that the HEAD of a git directory stands for, as far as files tell.
pub(crate) fn head_commit(common: &Path, git_dir: &Path) -> Option<String> {
    if is_reftable(common) {
        return None;
    }
    let head = fs::read_to_string(git_dir.join("HEAD")).ok()?;
    match head.trim().strip_prefix("ref: ") {
        Some(name) => ref_commit(common, name).ok().flatten(),
        None => full_id(head.trim()),
    }
}

/// Whether refs are kept in the reftable format, which only git reads.
pub(crate) fn is_reftable(common: &Path) -> bool {
    common.join("reftable").is_dir()
}

/// `text` if it is a whole object id other than the null id.
pub(crate) fn full_id(text: &str) -> Option<String> {
    let whole = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (whole && text.bytes().any(|byte| byte != b'0')).then(|| text.to_owned())
}

fn packed_ref(common: &Path, name: &str) -> Option<String> {
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| match line.split_once(' ') {
        Some((id, each)) if each == name => full_id(id),
        _ => None,
    })
}

fn collect_loose(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let full = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect_loose(&entry.path(), &format!("{full}/"), names),
            Ok(_) if !name.ends_with(".lock") => {
                names.insert(full);
            }
            _ => {}
        }
    }
}

fn config_mentions(common: &Path, branch: &str) -> bool {
    let text = fs::read_to_string(common.join("config")).unwrap_or_default();
    text.contains(&format!("[branch \"{branch}\"]"))
}

fn no_such_branch(common: &Path, branch: &str) -> Error {
    let known = branches(common).unwrap_or_default();
    let near = nearest(branch, known.iter().map(String::as_str), 3);
    let error = Error::not_found(format!("there is no branch `{branch}`"));
    match near.as_slice() {
        [] => error.hint(format!("make it: `fleet create {}`", word(branch))),
        near => error.hint(format!("did you mean {}?", quoted_list(near))),
    }
}
