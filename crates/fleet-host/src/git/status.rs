//! What a worktree holds that its last commit does not.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fleet_core::{Error, Result};

use super::{failure, on, refs, worktree};

/// How one path differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Tracked; `staged`: the index differs from the commit, `changed`: the file from the index.
    Tracked {
        /// The index differs from the commit.
        staged: bool,
        /// The file differs from the index.
        changed: bool,
        /// It is a submodule or an embedded repository.
        submodule: bool,
    },
    /// In conflict; those of its stages that exist.
    Unmerged(Vec<Stage>),
    /// Unknown to git.
    Untracked,
    /// Ignored by a rule.
    Ignored,
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// 1 is the common ancestor, 2 ours, 3 theirs.
    pub number: u8,
    /// The file mode, as git writes it.
    pub mode: String,
    /// The blob.
    pub object: String,
}

/// What `git status` says about one worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The commit that is checked out; none on a branch without commits.
    pub head: Option<String>,
    /// The branch; none when a plain commit is checked out.
    pub branch: Option<String>,
    /// The paths that differ, relative to the worktree; folders that stand for a whole end with a slash.
    pub paths: Vec<(PathBuf, State)>,
}

/// The status of the worktree at `path`, untracked files included, its index not written.
///
/// # Errors
/// `NotFound` when git knows no worktree there.
pub fn status(path: &Path) -> Result<Status> {
    let admin = worktree::admin_dir(path)
        .or_else(|| super::follow_dot_git(&path.join(".git")))
        .ok_or_else(|| Error::not_found(format!("{} is no git worktree", path.display())))?;
    ask("git.status", &admin, path, None, false)?
}

/// The inner error: git ran, and could not tell.
pub(crate) fn ask(
    site: &'static str,
    admin: &Path,
    path: &Path,
    index: Option<&Path>,
    ignored: bool,
) -> Result<Result<Status>> {
    let cmd = on(site, admin, path)
        .args(["-c", "core.fsmonitor=false", "-c", "core.preloadIndex=true"])
        .args([
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--no-renames",
            "--untracked-files=all",
        ])
        .args([
            "--ignore-submodules=none",
            if ignored { "--ignored=matching" } else { "--ignored=no" },
        ]);
    let cmd = match index {
        Some(index) => cmd.env("GIT_INDEX_FILE", index),
        None => cmd,
    };
    let output = cmd.output()?;
    Ok(match output.status.success() {
        true => parse(&output.stdout),
        false => Err(failure("tell the state of the worktree", &output)),
    })
}

fn parse(bytes: &[u8]) -> Result<Status> {
    let mut status = Status::default();
    for record in bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let odd = || Error::internal(format!("git status said `{}`", String::from_utf8_lossy(record)));
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        if let Some(rest) = record.strip_prefix(b"# branch.oid ") {
            status.head = refs::full_id(&text(rest));
        } else if let Some(rest) = record.strip_prefix(b"# branch.head ") {
            status.branch = Some(text(rest)).filter(|name| name != "(detached)");
        } else {
            // Fields before the path, by kind of record; the path may itself hold spaces.
            let fields = match record[0] {
                b'1' => 9,
                b'u' => 11,
                b'?' | b'!' => 2,
                _ => continue,
            };
            let parts: Vec<&[u8]> = record.splitn(fields, |byte| *byte == b' ').collect();
            let path = parts
                .get(fields - 1)
                .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())));
            let path = path.ok_or_else(odd)?;
            let state = match record[0] {
                b'?' => State::Untracked,
                b'!' => State::Ignored,
                b'u' => State::Unmerged(
                    (1..=3u8)
                        .map(|number| Stage {
                            number,
                            mode: text(parts[2 + usize::from(number)]),
                            object: text(parts[6 + usize::from(number)]),
                        })
                        .filter(|stage| refs::full_id(&stage.object).is_some())
                        .collect(),
                ),
                _ => State::Tracked {
                    staged: parts[1].first() != Some(&b'.'),
                    changed: parts[1].get(1) != Some(&b'.'),
                    submodule: parts[2].first() == Some(&b'S'),
                },
            };
            status.paths.push((path, state));
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_spaces_newlines_and_conflicts() {
        let text = b"# branch.oid 0123456789012345678901234567890123456789\0# branch.head main\0\
            1 M. N... 100644 100644 100644 aa bb with space\nand line\0? new/\0\
            u UU N... 100644 100644 000000 100644 1111111111111111111111111111111111111111 \
            2222222222222222222222222222222222222222 0000000000000000000000000000000000000000 c f\0";
        let status = parse(text).expect("parsed");
        assert_eq!(status.branch.as_deref(), Some("main"));
        assert_eq!(status.head.as_deref(), Some("0123456789012345678901234567890123456789"));
        let tracked = State::Tracked {
            staged: true,
            changed: false,
            submodule: false,
        };
        let stage = |number, digit: &str| Stage {
            number,
            mode: "100644".to_owned(),
            object: digit.repeat(40),
        };
        let unmerged = State::Unmerged(vec![stage(1, "1"), stage(2, "2")]);
        let expected = [
            ("with space\nand line", tracked),
            ("new/", State::Untracked),
            ("c f", unmerged),
        ];
        assert_eq!(status.paths, expected.map(|(path, state)| (PathBuf::from(path), state)));
    }
}
