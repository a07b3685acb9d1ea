//! Looking: what a workspace holds that nothing else does.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fleet_core::Result;
use fleet_core::name::plural;

use super::{Findings, Job, index, reference, walk};
use crate::files;
use crate::git::{self, Scratch, State, Status, refs, status};

/// Looks at the workspace of `job` and changes nothing.
///
/// A clean one costs one fork, or two when its agent made commits.
pub fn inspect(job: &Job<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    let gone = !job.worktree.exists();
    findings.detail.admin = if job.repo.is_dir() {
        git::find_admin(job.repo, job.worktree)?
    } else {
        None
    };
    match findings.detail.admin.clone() {
        Some(admin) if gone => inspect_without_folder(job, &admin, &mut findings)?,
        Some(admin) => inspect_folder(job, &admin, &mut findings)?,
        None if gone => {}
        None => inspect_forgotten(job, &mut findings),
    }
    findings.lost_commits = lost_commits(job, &findings)?;
    describe(&mut findings);
    Ok(findings)
}

fn inspect_folder(job: &Job<'_>, admin: &Path, findings: &mut Findings) -> Result<()> {
    findings.detail.hidden = index::hidden(admin, job.worktree)?;
    let cut_off = !admin.join("index").exists();
    let status = if cut_off || !findings.detail.hidden.is_empty() {
        let head = refs::head_commit(&git::common_of(admin), admin);
        let scratch = Scratch::new(admin)?;
        let copy = index::open_copy(admin, job.worktree, head.as_deref(), &findings.detail.hidden, &scratch);
        match copy {
            Ok(copy) => status::ask("salvage.status", admin, job.worktree, Some(&copy), job.salvage_ignored)?,
            Err(error) => Err(error),
        }
    } else {
        status::ask("salvage.status", admin, job.worktree, None, job.salvage_ignored)?
    };
    let oddities = walk::oddities(job.worktree);
    let mut nested: BTreeSet<PathBuf> = BTreeSet::new();
    let mut special = oddities.special;
    match status {
        Ok(mut status) => {
            if cut_off {
                // git writes the index last, so a missing file was never there.
                status.paths.retain(|(path, state)| {
                    let absent = fs::symlink_metadata(job.worktree.join(path)).is_err();
                    !(absent && matches!(state, State::Tracked { staged: false, .. }))
                });
            }
            sort_paths(job, admin, status, findings, &mut nested)?;
            let keep_ignored = job.salvage_ignored;
            let visible = |paths| match keep_ignored {
                true => Ok(paths),
                false => walk::not_ignored(admin, job.worktree, paths),
            };
            nested.extend(visible(oddities.nested)?);
            special = visible(special)?;
            // The pattern `.` would exclude everything.
            findings
                .detail
                .excluded
                .extend(nested.iter().filter(|path| *path != Path::new(".")).cloned());
            findings.detail.readable = true;
        }
        Err(error) => {
            nested.extend(oddities.nested);
            findings.detail.head = refs::head_commit(&git::common_of(admin), admin);
            if holds_files(job.worktree) {
                let why = error.detail.unwrap_or(error.message);
                findings
                    .reasons
                    .push(format!("files of a worktree that git cannot read: {why}"));
                findings.needs_trash = true;
            }
        }
    }
    findings.nested = nested.iter().map(|path| shown(path)).collect();
    findings.special = special.iter().map(|path| shown(path)).collect();
    Ok(())
}

/// Somebody removed the folder, but git still has the worktree's index and reflog.
fn inspect_without_folder(job: &Job<'_>, admin: &Path, findings: &mut Findings) -> Result<()> {
    let scratch = Scratch::new(admin)?;
    let empty = scratch.path("empty");
    files::create_private_dir("salvage.empty", &empty)?;
    match status::ask("salvage.status", admin, &empty, None, false)? {
        Ok(mut status) => {
            status
                .paths
                .retain(|(_, state)| !matches!(state, State::Tracked { staged: false, .. }));
            sort_paths(job, admin, status, findings, &mut BTreeSet::new())?;
            findings.changed = 0;
            findings.detail.dirty.clear();
            findings.detail.readable = true;
        }
        Err(_) => findings.detail.head = refs::head_commit(&git::common_of(admin), admin),
    }
    Ok(())
}

fn inspect_forgotten(job: &Job<'_>, findings: &mut Findings) {
    if holds_files(job.worktree) {
        findings
            .reasons
            .push("files of a worktree that git has forgotten".to_owned());
        findings.needs_trash = true;
    }
}

/// Whether there is anything but git's own file.
fn holds_files(worktree: &Path) -> bool {
    match fs::read_dir(worktree) {
        Ok(entries) => entries.flatten().any(|entry| entry.file_name() != ".git"),
        Err(_) => true,
    }
}

/// Sorts what git status says into `findings`, and the credentials out of it.
fn sort_paths(
    job: &Job<'_>,
    admin: &Path,
    status: Status,
    findings: &mut Findings,
    nested: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let credentials = Credentials::look(job);
    findings.detached = status.branch.is_none();
    findings.detail.head = status.head;
    let mut tracked_credentials = BTreeSet::new();
    for (path, state) in status.paths {
        let credential = credentials.all.contains(path.as_path());
        match state {
            State::Unmerged(stages) => {
                findings.unmerged += 1;
                findings.detail.stages.push((path.clone(), stages));
                findings.detail.dirty.extend((!credential).then_some(path));
            }
            State::Tracked {
                staged,
                changed,
                submodule,
            } => {
                findings.staged += usize::from(staged);
                if credential {
                    tracked_credentials.insert(path);
                } else if submodule && changed {
                    nested.insert(path);
                } else {
                    findings.changed += usize::from(changed);
                    findings.detail.dirty.push(path);
                }
            }
            State::Untracked if path.as_os_str().as_bytes().ends_with(b"/") => {
                nested.insert(path.components().collect());
            }
            State::Untracked if !credential => {
                findings.untracked += 1;
                findings.detail.dirty.push(path);
            }
            State::Ignored if !credential => findings.ignored += 1,
            State::Untracked | State::Ignored => {}
        }
    }
    let mut edited = credentials.edited;
    if !edited.is_empty() {
        // One that git tracks and finds unchanged is in git by the agent's own act, and no longer a copy.
        let tracked = tracked(admin, job.worktree, &edited)?;
        edited.retain(|path| !tracked.contains(*path) || tracked_credentials.contains(*path));
        tracked_credentials.extend(tracked);
    }
    for path in &tracked_credentials {
        findings.warnings.push(format!(
            "`{}` is a copied credential file that git tracks: it is saved as git has it",
            shown(path)
        ));
    }
    findings.edited_credentials = edited.iter().map(|path| shown(path)).collect();
    findings
        .detail
        .excluded
        .extend(credentials.all.iter().map(|path| path.to_path_buf()));
    Ok(())
}

/// The copied files that are still files.
struct Credentials<'a> {
    all: HashSet<&'a Path>,
    edited: Vec<&'a Path>,
}

impl<'a> Credentials<'a> {
    fn look(job: &Job<'a>) -> Self {
        let mut found = Self {
            all: HashSet::new(),
            edited: Vec::new(),
        };
        for (path, digest) in job.copied {
            let (path, full) = (Path::new(path), job.worktree.join(path));
            let Ok(meta) = fs::symlink_metadata(&full) else {
                continue;
            };
            if meta.is_file() {
                if files::file_digest(&full).as_deref() != Some(digest) {
                    found.edited.push(path);
                }
            } else if meta.is_symlink() {
                found.edited.push(path);
            } else {
                continue;
            }
            found.all.insert(path);
        }
        found
    }
}

fn tracked(admin: &Path, worktree: &Path, paths: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    let cmd = git::on("salvage.tracked", admin, worktree).env("GIT_LITERAL_PATHSPECS", "1");
    let output = git::succeed("list the files", cmd.args(["ls-files", "-z", "--"]).args(paths))?;
    let records = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty());
    Ok(records.map(|record| PathBuf::from(OsStr::from_bytes(record))).collect())
}

/// The newest commits that the worktree (or a branch about to go) remembers and that no other ref reaches.
fn lost_commits(job: &Job<'_>, findings: &Findings) -> Result<Vec<String>> {
    if !job.repo.is_dir() {
        return Ok(Vec::new());
    }
    let mut known: BTreeSet<String> = BTreeSet::new();
    if let Some(admin) = &findings.detail.admin {
        collect_ids(&admin.join("logs"), &mut known);
        collect_ids(&admin.join("refs"), &mut known);
        for name in [
            "HEAD",
            "ORIG_HEAD",
            "MERGE_HEAD",
            "CHERRY_PICK_HEAD",
            "REVERT_HEAD",
            "REBASE_HEAD",
        ] {
            collect_ids(&admin.join(name), &mut known);
        }
        for state in ["rebase-merge", "rebase-apply"] {
            collect_ids(&admin.join(state).join("orig-head"), &mut known);
        }
        if refs::is_reftable(job.repo) {
            let log = git::at("salvage.reflog", admin)
                .args(["reflog", "show", "--format=%H", "HEAD"])
                .output()?;
            known.extend(log.text().lines().filter_map(refs::full_id));
        }
    }
    let only_head = known.iter().all(|id| Some(id) == findings.detail.head.as_ref());
    if !job.delete_branch && (known.is_empty() || (only_head && !findings.detached)) {
        return Ok(Vec::new());
    }
    known.extend(findings.detail.head.clone());
    if job.delete_branch {
        known.extend(git::branch_tip(job.repo, job.branch)?);
        collect_ids(&job.repo.join("logs/refs/heads").join(job.branch), &mut known);
    }
    if known.is_empty() {
        return Ok(Vec::new());
    }
    unreached(job, &known)
}

fn unreached(job: &Job<'_>, known: &BTreeSet<String>) -> Result<Vec<String>> {
    let list: String = known.iter().map(|id| format!("{id}\n")).collect();
    let mut cmd = git::at("salvage.rev-list", job.repo)
        .args(["rev-list", "--parents", "--ignore-missing", "--stdin", "--not"])
        .arg(format!("--exclude={}", reference(job.id)));
    if job.delete_branch {
        cmd = cmd.arg(format!("--exclude=refs/heads/{}", job.branch));
    }
    let output = git::succeed("look for unreached commits", cmd.arg("--glob=refs/*").stdin(list))?;
    let text = output.text();
    let (mut listed, mut parents) = (Vec::new(), HashSet::new());
    for line in text.lines() {
        let mut ids = line.split(' ');
        listed.extend(ids.next());
        parents.extend(ids);
    }
    Ok(listed
        .into_iter()
        .filter(|id| !parents.contains(id))
        .map(str::to_owned)
        .collect())
}

/// Every object id in a file, or in the files of a folder.
fn collect_ids(path: &Path, into: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            collect_ids(&entry.path(), into);
        }
    } else if let Ok(bytes) = fs::read(path) {
        for line in bytes.split(|byte| *byte == b'\n') {
            // In a log the two ids come first; what follows is text of people.
            let words = line.split(|byte| byte.is_ascii_whitespace()).take(2);
            into.extend(words.filter_map(|word| refs::full_id(std::str::from_utf8(word).ok()?)));
        }
    }
}

fn describe(findings: &mut Findings) {
    let mut reasons = std::mem::take(&mut findings.reasons);
    let mut count = |count: usize, what: &str| {
        if count > 0 {
            reasons.push(plural(count, what));
        }
    };
    count(findings.changed, "changed file");
    count(findings.staged, "staged change");
    count(findings.untracked, "untracked file");
    count(findings.unmerged, "conflict");
    count(findings.ignored, "ignored path");
    if !findings.lost_commits.is_empty() {
        let lines = plural(findings.lost_commits.len(), "line");
        reasons.push(format!("{lines} of commits that no other ref reaches"));
    }
    reasons.extend(findings.nested.iter().map(|path| format!("nested repository `{path}`")));
    reasons.extend(findings.special.iter().map(|path| format!("special file `{path}`")));
    reasons.extend(
        findings
            .edited_credentials
            .iter()
            .map(|path| format!("edited credential file `{path}`")),
    );
    let kept = [
        findings.unmerged,
        findings.nested.len(),
        findings.special.len(),
        findings.ignored,
    ];
    findings.needs_trash |= kept.iter().any(|count| *count > 0);
    findings.clean = reasons.is_empty() && findings.detail.dirty.is_empty();
    findings.reasons = reasons;
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
