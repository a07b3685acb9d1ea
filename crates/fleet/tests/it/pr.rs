//! Pull requests, against a server of the test's own, a bare repository and a recording `gh`.

mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleet_testkit::{Cmd, TestEnv};
use serde_json::{Value, json};

use self::server::Server;
use crate::drive::{answer, fleet, text};

const TOKEN: &str = "t0ken-that-shows-nowhere";

/// A repository whose remote is a forge of the test's own, with an agent on `fix`.
struct Stage {
    env: TestEnv,
    repo: PathBuf,
    bare: PathBuf,
    worktree: PathBuf,
    server: Server,
}

impl Stage {
    fn new() -> Stage {
        let env = TestEnv::new();
        env.config_with_scripted("");
        let repo = env.repo("repo", 2);
        let bare = env.root().join("forge.git");
        let _ = env
            .git(
                env.root(),
                ["init", "--quiet", "--bare", "-b", "main", bare.to_str().expect("text")],
            )
            .success();
        let server = Server::start();
        let address = format!("http://127.0.0.1:{}/o/r.git", server.port());
        for (name, value) in [("url", address.as_str()), ("pushurl", bare.to_str().expect("text"))] {
            let _ = env
                .git(&repo, ["config", &format!("remote.origin.{name}"), value])
                .success();
        }
        let _ = env.git(&repo, ["push", "--quiet", "origin", "main"]).success();
        let made = answer(&env, &repo, ["create", "fix"]);
        let worktree: PathBuf = text(&made["agents"][0]["worktree"]).into();
        let stage = Stage {
            env,
            repo,
            bare,
            worktree,
            server,
        };
        stage.commit("fix.txt", "Fix the login\n\nIt was broken.");
        stage
    }

    fn commit(&self, file: &str, message: &str) {
        fs::write(self.worktree.join(file), "x\n").expect("written");
        self.env.commit_all(&self.worktree, message);
    }

    /// A run of `pr` without a `gh`, with a token.
    fn pr(&self, args: &[&str]) -> Cmd {
        let run = fleet(&self.env, &self.repo, [&["pr", "fix"], args].concat());
        let run = run.env("PATH", self.path_without_gh());
        run.env("GH_TOKEN", TOKEN)
            .env("GITEA_TOKEN", TOKEN)
            .env("GITLAB_TOKEN", TOKEN)
    }

    fn opened(&self, args: &[&str]) -> Value {
        self.pr(args).arg("--json").output().success().json()
    }

    /// The programs that are needed, and no others.
    fn path_without_gh(&self) -> PathBuf {
        let folder = self.env.root().join("bin");
        if !folder.exists() {
            fs::create_dir(&folder).expect("made");
            let path = std::env::var_os("PATH").expect("a PATH");
            for program in ["git", "sh", "tmux", "cat", "env", "true"] {
                let found = std::env::split_paths(&path)
                    .map(|dir| dir.join(program))
                    .find(|file| file.exists());
                if let Some(found) = found {
                    std::os::unix::fs::symlink(found, folder.join(program)).expect("linked");
                }
            }
        }
        folder
    }

    fn remote_tip(&self) -> String {
        self.env
            .git(&self.bare, ["rev-parse", "refs/heads/fix"])
            .success()
            .stdout
    }

    fn local_tip(&self) -> String {
        self.env
            .git(&self.repo, ["rev-parse", "refs/heads/fix"])
            .success()
            .stdout
    }

    /// Looks that the token is in no file and ends the agent.
    fn end(self) {
        let mut waiting = vec![self.env.root().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let kind = entry.file_type().expect("a kind");
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if kind.is_file() {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    let holds = bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes());
                    assert!(!holds, "the token is in {}", entry.path().display());
                }
            }
        }
        let _ = fleet(&self.env, &self.repo, ["kill", "*", "--force"])
            .output()
            .success();
        self.env.assert_nothing_left();
    }
}

#[test]
fn a_branch_is_pushed_opened_and_commented_on_every_forge_and_only_once() {
    for (forge, wanted) in [
        (
            "github",
            json!({ "head": "fix", "base": "main", "title": "Fix the login", "body": "It was broken.", "draft": false }),
        ),
        (
            "gitea",
            json!({ "head": "fix", "base": "main", "title": "Fix the login", "body": "It was broken." }),
        ),
        (
            "gitlab",
            json!({
                "source_branch": "fix",
                "target_branch": "main",
                "title": "Fix the login",
                "description": "It was broken.",
            }),
        ),
    ] {
        let stage = Stage::new();
        let args = ["--forge", forge, "--comment", "All green.\nSee the log."];
        let done = stage.opened(&args);
        assert_eq!(done["opened"], true, "{forge}: {done}");
        assert_eq!(done["pushed"], true);
        assert_eq!(done["comments"], 1);
        assert_eq!(done["by"], forge);
        assert_eq!(done["error"], Value::Null);
        assert_eq!(stage.remote_tip(), stage.local_tip());
        assert_eq!(stage.server.opened(), [wanted], "{forge}");
        assert_eq!(stage.server.comments(), ["All green.\nSee the log."]);
        assert!(text(&done["url"]).ends_with("/1"), "{done}");
        // The forge shows comments with other ends of lines.
        let again = stage.opened(&args);
        assert_eq!(again["opened"], false, "{forge}: {again}");
        assert_eq!((&again["pushed"], &again["comments"]), (&json!(false), &json!(0)));
        assert_eq!(stage.server.opened().len(), 1);
        stage.commit("more.txt", "More");
        let more = stage.opened(&["--forge", forge, "--comment", "Now with more."]);
        assert_eq!(
            (&more["opened"], &more["pushed"], &more["comments"]),
            (&json!(false), &json!(true), &json!(1))
        );
        assert_eq!(stage.server.comments().len(), 2);
        assert!(
            stage.server.all_had(TOKEN),
            "{forge}: each request carries the token in a header"
        );
        stage.end();
    }
}

#[test]
fn what_rank_said_of_this_commit_is_commented_and_of_another_one_not() {
    let stage = Stage::new();
    let check = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'";
    let _ = fleet(&stage.env, &stage.repo, ["rank", "fix", "--check", check])
        .output()
        .success();
    let done = stage.opened(&["--forge", "gitea"]);
    assert_eq!(done["comments"], 1, "{done}");
    let comment = stage.server.comments().remove(0);
    assert!(
        comment.contains("passed on ") && comment.contains("- tests: 3 passed, 0 failed"),
        "{comment}"
    );
    assert!(comment.contains("+1 -0"), "{comment}");
    stage.commit("later.txt", "later");
    fs::write(stage.worktree.join("unsaved.txt"), "x\n").expect("written");
    let later = stage.opened(&["--forge", "gitea"]);
    assert_eq!(later["comments"], 0, "{later}");
    assert!(
        text(&later["warnings"][0]).contains("1 file of `fix` in no commit"),
        "{later}"
    );
    stage.end();
}

#[test]
fn texts_come_from_files_and_several_commits_become_a_list() {
    let stage = Stage::new();
    stage.commit("second.txt", "Test the login");
    let file = stage.env.root().join("comment.md");
    fs::write(&file, "from a file\n").expect("written");
    let at = format!("@{}", file.display());
    let _ = stage.opened(&["--forge", "github", "--draft", "--base", "main", "--comment", &at]);
    let opened = stage.server.opened().remove(0);
    assert_eq!(opened["title"], "fix");
    assert_eq!(opened["body"], "- Fix the login\n- Test the login");
    assert_eq!(opened["draft"], true);
    assert_eq!(stage.server.comments(), ["from a file\n"]);
    stage.end();
}

#[test]
fn nothing_is_pushed_where_nothing_can_be_opened() {
    let stage = Stage::new();
    let refused = |run: Cmd, code: i32, words: &str| {
        let done = run.output().fails(code);
        assert!(done.stderr.contains(words), "{words}: {done}");
        let pushed = stage
            .env
            .git(&stage.bare, ["rev-parse", "--verify", "--quiet", "refs/heads/fix"]);
        assert!(!pushed.status.success(), "{words}: nothing was pushed");
    };
    refused(stage.pr(&[]), 2, "--forge github");
    refused(stage.pr(&["--forge", "gitsomething"]), 2, "known are `github`");
    refused(
        stage.pr(&["--forge", "gitea"]).env("GITEA_TOKEN", ""),
        5,
        "export GITEA_TOKEN=",
    );
    refused(
        stage.pr(&["--forge", "gitea", "--remote", "upstream"]),
        3,
        "there is no remote `upstream`",
    );
    let _ = stage
        .env
        .git(&stage.repo, ["config", "remote.origin.url", "http://forge.example/o/r"])
        .success();
    refused(stage.pr(&["--forge", "gitea"]), 5, "without encryption");
    let _ = stage
        .env
        .git(
            &stage.repo,
            ["config", "remote.origin.url", stage.bare.to_str().expect("text")],
        )
        .success();
    refused(stage.pr(&["--forge", "gitea"]), 2, "is on no forge");
    let _ = fleet(&stage.env, &stage.repo, ["create", "empty"]).output().success();
    let port = stage.server.port();
    let address = format!("http://127.0.0.1:{port}/o/r");
    let _ = stage
        .env
        .git(&stage.repo, ["config", "remote.origin.url", &address])
        .success();
    let empty = fleet(&stage.env, &stage.repo, ["pr", "empty", "--forge", "gitea"]);
    refused(empty.env("GITEA_TOKEN", TOKEN), 5, "has no commit that `main` has not");
    stage.end();
}

#[test]
fn what_the_forge_refuses_is_told_in_its_words_and_without_the_token() {
    let stage = Stage::new();
    stage.server.refuse(401, &format!("Bad credentials: {TOKEN}"));
    let done = stage.pr(&["--forge", "github"]).output().fails(5);
    assert!(
        done.stderr.contains("does not accept the token") && done.stderr.contains("Bad credentials"),
        "{done}"
    );
    assert!(!done.stderr.contains(TOKEN), "{done}");
    // It was pushed, and that is no harm: asked again it goes on from there.
    stage.server.refuse(0, "");
    let again = stage.opened(&["--forge", "github"]);
    assert_eq!(
        (&again["pushed"], &again["opened"]),
        (&json!(false), &json!(true)),
        "{again}"
    );
    stage.end();
}

#[test]
fn a_branch_that_has_moved_on_elsewhere_is_not_forced() {
    let stage = Stage::new();
    let _ = stage.opened(&["--forge", "gitea"]);
    let theirs = stage.remote_tip();
    let _ = stage
        .env
        .git(&stage.worktree, ["commit", "--quiet", "--amend", "-m", "another"])
        .success();
    let refused = stage.pr(&["--forge", "gitea"]).output().fails(4);
    assert!(refused.stderr.contains("nothing is forced"), "{refused}");
    assert_eq!(stage.remote_tip(), theirs);
    stage.end();
}

#[test]
fn a_forge_that_cannot_be_reached_is_said_so() {
    let stage = Stage::new();
    stage.server.stop();
    let done = stage.pr(&["--forge", "gitea"]).output().fails(7);
    assert!(done.stderr.contains("cannot be reached"), "{done}");
    stage.end();
}

/// Notes its arguments and input, and keeps its pull requests in files.
const GH: &str = r#"#!/bin/sh
cd "$GH_NOTES" || exit 9
echo "$*" >> argv
case "$1 $2" in
  "pr list") if test -e opened; then echo '[{"number": 7, "url": "https://github.com/o/r/pull/7", "isCrossRepository": false}]'; else echo '[]'; fi ;;
  "pr create") cat > opened; echo "https://github.com/o/r/pull/7" ;;
  "pr view") cat comments.json 2>/dev/null || echo '{"comments": []}' ;;
  "pr comment") cat > comment; printf '%s' '{"comments": [{"body": "done\r\n"}]}' > comments.json ;;
  *) echo "no such thing" >&2; exit 1 ;;
esac
"#;

fn with_gh(stage: &Stage, notes: &Path, args: &[&str]) -> Cmd {
    let bin = stage.env.root().join("gh-bin");
    fs::create_dir_all(&bin).expect("made");
    fs::write(bin.join("gh"), GH).expect("written");
    fs::set_permissions(bin.join("gh"), fs::Permissions::from_mode(0o755)).expect("made executable");
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("a PATH"));
    let run = fleet(&stage.env, &stage.repo, [&["pr", "fix"], args].concat());
    run.env("PATH", path).env("GH_NOTES", notes)
}

#[test]
fn gh_does_it_on_github_where_it_is_installed() {
    let stage = Stage::new();
    let notes = stage.env.root().join("notes");
    fs::create_dir(&notes).expect("made");
    let _ = stage
        .env
        .git(&stage.repo, ["config", "remote.origin.url", "git@github.com:o/r.git"])
        .success();
    let done: Value = with_gh(&stage, &notes, &["--comment", "done"])
        .arg("--json")
        .output()
        .success()
        .json();
    assert_eq!(done["by"], "gh");
    assert_eq!(
        (&done["number"], &done["opened"], &done["comments"]),
        (&json!(7), &json!(true), &json!(1)),
        "{done}"
    );
    let argv = fs::read_to_string(notes.join("argv")).expect("notes");
    let create = argv
        .lines()
        .find(|line| line.starts_with("pr create"))
        .expect("created");
    let wanted = "pr create --head fix --base main --title=Fix the login --body-file - --repo github.com/o/r";
    assert_eq!(create, wanted);
    assert_eq!(
        fs::read_to_string(notes.join("opened")).expect("the text"),
        "It was broken."
    );
    assert_eq!(fs::read_to_string(notes.join("comment")).expect("the comment"), "done");
    let again: Value = with_gh(&stage, &notes, &["--comment", "done"])
        .arg("--json")
        .output()
        .success()
        .json();
    assert_eq!(
        (&again["opened"], &again["comments"]),
        (&json!(false), &json!(0)),
        "{again}"
    );
    assert_eq!(argv.matches("pr create").count(), 1);
    assert!(stage.server.opened().is_empty(), "and nobody else was asked");
    stage.end();
}
