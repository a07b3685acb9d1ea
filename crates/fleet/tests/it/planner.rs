//! `plan`: from flags, a file and a dialogue to a fleet root that the check finds fine; and what writes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::plan::author::told::{COMMIT, VERDICT};
use fleet_testkit::{Pty, TestEnv, binary};
use serde_json::Value;

use crate::drive::{LONG, answer, fleet, refusal};

const BAD_PLAN: i32 = 65;
const USAGE: i32 = 2;
const CONFLICT: i32 = 4;

/// A home and an empty repository `shop`.
fn shop() -> (TestEnv, PathBuf) {
    let env = TestEnv::new();
    let repo = env.repo("shop", 1);
    (env, repo)
}

/// The names in a folder, without git's.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries
        .map(|each| each.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| name != ".git");
    names.sort();
    names
}

/// Runs `plan` in the repository and checks what it has made; its answer.
#[track_caller]
fn planned(env: &TestEnv, repo: &Path, args: &[&str]) -> Value {
    let planned = answer(env, repo, [&["plan"], args].concat());
    assert_eq!(planned["written"], true, "{planned}");
    let root = planned["root"].as_str().expect("a root");
    let verdict = answer(env, env.root(), ["check", root]);
    assert_eq!(verdict["errors"], 0, "{verdict}");
    assert_eq!(verdict["type"], planned["type"]);
    assert_eq!(verdict["most_usd"], planned["most_usd"]);
    planned
}

#[track_caller]
fn read(planned: &Value, file: &str) -> String {
    let path = Path::new(planned["root"].as_str().expect("a root")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// For each type: flags that are enough.
const FLAGS: [(&str, &[&str]); 4] = [
    (
        "worktree",
        &[
            "--independent",
            "--worker",
            "cart files=src/cart/** size=feature: Keep the cart over a login.",
            "--worker",
            "mail files=src/mail/** model=opus: Send the mail in the customer's language.",
        ],
    ),
    (
        "dag",
        &[
            "--ordered",
            "--worker",
            "find type=research size=edit: Search the web for return policies.",
            "--worker",
            "page type=write files=docs/returns.md after=find: Make a page of what was found.",
        ],
    ),
    (
        "iterative",
        &[
            "--reviewed",
            "--worker",
            "build type=code-run files=src/search.rs: Find words with typing errors.",
            "--review",
            "Look for words that are found too often.",
        ],
    ),
    (
        "autoresearch",
        &[
            "--measured",
            "--goal",
            "Make the index smaller.",
            "--eval-command",
            "sh measure.sh",
            "--metric-regex",
            "bytes: ([0-9]+)",
            "--files",
            "src/index/**",
        ],
    ),
];

#[test]
fn each_type_is_planned_from_flags_and_the_check_finds_it_fine() {
    let (env, repo) = shop();
    for (name, flags) in FLAGS {
        let root = format!("../{name}");
        let planned = planned(&env, &repo, &[&[root.as_str()], flags].concat());
        assert_eq!(planned["type"], name);
        assert_eq!(planned["root"], env.root().join(name).display().to_string());
        let launch = format!("fleet launch {}", env.root().join(name).display());
        let wanted = match name {
            "worktree" => vec![format!("{launch} --dry-run"), launch],
            _ => vec![launch],
        };
        assert_eq!(planned["launch"], serde_json::json!(wanted));
        match name {
            "worktree" => {
                let prompt = read(&planned, "workers/cart/prompt.md");
                assert!(prompt.ends_with(&format!("\n{COMMIT}\n")), "{prompt}");
                assert_eq!(planned["workers"][0]["budget_usd"], 5.0);
                assert_eq!(planned["workers"][1]["model"], "opus");
            }
            "dag" => {
                let find = read(&planned, "workers/find/prompt.md");
                let line = "Save ALL output files to $FLEET_ROOT/workers/find/output/ — use absolute paths.\n";
                assert!(find.ends_with(line), "{find}");
                let page = read(&planned, "workers/page/prompt.md");
                let path = repo.join("docs/returns.md");
                assert!(page.contains(&format!("Write to `{}`\n", path.display())), "{page}");
            }
            "iterative" => {
                assert_eq!(planned["workers"][1]["id"], "reviewer");
                let prompt = read(&planned, "workers/reviewer/prompt.md");
                assert!(prompt.ends_with(VERDICT), "{prompt}");
            }
            _ => {
                let file: Value = serde_json::from_str(&read(&planned, "fleet.json")).expect("JSON");
                assert_eq!(file["problem"]["workdir"], repo.display().to_string());
                assert!(read(&planned, "program.md").contains("    sh measure.sh\n"));
            }
        }
    }
    assert_eq!(names(&repo), ["dir0"], "nothing beside the roots was made");
}

#[test]
fn each_type_is_planned_from_a_file_and_a_flag_wins_over_it() {
    let (env, repo) = shop();
    let specs = [
        (
            "worktree",
            "[[workers]]\nid = \"a\"\ntask = \"Do a.\"\nfiles = [\"a/**\"]\n[[workers]]\nid = \"b\"\ntask = \"Do b.\"\nfiles = [\"b/**\"]\n",
        ),
        (
            "dag",
            "[[workers]]\nid = \"a\"\ntask = \"\"\"\nDo a.\nAll of it.\n\"\"\"\ntype = \"write\"\n",
        ),
        (
            "iterative",
            "max_iterations = 4\nreviewer_lgtm_count = 2\n[[workers]]\nid = \"a\"\ntask = \"Do a.\"\ntype = \"write\"\nbudget = 0.75\n",
        ),
        (
            "autoresearch",
            "goal = \"Faster.\"\neval_command = \"true\"\nmetric_regex = '(\\d+)'\nmetric_direction = \"maximize\"\n",
        ),
    ];
    for (name, text) in specs {
        let spec = repo.join("spec.toml");
        fs::write(&spec, format!("type = \"{name}\"\nname = \"from-file\"\n{text}")).expect("written");
        let root = format!("../{name}");
        let planned = planned(&env, &repo, &[&root, "--from", "spec.toml", "--name", "from-flag"]);
        assert_eq!(planned["type"], name);
        let file: Value = serde_json::from_str(&read(&planned, "fleet.json")).expect("JSON");
        assert_eq!(file["fleet_name"], "from-flag");
        if name == "iterative" {
            assert_eq!(
                file["stop_when"],
                serde_json::json!({ "max_iterations": 4, "reviewer_lgtm_count": 2 })
            );
            assert_eq!(file["workers"][0]["max_budget_per_iter"], 0.75);
        }
    }
}

#[test]
fn the_page_has_the_workers_the_reason_and_commands_that_can_be_pasted() {
    let (env, repo) = shop();
    let root = "../it's a plan";
    let (_, flags) = FLAGS[0];
    let done = fleet(&env, &repo, [&["plan", root], flags].concat()).output().success();
    let shown = done.stdout.replace(&env.root().display().to_string(), "ROOT");
    insta::assert_snapshot!(shown, @r"
    worktree: the work splits into parts that have no file in common

    ID    TYPE      MODEL          BUDGET    WRITES       TASK
    cart  code-run  claude sonnet  5.00 USD  src/cart/**  Keep the cart over a login.
    mail  code-run  claude opus    2.00 USD  src/mail/**  Send the mail in the customer's language.

    written to ROOT/it's a plan; a run may spend at most 7.00 USD
    launch:  fleet launch 'ROOT/it'\''s a plan' --dry-run
    launch:  fleet launch 'ROOT/it'\''s a plan'
    status:  fleet status 'ROOT/it'\''s a plan'
    ");
    let line = done
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("status:  "))
        .expect("a command");
    // Pasted into a shell it names the root as one word.
    let words = env
        .program("sh", ["-c", &format!("for word in {line}; do echo \"$word\"; done")])
        .output()
        .success();
    let wanted = format!("fleet\nstatus\n{}\n", env.root().join("it's a plan").display());
    assert_eq!(words.stdout, wanted);
}

#[test]
fn where_one_session_is_enough_or_nothing_fits_the_sentence_is_all() {
    let (env, repo) = shop();
    let no = ["--independent=no", "--reviewed=no", "--ordered=no", "--measured=no"];
    let said: [(&[&str], &str); 2] = [
        (
            &["--one-session", "--ordered"],
            "No fleet needed — this fits in one session.\n",
        ),
        (&no, "Open multiple Claude Code sessions — you're the orchestrator.\n"),
    ];
    for (flags, sentence) in said {
        let done = fleet(&env, &repo, [&["plan", "../x"], flags].concat())
            .output()
            .success();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), (sentence, ""));
    }
    assert_eq!(names(&repo), ["dir0"]);
    assert!(!env.root().join("x").exists());
}

#[test]
fn where_two_types_fit_dag_is_taken_and_the_reason_names_both() {
    let (env, repo) = shop();
    let flags = [
        "../x",
        "--independent",
        "--reviewed",
        "--worker",
        "a type=write: Think.",
    ];
    let planned = planned(&env, &repo, &flags);
    assert_eq!(planned["type"], "dag");
    assert_eq!(planned["fitting"], serde_json::json!(["worktree", "iterative"]));
    let why = planned["why"].as_str().expect("a reason");
    assert!(why.ends_with("where two fit, dag is taken"), "{why}");
}

#[test]
fn the_default_root_has_the_time_and_the_name() {
    let (env, repo) = shop();
    let stamp = || {
        env.program("date", ["-u", "+%Y%m%d-%H%M%S"])
            .output()
            .success()
            .stdout
            .trim()
            .to_owned()
    };
    let before = stamp();
    let planned = planned(&env, &repo, FLAGS[1].1);
    let after = stamp();
    let root = planned["root"].as_str().expect("a root");
    let name = root
        .strip_prefix(&format!("{}/", repo.display()))
        .expect("in the current directory");
    let time = name
        .strip_prefix("fleet-")
        .and_then(|rest| rest.strip_suffix("-shop"))
        .expect("its parts");
    assert!(
        before.as_str() <= time && time <= after.as_str(),
        "{before} {time} {after}"
    );
}

#[test]
fn what_cannot_be_planned_is_said_and_nothing_is_written() {
    let (env, repo) = shop();
    fs::create_dir(env.root().join("full")).expect("a folder");
    fs::write(env.root().join("full/file"), "x").expect("written");
    fs::write(env.root().join("file"), "x").expect("written");
    let one: &[&str] = &["--worker", "a type=write: Think."];
    let wrong: [(&[&str], i32, &str); 17] = [
        (&["plan", "../x"], USAGE, "say `type`, or whether it is `independent`"),
        (&["plan", "../x", "--ordered"], USAGE, "say `workers`"),
        (
            &["plan", "../x", "--ordered", "--worker", "a: Think."],
            USAGE,
            "`type` of worker `a`",
        ),
        (
            &["plan", "../x", "--independent", "--worker", "a: Think."],
            USAGE,
            "`files` of worker `a`",
        ),
        (
            &["plan", "../x", "--measured"],
            USAGE,
            "`goal`; `eval_command`; `metric_regex`",
        ),
        (&["plan", "../x", "--ordered", "--worker", "a"], USAGE, "`ID: TASK`"),
        (
            &["plan", "../x", "--ordered", "--worker", "a typ=write: x"],
            USAGE,
            "did you mean `type`?",
        ),
        (
            &["plan", "../x", "--ordered", "--worker", "a type=w: x"],
            USAGE,
            "`code-run`",
        ),
        (&["plan", "../x", "--type", "tree"], USAGE, "worktree"),
        (&["plan", "../x", "--size", "huge"], USAGE, "`module`"),
        (
            &["plan", "../full", "--ordered"],
            CONFLICT,
            "is there already, and not empty",
        ),
        (
            &["plan", "../file", "--ordered"],
            CONFLICT,
            "is there already, and no folder",
        ),
        (&["plan", "../no/x", "--ordered"], 3, "there is no folder"),
        (&["plan", "../file/x", "--ordered"], USAGE, "is no folder"),
        (&["plan", "", "--ordered"], USAGE, "the fleet root has no name"),
        (
            &["plan", "../x", "--ordered", "--goal", "x"],
            USAGE,
            "a dag plan has no place for `goal`",
        ),
        (&["plan", "../x", "--ordered", "--from", "none.toml"], 3, "there is no "),
    ];
    for (args, code, says) in wrong {
        // Those about the root and the like need a plan that would be whole.
        let needs_worker =
            code != USAGE || says.starts_with("a dag plan") || says.ends_with("no folder") || args[1].is_empty();
        let whole = if needs_worker {
            [args, one].concat()
        } else {
            args.to_vec()
        };
        let done = fleet(&env, &repo, whole).output().fails(code);
        assert!(done.stderr.contains(says), "{says}: {done}");
        assert!(done.stderr.contains("hint: ") || code == USAGE, "{done}");
    }
    assert_eq!(names(env.root()), ["file", "full", "home", "shop"]);
    assert_eq!(names(&repo), ["dir0"]);
}

#[test]
fn what_the_check_refuses_is_not_written() {
    let (env, repo) = shop();
    let wrong: [(&[&str], &str); 5] = [
        (
            &[
                "--independent",
                "--worker",
                "a files=src/**: Do a.",
                "--worker",
                "b files=src/b.rs: Do b.",
            ],
            "P050",
        ),
        (&["--ordered", "--worker", "a type=write after=z: Think."], "P031"),
        (
            &[
                "--ordered",
                "--worker",
                "a type=write: Save it to docs/x.md and to output/x.md.",
            ],
            "P044",
        ),
        (
            &["--ordered", "--worker", "a type=write: Think.", "--model", "gpt-5.4"],
            "P082",
        ),
        (&["--ordered", "--worker", "a/b type=write: Think."], "P020"),
    ];
    for (flags, code) in wrong {
        let refused = refusal(&env, &repo, [&["plan", "../x"], flags].concat(), BAD_PLAN);
        let codes = refused["findings"].as_array().expect("findings");
        assert!(codes.iter().any(|finding| finding["code"] == code), "{code}: {refused}");
        assert_eq!(refused["written"], false);
        let done = fleet(&env, &repo, [&["plan", "../x"], flags].concat())
            .output()
            .fails(BAD_PLAN);
        assert!(done.stdout.ends_with("nothing was written\n"), "{done}");
    }
    assert_eq!(names(env.root()), ["home", "shop"]);
}

#[test]
fn a_mistake_in_a_file_is_named_with_its_line_and_the_nearest_key() {
    let (env, repo) = shop();
    let wrong = [
        (
            "type = \"dag\"\nprovder = \"x\"\n",
            ":2:1: the key `provder` is not known",
            "did you mean `provider`?",
        ),
        (
            "[[workers]]\nid = \"a\"\ntaks = \"x\"\n",
            ":3:1: the key `taks` is not known",
            "did you mean `task`?",
        ),
        ("zzzzzzzz = 1\n", ":1:1: the key `zzzzzzzz` is not known", "known are "),
        ("type = \"tree\"\n", ":1:8: ", "docs/reference/plan-spec.md"),
        ("max_concurrent = \"three\"\n", ":1:18: ", "docs/reference/plan-spec.md"),
        ("type = \n", ":1:", "docs/reference/plan-spec.md"),
        (
            "max_budget_fleet = inf\n",
            ": `nan` and `inf`",
            "docs/reference/plan-spec.md",
        ),
    ];
    for (text, says, hint) in wrong {
        fs::write(repo.join("spec.toml"), text).expect("written");
        let done = fleet(&env, &repo, ["plan", "../x", "--from", "spec.toml"])
            .output()
            .fails(USAGE);
        assert!(done.stderr.contains(&format!("spec.toml{says}")), "{says}: {done}");
        assert!(done.stderr.contains(hint), "{hint}: {done}");
    }
    fs::write(repo.join("spec.toml"), [0xff]).expect("written");
    let done = fleet(&env, &repo, ["plan", "--from", "spec.toml"])
        .output()
        .fails(USAGE);
    assert!(done.stderr.contains("is no text"), "{done}");
}

#[test]
fn a_dry_run_shows_and_writes_nothing() {
    let (env, repo) = shop();
    let done = fleet(&env, &repo, [&["plan", "../x", "--dry-run"], FLAGS[0].1].concat())
        .output()
        .success();
    assert!(done.stdout.contains("not written, it would be "), "{done}");
    assert_eq!(names(env.root()), ["home", "shop"]);
    assert!(!env.fleet_home().exists(), "it only looks");
}

#[test]
fn an_empty_folder_becomes_the_root_and_a_task_may_come_from_a_file() {
    let (env, repo) = shop();
    fs::create_dir(env.root().join("empty")).expect("a folder");
    fs::write(repo.join("task.md"), "Think.\n\nThen think again.\n").expect("written");
    let planned = planned(
        &env,
        &repo,
        &["../empty", "--ordered", "--worker", "a type=read-only: @task.md"],
    );
    let prompt = read(&planned, "workers/a/prompt.md");
    assert!(prompt.starts_with("# a\n\nThink.\n\nThen think again.\n\n"), "{prompt}");
    assert_eq!(planned["workers"][0]["task"], "Think.");
}

#[test]
fn a_parent_on_a_read_only_disk_is_an_error() {
    let (env, _) = shop();
    fs::create_dir(env.root().join("locked")).expect("a folder");
    let lines = "mount --bind locked locked
                 mount -o remount,bind,ro locked
                 exec \"$FLEET\" plan locked/x --ordered --worker 'a type=write: Think.'";
    let Some(done) = env.in_namespace(env.root(), lines) else {
        return;
    };
    let done = done.fails(BAD_PLAN);
    assert!(done.stdout.contains("error[P095] "), "{done}");
    assert!(done.stdout.contains("read-only file system"), "{done}");
    assert_eq!(names(&env.root().join("locked")), [""; 0]);
}

#[test]
fn a_plan_that_is_cut_off_leaves_no_half_root() {
    let (env, repo) = shop();
    let flags = [&["plan", "../x"], FLAGS[1].1].concat();
    for point in ["plan.write:after", "plan.place:before"] {
        let done = fleet(&env, &repo, &flags).env("FLEET_FAULT", point).output();
        assert!(!done.status.success(), "{done}");
        assert!(!env.root().join("x").exists(), "{point}");
    }
    let _ = planned(&env, &repo, &flags[1..]);
}

/// A dialogue of `plan` in the repository: each answer is given when its question stands there.
fn dialogue(env: &TestEnv, repo: &Path, args: &[&str], answers: &[(&str, &str)]) -> (Pty, i32) {
    let program = binary("fleet").display().to_string();
    let argv = [&[program.as_str(), "plan"], args].concat();
    let mut pty = Pty::spawn(env, repo, &argv, 200, 200);
    for (question, answer) in answers {
        pty.wait_for(question, LONG, |terminal| {
            let text = terminal.text();
            let last = text.iter().rev().find(|line| !line.trim().is_empty())?;
            let asks = last.trim_end().ends_with(':');
            (last.contains(question) && asks).then_some(())
        });
        pty.send(answer);
    }
    let code = pty.wait_exit(LONG);
    (pty, code)
}

const SESSION: (&str, &str) = ("in a single session?", "\n");
const NO_FILES_IN_COMMON: (&str, &str) = ("no file in common?", "\n");
const NO_REVIEWER: (&str, &str) = ("a reviewer says so", "\n");
const NO_ORDER: (&str, &str) = ("need what another made?", "\n");
const NO_NUMBER: (&str, &str) = ("Is one number", "\n");
const NAME: (&str, &str) = ("What is the fleet called? [shop]", "\n");

fn root_at(folder: &str) -> (&'static str, &str) {
    (
        "Where should I place the fleet root? (Press enter for default) [",
        folder,
    )
}

/// The check of what a dialogue has made.
#[track_caller]
fn made(env: &TestEnv, dialogue: (Pty, i32), name: &str, plan_type: &str) -> Value {
    let (pty, code) = dialogue;
    assert_eq!(code, 0, "{}", pty.screen().join("\n"));
    let root = env.root().join(name);
    let verdict = answer(env, env.root(), ["check", &root.display().to_string()]);
    assert_eq!(
        (&verdict["errors"], &verdict["type"]),
        (&0.into(), &plan_type.into()),
        "{verdict}"
    );
    let text = fs::read_to_string(root.join("fleet.json")).expect("a plan");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_dialogue_makes_a_worktree_plan_and_asks_again_after_a_wrong_answer() {
    let (env, repo) = shop();
    let answers = [
        ("in a single session?", "perhaps\n"),
        SESSION,
        ("no file in common?", "y\n"),
        NO_REVIEWER,
        NO_ORDER,
        NO_NUMBER,
        NAME,
        root_at(".\n"),
        root_at("../made\n"),
        ("Its id? [worker-1]", "a/b\n"),
        ("Its id? [worker-1]", "cart\n"),
        ("What is it to do", "\n"),
        ("What is it to do", "Keep the cart over a login.\n"),
        ("Which files will it change?", "../src\n"),
        ("Which files will it change?", "src/cart/** tests/cart.rs\n"),
        ("[function]", "9\n"),
        ("[function]", "feature\n"),
        ("What may it spend, in USD? (3.00 to 5.00 for this size) [5.00]", "-1\n"),
        ("What may it spend", "4.5\n"),
        ("Which provider and model? [claude sonnet]", "sonet\n"),
        ("Which provider and model? [claude sonnet]", "\n"),
        ("Is there another worker? [yes]", "\n"),
        ("Its id? [worker-2]", "cart\n"),
        ("Its id? [worker-2]", "mail\n"),
        ("What is it to do", "Send the mail.\n"),
        ("Which files will it change?", "src/**\n"),
        ("Which files will it change?", "src/mail/**\n"),
        ("[function]", "1\n"),
        ("What may it spend", "\n"),
        ("Which provider and model?", "codex gpt-5.4-mini\n"),
        ("Is there another worker? [no]", "\n"),
    ];
    let file = made(&env, dialogue(&env, &repo, &[], &answers), "made", "worktree");
    let (cart, mail) = (&file["workers"][0], &file["workers"][1]);
    assert_eq!(
        cart["target_files"],
        serde_json::json!(["src/cart/**", "tests/cart.rs"])
    );
    assert_eq!(
        (&cart["max_budget_usd"], &mail["max_budget_usd"]),
        (&4.5.into(), &0.5.into())
    );
    assert_eq!(
        (&mail["provider"], &mail["model"]),
        (&"codex".into(), &"gpt-5.4-mini".into())
    );
    assert_eq!(names(&repo), ["dir0"]);
}

#[test]
fn a_dialogue_makes_a_dag_plan_with_its_defaults() {
    let (env, repo) = shop();
    let answers = [
        SESSION,
        NO_FILES_IN_COMMON,
        NO_REVIEWER,
        ("need what another made?", "yes\n"),
        NO_NUMBER,
        NAME,
        root_at("../made\n"),
        ("Its id?", "\n"),
        ("What is it to do", "Search the web for policies.\n"),
        ("[code-run]", "research\n"),
        ("Which files of the repository will it write?", "\n"),
        ("[function]", "\n"),
        ("What may it spend", "\n"),
        ("Which provider and model?", "\n"),
        ("Is there another worker? [yes]", "\n"),
        ("Its id?", "\n"),
        ("What is it to do", "Make a page.\n"),
        ("[code-run]", "2\n"),
        ("Which files of the repository will it write?", "docs/x.md\n"),
        (
            "done before it starts? (ids, a blank between two, or none) [worker-1]",
            "x\n",
        ),
        (
            "done before it starts? (ids, a blank between two, or none) [worker-1]",
            "\n",
        ),
        ("[function]", "\n"),
        ("What may it spend", "\n"),
        ("Which provider and model?", "\n"),
        ("Is there another worker? [no]", "\n"),
    ];
    let file = made(&env, dialogue(&env, &repo, &[], &answers), "made", "dag");
    assert_eq!(file["workers"][1]["depends_on"], serde_json::json!(["worker-1"]));
}

#[test]
fn a_dialogue_asks_only_for_what_flags_have_not_said() {
    let (env, repo) = shop();
    let args = ["../made", "--type", "iterative", "--name", "x"];
    let answers = [
        ("Its id?", "build\n"),
        ("What is it to do", "Find typing errors.\n"),
        ("[code-run]", "\n"),
        ("Which files of the repository will it write?", "src/search.rs\n"),
        ("[function]", "\n"),
        ("What may it spend", "\n"),
        ("Which provider and model?", "opus\n"),
        ("Is there another worker?", "n\n"),
        ("What is it to look at?", "\n"),
        ("How many rounds at most? [10]", "0\n"),
        ("How many rounds at most? [10]", "3\n"),
        ("How many verdicts `lgtm` in a row end it? [1]", "\n"),
    ];
    let file = made(&env, dialogue(&env, &repo, &args, &answers), "made", "iterative");
    assert_eq!(file["stop_when"]["max_iterations"], 3);
    assert_eq!(file["workers"][1]["type"], "reviewer");
    let whole = [&["../whole"], FLAGS[1].1].concat();
    let (pty, code) = dialogue(&env, &repo, &whole, &[]);
    assert_eq!(code, 0, "nothing is asked: {}", pty.screen().join("\n"));
}

#[test]
fn a_dialogue_makes_an_autoresearch_plan() {
    let (env, repo) = shop();
    let answers = [
        SESSION,
        NO_FILES_IN_COMMON,
        NO_REVIEWER,
        NO_ORDER,
        ("Is one number", "y\n"),
        NAME,
        root_at("../made\n"),
        ("What is to get better", "Make the index smaller.\n"),
        ("In which folder?", "nowhere\n"),
        ("In which folder?", "\n"),
        ("Which command measures it?", "sh measure.sh\n"),
        ("What finds the number", "bytes\n"),
        ("What finds the number", "bytes: (\\d+)\n"),
        ("[minimize]", "\n"),
        ("Which files may be changed?", "dir0/**\n"),
        ("How many rounds at most? [20]", "\n"),
        ("[function]", "edit\n"),
        ("Which provider and model?", "\n"),
    ];
    let file = made(&env, dialogue(&env, &repo, &[], &answers), "made", "autoresearch");
    assert_eq!(file["config"]["budget_per_iter"], 0.5);
    assert_eq!(file["problem"]["metric_regex"], "bytes: (\\d+)");
}

#[test]
fn a_dialogue_ends_with_the_sentence_where_one_session_is_enough() {
    let (env, repo) = shop();
    let (pty, code) = dialogue(&env, &repo, &[], &[("in a single session?", "y\n")]);
    assert_eq!(code, 0);
    let screen = pty.screen().join("\n");
    assert!(
        screen.contains("No fleet needed — this fits in one session."),
        "{screen}"
    );
    assert_eq!(names(&repo), ["dir0"]);
}

#[test]
fn who_leaves_a_dialogue_leaves_nothing_behind() {
    let (env, repo) = shop();
    let until = [
        SESSION,
        ("no file in common?", "y\n"),
        NO_REVIEWER,
        NO_ORDER,
        NO_NUMBER,
        NAME,
        root_at("../made\n"),
    ];
    for (key, code) in [("\u{4}", 5), ("\u{3}", 130)] {
        let answers = [&until[..], &[("Its id?", key)]].concat();
        let (pty, ended) = dialogue(&env, &repo, &[], &answers);
        assert_eq!(ended, code, "{}", pty.screen().join("\n"));
        assert_eq!(names(env.root()), ["home", "shop"]);
        assert_eq!(names(&repo), ["dir0"]);
        assert!(!env.fleet_home().exists());
    }
}

#[test]
fn answers_that_the_check_refuses_are_given_back_as_a_file() {
    let (env, repo) = shop();
    let task = "Save it to docs/x.md and to output/x.md.\n";
    let answers = [
        ("Its id?", "\n"),
        ("What is it to do", task),
        ("[code-run]", "write\n"),
        ("Which files of the repository will it write?", "\n"),
        ("[function]", "\n"),
        ("What may it spend", "\n"),
        ("Which provider and model?", "\n"),
        ("Is there another worker?", "n\n"),
    ];
    let args = ["../made", "--type", "dag", "--name", "x"];
    let (pty, code) = dialogue(&env, &repo, &args, &answers);
    assert_eq!(code, BAD_PLAN);
    let screen = pty.screen();
    let from = screen
        .iter()
        .position(|line| line.starts_with("The answers, for `fleet plan --from FILE`"));
    let spec = screen[from.expect("the answers") + 1..].join("\n");
    assert!(!env.root().join("made").exists());
    let corrected = spec.replace(task.trim_end(), "Think of a name.");
    fs::write(repo.join("spec.toml"), corrected).expect("written");
    let _ = planned(&env, &repo, &["--from", "spec.toml"]);
}
