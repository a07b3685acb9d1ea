//! `integrate claude`: skills are installed, kept where they are somebody else's, and taken away again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{answer, fleet};

const FILES: usize = 17;

fn skills(env: &TestEnv) -> PathBuf {
    env.home().join(".claude/skills")
}

/// How many files had each outcome.
#[track_caller]
fn outcomes(done: &Value) -> Vec<(String, usize)> {
    let files = done["files"].as_array().expect("files");
    let mut found: Vec<(String, usize)> = Vec::new();
    for file in files {
        let outcome = file["outcome"].as_str().expect("a word").to_owned();
        match found.iter_mut().find(|(each, _)| *each == outcome) {
            Some((_, count)) => *count += 1,
            None => found.push((outcome, 1)),
        }
    }
    found.sort();
    found
}

#[track_caller]
fn all(env: &TestEnv, args: &[&str], outcome: &str) {
    let done = answer(env, env.root(), [&["integrate", "claude"], args].concat());
    assert_eq!(outcomes(&done), [(outcome.to_owned(), FILES)], "{done:#}");
}

/// The files below a folder, sorted, with their bytes.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(each) = open.pop() {
        for entry in fs::read_dir(&each).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => open.push(path),
                false => found.push((path.clone(), fs::read(path).expect("readable"))),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_skills_are_installed_once_and_taken_away_again() {
    let env = TestEnv::new();
    all(&env, &["--dry-run"], "written");
    assert!(!env.home().join(".claude").exists(), "a dry run makes nothing");
    all(&env, &[], "written");
    let first = tree(&skills(&env));
    assert_eq!(first.len(), FILES - 1, "the settings are beside them");
    let script = skills(&env).join("dag-fleet/scripts/launch.sh");
    let mode = fs::metadata(script).expect("a script").permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    all(&env, &[], "current");
    assert_eq!(tree(&skills(&env)), first);
    all(&env, &["--remove", "--dry-run"], "removed");
    assert_eq!(tree(&skills(&env)), first);
    fs::create_dir(skills(&env).join("mine")).expect("a folder");
    all(&env, &["--remove"], "removed");
    let left: Vec<_> = fs::read_dir(skills(&env))
        .expect("stays")
        .flatten()
        .map(|each| each.file_name())
        .collect();
    assert_eq!(left, ["mine"]);
    all(&env, &["--remove"], "absent");
}

#[test]
fn the_scripts_are_fleets_own_verbs_with_the_same_arguments() {
    let env = TestEnv::new();
    all(&env, &[], "written");
    let bin = env.root().join("bin");
    fs::create_dir(&bin).expect("a folder");
    let said = env.root().join("said");
    let script = format!("#!/bin/sh\nprintf '%s|' \"$@\" >> '{}'\n", said.display());
    fs::write(bin.join("fleet"), script).expect("written");
    fs::set_permissions(bin.join("fleet"), fs::Permissions::from_mode(0o755)).expect("a program");
    for verb in ["launch", "status"] {
        let script = skills(&env).join(format!("worktree-fleet/scripts/{verb}.sh"));
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let run = env.program(script, ["/a b/root", "--dry-run"]).env("PATH", path);
        let _ = run.output().success();
    }
    let said = fs::read_to_string(said).expect("what was said");
    assert_eq!(said, "launch|/a b/root|--dry-run|status|/a b/root|--dry-run|");
}

#[test]
fn what_the_user_has_changed_or_written_is_kept_and_said() {
    let env = TestEnv::new();
    all(&env, &[], "written");
    let changed = skills(&env).join("fleet-plan/SKILL.md");
    let text = fs::read_to_string(&changed).expect("a skill");
    fs::write(&changed, text.replace("# Plan a fleet", "# Plan my fleet")).expect("written");
    let theirs = skills(&env).join("dag-fleet/SKILL.md");
    fs::write(&theirs, "mine\n").expect("written");
    let before = tree(&skills(&env));
    let done = fleet(&env, env.root(), ["integrate", "claude"]).output().success();
    assert!(
        done.stdout
            .contains(&format!("kept {} (it was changed)", changed.display())),
        "{done}"
    );
    assert!(
        done.stdout
            .contains(&format!("kept {} (fleet did not write it)", theirs.display())),
        "{done}"
    );
    assert!(done.stderr.contains("`fleet integrate claude --force`"), "{done}");
    assert_eq!(tree(&skills(&env)), before);
    let removed = answer(&env, env.root(), ["integrate", "claude", "--remove"]);
    assert_eq!(
        outcomes(&removed),
        [("kept".to_owned(), 2), ("removed".to_owned(), FILES - 2)]
    );
    assert_eq!(fs::read_to_string(&theirs).expect("kept"), "mine\n");

    let forced = answer(&env, env.root(), ["integrate", "claude", "--force"]);
    assert_eq!(
        outcomes(&forced),
        [("replaced".to_owned(), 2), ("written".to_owned(), FILES - 2)]
    );
    assert_eq!(fs::read_to_string(&changed).expect("anew"), text);
    let beside = theirs.with_file_name("SKILL.md.before-fleet");
    assert_eq!(fs::read_to_string(beside).expect("moved"), "mine\n");
}

#[test]
fn an_older_skill_of_fleet_is_updated() {
    let env = TestEnv::new();
    all(&env, &[], "written");
    // As an older version wrote it: another text, with the mark that fits it.
    let index = skills(&env).join("fleet/FLEET-INDEX.md");
    let body = "# Older\n";
    let digest = env.program("sha256sum", ["-"]).stdin(body).output().success().stdout;
    fs::write(
        &index,
        format!("{body}<!-- written by fleet integrate, {} -->\n", &digest[..16]),
    )
    .expect("written");
    let done = answer(&env, env.root(), ["integrate", "claude"]);
    assert_eq!(
        outcomes(&done),
        [("current".to_owned(), FILES - 1), ("updated".to_owned(), 1)]
    );
}

#[test]
fn a_repository_has_skills_of_its_own_and_the_tracked_copy_is_the_same() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    let done = answer(&env, &repo.join("dir0"), ["integrate", "claude", "--project"]);
    assert_eq!(done["folder"], repo.join(".claude/skills").display().to_string());
    assert!(!env.home().join(".claude").exists());
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills");
    let plain = |folder: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let files = tree(folder).into_iter();
        files
            .map(|(path, text)| (path.strip_prefix(folder).expect("below").to_owned(), text))
            .collect()
    };
    assert_eq!(plain(&repo.join(".claude/skills")), plain(&copy));
    let outside = fleet(&env, env.root(), ["integrate", "claude", "--project"]).output();
    assert!(!outside.status.success(), "{outside}");
}

#[test]
fn links_are_followed_as_folders_and_kept_as_files() {
    let env = TestEnv::new();
    let elsewhere = env.root().join("dotfiles");
    fs::create_dir_all(&elsewhere).expect("a folder");
    fs::create_dir(env.home().join(".claude")).expect("a folder");
    symlink(&elsewhere, skills(&env)).expect("a link");
    fs::create_dir(elsewhere.join("fleet")).expect("a folder");
    fs::write(env.root().join("index.md"), "theirs\n").expect("written");
    symlink(env.root().join("index.md"), elsewhere.join("fleet/FLEET-INDEX.md")).expect("a link");
    let done = answer(&env, env.root(), ["integrate", "claude"]);
    assert_eq!(
        outcomes(&done),
        [("kept".to_owned(), 1), ("written".to_owned(), FILES - 1)]
    );
    assert!(elsewhere.join("fleet-plan/SKILL.md").is_file());
    let _ = answer(&env, env.root(), ["integrate", "claude", "--remove"]);
    assert!(skills(&env).is_symlink() && elsewhere.is_dir());
    assert_eq!(tree(&elsewhere).len(), 1, "the link of the user");
    assert_eq!(
        fs::read_to_string(env.root().join("index.md")).expect("theirs"),
        "theirs\n"
    );
}

#[test]
fn the_folder_of_claude_codes_own_variable_is_taken() {
    let env = TestEnv::new();
    let own = env.root().join("own");
    let run = fleet(&env, env.root(), ["integrate", "claude"]).env("CLAUDE_CONFIG_DIR", &own);
    let _ = run.output().success();
    assert!(own.join("skills/fleet-plan/SKILL.md").is_file());
    assert!(!env.home().join(".claude").exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let env = TestEnv::new();
    // A file where the folder should be: nobody can write there, root neither.
    fs::write(env.home().join(".claude"), "x").expect("written");
    let done = fleet(&env, env.root(), ["integrate", "claude"]).output();
    assert!(!done.status.success(), "{done}");
    assert!(done.stderr.contains(&skills(&env).display().to_string()), "{done}");
    let both = fleet(&env, env.root(), ["integrate", "claude", "--remove", "--force"]).output();
    let _ = both.fails(2);
}
