//! Saving, removing and bringing back, with real repositories and every kind of work.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::*;
use crate::files;
use crate::git::tests::{Lab, commit_in, git_in, write};

/// A worktree whose agent is to be ended.
struct Case {
    lab: Lab,
    worktree: PathBuf,
    base: String,
    common: PathBuf,
    trash: PathBuf,
    copied: Vec<(String, String)>,
    ignored: bool,
    delete_branch: bool,
}

impl Case {
    fn new() -> Self {
        Self::of(Lab::new())
    }

    fn of(lab: Lab) -> Self {
        let worktree = lab.worktree("work");
        Self {
            base: lab.git(&["rev-parse", "HEAD"]),
            common: lab.repo().common_dir,
            trash: lab.beside("trash/s1"),
            worktree,
            copied: Vec::new(),
            ignored: false,
            delete_branch: false,
            lab,
        }
    }

    fn job(&self) -> Job<'_> {
        Job {
            id: "s1",
            agent: "a1",
            repo: &self.common,
            worktree: &self.worktree,
            branch: "work",
            base: Some(&self.base),
            copied: &self.copied,
            salvage_ignored: self.ignored,
            delete_branch: self.delete_branch,
            trash: &self.trash,
            now: Time(1_700_000_000_000),
        }
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.worktree.join(path), text);
    }

    fn git(&self, args: &[&str]) -> String {
        git_in(&self.worktree, args)
    }

    fn copy_credential(&mut self, path: &str, text: &str) {
        self.write(path, text);
        self.copied.push((path.to_owned(), files::digest(text.as_bytes())));
    }

    fn inspect(&self) -> Findings {
        inspect(&self.job()).expect("inspected")
    }

    /// Saves twice, removes, lets git collect its garbage.
    fn end(&self) -> Saved {
        let findings = self.inspect();
        let index = fs::read(crate::git::admin_dir(&self.worktree).expect("admin").join("index")).ok();
        let saved = save(&self.job(), &findings).expect("saved");
        assert_eq!(
            save(&self.job(), &self.inspect()).expect("saved again"),
            saved,
            "saving is repeatable"
        );
        let after = fs::read(crate::git::admin_dir(&self.worktree).expect("admin").join("index")).ok();
        assert_eq!(index, after, "the real index is untouched");
        let removed = remove_workspace(&self.job(), &saved).expect("removed");
        assert_eq!(removed.kept.is_some(), saved.needs_trash);
        if self.delete_branch {
            assert!(crate::git::delete_branch("test.delete", &self.common, "work").expect("deleted"));
        }
        assert!(!self.worktree.exists());
        assert_eq!(crate::git::worktrees(&self.common).expect("list"), []);
        self.lab.git(&["reflog", "expire", "--expire=now", "--all"]);
        self.lab.git(&["gc", "--quiet", "--prune=now"]);
        self.lab.git(&["fsck", "--strict", "--no-dangling"]);
        saved
    }

    fn restore(&self, saved: &Saved) -> PathBuf {
        let to = self.lab.beside("restored");
        let trash = Some(self.trash.as_path());
        let request = Restore {
            id: "s1",
            repo: &self.common,
            saved,
            trash,
            to: &to,
            branch: "salvage/work",
        };
        assert_eq!(restore(&request).expect("restored"), Vec::<String>::new());
        assert_eq!(git_in(&to, &["branch", "--show-current"]), "salvage/work");
        to
    }

    /// Ends the agent, brings its work back, and compares files, HEAD and the state of the index.
    fn round_trip(&self) -> (Saved, PathBuf) {
        let before = (tree(&self.worktree), status_of(&self.worktree));
        let saved = self.end();
        let to = self.restore(&saved);
        assert_eq!((tree(&to), status_of(&to)), before);
        (saved, to)
    }

    fn holds_bytes(&self, needle: &str) -> bool {
        let list = self.lab.git(&[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname) %(objecttype)",
        ]);
        let blobs = list.lines().filter_map(|line| line.strip_suffix(" blob"));
        blobs
            .into_iter()
            .any(|blob| self.lab.git(&["cat-file", "blob", blob]).contains(needle))
    }
}

/// Every file of a worktree: kind, permissions and bytes.
fn tree(root: &Path) -> BTreeMap<PathBuf, (String, u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).expect("meta");
            let relative = path.strip_prefix(root).expect("below").to_owned();
            if relative == Path::new(".git") {
                continue;
            }
            let kind = meta.file_type();
            let bytes = match () {
                () if kind.is_dir() => {
                    folders.push(path);
                    continue;
                }
                () if kind.is_symlink() => fs::read_link(&path).expect("link").as_os_str().as_bytes().to_vec(),
                () if kind.is_fifo() => Vec::new(),
                () => fs::read(&path).expect("file"),
            };
            files.insert(relative, (format!("{kind:?}"), meta.mode() & 0o777, bytes));
        }
    }
    files
}

fn status_of(worktree: &Path) -> String {
    git_in(worktree, &["status", "--porcelain", "--untracked-files=all"])
}

#[test]
fn a_clean_worktree_goes_without_a_trace() {
    let case = Case::new();
    commit_in(&case.worktree, "on the branch");
    let findings = case.inspect();
    assert!(findings.clean, "{findings:?}");
    let saved = case.end();
    assert!(saved.is_empty());
    assert!(!case.trash.exists());
    assert_eq!(case.lab.git(&["for-each-ref", "refs/fleet"]), "");
    assert!(crate::git::branch_exists(&case.common, "work").expect("asked"));
}

#[test]
fn changed_staged_and_untracked_work_comes_back_as_it_was() {
    let case = Case::new();
    commit_in(&case.worktree, "mine");
    case.write("README", "changed\n");
    case.write("staged", "one\n");
    case.git(&["add", "staged"]);
    case.write("staged", "two\n");
    case.write("deep/er/untracked", "three\n");
    fs::remove_file(case.worktree.join("src/main.rs")).expect("removed");
    case.write("src/main.rs/now-a-folder", "four\n");
    case.write("run.sh", "#!/bin/sh\n");
    fs::set_permissions(case.worktree.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("mode");
    std::os::unix::fs::symlink("nowhere", case.worktree.join("link")).expect("link");
    let (saved, _) = case.round_trip();
    assert!(!saved.needs_trash && saved.index.is_some(), "{saved:?}");
    assert!(!case.trash.exists());
    let message = case
        .lab
        .git(&["log", "-1", "--format=%an <%ae>%n%B", "refs/fleet/salvage/s1"]);
    assert!(
        message.starts_with("fleet <fleet@localhost>\nfleet: salvage of `work`"),
        "{message}"
    );
    assert!(message.contains("- 4 untracked files"), "{message}");
}

#[test]
fn a_removal_without_a_commit_is_work_too() {
    let case = Case::new();
    case.git(&["rm", "--quiet", "--cached", "README"]);
    fs::remove_file(case.worktree.join("src/main.rs")).expect("removed");
    case.round_trip();
}

#[test]
fn names_of_every_kind_come_back() {
    let case = Case::new();
    let names: [&[u8]; 6] = [
        b"with\nnewline",
        b"with\rreturn",
        b"\"quoted\" \\back",
        b"not-\xff-utf8",
        b" space ",
        b":(top)x",
    ];
    for name in names {
        fs::write(case.worktree.join(OsStr::from_bytes(name)), name).expect("written");
    }
    let (saved, _) = case.round_trip();
    assert!(!saved.needs_trash, "{saved:?}");
}

#[test]
fn a_conflict_comes_back_with_its_stages() {
    let case = Case::new();
    case.write("README", "ours\n");
    case.write("other", "x\n");
    commit_in(&case.worktree, "ours");
    case.lab.write("README", "theirs\n");
    case.lab.commit("theirs");
    let merge = crate::git::bare_call("test.merge", &case.worktree).args(["merge", "main"]);
    let merge = merge
        .env("GIT_COMMITTER_NAME", "t")
        .env("GIT_COMMITTER_EMAIL", "t@x.invalid")
        .output();
    assert!(!merge.expect("ran").status.success());
    case.write("other", "staged\n");
    case.git(&["add", "other"]);
    let stages = case.git(&["ls-files", "--unmerged"]);
    assert_eq!(case.inspect().unmerged, 1);
    let (saved, to) = case.round_trip();
    assert!(saved.needs_trash);
    assert_eq!(git_in(&to, &["ls-files", "--unmerged"]), stages);
    assert!(!git_in(&to, &["rev-parse", "MERGE_HEAD"]).is_empty());
    let index = saved.index.expect("an index commit");
    assert_eq!(
        case.lab.git(&["cat-file", "blob", &format!("{index}:README.stage3")]),
        "theirs"
    );
    assert_eq!(case.lab.git(&["cat-file", "blob", &format!("{index}:other")]), "staged");
}

#[test]
fn a_credential_in_conflict_leaves_only_what_git_has_of_it() {
    let lab = Lab::new();
    lab.write(".env", "base\n");
    lab.write("conf/.env", "example\n");
    lab.commit("examples");
    let mut case = Case::of(lab);
    case.write(".env", "ours\n");
    commit_in(&case.worktree, "ours");
    case.lab.write(".env", "theirs\n");
    case.lab.commit("theirs");
    let merge = crate::git::bare_call("test.merge", &case.worktree).args(["merge", "main"]);
    let merge = merge
        .env("GIT_COMMITTER_NAME", "t")
        .env("GIT_COMMITTER_EMAIL", "t@x.invalid");
    assert!(!merge.output().expect("ran").status.success());
    case.copy_credential("conf/.env", "marker-1\n");
    case.copied.push((".env".to_owned(), files::digest(b"ours\n")));
    let saved = case.end();
    let names = |commit: &str| case.lab.git(&["ls-tree", "-r", "--name-only", commit]);
    assert_eq!(names("refs/fleet/salvage/s1"), "README\nconf/.env\nsrc/main.rs");
    assert!(names(saved.index.as_deref().expect("index")).contains(".env.stage3"));
    assert!(!case.holds_bytes("marker-1") && !case.holds_bytes("<<<<<<<"));
}

#[test]
fn commits_on_a_detached_head_and_commits_reset_away_stay_reachable() {
    let case = Case::new();
    let reset_away = commit_in(&case.worktree, "reset away");
    case.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    case.git(&["checkout", "--quiet", "--detach"]);
    let amended = commit_in(&case.worktree, "amended");
    case.git(&["commit", "--quiet", "--amend", "--allow-empty", "-m", "better"]);
    let detached = case.git(&["rev-parse", "HEAD"]);
    let findings = case.inspect();
    assert!(findings.detached && findings.lost_commits.len() == 3, "{findings:?}");
    let saved = case.end();
    for commit in [&reset_away, &amended, &detached] {
        assert!(saved.parents.contains(commit), "{commit}");
        case.lab.git(&["cat-file", "-e", commit]);
    }
    let to = case.restore(&saved);
    assert_eq!(git_in(&to, &["rev-parse", "HEAD"]), detached);
    assert_eq!(status_of(&to), "");
}

#[test]
fn a_branch_that_is_to_go_leaves_what_only_it_holds() {
    let mut case = Case::new();
    let tip = commit_in(&case.worktree, "never merged");
    assert!(case.inspect().clean, "the branch holds it");
    case.delete_branch = true;
    let saved = case.end();
    assert_eq!(saved.head.as_ref(), Some(&tip));
    case.lab.git(&["cat-file", "-e", &tip]);
    let to = case.restore(&saved);
    assert_eq!(git_in(&to, &["rev-parse", "HEAD"]), tip);
}

#[test]
fn a_merged_branch_can_go_without_a_trace() {
    let mut case = Case::new();
    commit_in(&case.worktree, "to be merged");
    case.lab.git(&["merge", "--quiet", "work"]);
    case.delete_branch = true;
    assert!(case.end().is_empty());
}

#[test]
fn a_nested_repository_is_moved_and_copied_back() {
    for with_commit in [false, true] {
        let case = Case::new();
        let nested = case.worktree.join("vendor/inner");
        write(&nested.join("file"), "inner\n");
        git_in(&nested, &["init", "--quiet"]);
        if with_commit {
            commit_in(&nested, "inner commit");
        }
        assert_eq!(case.inspect().nested, ["vendor/inner"]);
        let (saved, to) = case.round_trip();
        assert!(saved.needs_trash);
        assert!(case.trash.join("worktree/vendor/inner/.git").is_dir());
        if with_commit {
            assert_eq!(
                git_in(&to.join("vendor/inner"), &["log", "--format=%s"]),
                "inner commit"
            );
        }
    }
}

#[test]
fn a_submodule_comes_back_with_its_own_commits() {
    let lab = Lab::new();
    lab.git(&["clone", "--quiet", ".", "../library"]);
    lab.git(&["submodule", "--quiet", "add", "../library", "lib"]);
    lab.commit("with a submodule");
    let case = Case::of(lab);
    case.git(&["submodule", "--quiet", "update", "--init"]);
    let inner = commit_in(&case.worktree.join("lib"), "only here");
    let saved = case.end();
    assert!(saved.needs_trash);
    let to = case.restore(&saved);
    assert_eq!(git_in(&to.join("lib"), &["rev-parse", "HEAD"]), inner);
}

#[test]
fn a_fifo_keeps_the_worktree_but_an_ignored_one_does_not() {
    let case = Case::new();
    let fifo = |name: &str| {
        nix::unistd::mkfifo(&case.worktree.join(name), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    };
    case.write(".gitignore", "ignored-*\n");
    commit_in(&case.worktree, "rule");
    fifo("ignored-pipe");
    assert!(case.inspect().clean);
    fifo("pipe");
    assert_eq!(case.inspect().special, ["pipe"]);
    let (saved, _) = case.round_trip();
    assert!(saved.needs_trash && case.trash.join("worktree/pipe").exists());
}

#[test]
fn files_that_git_was_told_not_to_look_at_are_saved() {
    let case = Case::new();
    case.git(&["update-index", "--assume-unchanged", "README"]);
    case.git(&["update-index", "--skip-worktree", "src/main.rs"]);
    assert!(case.inspect().clean);
    case.write("README", "assumed\n");
    case.write("src/main.rs", "skipped\n");
    assert_eq!(case.inspect().changed, 2);
    let before = tree(&case.worktree);
    let saved = case.end();
    assert_eq!(tree(&case.restore(&saved)), before);
}

#[test]
fn line_ends_that_git_converts_come_back_byte_for_byte() {
    let lab = Lab::new();
    lab.write(".gitattributes", "*.txt text eol=crlf\n*.id ident\n");
    lab.commit("attributes");
    let case = Case::of(lab);
    case.write("stored-as-it-is.txt", "one\ntwo\n");
    case.write("stays.id", "$Id$\n");
    let before = tree(&case.worktree);
    let saved = case.end();
    assert!(!saved.needs_trash, "{saved:?}");
    assert_eq!(tree(&case.restore(&saved)), before);

    let case = Case::of(Lab::new());
    case.write(".gitattributes", "*.txt text\n");
    case.write("mixed.txt", "one\r\ntwo\n");
    let (saved, _) = case.round_trip();
    assert!(
        saved.needs_trash && saved.warnings[0].contains("mixed.txt"),
        "{saved:?}"
    );
}

#[test]
fn unchanged_credentials_are_dropped_and_are_in_no_object() {
    let mut case = Case::new();
    case.copy_credential(".env", "TOKEN=marker-1\n");
    assert!(case.inspect().clean);
    case.write("work", "x\n");
    case.git(&["status"]);
    let saved = case.end();
    assert_eq!(
        case.lab.git(&[
            "ls-tree",
            "-r",
            "--name-only",
            saved.commit.as_deref().expect("a commit")
        ]),
        "README\nsrc/main.rs\nwork"
    );
    assert!(!case.holds_bytes("marker-1"));
    assert!(case.holds_bytes("x"));
}

#[test]
fn edited_credentials_are_kept_outside_of_git() {
    for ignored in [false, true] {
        let lab = Lab::new();
        if ignored {
            lab.write(".gitignore", ".env\nconf/\n");
            lab.commit("rules");
        }
        let mut case = Case::of(lab);
        case.copy_credential(".env", "TOKEN=marker-1\n");
        case.copy_credential("conf/key", "KEY=marker-2\n");
        case.write(".env", "TOKEN=marker-3\n");
        let findings = case.inspect();
        assert_eq!(
            (findings.clean, findings.edited_credentials.as_slice()),
            (false, &[".env".to_owned()][..])
        );
        let saved = case.end();
        assert!(!saved.needs_trash);
        let kept = case.trash.join("credentials/.env");
        assert_eq!(fs::read_to_string(&kept).expect("kept"), "TOKEN=marker-3\n");
        assert_eq!(fs::metadata(&kept).expect("meta").permissions().mode() & 0o777, 0o600);
        assert!(
            !["marker-1", "marker-2", "marker-3"]
                .iter()
                .any(|each| case.holds_bytes(each))
        );
        let to = case.restore(&saved);
        assert_eq!(fs::read_to_string(to.join(".env")).expect("back"), "TOKEN=marker-3\n");
    }
}

#[test]
fn a_tracked_credential_is_saved_as_git_has_it_with_a_warning() {
    let lab = Lab::new();
    lab.write(".env", "TOKEN=example\n");
    lab.commit("an example");
    let mut case = Case::of(lab);
    case.copy_credential(".env", "TOKEN=marker-1\n");
    let findings = case.inspect();
    assert!(
        findings.clean && findings.warnings[0].contains("git tracks"),
        "{findings:?}"
    );
    case.write(".env", "TOKEN=marker-2\n");
    let saved = case.end();
    assert_eq!(
        fs::read_to_string(case.trash.join("credentials/.env")).expect("kept"),
        "TOKEN=marker-2\n"
    );
    assert!(!case.holds_bytes("marker"));
    assert!(saved.warnings.iter().any(|warning| warning.contains("git tracks")));
}

#[test]
fn ignored_files_are_kept_when_asked_for() {
    let mut case = Case::new();
    case.write(".gitignore", "target/\n.env\n");
    commit_in(&case.worktree, "rule");
    case.copy_credential(".env", "TOKEN\n");
    case.ignored = true;
    assert!(case.inspect().clean, "only an unchanged credential is ignored");
    case.write("target/built", "bytes\n");
    assert_eq!(case.inspect().ignored, 1);
    case.ignored = false;
    assert!(case.inspect().clean);
    case.ignored = true;
    let saved = case.end();
    assert_eq!(
        fs::read_to_string(case.restore(&saved).join("target/built")).expect("back"),
        "bytes\n"
    );
}

#[test]
fn a_worktree_without_its_git_file_is_not_taken_for_a_folder_of_another_repository() {
    let case = Case::new();
    git_in(&case.lab.beside(""), &["init", "--quiet"]);
    case.write("README", "changed\n");
    fs::remove_file(case.worktree.join(".git")).expect("removed");
    let findings = case.inspect();
    assert_eq!(
        (findings.changed, findings.untracked, findings.needs_trash),
        (1, 0, false),
        "{findings:?}"
    );
    git_in(&case.worktree, &["init", "--quiet"]);
    let findings = case.inspect();
    assert_eq!(
        (findings.nested.as_slice(), findings.needs_trash),
        (&[".".to_owned()][..], true)
    );
    let saved = save(&case.job(), &findings).expect("saved");
    let removed = remove_workspace(&case.job(), &saved).expect("removed");
    assert!(removed.kept.expect("kept").join(".git").is_dir());
    let commit = saved.commit.expect("commit");
    assert_eq!(
        case.lab.git(&["cat-file", "blob", &format!("{commit}:README")]),
        "changed"
    );
}

#[test]
fn a_worktree_that_git_has_forgotten_is_kept_whole() {
    let case = Case::new();
    case.write("work", "x\n");
    fs::remove_dir_all(case.common.join("worktrees")).expect("forgotten");
    let findings = case.inspect();
    assert!(findings.needs_trash, "{findings:?}");
    let saved = save(&case.job(), &findings).expect("saved");
    remove_workspace(&case.job(), &saved).expect("removed");
    assert_eq!(
        fs::read_to_string(case.trash.join("worktree/work")).expect("kept"),
        "x\n"
    );
    let to = case.restore(&saved);
    assert_eq!(fs::read_to_string(to.join("work")).expect("back"), "x\n");
}

#[test]
fn an_index_that_git_cannot_read_keeps_the_worktree() {
    let case = Case::new();
    case.write("work", "x\n");
    let admin = crate::git::admin_dir(&case.worktree).expect("admin");
    fs::write(admin.join("index"), "broken").expect("written");
    let findings = case.inspect();
    assert!(findings.needs_trash && !findings.clean);
    let saved = save(&case.job(), &findings).expect("saved");
    remove_workspace(&case.job(), &saved).expect("removed");
    assert!(case.trash.join("worktree/work").exists() && case.trash.join("gitdir/HEAD").exists());
}

#[test]
fn staged_work_is_saved_though_somebody_removed_the_folder() {
    let case = Case::new();
    case.write("staged", "only in the index\n");
    case.git(&["add", "staged"]);
    fs::remove_dir_all(&case.worktree).expect("removed");
    let findings = case.inspect();
    assert_eq!(
        (findings.clean, findings.staged, findings.changed),
        (false, 1, 0),
        "{findings:?}"
    );
    let saved = save(&case.job(), &findings).expect("saved");
    assert!(!is_moved(&case.job()));
    remove_workspace(&case.job(), &saved).expect("removed");
    case.lab.git(&["gc", "--quiet", "--prune=now"]);
    let commit = saved.commit.expect("commit");
    assert_eq!(
        case.lab.git(&["cat-file", "blob", &format!("{commit}:staged")]),
        "only in the index"
    );
    assert!(case.inspect().clean, "nothing is left");
}

#[test]
fn a_checkout_that_was_cut_off_is_clean() {
    let lab = Lab::new();
    let repo = lab.repo();
    let base = crate::git::resolve_base(&repo, None).expect("base");
    let path = lab.beside("wt-cut");
    crate::git::add_worktree(&repo, "cut", &path, &base, crate::git::BranchMode::New).expect("added");
    write(&path.join("README"), "hello\n");
    let case = Case {
        worktree: path,
        ..Case::of(lab)
    };
    assert!(case.inspect().clean, "{:?}", case.inspect());
    case.write("more", "work\n");
    assert_eq!(case.inspect().untracked, 1);
}

#[test]
fn a_removal_goes_on_after_a_crash_at_any_point() {
    for kept in [false, true] {
        let case = Case::new();
        if kept {
            case.write("nested/file", "x\n");
            git_in(&case.worktree.join("nested"), &["init", "--quiet"]);
        }
        let saved = save(&case.job(), &case.inspect()).expect("saved");
        files::create_private_dir("test", &case.trash).expect("made");
        fs::rename(&case.worktree, case.trash.join("worktree")).expect("moved");
        assert!(is_moved(&case.job()));
        assert_eq!(finish_removal(&case.job()).expect("finished").kept.is_some(), kept);
        assert_eq!(finish_removal(&case.job()).expect("again").kept.is_some(), kept);
        assert_eq!(crate::git::worktrees(&case.common).expect("list"), []);
        assert_eq!((case.trash.exists(), saved.needs_trash), (kept, kept));
        assert_eq!(case.trash.join("gitdir/HEAD").exists(), kept);
    }
}

#[test]
fn work_that_came_after_a_save_is_saved_on_top() {
    let case = Case::new();
    case.write("one", "1\n");
    let first = save(&case.job(), &case.inspect()).expect("saved");
    case.write("two", "2\n");
    let second = save(&case.job(), &case.inspect()).expect("saved");
    assert!(second.parents.contains(first.commit.as_ref().expect("commit")));
    assert_eq!(case.lab.git(&["cat-file", "blob", "refs/fleet/salvage/s1:two"]), "2");
}

#[test]
fn saved_work_is_shown_and_pruned() {
    let case = Case::new();
    case.write("nested/file", "x\n");
    git_in(&case.worktree.join("nested"), &["init", "--quiet"]);
    case.write("fresh", "x\n");
    let saved = case.end();
    let commit = saved.commit.expect("a commit");
    let shown = crate::git::changed_files(&case.common, saved.head.as_deref(), &commit).expect("shown");
    assert!(shown.contains("fresh | 1 +"), "{shown}");
    for _ in 0..2 {
        prune(&case.common, "s1", Some(&case.trash)).expect("pruned");
        assert!(!case.trash.exists());
        assert_eq!(case.lab.git(&["for-each-ref", "refs/fleet"]), "");
    }
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    let case = Case::new();
    case.write("work", "x\n");
    let mut saved = case.end();
    saved.index = Some("1".repeat(40));
    let to = case.lab.beside("restored");
    let request = Restore {
        id: "s1",
        repo: &case.common,
        saved: &saved,
        trash: None,
        to: &to,
        branch: "salvage/work",
    };
    restore(&request).expect_err("there is no such index");
    assert!(!to.exists());
    assert_eq!(crate::git::worktrees(&case.common).expect("list"), []);
    assert_eq!(crate::git::branches(&case.common).expect("list"), ["main", "work"]);
}

#[test]
fn a_half_made_worktree_goes_without_a_trace() {
    let case = Case::new();
    let admin = crate::git::admin_dir(&case.worktree).expect("admin");
    for name in ["commondir", "HEAD", "index"] {
        fs::remove_file(admin.join(name)).expect("removed");
    }
    for name in ["README", "src/main.rs"] {
        fs::remove_file(case.worktree.join(name)).expect("removed");
    }
    fs::remove_dir(case.worktree.join("src")).expect("removed");
    let findings = case.inspect();
    assert!(findings.clean, "{findings:?}");
    let saved = save(&case.job(), &findings).expect("saved");
    remove_workspace(&case.job(), &saved).expect("removed");
    assert_eq!(crate::git::worktrees(&case.common).expect("list"), []);
    assert!(!case.trash.exists());
}

#[test]
fn work_on_a_branch_without_commits_is_saved() {
    let case = Case::new();
    case.git(&["checkout", "--quiet", "--orphan", "fresh"]);
    case.git(&["rm", "--quiet", "-r", "--cached", "."]);
    case.write("new", "x\n");
    let before = tree(&case.worktree);
    let saved = case.end();
    assert_eq!(saved.head, None);
    assert_eq!(tree(&case.restore(&saved)), before);
}

#[test]
fn work_is_saved_without_an_identity_and_with_a_hostile_environment() {
    const CHILD: &str = "FLEET_TEST_WITHOUT_IDENTITY";
    if std::env::var_os(CHILD).is_some() {
        let case = Case::new();
        case.write("work", "x\n");
        case.round_trip();
        return;
    }
    let test = std::env::current_exe().expect("the test program");
    let name = "salvage::tests::work_is_saved_without_an_identity_and_with_a_hostile_environment";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let child = crate::exec::Cmd::new("test.child", test, Path::new("/"))
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "user.useConfigOnly")
        .env("GIT_CONFIG_VALUE_0", "true")
        .env("GIT_DIR", "/nowhere")
        .env("GIT_INDEX_FILE", "/nowhere")
        .env("LC_ALL", "de_DE.UTF-8")
        .env(CHILD, "1")
        .args(["--exact", name]);
    let text = child.run().expect("the child passes");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn a_split_index_and_a_sha256_repository_are_understood() {
    let case = Case::new();
    case.git(&["update-index", "--split-index"]);
    case.git(&["update-index", "--assume-unchanged", "README"]);
    case.write("README", "hidden\n");
    assert_eq!(case.inspect().changed, 1);

    let dir = tempfile::tempdir().expect("dir");
    let root = dir.path().canonicalize().expect("real");
    git_in(
        &root,
        &["init", "--quiet", "--object-format=sha256", "-b", "main", "repo"],
    );
    write(&root.join("repo/a"), "a\n");
    let base = commit_in(&root.join("repo"), "first");
    let repo = crate::git::discover(&root.join("repo")).expect("found");
    let path = root.join("wt");
    crate::git::add_worktree(&repo, "work", &path, &base, crate::git::BranchMode::New).expect("added");
    crate::git::checkout(&path).expect("filled");
    git_in(&path, &["update-index", "--assume-unchanged", "a"]);
    write(&path.join("a"), "hidden\n");
    let case = Case::new();
    let job = Job {
        repo: &repo.common_dir,
        worktree: &path,
        base: Some(&base),
        ..case.job()
    };
    let findings = inspect(&job).expect("inspected");
    assert_eq!(findings.changed, 1);
    assert!(
        save(&job, &findings)
            .expect("saved")
            .commit
            .is_some_and(|commit| commit.len() == 64)
    );
}
