//! `types` and `check` with real files: what a person and a program read, and what is wrong with a disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{answer, fleet, refusal};

/// What a plan with errors exits with.
const BAD_PLAN: i32 = 65;

const TWO: &str = r#"{"fleet_name": "two", "type": "dag", "workers": [
  {"id": "one", "type": "code-run", "max_budget_usd": 0.5},
  {"id": "two", "type": "write", "depends_on": ["one"]}
]}"#;

/// A fleet root with this plan and a prompt for each of `ids`.
fn root(env: &TestEnv, text: &str, ids: &[&str]) -> PathBuf {
    let root = env.root().join("fleet-x");
    fs::create_dir_all(&root).expect("a folder");
    fs::write(root.join("fleet.json"), text).expect("written");
    for id in ids {
        prompt(&root, id, "Do it.\n");
    }
    root
}

fn prompt(root: &Path, id: &str, text: impl AsRef<[u8]>) {
    let folder = root.join("workers").join(id);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("prompt.md"), text).expect("written");
}

fn codes(verdict: &Value) -> Vec<String> {
    let findings = verdict["findings"].as_array().expect("findings");
    findings
        .iter()
        .map(|finding| {
            format!(
                "{} {}",
                finding["code"].as_str().expect("a text"),
                finding["path"].as_str().expect("a text")
            )
        })
        .collect()
}

#[test]
fn a_plan_without_faults_is_fine_and_nothing_is_made() {
    let env = TestEnv::new();
    let root = root(&env, TWO, &["one", "two"]);
    let done = fleet(&env, env.root(), ["check", "fleet-x"]).output().success();
    insta::assert_snapshot!(done.stdout, @r#"
    note: `claude` keeps a worker of type `code-run` from using the web and changing files elsewhere, but not the commands that it runs: `one`
      hint: `"sandbox": "bwrap"` keeps what they change in their folders
    note: `claude` is counted by what it tells, not by the proxy: it has no API key
    fine: dag, 2 workers, at most 1.50 USD
    "#);
    assert_eq!(done.stderr, "");
    let verdict = answer(&env, &root, ["check", "fleet.json"]);
    assert_eq!(verdict["root"], root.display().to_string());
    assert_eq!((&verdict["type"], &verdict["most_usd"]), (&"dag".into(), &1.5.into()));
    assert_eq!(codes(&verdict), Vec::<String>::new());
    assert_eq!(verdict["reach"][0]["acts"], serde_json::json!(["web", "leave"]));
    let by_key = fleet(&env, &root, ["check", "fleet.json", "--json"]).env("ANTHROPIC_API_KEY", "made-up");
    let by_key: Value = by_key.output().success().json();
    assert_eq!(
        by_key["meters"],
        serde_json::json!([{"provider": "claude", "meter": "proxy"}])
    );
    assert!(!env.fleet_home().exists(), "a check makes nothing");
}

#[test]
fn what_is_wrong_is_said_line_by_line_with_what_would_be_right() {
    let env = TestEnv::new();
    let text = TWO.replace("\"one\"]", "\"on\"]").replace("0.5", "50");
    let _ = root(&env, &text, &["one", "two"]);
    let done = fleet(&env, env.root(), ["check", "fleet-x"]).output().fails(BAD_PLAN);
    insta::assert_snapshot!(done.stdout, @r#"
    warning[P074] workers[0].max_budget_usd: 50.00 USD for one worker (line 2, column 55)
      hint: 0.25 to 0.50 USD for a simple edit, 1 to 2 for a moderate task, 3 to 5 for a feature, 5 to 10 for a module
    error[P031] workers[1].depends_on[0]: no worker has the id `on` (line 3, column 49)
      hint: did you mean `one`?
    1 error, 1 warning: the plan cannot be started
    "#);
    assert_eq!(done.stderr, "");
}

#[test]
fn warnings_alone_are_no_failure() {
    let env = TestEnv::new();
    let _ = root(&env, &format!("\u{feff}{TWO}"), &["one", "two"]);
    let done = fleet(&env, env.root(), ["check", "fleet-x"]).output().success();
    assert!(done.stdout.starts_with("warning[P002] fleet.json: "), "{done}");
    assert!(
        done.stdout
            .ends_with("no errors, 1 warning: dag, 2 workers, at most 1.50 USD\n"),
        "{done}"
    );
}

#[test]
fn prompts_are_looked_at_on_the_disk() {
    let env = TestEnv::new();
    let ids = ["absent", "blank", "binary", "pipe", "folder", "long", "far"];
    let workers: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"id": "{id}", "type": "read-only"}}"#))
        .collect();
    let text = format!(r#"{{"type": "dag", "workers": [{}]}}"#, workers.join(","));
    let root = root(&env, &text, &[]);
    prompt(&root, "blank", " \n");
    prompt(&root, "binary", [0xff, 0xfe]);
    prompt(&root, "long", "x".repeat(1024 * 1024 + 1));
    fs::create_dir_all(root.join("workers/folder/prompt.md")).expect("a folder");
    fs::create_dir_all(root.join("workers/pipe")).expect("a folder");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&root.join("workers/pipe/prompt.md"), mode).expect("a pipe");
    let elsewhere = format!(
        "Answer with what {}/old/workers/far/output/x.md says.",
        env.root().display()
    );
    prompt(&root, "far", elsewhere);
    let verdict = refusal(&env, env.root(), ["check", "fleet-x"], BAD_PLAN);
    let wanted = ["P040", "P042", "P041", "P041", "P041", "P041", "P049"];
    let wanted: Vec<String> = wanted
        .iter()
        .enumerate()
        .map(|(at, code)| format!("{code} workers[{at}]"))
        .collect();
    assert_eq!(codes(&verdict), wanted);
}

#[test]
fn a_prompt_may_name_its_root_by_a_link_to_it() {
    let env = TestEnv::new();
    let root = root(&env, TWO, &["one"]);
    let link = env.root().join("link");
    symlink(&root, &link).expect("a link");
    prompt(
        &root,
        "two",
        format!("Save it to {}/workers/two/output/.", link.display()),
    );
    assert_eq!(
        codes(&answer(&env, env.root(), ["check", "link"])),
        Vec::<String>::new()
    );
    assert_eq!(
        codes(&answer(&env, env.root(), ["check", "fleet-x"])),
        ["P049 workers[1]"]
    );
}

#[test]
fn a_root_or_plan_that_is_not_there_is_an_error_with_a_hint() {
    let env = TestEnv::new();
    let root = root(&env, TWO, &[]);
    fs::create_dir(env.root().join("empty")).expect("a folder");
    for gone in ["gone", "gone/fleet.json", "empty", "fleet-x/fleet.json/x"] {
        let done = fleet(&env, env.root(), ["check", gone]).output().fails(3);
        assert!(done.stderr.starts_with("error: there is no "), "{done}");
        assert!(done.stderr.contains("\nhint: name a fleet root"), "{done}");
    }
    fs::write(root.join("fleet.json"), [b'{', 0xff]).expect("written");
    let done = fleet(&env, env.root(), ["check", "fleet-x"]).output().fails(2);
    assert!(done.stderr.contains("byte 1 is no UTF-8"), "{done}");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&env.root().join("pipe"), mode).expect("a pipe");
    let done = fleet(&env, env.root(), ["check", "pipe"]).output().fails(2);
    assert!(done.stderr.contains("pipe is no file"), "{done}");
    fs::remove_dir_all(&root).expect("removed");
    let _ = fleet(&env, env.root(), ["check", "fleet-x"]).output().fails(3);
}

#[test]
fn a_root_on_a_read_only_disk_is_an_error() {
    let env = TestEnv::new();
    let _ = root(&env, TWO, &["one", "two"]);
    let lines = "mount --bind fleet-x fleet-x
                 mount -o remount,bind,ro fleet-x
                 exec \"$FLEET\" check fleet-x";
    let Some(done) = env.in_namespace(env.root(), lines) else {
        return;
    };
    let done = done.fails(BAD_PLAN);
    assert!(done.stdout.starts_with("error[P095] fleet.json: "), "{done}");
    assert!(done.stdout.contains("read-only file system"), "{done}");
}

#[test]
fn a_harness_of_your_own_is_a_provider_that_is_kept_from_nothing() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let text = TWO.replace("\"write\"", "\"write\", \"provider\": \"scripted\", \"model\": \"any\"");
    let _ = root(&env, &text, &["one", "two"]);
    let verdict = answer(&env, env.root(), ["check", "fleet-x"]);
    assert_eq!(codes(&verdict), ["P075 workers[1]", "P090 workers[1]"]);
}

#[test]
fn unknown_models_are_refused_unless_they_are_let_through() {
    let env = TestEnv::new();
    let _ = root(
        &env,
        &TWO.replace("\"write\"", "\"write\", \"model\": \"opuss\""),
        &["one", "two"],
    );
    let verdict = refusal(&env, env.root(), ["check", "fleet-x"], BAD_PLAN);
    assert_eq!(codes(&verdict), ["P081 workers[1].model"]);
    let hint = verdict["findings"][0]["hint"].as_str().expect("a hint");
    assert!(hint.starts_with("did you mean `opus`?"), "{hint}");
    let verdict = answer(&env, env.root(), ["check", "fleet-x", "--allow-unknown-model"]);
    assert_eq!(codes(&verdict), ["P085 workers[1].model"]);
}

#[test]
fn a_hundred_thousand_workers_are_checked() {
    let env = TestEnv::new();
    let worker = |n: usize| format!(r#"{{"id": "w{n}", "branch": "b/w{n}", "target_files": ["packages/p{n}/**"]}}"#);
    let workers: Vec<String> = (0..100_000).map(worker).collect();
    let text = format!(r#"{{"type": "worktree", "workers": [{}]}}"#, workers.join(",\n"));
    let _ = root(&env, &text, &["w0"]);
    let done = fleet(&env, env.root(), ["check", "fleet-x"]).output().fails(BAD_PLAN);
    assert!(
        done.stdout
            .ends_with("99999 errors, 1 warning: the plan cannot be started\n"),
        "{done}"
    );
    assert!(done.stdout.contains("… and 99900 more: `--json` has all of them\n"));
    assert_eq!(done.stdout.lines().count(), 202);
}

#[test]
fn the_index_of_types_says_when_to_choose_which() {
    let env = TestEnv::new();
    let page = fleet(&env, env.root(), ["types"]).output().success().stdout;
    insta::assert_snapshot!(page, @r"
    TYPE          WHAT                                          CHOOSE IT WHEN
    worktree      independent files, one branch each            the work splits into parts that have no file in common
    dag           workers that wait for each other              one part needs what another made, or no other type fits
    iterative     builders and one reviewer, round after round  the work is done when a reviewer says so
    autoresearch  change, measure, keep or discard              one number is to get better, and a command measures it quickly
    ");
    let index = answer(&env, env.root(), ["types"]);
    assert_eq!(index["types"].as_array().map(Vec::len), Some(4));
    assert_eq!(index.get("schema"), None);
}

#[test]
fn the_published_schema_is_the_one_that_is_printed() {
    let env = TestEnv::new();
    let printed: Value = fleet(&env, env.root(), ["types", "--schema"]).output().success().json();
    let published = include_str!("../../../../docs/reference/fleet.schema.json");
    assert_eq!(printed, serde_json::from_str::<Value>(published).expect("JSON"));
    let schema = jsonschema::validator_for(&printed).expect("a schema");
    assert!(schema.is_valid(&serde_json::from_str(TWO).expect("JSON")));
    assert!(!schema.is_valid(&serde_json::json!({ "type": "dag", "workers": [], "confg": {} })));
    assert_eq!(answer(&env, env.root(), ["types", "--schema"])["schema"], printed);
}
