//! Work of every kind outlives `kill --force`, and `salvage restore` brings back an equal tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{answer, create, fleet, listed, refusal, text, worktree};

/// A tree as it was: path to mode and bytes, or the target of a link. git's own files are left out at the top only.
type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn tree(dir: &Path) -> Tree {
    let mut found = Tree::new();
    walk(dir, Path::new(""), &mut found);
    found
}

fn walk(dir: &Path, below: &Path, into: &mut Tree) {
    for entry in fs::read_dir(dir.join(below)).expect("a folder").flatten() {
        let path = below.join(entry.file_name());
        if path == Path::new(".git") {
            continue;
        }
        let (full, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_symlink() {
            let target = fs::read_link(&full)
                .expect("a link")
                .into_os_string()
                .into_encoded_bytes();
            into.insert(path, (0, target));
        } else if kind.is_dir() {
            into.insert(path.clone(), (1, Vec::new()));
            walk(dir, &path, into);
        } else if kind.is_file() {
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
            into.insert(path, (mode, fs::read(&full).expect("a file")));
        }
    }
}

/// What git sees: the paths that differ and how, and the whole index.
fn git_view(env: &TestEnv, dir: &Path) -> (String, String) {
    let status = env
        .git(dir, ["status", "--porcelain=v1", "--untracked-files=all"])
        .success()
        .stdout;
    let index = env.git(dir, ["ls-files", "--stage"]).success().stdout;
    (status, index)
}

/// One agent on `work` whose worktree `make` fills; then it is killed, restored, and compared.
fn survives(make: impl FnOnce(&TestEnv, &Path, &Path)) -> Survived {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 4);
    fs::write(repo.join(".gitignore"), "*.log\n").expect("written");
    env.commit_all(&repo, "ignore logs");
    let record = create(&env, &repo, "work");
    let dir = worktree(&record);
    make(&env, &repo, &dir);
    let (before, git_before) = (tree(&dir), git_view(&env, &dir));
    let head = env.git(&dir, ["rev-parse", "HEAD"]).success().stdout;

    let page = fleet(&env, &repo, ["kill", "work", "--force"]).output().success();
    let said = format!("{}{}", page.stdout, page.stderr);
    let id = text(&record["id"]);
    assert!(said.contains("saved its work in"), "{page}");
    assert!(said.contains(&format!("fleet salvage restore {id}")), "{page}");
    assert!(!dir.exists(), "the worktree goes");
    env.assert_nothing_left();

    // Nothing may hang on what git would sweep away.
    let _ = env.git(&repo, ["reflog", "expire", "--expire=now", "--all"]).success();
    let _ = env.git(&repo, ["gc", "--quiet", "--prune=now"]).success();
    let list = answer(&env, &repo, ["salvage", "list"]);
    assert_eq!(list["salvages"][0]["id"], id, "{list}");
    assert_eq!(list["salvages"][0]["branch"], "work", "{list}");
    let shown = answer(&env, &repo, ["salvage", "show", "work"]);
    assert_eq!(shown["id"], id, "{shown}");
    assert!(!shown["holds"].as_array().expect("a list").is_empty(), "{shown}");

    let restored = answer(&env, &repo, ["salvage", "restore", &id]);
    let at = worktree(&restored);
    assert_eq!(restored["branch"], "salvage/work", "{restored}");
    assert_eq!(restored["missing"], Value::Array(Vec::new()), "{restored}");
    assert_eq!(tree(&at), before);
    assert_eq!(git_view(&env, &at), git_before);
    assert_eq!(env.git(&at, ["rev-parse", "HEAD"]).success().stdout, head);
    let again = answer(&env, &repo, ["salvage", "list"]);
    assert_eq!(
        again["salvages"].as_array().map(Vec::len),
        Some(1),
        "what was saved stays saved: {again}"
    );
    Survived {
        env,
        repo,
        restored: at,
        shown,
    }
}

/// What a test looks at besides.
struct Survived {
    env: TestEnv,
    repo: PathBuf,
    restored: PathBuf,
    shown: Value,
}

impl Survived {
    fn git(&self, args: &[&str]) -> String {
        self.env.git(&self.restored, args).success().stdout
    }
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(dir.join(name), bytes).expect("written");
}

fn commit(env: &TestEnv, dir: &Path, name: &str) -> String {
    write(dir, name, name);
    env.commit_all(dir, name);
    env.git(dir, ["rev-parse", "HEAD"]).success().stdout.trim().to_owned()
}

#[test]
fn changed_deleted_and_untracked_files_of_every_shape_survive() {
    let _ = survives(|_, _, dir| {
        write(dir, "dir0/file0.txt", "changed\n");
        fs::remove_file(dir.join("dir0/file1.txt")).expect("removed");
        write(dir, "plain.txt", "new\n");
        write(dir, "binary.bin", [0, 255, 13, 10, 0]);
        write(dir, "ends in a carriage return\r", "\r\n");
        write(dir, "ünïcode and \"quotes\"\n.txt", "odd name\n");
        write(dir, "-rf", "looks like a flag\n");
        write(dir, ":(top)", "looks like a pathspec\n");
        write(dir, "empty", "");
        write(dir, "tool.sh", "#!/bin/sh\n");
        fs::set_permissions(dir.join("tool.sh"), fs::Permissions::from_mode(0o755)).expect("set");
        fs::create_dir_all(dir.join("deep/er")).expect("made");
        write(dir, "deep/er/file", "deep\n");
        std::os::unix::fs::symlink("no/where", dir.join("dangling")).expect("linked");
        std::os::unix::fs::symlink("deep", dir.join("to-a-folder")).expect("linked");
    });
}

#[test]
fn staged_work_survives_and_is_staged_again() {
    let survived = survives(|env, _, dir| {
        write(dir, "dir0/file0.txt", "staged\n");
        write(dir, "added.txt", "added\n");
        let _ = env.git(dir, ["add", "dir0/file0.txt", "added.txt"]).success();
        // And changed once more: the index and the worktree hold two different texts.
        write(dir, "dir0/file0.txt", "staged, then changed\n");
        let _ = env.git(dir, ["rm", "--quiet", "--cached", "dir0/file1.txt"]).success();
    });
    assert_eq!(survived.git(&["show", ":dir0/file0.txt"]), "staged\n");
}

#[test]
fn an_unmerged_index_survives_with_its_conflict() {
    let survived = survives(|env, repo, dir| {
        let _ = env.git(repo, ["switch", "--quiet", "-c", "theirs"]).success();
        write(repo, "dir0/file0.txt", "theirs\n");
        env.commit_all(repo, "theirs");
        let _ = env.git(repo, ["switch", "--quiet", "main"]).success();
        write(dir, "dir0/file0.txt", "ours\n");
        env.commit_all(dir, "ours");
        let _ = env.git(dir, ["merge", "theirs"]).fails(1);
    });
    let status = survived.git(&["status", "--porcelain"]);
    assert!(status.contains("UU dir0/file0.txt"), "{status}");
    assert_eq!(survived.git(&["show", ":3:dir0/file0.txt"]), "theirs\n");
}

#[test]
fn commits_on_a_detached_head_survive() {
    let survived = survives(|env, _, dir| {
        let _ = env.git(dir, ["checkout", "--quiet", "--detach"]).success();
        let _ = commit(env, dir, "detached.txt");
        write(dir, "dirty.txt", "on top\n");
    });
    assert_eq!(survived.git(&["log", "-1", "--format=%s"]), "detached.txt\n");
}

#[test]
fn commits_that_were_reset_away_survive() {
    let mut lost = String::new();
    let survived = survives(|env, _, dir| {
        let _ = commit(env, dir, "kept.txt");
        lost = commit(env, dir, "lost.txt");
        let _ = env.git(dir, ["reset", "--quiet", "--hard", "HEAD~1"]).success();
    });
    assert_eq!(survived.git(&["show", &format!("{lost}:lost.txt")]), "lost.txt");
    let reference = text(&survived.shown["reference"]);
    let _ = survived
        .env
        .git(&survived.repo, ["merge-base", "--is-ancestor", &lost, &reference])
        .success();
}

#[test]
fn a_repository_inside_the_worktree_survives_with_its_commits() {
    let survived = survives(|env, _, dir| {
        let inner = dir.join("vendor/inner");
        fs::create_dir_all(&inner).expect("made");
        let _ = env.git(&inner, ["init", "--quiet"]).success();
        let _ = commit(env, &inner, "inner.txt");
        write(&inner, "uncommitted.txt", "inner, uncommitted\n");
        write(dir, "outer.txt", "outer\n");
    });
    let inner = survived.restored.join("vendor/inner");
    assert_eq!(
        survived.env.git(&inner, ["log", "--format=%s"]).success().stdout,
        "inner.txt\n"
    );
    let holds = survived.shown["holds"].to_string();
    assert!(holds.contains("vendor/inner"), "{holds}");
}

#[test]
fn ignored_files_survive_only_when_that_is_asked_for() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 2);
    write(&repo, ".gitignore", "*.log\n");
    env.commit_all(&repo, "ignore");
    for asked in [false, true] {
        let dir = worktree(&create(&env, &repo, "noisy"));
        write(&dir, "run.log", "ignored\n");
        let mut args = vec!["kill", "noisy", "--force", "--delete-branch"];
        args.extend(asked.then_some("--salvage-ignored"));
        let killed = answer(&env, &repo, args);
        let salvage = &killed["agents"][0]["ended"]["salvage"];
        assert_eq!(salvage.is_object(), asked, "{killed}");
    }
    let restored = answer(&env, &repo, ["salvage", "restore", "noisy"]);
    assert_eq!(
        fs::read_to_string(worktree(&restored).join("run.log")).expect("there"),
        "ignored\n"
    );
}

#[test]
fn a_clean_worktree_leaves_no_salvage() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 2);
    let dir = worktree(&create(&env, &repo, "clean"));
    let _ = commit(&env, &dir, "committed.txt");
    let killed = answer(&env, &repo, ["kill", "clean"]);
    assert!(
        killed["agents"][0]["ended"]["salvage"].is_null(),
        "the branch holds it all: {killed}"
    );
    assert_eq!(
        answer(&env, &repo, ["salvage", "list"])["salvages"],
        Value::Array(Vec::new())
    );
    let refs = env.git(&repo, ["for-each-ref", "refs/fleet"]).success().stdout;
    assert_eq!(refs, "");
    assert_eq!(
        env.git(&repo, ["show", "clean:committed.txt"]).success().stdout,
        "committed.txt"
    );
    env.assert_nothing_left();
}

/// Whether any object of the repository has `marker` in it.
fn in_git(env: &TestEnv, repo: &Path, marker: &str) -> bool {
    let all = env.git(repo, ["cat-file", "--batch-all-objects", "--batch"]).success();
    all.stdout.contains(marker)
}

/// Every file below `dir` that holds `marker`.
fn files_with(dir: &Path, marker: &str) -> Vec<PathBuf> {
    let holds = |(_, (_, bytes)): &(PathBuf, (u32, Vec<u8>))| {
        bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
    };
    let found = tree(dir).into_iter().filter(holds);
    found.map(|(path, _)| dir.join(path)).collect()
}

#[test]
fn copied_credentials_are_in_no_git_object_and_edited_ones_are_not_lost() {
    for ignored in [true, false] {
        let env = TestEnv::new();
        env.config_with_scripted("credential_files = [\".env\", \"keys/master.key\"]\n");
        let repo = env.repo("repo", 2);
        if ignored {
            write(&repo, ".gitignore", ".env\nkeys/\n");
            env.commit_all(&repo, "ignore");
        }
        fs::create_dir(repo.join("keys")).expect("made");
        write(&repo, ".env", "TOKEN=marker-one\n");
        write(&repo, "keys/master.key", "marker-two\n");

        // Copied and unchanged: dropped, and no reason to save anything.
        let dir = worktree(&create(&env, &repo, "unchanged"));
        assert_eq!(
            fs::read_to_string(dir.join("keys/master.key")).expect("copied"),
            "marker-two\n"
        );
        let killed = answer(&env, &repo, ["kill", "unchanged", "--force"]);
        assert!(
            killed["agents"][0]["ended"]["salvage"].is_null(),
            "ignored {ignored}: {killed}"
        );

        // One edited, one not, beside other work.
        let dir = worktree(&create(&env, &repo, "edited"));
        write(&dir, ".env", "TOKEN=marker-edited\n");
        write(&dir, "work.txt", "work\n");
        let killed = answer(&env, &repo, ["kill", "edited", "--force"]);
        let salvage = &killed["agents"][0]["ended"]["salvage"];
        assert!(
            salvage["reference"].is_string() && salvage["trash"].is_string(),
            "{killed}"
        );
        for marker in ["marker-one", "marker-two", "marker-edited"] {
            assert!(!in_git(&env, &repo, marker), "{marker} is in git, ignored {ignored}");
        }
        let kept = files_with(Path::new(&text(&salvage["trash"])), "marker-edited");
        assert_eq!(kept.len(), 1, "{kept:?}");
        let mode = fs::metadata(&kept[0]).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(files_with(env.fleet_home(), "marker-one").is_empty());

        let restored = answer(&env, &repo, ["salvage", "restore", "edited"]);
        let at = worktree(&restored);
        assert_eq!(
            fs::read_to_string(at.join(".env")).expect("back"),
            "TOKEN=marker-edited\n"
        );
        assert_eq!(fs::read_to_string(at.join("work.txt")).expect("back"), "work\n");
    }
}

#[test]
fn when_work_cannot_be_saved_everything_stays_and_the_kill_says_so() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 2);
    let beside = create(&env, &repo, "beside");
    let dir = worktree(&create(&env, &repo, "stuck"));
    write(&dir, "work.txt", "precious\n");
    // A file where git wants a folder: no ref below it can be written, not even by root.
    write(&repo, ".git/refs/fleet", "in the way\n");

    for force in [false, true] {
        let mut args = vec!["kill", "stuck", "--delete-branch"];
        args.extend(force.then_some("--force"));
        let said = refusal(&env, &repo, args, 1);
        let error = &said["error"];
        assert!(text(&error["message"]).contains("could not end `stuck`"), "{said}");
        assert!(error["hint"].is_string(), "{said}");
        assert_eq!(fs::read_to_string(dir.join("work.txt")).expect("there"), "precious\n");
        assert!(env.git(&repo, ["rev-parse", "--verify", "stuck"]).status.success());
        assert_eq!(listed(&env).len(), 2, "it is still listed");
    }
    // Others are none the worse for it, and a repair says what it could not do.
    let killed = refusal(&env, &repo, ["kill", "*"], 1);
    let agents = killed["agents"].as_array().expect("a list");
    assert!(
        agents
            .iter()
            .any(|each| each["branch"] == "beside" && each["ended"].is_object()),
        "{killed}"
    );
    assert!(
        agents
            .iter()
            .any(|each| each["branch"] == "stuck" && each["error"].is_object()),
        "{killed}"
    );
    assert!(!worktree(&beside).exists());
    let repaired = fleet(&env, &repo, ["list", "--repair"]).output();
    let said = format!("{}{}", repaired.stdout, repaired.stderr);
    assert!(said.contains("stuck"), "{repaired}");
    assert_eq!(fs::read_to_string(dir.join("work.txt")).expect("there"), "precious\n");

    fs::remove_file(repo.join(".git/refs/fleet")).expect("removed");
    let killed = answer(&env, &repo, ["kill", "stuck"]);
    assert!(
        killed["agents"][0]["ended"]["salvage"]["reference"].is_string(),
        "{killed}"
    );
    let restored = answer(&env, &repo, ["salvage", "restore", "stuck"]);
    assert_eq!(
        fs::read_to_string(worktree(&restored).join("work.txt")).expect("back"),
        "precious\n"
    );
}

#[test]
fn restoring_twice_makes_two_worktrees_and_never_touches_the_first() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 2);
    let dir = worktree(&create(&env, &repo, "twice"));
    write(&dir, "work.txt", "work\n");
    let _ = answer(&env, &repo, ["kill", "twice"]);
    let first = worktree(&answer(&env, &repo, ["salvage", "restore", "twice"]));
    write(&first, "work.txt", "changed since\n");
    let second = worktree(&answer(&env, &repo, ["salvage", "restore", "twice"]));
    assert_ne!(first, second);
    assert_eq!(
        fs::read_to_string(first.join("work.txt")).expect("there"),
        "changed since\n"
    );
    assert_eq!(fs::read_to_string(second.join("work.txt")).expect("there"), "work\n");
    let said = refusal(&env, &repo, ["salvage", "restore", "twic"], 3);
    assert!(text(&said["error"]["hint"]).contains("twice"), "{said}");
}

#[test]
fn an_empty_trash_holds_nothing_and_one_beside_worktrees_elsewhere_counts() {
    let env = TestEnv::new();
    env.config_with_scripted("worktree_root = \"~/elsewhere\"\ntrash_budget_mb = 1\n");
    let repo = env.repo("repo", 2);
    fs::create_dir(env.home().join("elsewhere")).expect("a folder");
    let trash_of = |checks: &Value| -> Value {
        let checks = checks["checks"].as_array().expect("checks").clone();
        checks
            .into_iter()
            .find(|check| check["what"] == "trash")
            .expect("of the trash")
    };
    let empty = answer(&env, &repo, ["doctor"]);
    assert_eq!(trash_of(&empty)["found"], "0 B", "{empty}");

    // A fifo is kept in the trash, with the whole worktree; that must be one move, so it is on the same file system.
    let lines = "mount -t tmpfs -o mode=700 tmpfs \"$HOME/elsewhere\"
        \"$FLEET\" create work --wait ready > /dev/null
        dir=$(\"$FLEET\" path work)
        head -c 3000000 /dev/zero > \"$dir/big\"
        mkfifo \"$dir/fifo\"
        \"$FLEET\" kill work --force > \"$ROOT/kill.txt\" 2>&1
        \"$FLEET\" doctor --json > \"$ROOT/doctor.json\"
        \"$FLEET\" clean --json > \"$ROOT/clean.json\"
        \"$FLEET\" list --json > \"$ROOT/list.json\"
        sed -i 's,~/elsewhere,~/another,' \"$FLEET_HOME/config.toml\"
        \"$FLEET\" doctor --json > \"$ROOT/moved.json\"";
    let Some(done) = env.in_namespace(&repo, lines) else {
        return;
    };
    let _ = done.success();
    let read = |name: &str| -> Value {
        let bytes = fs::read(env.root().join(name)).expect("an answer");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    assert!(
        fs::read_to_string(env.root().join("kill.txt"))
            .expect("told")
            .contains("elsewhere/.fleet-trash/")
    );
    for name in ["doctor.json", "moved.json"] {
        let check = trash_of(&read(name));
        assert_eq!(check["level"], "warning", "{check}");
        assert!(text(&check["found"]).starts_with("the trash holds 3 MB"), "{check}");
    }
    let clean = read("clean.json");
    assert!(clean["trash_bytes"].as_u64() >= Some(3_000_000), "{clean}");
    assert!(clean["worktree_bytes"].as_u64() < Some(1_000_000), "{clean}");
    let list = read("list.json");
    assert!(
        text(&list["warnings"][0]).starts_with("the trash holds 3 MB, more than its budget of 1 MB"),
        "{list}"
    );
    env.assert_nothing_left();
}

#[test]
fn a_removal_that_was_cut_off_is_completed_wherever_the_workspace_went() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 2);
    let made = create(&env, &repo, "work");
    let (dir, id) = (worktree(&made), text(&made["id"]));
    let _ = fleet(&env, &repo, ["kill", "work", "--force"]).output().success();

    let beside = dir.parent().expect("a folder").join(".fleet-trash").join(&id);
    let own = env.fleet_home().join("trash").join(&id);
    for left in [&beside, &own] {
        fs::create_dir_all(left.join("worktree")).expect("made");
        fs::write(left.join("worktree/file"), "half removed").expect("written");
    }
    let told = fleet(&env, &repo, ["list", "--repair"]).output().success().stdout;
    assert_eq!(told.matches("completed the removal").count(), 2, "{told}");
    assert!(!beside.exists() && !own.exists());
}
