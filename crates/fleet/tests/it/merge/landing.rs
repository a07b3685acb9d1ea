//! What lands, and how.

use std::fs;

use super::{Stage, clashes, fates};
use crate::drive::{answer, fleet};

#[test]
fn branches_land_one_by_one_and_the_clean_checkout_moves_along() {
    let stage = Stage::new();
    stage.agent("large", &[("large.txt", "1\n2\n3\n4\n")]);
    stage.agent("small", &[("small.txt", "1\n")]);
    let before = stage.main();
    let done = stage.merge(&["large", "small"]);
    assert_eq!(fates(&done), ["small landed", "large landed"], "{done}");
    assert_eq!(done["before"], before.as_str());
    assert_eq!(done["after"], stage.main().as_str());
    assert!(stage.repo.join("small.txt").exists() && stage.repo.join("large.txt").exists());
    assert_eq!(stage.git(&["status", "--porcelain"]), "");
    let subjects = stage.git(&["log", "--first-parent", "--format=%s", &format!("{before}..main")]);
    assert_eq!(
        subjects,
        "Merge branch 'large' into main\nMerge branch 'small' into main"
    );
    // The user is known to git here, so the merges are in their name.
    assert_eq!(
        stage.git(&["log", "-1", "--format=%an %ae"]),
        "Test test@example.invalid"
    );
    assert!(
        stage.git(&["branch", "--list", "small"]).contains("small"),
        "no branch is deleted"
    );
    let again = stage.merge(&["*"]);
    assert_eq!(fates(&again), ["large already_in", "small already_in"]);
    assert_eq!(again["before"], again["after"]);
    stage.end();
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let stage = Stage::new();
    stage.agent("a", &[("list.txt", "A\ntwo\n")]);
    stage.agent("b", &[("list.txt", "B\ntwo\nthree\n")]);
    stage.agent("c", &[("c.txt", "c\n")]);
    let state = || {
        let refs = stage.git(&["for-each-ref"]);
        let objects = stage.git(&["count-objects", "-v"]);
        let files: Vec<_> = fs::read_dir(stage.repo.join(".git"))
            .expect("the git directory")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        (refs, objects, files.len(), stage.git(&["status", "--porcelain"]))
    };
    let before = state();
    let dry = stage.merge_fails(&["*", "--dry-run"], 4);
    assert_eq!(state(), before);
    assert_eq!(fates(&dry), ["c ready", "b ready", "a conflict"], "{dry}");
    assert_eq!(clashes(&dry, "a"), ["list.txt contents b"]);
    assert_eq!(dry["conflicts"][0]["a"], "a");
    assert_eq!(dry["conflicts"][0]["b"], "b");
    assert_eq!(dry["conflicts"][0]["files"][0], "list.txt");
    let done = stage.merge_fails(&["*"], 4);
    assert_eq!(fates(&done), ["c landed", "b landed", "a conflict"], "{done}");
    stage.end();
}

#[test]
fn squashed_branches_are_one_commit_each_and_are_known_again() {
    let stage = Stage::new();
    let one = stage.agent("one", &[("list.txt", "ONE\n")]);
    stage.commit(&one, "more", &[("more.txt", "more\n")]);
    let before = stage.main();
    let done = stage.merge(&["one", "--squash"]);
    assert_eq!(fates(&done), ["one landed"]);
    assert_eq!(stage.git(&["rev-list", "--count", &format!("{before}..main")]), "1");
    let message = stage.git(&["log", "-1", "--format=%B"]);
    assert!(
        message.starts_with("Squash branch 'one'\n\n- one\n- more\n"),
        "{message}"
    );
    // The same lines change again: a second merge would be a conflict.
    stage.commit(&stage.repo, "later", &[("list.txt", "LATER\n")]);
    assert_eq!(fates(&stage.merge(&["one", "--squash"])), ["one already_in"]);
    stage.end();
}

#[test]
fn a_branch_that_is_checked_out_nowhere_is_moved_and_no_checkout_is_touched() {
    let stage = Stage::new();
    stage.git(&["branch", "release"]);
    stage.agent("a", &[("a.txt", "a\n")]);
    fs::write(stage.repo.join("list.txt"), "the user types here\n").expect("written");
    let done = stage.merge(&["a", "--into", "release"]);
    assert_eq!(fates(&done), ["a landed"]);
    assert_eq!(stage.git(&["show", "release:a.txt"]), "a");
    assert!(!stage.repo.join("a.txt").exists());
    assert_eq!(stage.git(&["status", "--porcelain"]), "M list.txt");
    stage.end();
}

#[test]
fn a_branch_that_is_checked_out_in_another_worktree_moves_together_with_it() {
    let stage = Stage::new();
    let other = stage.env.root().join("other");
    stage.git(&[
        "worktree",
        "add",
        "--quiet",
        "-b",
        "release",
        other.to_str().expect("text"),
    ]);
    stage.agent("a", &[("a.txt", "a\n")]);
    let done = stage.merge(&["a", "--into", "release"]);
    assert_eq!(fates(&done), ["a landed"]);
    assert!(other.join("a.txt").exists());
    assert_eq!(stage.env.git(&other, ["status", "--porcelain"]).success().stdout, "");
    fs::write(other.join("list.txt"), "half done\n").expect("written");
    stage.agent("b", &[("b.txt", "b\n")]);
    let refused = stage.merge_fails(&["b", "--into", "release"], 5);
    assert!(
        refused["error"]["message"]
            .as_str()
            .expect("text")
            .contains("not committed"),
        "{refused}"
    );
    stage.git(&["worktree", "remove", "--force", other.to_str().expect("text")]);
    stage.end();
}

#[test]
fn the_branch_of_an_ended_agent_can_be_merged_unless_a_living_one_fits() {
    let stage = Stage::new();
    stage.agent("kept-a", &[("a.txt", "a\n")]);
    stage.agent("kept-b", &[("b.txt", "b\n")]);
    let _ = fleet(&stage.env, &stage.repo, ["kill", "kept-a"]).output().success();
    // The user has thrown one away, so a pattern means the other.
    assert_eq!(fates(&stage.merge(&["kept-*"])), ["kept-b landed"]);
    assert_eq!(fates(&stage.merge(&["kept-a"])), ["kept-a landed"]);
    let _ = answer(&stage.env, &stage.repo, ["kill", "kept-b", "--delete-branch"]);
    let gone = stage.merge_fails(&["kept-b"], 3);
    assert_eq!(gone["error"]["kind"], "not_found");
    stage.end();
}

#[test]
fn submodules_land_as_git_has_them_and_do_not_make_the_checkout_dirty() {
    let stage = Stage::new();
    let inner = stage.env.repo("inner", 1);
    let first = stage
        .env
        .git(&inner, ["rev-parse", "HEAD"])
        .success()
        .stdout
        .trim()
        .to_owned();
    stage.env.commit_all(&inner, "second");
    let second = stage
        .env
        .git(&inner, ["rev-parse", "HEAD"])
        .success()
        .stdout
        .trim()
        .to_owned();
    let address = inner.to_str().expect("text");
    stage.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        address,
        "sub",
    ]);
    let _ = stage
        .env
        .git(&stage.repo.join("sub"), ["checkout", "--quiet", &first])
        .success();
    stage.env.commit_all(&stage.repo, "a submodule");
    let bump = stage.agent("bump", &[("note.txt", "bumped\n")]);
    let _ = stage
        .env
        .git(&bump, ["update-index", "--cacheinfo", &format!("160000,{second},sub")])
        .success();
    let _ = stage.env.git(&bump, ["commit", "--quiet", "-m", "bump"]).success();
    stage.agent("plain", &[("plain.txt", "x\n")]);
    assert_eq!(fates(&stage.merge(&["bump"])), ["bump landed"]);
    assert!(stage.git(&["ls-tree", "main", "sub"]).contains(&second));
    // The submodule's own checkout is the user's to update; that is no change of theirs.
    assert_eq!(fates(&stage.merge(&["plain"])), ["plain landed"]);
    assert_eq!(
        stage
            .env
            .git(&stage.repo.join("sub"), ["rev-parse", "HEAD"])
            .success()
            .stdout
            .trim(),
        first
    );
    stage.end();
}
