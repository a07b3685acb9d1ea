//! What is not merged, and that nothing is half done then.

use std::fs;

use super::{Stage, fates};
use crate::drive::{fleet, text};

fn message(answer: &serde_json::Value) -> String {
    text(&answer["error"]["message"])
}

#[test]
fn a_dirty_checkout_is_refused_before_anything() {
    let stage = Stage::new();
    stage.agent("a", &[("a.txt", "a\n")]);
    stage.agent("b", &[("b.txt", "b\n")]);
    let before = stage.main();
    fs::write(stage.repo.join("list.txt"), "the user types here\n").expect("written");
    let refused = stage.merge_fails(&["a", "b"], 5);
    assert!(
        message(&refused).contains("1 change not committed: list.txt"),
        "{refused}"
    );
    assert!(text(&refused["error"]["hint"]).contains("git -C "), "{refused}");
    assert_eq!(stage.main(), before);
    // A dry run tells of it and answers all the same.
    let page = fleet(&stage.env, &stage.repo, ["merge", "a", "--dry-run"])
        .output()
        .success();
    assert!(page.stderr.contains("not committed"), "{page}");
    // A file that git does not know is in nobody's way, unless it is.
    stage.git(&["checkout", "--quiet", "list.txt"]);
    fs::write(stage.repo.join("a.txt"), "the user's own\n").expect("written");
    fs::write(stage.repo.join("notes.txt"), "mine\n").expect("written");
    let refused = stage.merge_fails(&["a", "b"], 5);
    assert!(message(&refused).contains("in the way: a.txt"), "{refused}");
    assert_eq!(stage.main(), before);
    assert_eq!(fates(&stage.merge(&["b"])), ["b landed"]);
    assert_eq!(
        fs::read_to_string(stage.repo.join("a.txt")).expect("kept"),
        "the user's own\n"
    );
    stage.end();
}

#[test]
fn an_ignored_file_of_the_user_is_not_written_over() {
    let stage = Stage::new();
    stage.commit(&stage.repo, "ignore", &[(".gitignore", "*.local\n")]);
    let a = stage.agent("a", &[]);
    fs::write(a.join("x.local"), "the agent's\n").expect("written");
    let _ = stage.env.git(&a, ["add", "--force", "x.local"]).success();
    let _ = stage.env.git(&a, ["commit", "--quiet", "-m", "forced"]).success();
    fs::write(stage.repo.join("x.local"), "the user's\n").expect("written");
    let before = stage.main();
    let refused = stage.merge_fails(&["a"], 5);
    assert!(message(&refused).contains("written over"), "{refused}");
    assert_eq!(stage.main(), before);
    assert_eq!(
        fs::read_to_string(stage.repo.join("x.local")).expect("kept"),
        "the user's\n"
    );
    stage.end();
}

#[test]
fn uncommitted_work_and_a_worktree_on_something_else_are_named_and_left() {
    let stage = Stage::new();
    let dirty = stage.agent("dirty", &[("dirty.txt", "x\n")]);
    fs::write(dirty.join("unsaved.txt"), "x\n").expect("written");
    let away = stage.agent("away", &[("away.txt", "x\n")]);
    let _ = stage.env.git(&away, ["checkout", "--quiet", "-b", "side"]).success();
    stage.agent("fine", &[("fine.txt", "x\n")]);
    let done = stage.merge_fails(&["*"], 5);
    assert_eq!(
        fates(&done),
        ["fine landed", "away elsewhere", "dirty uncommitted"],
        "{done}"
    );
    assert!(text(&done["branches"][2]["why"]).contains("unsaved.txt"), "{done}");
    assert!(text(&done["branches"][1]["why"]).contains("`side`"), "{done}");
    assert!(dirty.join("unsaved.txt").exists());
    stage.end();
}

#[test]
fn a_checkout_on_no_branch_or_in_the_middle_of_something_is_refused() {
    let stage = Stage::new();
    stage.agent("a", &[("a.txt", "a\n")]);
    stage.git(&["checkout", "--quiet", "--detach"]);
    let refused = stage.merge_fails(&["a"], 2);
    assert!(text(&refused["error"]["hint"]).contains("--into main"), "{refused}");
    assert_eq!(fates(&stage.merge(&["a", "--into", "main"])), ["a landed"]);
    stage.agent("b", &[("b.txt", "b\n")]);
    stage.git(&["checkout", "--quiet", "main"]);
    // A rebase of main that waits for the user: HEAD is on no branch meanwhile.
    stage.git(&["branch", "onto", "HEAD~1"]);
    stage.commit(&stage.repo, "mine", &[("list.txt", "MINE\n")]);
    stage.git(&["checkout", "--quiet", "onto"]);
    stage.commit(&stage.repo, "theirs", &[("list.txt", "THEIRS\n")]);
    let _ = stage.env.git(&stage.repo, ["rebase", "onto", "main"]).fails(1);
    let refused = stage.merge_fails(&["b", "--into", "main"], 5);
    assert!(
        message(&refused).contains("a rebase of `main` is under way"),
        "{refused}"
    );
    stage.git(&["rebase", "--abort"]);
    stage.end();
}

#[test]
fn what_is_no_target_is_said_with_the_nearest_one() {
    let stage = Stage::new();
    stage.agent("a", &[("a.txt", "a\n")]);
    let unknown = stage.merge_fails(&["a", "--into", "mian"], 3);
    assert!(text(&unknown["error"]["hint"]).contains("--into main"), "{unknown}");
    let own = stage.merge_fails(&["a", "--into", "a"], 2);
    assert!(message(&own).contains("into itself"), "{own}");
    stage.agent("b", &[("b.txt", "b\n")]);
    let live = stage.merge_fails(&["a", "--into", "b"], 5);
    assert!(message(&live).contains("an agent works on `b`"), "{live}");
    let empty = stage.merge_fails(&["a", "--gate", " "], 2);
    assert!(message(&empty).contains("empty"), "{empty}");
    let _ = fleet(&stage.env, &stage.repo, ["create", "here", "--here"])
        .output()
        .success();
    let here = stage.merge_fails(&["here"], 5);
    assert_eq!(fates(&here), ["here no_branch"]);
    stage.end();
}
