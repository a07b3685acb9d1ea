//! What trial merges find, and what they do not mistake for something else.

use std::fs;

use super::{Stage, clashes, fates};
use crate::drive::{answer, fleet};

#[test]
fn conflicts_of_every_kind_are_named_by_file_and_agent() {
    let stage = Stage::new();
    stage.commit(
        &stage.repo,
        "more",
        &[
            ("gone.txt", "x\n"),
            ("image.bin", "\0\u{1}old"),
            ("old/name.txt", "1\n2\n3\n4\n"),
        ],
    );
    let first = stage.agent(
        "first",
        &[
            ("list.txt", "FIRST\ntwo\n"),
            ("place", "a file\n"),
            ("image.bin", "\0\u{1}first"),
            ("both.txt", "first\n"),
            ("gone.txt", "y\n"),
        ],
    );
    let _ = stage.env.git(&first, ["mv", "old/name.txt", "old/one.txt"]).success();
    stage.env.commit_all(&first, "renamed");
    let second = stage.agent(
        "second",
        &[
            ("list.txt", "SECOND\ntwo\nthree\nfour\n"),
            ("place/inner.txt", "in a folder\n"),
            ("image.bin", "\0\u{1}second"),
            ("both.txt", "second\n"),
            ("more.txt", "so that it is the larger\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
        ],
    );
    let _ = stage.env.git(&second, ["mv", "old/name.txt", "old/two.txt"]).success();
    let _ = stage.env.git(&second, ["rm", "--quiet", "gone.txt"]).success();
    stage.env.commit_all(&second, "renamed and removed");
    let dry = stage.merge_fails(&["first", "second", "--dry-run"], 4);
    assert_eq!(fates(&dry), ["first ready", "second conflict"], "{dry}");
    let found = clashes(&dry, "second");
    for wanted in [
        "both.txt contents first",
        "gone.txt modify/delete first",
        "image.bin binary first",
        "list.txt contents first",
        "old/name.txt rename/rename first",
        "place file/directory first",
    ] {
        assert!(found.iter().any(|each| each == wanted), "{wanted}: {found:?}");
    }
    let page = fleet(&stage.env, &stage.repo, ["merge", "first", "second"])
        .output()
        .fails(4);
    assert!(
        page.stdout.contains("second: list.txt (contents), with `first`"),
        "{page}"
    );
    assert!(page.stdout.contains("landed 1 branch on `main`"), "{page}");
    stage.end();
}

#[test]
fn changes_of_one_file_in_different_places_and_of_a_renamed_file_are_no_conflict() {
    let stage = Stage::new();
    let list = fs::read_to_string(stage.repo.join("list.txt")).expect("the list");
    stage.agent("top", &[("list.txt", &list.replace("one", "ONE"))]);
    let moved = stage.agent("moved", &[]);
    let _ = stage.env.git(&moved, ["mv", "list.txt", "names.txt"]).success();
    stage.env.commit_all(&moved, "moved");
    stage.agent("end", &[("list.txt", &list.replace("nine", "NINE"))]);
    let done = stage.merge(&["*"]);
    assert_eq!(fates(&done), ["end landed", "top landed", "moved landed"], "{done}");
    let names = fs::read_to_string(stage.repo.join("names.txt")).expect("the moved list");
    assert!(names.starts_with("ONE\n") && names.ends_with("NINE\n"), "{names}");
    stage.end();
}

#[test]
fn a_conflict_with_what_the_target_got_meanwhile_names_the_target() {
    let stage = Stage::new();
    stage.agent("late", &[("list.txt", "LATE\ntwo\n")]);
    stage.commit(&stage.repo, "meanwhile", &[("list.txt", "MEANWHILE\ntwo\n")]);
    let done = stage.merge_fails(&["late"], 4);
    assert_eq!(fates(&done), ["late conflict"]);
    assert_eq!(clashes(&done, "late"), ["list.txt contents main"]);
    assert_eq!(
        (
            done["branches"][0]["ahead"].as_u64(),
            done["branches"][0]["behind"].as_u64()
        ),
        (Some(1), Some(1))
    );
    stage.end();
}

#[test]
fn attributes_of_the_repository_hold_for_merges_without_a_checkout() {
    let stage = Stage::new();
    stage.commit(
        &stage.repo,
        "attributes",
        &[(".gitattributes", "list.txt merge=union\n")],
    );
    stage.agent("a", &[("list.txt", "A\n")]);
    stage.agent("b", &[("list.txt", "B\n")]);
    assert_eq!(fates(&stage.merge(&["a", "b"])), ["a landed", "b landed"]);
    stage.end();
}

#[test]
fn a_branch_without_a_commit_and_one_that_was_merged_by_hand_have_nothing_to_land() {
    let stage = Stage::new();
    stage.agent("empty", &[]);
    stage.agent("done", &[("done.txt", "x\n")]);
    stage.git(&["merge", "--quiet", "--no-ff", "-m", "by hand", "done"]);
    // Also one whose changes came in another way.
    stage.agent("picked", &[("picked.txt", "x\n")]);
    stage.git(&["cherry-pick", "picked"]);
    let before = stage.main();
    let done = stage.merge(&["*"]);
    assert_eq!(fates(&done), ["done already_in", "empty empty", "picked already_in"]);
    assert_eq!(stage.main(), before);
    stage.end();
}

#[test]
fn the_forecast_of_living_agents_counts_what_is_in_no_commit_and_touches_nothing() {
    let stage = Stage::new();
    let a = stage.agent("a", &[]);
    let b = stage.agent("b", &[]);
    fs::write(a.join("list.txt"), "A\n").expect("written");
    fs::write(a.join("new.txt"), "a\n").expect("written");
    fs::write(b.join("new.txt"), "b\n").expect("written");
    let state = || {
        let of = |folder| {
            let status = stage
                .env
                .git(folder, ["--no-optional-locks", "status", "--porcelain"])
                .success()
                .stdout;
            (
                status,
                fs::metadata(
                    stage
                        .repo
                        .join(".git/worktrees")
                        .join(folder.file_name().expect("a name"))
                        .join("index"),
                )
                .expect("an index")
                .modified()
                .expect("a time"),
            )
        };
        (
            of(&a),
            of(&b),
            stage.git(&["count-objects", "-v"]),
            stage.git(&["for-each-ref"]),
        )
    };
    let before = state();
    let forecast = stage.merge_fails(&["a", "b", "--dry-run", "--live"], 4);
    assert_eq!(state(), before);
    assert_eq!(forecast["conflicts"][0]["files"][0], "new.txt", "{forecast}");
    assert_eq!(fates(&forecast), ["b ready", "a conflict"]);
    let refused = answer_of_usage(&stage);
    assert!(refused.contains("--dry-run"), "{refused}");
    stage.end();
}

fn answer_of_usage(stage: &Stage) -> String {
    fleet(&stage.env, &stage.repo, ["merge", "a", "--live"])
        .output()
        .fails(2)
        .stderr
}

#[test]
fn a_hundred_files_and_odd_names_are_told_whole() {
    let stage = Stage::new();
    let names: Vec<String> = (0..100).map(|n| format!("dir {n}/ä \"q\" {n}.txt")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x\n")).collect();
    stage.agent("many", &files);
    let done = stage.merge(&["many"]);
    let told: Vec<&str> = done["branches"][0]["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file.as_str())
        .collect();
    assert_eq!(told.len(), 100);
    assert!(told.contains(&"dir 7/ä \"q\" 7.txt"), "{told:?}");
    assert_eq!(done["branches"][0]["added"], 100);
    let _ = answer(&stage.env, &stage.repo, ["list"]);
    stage.end();
}
