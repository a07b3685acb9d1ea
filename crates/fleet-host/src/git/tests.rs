//! The git door against real repositories.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A repository with one commit in a private folder.
pub(crate) struct Lab {
    _dir: tempfile::TempDir,
    pub(crate) root: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self::without_commit();
        lab.write("README", "hello\n");
        lab.write("src/main.rs", "fn main() {}\n");
        lab.commit("first");
        lab
    }

    pub(crate) fn without_commit() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().canonicalize().expect("real").join("repo");
        fs::create_dir(&root).expect("made");
        let lab = Self { _dir: dir, root };
        lab.git(&["init", "--quiet", "--initial-branch=main"]);
        lab
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.root.parent().expect("a parent").join(name)
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git_in(&self.root, args)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        write(&self.root.join(path), text);
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        commit_in(&self.root, message)
    }

    pub(crate) fn repo(&self) -> Repo {
        discover(&self.root).expect("a repository")
    }

    /// A filled worktree on a new branch.
    pub(crate) fn worktree(&self, branch: &str) -> PathBuf {
        let repo = self.repo();
        let base = resolve_base(&repo, None).expect("a base");
        let path = self.beside(&format!("wt-{}", branch.replace('/', "-")));
        add_worktree(&repo, branch, &path, &base, BranchMode::New).expect("added");
        checkout(&path).expect("checked out");
        path
    }
}

/// Runs git as a user would, with a fixed identity and no configuration of this machine.
pub(crate) fn git_in(folder: &Path, args: &[&str]) -> String {
    let cmd = bare_call("test.git", folder)
        .env("GIT_CONFIG_GLOBAL", "/nonexistent/gitconfig")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .args([
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.invalid",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(args);
    cmd.run()
        .unwrap_or_else(|error| panic!("git {args:?}: {error}: {:?}", error.detail))
        .trim_end()
        .to_owned()
}

pub(crate) fn commit_in(folder: &Path, message: &str) -> String {
    git_in(folder, &["add", "--all"]);
    git_in(folder, &["commit", "--quiet", "--allow-empty", "-m", message]);
    git_in(folder, &["rev-parse", "HEAD"])
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, text).expect("written");
}

#[test]
fn a_repository_is_found_from_every_kind_of_place() {
    let lab = Lab::new();
    let main = lab.repo();
    assert_eq!((main.name.as_str(), main.main_root.as_ref()), ("repo", Some(&lab.root)));
    let worktree = lab.worktree("feature/x");
    for place in [lab.root.join("src"), lab.root.join(".git/refs"), worktree.join("src")] {
        let repo = discover(&place).expect("found");
        assert_eq!(
            (&repo.common_dir, &repo.main_root),
            (&main.common_dir, &main.main_root),
            "{}",
            place.display()
        );
    }
    assert_ne!(discover(&worktree).expect("found").git_dir, main.git_dir);

    git_in(&lab.root, &["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let bare = discover(&lab.beside("bare.git")).expect("found");
    assert_eq!((bare.name.as_str(), bare.main_root, bare.bare), ("bare", None, true));

    git_in(
        &lab.root,
        &["clone", "--quiet", "--separate-git-dir=../apart", ".", "../seen"],
    );
    let apart = discover(&lab.beside("seen")).expect("found");
    assert_eq!(
        (apart.common_dir, apart.main_root),
        (lab.beside("apart"), Some(lab.beside("seen")))
    );

    let outside = discover(&lab.beside("")).expect_err("none");
    assert_eq!(outside.kind, Kind::Usage);
    assert!(outside.hint.expect("hint").contains("repo_root"));
}

#[test]
fn a_base_is_a_commit_or_an_error_that_helps() {
    let lab = Lab::without_commit();
    let none = resolve_base(&lab.repo(), None).expect_err("no commit");
    assert_eq!(
        none.hint.as_deref(),
        Some("make one: `git commit --allow-empty -m \"first commit\"`")
    );
    let first = lab.commit("first");
    let second = lab.commit("second");
    assert_eq!(resolve_base(&lab.repo(), None).expect("head"), second);
    assert_eq!(resolve_base(&lab.repo(), Some("HEAD~1")).expect("older"), first);
    lab.git(&["branch", "fix-login"]);
    lab.git(&["pack-refs", "--all"]);
    let near = resolve_base(&lab.repo(), Some("fix-lgin")).expect_err("unknown");
    assert_eq!(near.hint.as_deref(), Some("did you mean `fix-login`?"));
    assert_eq!(
        resolve_base(&lab.repo(), Some("-x")).expect_err("unknown").kind,
        Kind::Usage
    );
}

#[test]
fn a_worktree_starts_from_where_the_caller_stands() {
    let lab = Lab::new();
    let worktree = lab.worktree("x");
    let ahead = commit_in(&worktree, "more");
    assert_eq!(
        resolve_base(&discover(&worktree).expect("found"), None).expect("base"),
        ahead
    );
}

#[test]
fn branches_that_cannot_be_are_refused_with_the_reason() {
    let lab = Lab::new();
    lab.worktree("fix");
    lab.git(&["branch", "deep/er"]);
    lab.git(&["pack-refs", "--all"]);
    let refused = |branch: &str, existing| check_new_branch(&lab.repo(), branch, existing).expect_err("refused");
    assert!(refused("fix", false).hint.expect("hint").contains("wt-fix"));
    assert!(refused("main", true).message.contains("checked out at"));
    assert!(refused("fix/a", false).message.contains("`fix` exists"));
    assert!(refused("deep", false).message.contains("`deep/er` exists"));
    assert_eq!(refused("dep/er", true).kind, Kind::NotFound);
    assert!(refused("dep/er", true).hint.expect("hint").contains("deep/er"));
    check_new_branch(&lab.repo(), "free", false).expect("free");
    check_new_branch(&lab.repo(), "deep/er", true).expect("exists");
}

#[test]
fn a_worktree_is_made_listed_and_forgotten() {
    let lab = Lab::new();
    let path = lab.worktree("feature/x");
    let common = lab.repo().common_dir;
    assert_eq!(
        fs::read_to_string(path.join("src/main.rs")).expect("file"),
        "fn main() {}\n"
    );
    assert_eq!(git_in(&path, &["status", "--porcelain"]), "");
    let listed = worktrees(&common).expect("list");
    assert_eq!(
        (listed[0].path.as_path(), listed[0].branch.as_deref()),
        (path.as_path(), Some("feature/x"))
    );
    let repo = lab.repo();
    let base = resolve_base(&repo, None).expect("base");
    add_worktree(&repo, "feature/x", &path, &base, BranchMode::New).expect("repeating completes");
    let taken = add_worktree(&repo, "feature/x", &lab.beside("other"), &base, BranchMode::New).expect_err("taken");
    assert_eq!(taken.kind, Kind::Conflict);
    assert!(
        !delete_branch("test.delete", &common, "feature/x").expect("asked"),
        "it is checked out"
    );
    fs::remove_dir_all(&path).expect("removed");
    remove_worktree_admin(&common, &path).expect("forgotten");
    assert_eq!(worktrees(&common).expect("list"), []);
    assert!(!common.join("worktrees").exists() && !common.join("fleet-trash").exists());
    assert!(delete_branch("test.delete", &common, "feature/x").expect("deleted"));
    assert_eq!(branches(&common).expect("list"), ["main"]);
}

#[test]
fn a_worktree_comes_from_a_bare_repository_and_from_an_existing_branch() {
    let lab = Lab::new();
    lab.git(&["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let bare = discover(&lab.beside("bare.git")).expect("found");
    let base = resolve_base(&bare, None).expect("base");
    let path = lab.beside("from-bare");
    add_worktree(&bare, "main", &path, &base, BranchMode::Existing).expect("main is checked out nowhere");
    checkout(&path).expect("checked out");
    assert!(path.join("README").exists());
    assert_eq!(branch_checked_out_at(&bare, "main").expect("asked"), Some(path));
}

#[test]
fn the_hook_runs_and_its_failure_does_not_undo_the_worktree() {
    let lab = Lab::new();
    let hook = lab.root.join(".git/hooks/post-checkout");
    write(&hook, "#!/bin/sh\ntouch hooked\nexit 3\n");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("executable");
    let path = lab.worktree("x");
    assert!(path.join("hooked").exists());
}

#[test]
fn twenty_worktrees_are_made_at_once() {
    let lab = Lab::new();
    let lab = &lab;
    std::thread::scope(|scope| {
        for index in 0..20 {
            scope.spawn(move || lab.worktree(&format!("many-{index}")));
        }
    });
    assert_eq!(worktrees(&lab.repo().common_dir).expect("list").len(), 20);
    lab.git(&["fsck"]);
}

#[test]
fn a_diff_shows_untracked_files_and_writes_nothing() {
    let lab = Lab::new();
    let path = lab.worktree("x");
    let base = resolve_base(&lab.repo(), None).expect("base");
    write(&path.join("README"), "changed\n");
    write(&path.join("new file"), "fresh\n");
    write(&path.join(".env"), "SECRET\n");
    commit_in(&path, "all of it");
    git_in(&path, &["reset", "--quiet", "HEAD~1"]);
    let objects = || git_in(&lab.root, &["count-objects"]);
    let admin = admin_dir(&path).expect("admin");
    let before = (objects(), fs::read(admin.join("index")).expect("index"));
    write(&path.join("newer"), "freshest\n");
    let copied = [(".env".to_owned(), files::digest(b"SECRET\n"))];
    let ask = |form| Diff {
        worktree: &path,
        base: &base,
        copied: &copied,
        form,
        color: false,
    };
    assert_eq!(diff(&ask(DiffForm::Names)).expect("names"), "README\nnew file\nnewer\n");
    let patch = diff(&ask(DiffForm::Patch)).expect("patch");
    assert!(patch.contains("+freshest") && patch.contains("-hello") && !patch.contains("SECRET"));
    assert!(diff(&ask(DiffForm::Stat)).expect("stat").contains("3 files changed"));
    assert_eq!((objects(), fs::read(admin.join("index")).expect("index")), before);
    assert!(
        fs::read_dir(&admin)
            .expect("admin")
            .flatten()
            .all(|entry| { !entry.file_name().to_string_lossy().starts_with("fleet-scratch") })
    );
}

#[test]
fn merged_branches_and_counts_are_told() {
    let lab = Lab::new();
    let path = lab.worktree("x");
    let common = lab.repo().common_dir;
    assert!(is_merged(&common, "x", "main").expect("asked"));
    commit_in(&path, "one");
    assert!(!is_merged(&common, "x", "main").expect("asked"));
    assert_eq!(commits_ahead(&common, "main", "x").expect("counted"), 1);
    assert_eq!(default_branch(&common).expect("asked").as_deref(), Some("main"));
    assert_eq!(status(&path).expect("status").branch.as_deref(), Some("x"));
}

#[test]
fn what_a_killed_git_has_begun_of_a_worktree_is_forgotten() {
    let common = tempfile::tempdir().expect("dir");
    let admin = |name: &str| common.path().join("worktrees").join(name);
    for name in ["a", "a1", "a-b"] {
        std::fs::create_dir_all(admin(name)).expect("made");
        std::fs::write(admin(name).join("locked"), "initializing").expect("written");
    }
    super::forget_half_made(common.path(), std::path::Path::new("/worktrees/a")).expect("forgotten");
    assert!(!admin("a").exists() && !admin("a1").exists() && admin("a-b").exists());
}
