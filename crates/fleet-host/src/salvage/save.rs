//! Saving: the commit, the proof that it has every byte, and the copies of edited credentials.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fleet_core::{Error, Result};

use super::{CREDENTIALS, Detail, Findings, Job, NOTE, Saved, index, reference};
use crate::exec::Cmd;
use crate::files;
use crate::git::diff::{QUIET_ADD, pathspecs};
use crate::git::{self, IDENTITY, Scratch, Stage, refs};

/// The worktree goes at once, so its copy must survive a power cut too: git alone leaves that to the system.
const DURABLE: [&str; 4] = [
    "-c",
    "core.fsync=loose-object,reference",
    "-c",
    "core.fsyncMethod=batch",
];

/// Makes everything that `findings` tells of safe. Nothing in the worktree or its index is changed.
///
/// Repeating it gives the same commit while the worktree stays as it is; work that came later is saved on top.
pub fn save(job: &Job<'_>, findings: &Findings) -> Result<Saved> {
    if findings.clean {
        files::remove_file("salvage.old-note", &job.trash.join(NOTE))?;
        return Ok(Saved {
            warnings: findings.warnings.clone(),
            ..Saved::default()
        });
    }
    let mut saved = Saved {
        head: findings.detail.head.clone(),
        base: job.base.map(str::to_owned),
        needs_trash: findings.needs_trash,
        warnings: findings.warnings.clone(),
        ..Saved::default()
    };
    if let Some(work) = Work::gather(job, findings, &mut saved)? {
        work.commit(job, findings, &mut saved)?;
    }
    copy_credentials(job, findings, &mut saved)?;
    if saved.needs_trash || !saved.trashed_credentials.is_empty() {
        files::create_private_dir("salvage.trash", job.trash)?;
        let note = serde_json::to_vec_pretty(&saved)
            .map_err(|error| Error::internal(format!("the salvage cannot be written down: {error}")))?;
        files::write_atomic("salvage.note", &job.trash.join(NOTE), &note, 0o600)?;
    } else {
        // Left by a try that was cut off, when there was more to keep.
        files::remove_file("salvage.old-note", &job.trash.join(NOTE))?;
    }
    Ok(saved)
}

/// The trees that the commits are made of.
struct Work {
    tree: String,
    index_tree: Option<String>,
}

impl Work {
    /// Writes the trees. None when there is nothing that git could hold.
    fn gather(job: &Job<'_>, findings: &Findings, saved: &mut Saved) -> Result<Option<Work>> {
        let detail = &findings.detail;
        let Some(admin) = detail.admin.as_deref().filter(|_| detail.readable) else {
            let anchor = detail.head.as_ref().or(findings.lost_commits.first());
            return match anchor {
                Some(commit) => Ok(Some(Work {
                    tree: tree_of(job.repo, commit)?,
                    index_tree: None,
                })),
                None => Ok(None),
            };
        };
        let gone = !job.worktree.exists();
        let scratch = Scratch::new(admin)?;
        let folder = if gone { admin } else { job.worktree };
        let copy = index::open_copy(admin, folder, detail.head.as_deref(), &detail.hidden, &scratch)?;
        let index_tree = match findings.staged + findings.unmerged {
            0 => None,
            _ => Some(write_index(job, admin, folder, findings, &scratch)?),
        };
        if gone {
            let tree = index_tree
                .clone()
                .map_or_else(|| write_tree(admin, folder, &copy), Ok)?;
            return Ok(Some(Work { tree, index_tree }));
        }
        let excluded = detail.excluded.iter().map(|path| path.as_os_str().as_bytes());
        let add = git::on("salvage.add", admin, folder).env("GIT_INDEX_FILE", &copy);
        let output = add.args(DURABLE).args(QUIET_ADD).stdin(pathspecs(excluded)).output()?;
        // 1 says that some files could not be added; the proof below finds out which.
        if !matches!(output.status.code(), Some(0 | 1)) {
            return Err(git::failure("save the files", &output));
        }
        take_out_conflicts(admin, folder, &copy, detail)?;
        let tree = write_tree(admin, folder, &copy)?;
        for path in differing(admin, folder, &copy, &detail.dirty)? {
            saved.needs_trash = true;
            let why = "git does not hold its exact bytes, so the whole workspace is kept";
            saved.warnings.push(format!("`{}`: {why}", path.display()));
        }
        Ok(Some(Work { tree, index_tree }))
    }

    /// Makes the commits and the ref.
    fn commit(self, job: &Job<'_>, findings: &Findings, saved: &mut Saved) -> Result<()> {
        let name = reference(job.id);
        let before = refs::ref_commit(job.repo, &name)?;
        let date = match &before {
            Some(commit) => commit_date(job.repo, commit)?,
            None => git::git_date(job.now),
        };
        let head = findings.detail.head.clone();
        if let Some(tree) = &self.index_tree {
            let message = format!("fleet: index of `{}`\n", job.branch);
            let parents: Vec<String> = head.iter().cloned().collect();
            saved.index = Some(commit_tree(job.repo, tree, &parents, &message, &date)?);
        }
        let mut parents: Vec<String> = head.into_iter().chain(saved.index.clone()).collect();
        for lost in &findings.lost_commits {
            if !parents.contains(lost) {
                parents.push(lost.clone());
            }
        }
        let message = message(job, findings);
        let mut commit = commit_tree(job.repo, &self.tree, &parents, &message, &date)?;
        if let Some(before) = before.as_ref().filter(|before| **before != commit) {
            // What was saved before stays reachable.
            parents.push(before.clone());
            commit = commit_tree(job.repo, &self.tree, &parents, &message, &date)?;
        }
        if before.as_ref() != Some(&commit) {
            let null = "0".repeat(commit.len());
            let expected = before.as_deref().unwrap_or(&null);
            let args = ["update-ref", "-m", "fleet: salvage", &name, &commit, expected];
            git::past_a_stale_lock(job.repo, &name, || {
                git::succeed(
                    "write the salvage ref",
                    git::at("salvage.update-ref", job.repo).args(DURABLE).args(args),
                )
            })?;
        }
        saved.reference = Some(name);
        saved.commit = Some(commit);
        saved.parents = parents;
        Ok(())
    }
}

/// The tree of the real index. Conflicts, which no tree can hold, become `<path>.stage1` to `<path>.stage3`.
fn write_index(job: &Job<'_>, admin: &Path, folder: &Path, findings: &Findings, scratch: &Scratch) -> Result<String> {
    let copy = scratch
        .copy_index(admin, "staged")?
        .unwrap_or_else(|| scratch.path("staged"));
    if !findings.detail.stages.is_empty() {
        let mut changes = Vec::new();
        for (path, stages) in &findings.detail.stages {
            let path = path.as_os_str().as_bytes();
            let null = "0".repeat(stages.first().map_or(40, |stage| stage.object.len()));
            changes.extend_from_slice(format!("0 {null}\t").as_bytes());
            changes.extend_from_slice(path);
            changes.push(0);
            for Stage { number, mode, object } in stages {
                changes.extend_from_slice(format!("{mode} {object} 0\t").as_bytes());
                changes.extend_from_slice(path);
                changes.extend_from_slice(format!(".stage{number}\0").as_bytes());
            }
        }
        let cmd = git::on("salvage.stages", admin, folder).env("GIT_INDEX_FILE", &copy);
        git::succeed(
            "save the conflicts",
            cmd.args(["update-index", "-z", "--index-info"]).stdin(changes),
        )?;
    }
    write_tree(admin, folder, &copy).map_err(|error| error.context(format!("the index of {}", job.worktree.display())))
}

/// Takes paths in conflict that were not to be added out of the copy: the commit of the index has their stages.
fn take_out_conflicts(admin: &Path, folder: &Path, copy: &Path, detail: &Detail) -> Result<()> {
    let not_added = |path: &PathBuf| detail.excluded.iter().any(|each| path.starts_with(each));
    let paths: Vec<PathBuf> = detail
        .stages
        .iter()
        .map(|(path, _)| path.clone())
        .filter(not_added)
        .collect();
    if paths.is_empty() {
        return Ok(());
    }
    let cmd = git::on("salvage.unstage", admin, folder).env("GIT_INDEX_FILE", copy);
    let args = ["update-index", "--force-remove", "-z", "--stdin"];
    git::succeed("save the conflicts", cmd.args(args).stdin(index::nul_list(&paths)))?;
    Ok(())
}

fn write_tree(admin: &Path, folder: &Path, index: &Path) -> Result<String> {
    let cmd = git::on("salvage.write-tree", admin, folder).env("GIT_INDEX_FILE", index);
    Ok(git::succeed("write the tree", cmd.args(DURABLE).arg("write-tree"))?
        .text()
        .trim()
        .to_owned())
}

fn tree_of(repo: &Path, commit: &str) -> Result<String> {
    let tree = format!("{commit}^{{tree}}");
    let cmd = git::at("salvage.tree", repo).args(["rev-parse", "--verify", "--quiet", &tree]);
    Ok(git::succeed("read the commit", cmd)?.text().trim().to_owned())
}

fn commit_date(repo: &Path, commit: &str) -> Result<String> {
    let cmd = git::at("salvage.date", repo).args(["log", "-1", "--format=%ct", "--no-show-signature", commit]);
    Ok(format!(
        "@{} +0000",
        git::succeed("read the salvage", cmd)?.text().trim()
    ))
}

fn commit_tree(repo: &Path, tree: &str, parents: &[String], message: &str, date: &str) -> Result<String> {
    let identity = |cmd: Cmd, role: &str| {
        cmd.env(format!("GIT_{role}_NAME"), IDENTITY.0)
            .env(format!("GIT_{role}_EMAIL"), IDENTITY.1)
            .env(format!("GIT_{role}_DATE"), date)
    };
    let cmd = identity(identity(git::at("salvage.commit", repo), "AUTHOR"), "COMMITTER");
    let cmd = cmd.args(DURABLE).args(["commit-tree", "--no-gpg-sign", tree]);
    let cmd = parents.iter().fold(cmd, |cmd, parent| cmd.args(["-p", parent]));
    Ok(git::succeed("commit the salvage", cmd.stdin(message))?
        .text()
        .trim()
        .to_owned())
}

fn message(job: &Job<'_>, findings: &Findings) -> String {
    let mut text = format!(
        "fleet: salvage of `{}`\n\nAgent {}, worktree {}.\n",
        job.branch,
        job.agent,
        job.worktree.display()
    );
    text.push_str("Holds:\n");
    for reason in &findings.reasons {
        text.push_str(&format!("- {reason}\n"));
    }
    text
}

/// Those of `paths` whose bytes are not exactly the ones in the index copy: filters, line-end conversion, a file
/// that cannot be read, or one that changed meanwhile.
fn differing(admin: &Path, folder: &Path, copy: &Path, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let call = |site| git::on(site, admin, folder).env("GIT_INDEX_FILE", copy);
    let list = git::succeed(
        "list the saved files",
        call("salvage.ls-files").args(["ls-files", "--stage", "-z"]),
    )?;
    let mut entries: HashMap<&[u8], (&str, &str)> = HashMap::new();
    for record in list.stdout.split(|byte| *byte == 0) {
        // `<mode> <object> <stage>\t<path>`
        let Some(tab) = record.iter().position(|byte| *byte == b'\t') else {
            continue;
        };
        let mut fields = std::str::from_utf8(&record[..tab]).unwrap_or_default().split(' ');
        if let (Some(mode), Some(id)) = (fields.next(), fields.next()) {
            entries.insert(&record[tab + 1..], (mode, id));
        }
    }
    let mut differing = Vec::new();
    let mut compared = Vec::new();
    for path in paths {
        let entry = entries.get(path.as_os_str().as_bytes());
        match (fs::symlink_metadata(folder.join(path)), entry) {
            // Folders are saved by their files.
            (Ok(meta), _) if meta.is_dir() => {}
            (Ok(meta), Some(("120000", _))) if meta.is_symlink() => {}
            (Ok(meta), Some((_, id))) if meta.is_file() && fs::File::open(folder.join(path)).is_ok() => {
                compared.push((path, *id));
            }
            (Err(_), None) => {}
            _ => differing.push(path.clone()),
        }
    }
    if !compared.is_empty() {
        let lines: Vec<u8> = compared.iter().flat_map(|(path, _)| line_of(path)).collect();
        let cmd = call("salvage.prove")
            .args(["hash-object", "--no-filters", "--stdin-paths"])
            .stdin(lines);
        let hashes = git::succeed("compare the saved files", cmd)?.text();
        let mut hashes = hashes.lines();
        differing.extend(
            compared
                .iter()
                .filter(|(_, id)| hashes.next() != Some(*id))
                .map(|(path, _)| (*path).clone()),
        );
    }
    Ok(differing)
}

/// A path as `--stdin-paths` reads it: one a line, as a C string where it would be cut.
pub(super) fn line_of(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let mut line = Vec::with_capacity(bytes.len() + 1);
    if bytes.starts_with(b"\"") || bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        line.push(b'"');
        for byte in bytes {
            match byte {
                b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                other => line.push(*other),
            }
        }
        line.push(b'"');
    } else {
        line.extend_from_slice(bytes);
    }
    line.push(b'\n');
    line
}

fn copy_credentials(job: &Job<'_>, findings: &Findings, saved: &mut Saved) -> Result<()> {
    for path in &findings.edited_credentials {
        let (from, to) = (job.worktree.join(path), job.trash.join(CREDENTIALS).join(path));
        if let Some(folder) = to.parent() {
            files::create_private_dir("salvage.credentials", folder)?;
        }
        if from.is_symlink() {
            let target = fs::read_link(&from).map_err(|error| files::io_error("read", &from, &error))?;
            files::remove_file("salvage.credential-clear", &to)?;
            fleet_core::fault::guard("salvage.credential-link", || std::os::unix::fs::symlink(target, &to))
                .map_err(|error| files::io_error("write", &to, &error))?;
        } else {
            let bytes = fs::read(&from).map_err(|error| files::io_error("read", &from, &error))?;
            files::write_atomic("salvage.credential", &to, &bytes, 0o600)?;
        }
        saved
            .warnings
            .push(format!("`{path}` was edited: it is kept in {}", to.display()));
        saved.trashed_credentials.push(PathBuf::from(path));
    }
    Ok(())
}
