//! From `fleet plan` to `fleet merge`, with the real programs: one plan of each type, written from answers, checked,
//! launched, watched and landed.

use std::fs;
use std::path::PathBuf;

use fleet_testkit::clis::Cli;
use fleet_testkit::model::{Pattern, Rule, Script, ToolCall, Turn, When};
use serde_json::Value;

use crate::world::World;

/// A world, and the fleet root that a plan is written to.
struct Stage {
    world: World,
    root: PathBuf,
}

impl Stage {
    #[track_caller]
    fn new(cli: Cli, rules: Vec<Rule>) -> Stage {
        let world = World::with_script(
            cli,
            Script {
                rules,
                ..Script::default()
            },
        );
        let root = world.home().join("fleet-root");
        Stage { world, root }
    }

    /// Writes the plan that these answers say, and checks that nothing is wrong with it.
    #[track_caller]
    fn plan(&self, cli: Cli, answers: &str) {
        let spec = self.world.home().join("spec.toml");
        let text = format!(
            "root = \"{}\"\nprovider = \"{}\"\n{answers}",
            self.root.display(),
            cli.name()
        );
        fs::write(&spec, text).expect("written");
        let spec = spec.display().to_string();
        let planned = self.world.fleet(["plan", "--from", &spec]).output().success();
        assert!(planned.stdout.contains("fleet launch"), "{planned}");
        assert!(planned.stdout.contains("fleet status"), "{planned}");
        let checked = self.world.answer(["check", &self.root()]);
        assert_eq!(checked["errors"], 0, "{checked}");
    }

    fn root(&self) -> String {
        self.root.display().to_string()
    }

    /// Launches the plan and waits for its end; the run.
    #[track_caller]
    fn launch(&self) -> Value {
        let _ = self
            .world
            .fleet(["launch", &self.root(), "--dry-run"])
            .output()
            .success();
        let done = self.world.fleet(["launch", &self.root()]).output();
        let run = self.world.answer(["status", &self.root()])["runs"][0].clone();
        assert!(
            done.status.success(),
            "{done}\n{run:#}\n{}",
            self.world.endpoint().overview()
        );
        run
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

fn rule(pattern: &str, turns: Vec<Turn>) -> Rule {
    Rule {
        when: When {
            regex: Some(Pattern::parse(pattern).expect("an expression")),
            ..When::default()
        },
        turns,
    }
}

fn write(path: &str, content: &str) -> Turn {
    Turn::call(ToolCall::Write {
        path: path.to_owned(),
        content: content.to_owned(),
    })
}

fn run(command: &str) -> Turn {
    Turn::call(ToolCall::Shell(command.to_owned()))
}

#[track_caller]
fn lands_a_worktree_plan(cli: Cli) {
    let rules = vec![
        rule(
            "Add the cart",
            vec![
                write("cart.txt", "cart\n"),
                run("git add cart.txt && git commit -qm cart"),
                Turn::say("done"),
            ],
        ),
        rule(
            "Add the mail",
            vec![
                write("mail.txt", "mail\n"),
                run("git add mail.txt && git commit -qm mail"),
                Turn::say("done"),
            ],
        ),
    ];
    let stage = Stage::new(cli, rules);
    stage.plan(
        cli,
        "name = \"shop\"\ntype = \"worktree\"\n[[workers]]\nid = \"cart\"\ntask = \"Add the cart.\"\nfiles = [\"cart.txt\"]\n\
         [[workers]]\nid = \"mail\"\ntask = \"Add the mail.\"\nfiles = [\"mail.txt\"]\n",
    );
    let status = stage.launch();
    assert_eq!(status["workers"][0]["state"], "done", "{status:#}");
    let root = stage.root();
    let dry = stage.world.fleet(["merge", &root, "--dry-run"]).output().success();
    assert!(dry.stdout.contains("would land 2 branches"), "{dry}");
    let _ = stage
        .world
        .fleet(["merge", &root, "--gate", "test -e dir0/file0.txt"])
        .output()
        .success();
    for name in ["cart", "mail"] {
        let text = fs::read_to_string(stage.world.repo().join(format!("{name}.txt"))).expect("landed");
        assert_eq!(text.trim(), name);
    }
    stage.world.end();
}

#[track_caller]
fn runs_a_dag(cli: Cli) {
    let rules = vec![
        rule(
            "Find out",
            vec![write("workers/find/output/found.md", "it is red\n"), Turn::say("found")],
        ),
        rule(
            "Write it down",
            vec![write("workers/tell/output/told.md", "red\n"), Turn::say("told")],
        ),
    ];
    let stage = Stage::new(cli, rules);
    stage.plan(
        cli,
        "name = \"ask\"\ntype = \"dag\"\n[[workers]]\nid = \"find\"\ntype = \"write\"\ntask = \"Find out what it is.\"\n\
         [[workers]]\nid = \"tell\"\ntype = \"write\"\ntask = \"Write it down.\"\nafter = [\"find\"]\n",
    );
    let status = stage.launch();
    assert_eq!(status["state"], "done");
    assert_eq!(stage.read("workers/find/output/found.md"), "it is red\n");
    assert_eq!(stage.read("workers/tell/output/told.md"), "red\n");
    assert!(
        !stage.read("workers/tell/session.jsonl").is_empty(),
        "what it printed is kept in the root"
    );
}

#[track_caller]
fn goes_round_until_the_reviewer_accepts(cli: Cli) {
    let rules = vec![
        rule(
            "(?s)# reviewer.*This is round 2",
            vec![
                write("iterations/2/review.md", "verdict: lgtm\n"),
                Turn::say("accepted"),
            ],
        ),
        rule(
            "verdict: escalate",
            vec![
                write("iterations/1/review.md", "verdict: iterate\n\n- build: say it louder\n"),
                Turn::say("not yet"),
            ],
        ),
        rule(
            "(?s)Say it.*say it louder",
            vec![write("workers/build/output/louder.md", "LOUD\n"), Turn::say("louder")],
        ),
        rule(
            "Say it",
            vec![write("workers/build/output/said.md", "quiet\n"), Turn::say("said")],
        ),
    ];
    let stage = Stage::new(cli, rules);
    stage.plan(
        cli,
        "name = \"loop\"\ntype = \"iterative\"\nreview = \"Is it loud?\"\nmax_iterations = 4\n[[workers]]\nid = \"build\"\ntype = \"write\"\n\
         task = \"Say it.\"\n",
    );
    let status = stage.launch();
    assert_eq!(
        (&status["state"], &status["round"]),
        (&"done".into(), &2.into()),
        "{status:#}"
    );
    assert_eq!(stage.read("workers/build/output/said.md"), "quiet\n");
    assert_eq!(
        stage.read("workers/build/output/louder.md"),
        "LOUD\n",
        "it was told what the reviewer said"
    );
}

#[track_caller]
fn keeps_what_makes_the_number_better(cli: Cli) {
    let rules = vec![
        rule(
            "## Round 1",
            vec![run("echo 12 > score && git commit -qam worse"), Turn::say("tried")],
        ),
        rule(
            "## Round 2",
            vec![run("echo 8 > score && git commit -qam better"), Turn::say("tried")],
        ),
    ];
    let stage = Stage::new(cli, rules);
    let work = stage.world.repo().to_owned();
    fs::write(work.join("score"), "10\n").expect("written");
    let _ = stage.world.git(["add", "score"]);
    let _ = stage.world.git(["commit", "--quiet", "-m", "score"]);
    stage.plan(
        cli,
        &format!(
            "name = \"less\"\ntype = \"autoresearch\"\ngoal = \"Make the score less.\"\nworkdir = \"{}\"\neval_command = \"cat score\"\n\
             metric_regex = \"([0-9.]+)\"\nmax_iterations = 2\n",
            work.display()
        ),
    );
    let status = stage.launch();
    assert_eq!(status["state"], "done");
    let kept: Vec<&Value> = status["rounds"]
        .as_array()
        .expect("rounds")
        .iter()
        .map(|round| &round["kept"])
        .collect();
    assert_eq!(kept, [&Value::Bool(false), &Value::Bool(true)], "{status:#}");
    assert_eq!(fs::read_to_string(work.join("score")).expect("there"), "8\n");
}

#[test]
fn a_worker_in_a_boundary_leaves_it_by_no_command() {
    let outside = tempfile::tempdir_in("/var/tmp").expect("a place for temporary files");
    let file = outside.path().join("out");
    let command = format!(
        "echo in > workers/a/output/in; echo out > {}; echo tried",
        file.display()
    );
    let stage = Stage::new(
        Cli::Claude,
        vec![rule("Try to leave", vec![run(&command), Turn::say("tried")])],
    );
    let bin = stage.world.home().join("bin");
    fs::create_dir_all(&bin).expect("made");
    std::os::unix::fs::symlink(crate::restrictions::bubblewrap(), bin.join("bwrap")).expect("a link");
    let plan = r#"{"fleet_name": "held", "type": "dag", "config": {"sandbox": "bwrap"}, "workers": [{"id": "a", "type": "code-run"}]}"#;
    fs::create_dir_all(stage.root.join("workers/a")).expect("made");
    fs::write(stage.root.join("fleet.json"), plan).expect("written");
    fs::write(stage.root.join("workers/a/prompt.md"), "Try to leave.\n").expect("written");
    let path = format!("{}:{}", bin.display(), fleet_testkit::clis::search_path());
    let root = stage.root();
    let done = stage.world.fleet(["launch", &root]).env("PATH", path).output();
    assert!(done.status.success(), "{done}\n{}", stage.world.endpoint().overview());
    assert_eq!(stage.read("workers/a/output/in"), "in\n");
    assert!(!file.exists(), "it wrote elsewhere");
}

macro_rules! of_each {
    ($($module:ident $cli:expr;)*) => { $(mod $module {
        use super::*;

        #[test]
        fn a_worktree_plan_is_planned_run_and_landed() {
            lands_a_worktree_plan($cli);
        }

        #[test]
        fn a_dag_is_planned_and_run() {
            runs_a_dag($cli);
        }

        #[test]
        fn an_iterative_plan_is_planned_and_goes_round_until_it_is_accepted() {
            goes_round_until_the_reviewer_accepts($cli);
        }

        #[test]
        fn an_autoresearch_plan_is_planned_and_keeps_what_is_better() {
            keeps_what_makes_the_number_better($cli);
        }
    })* };
}

of_each! {
    claude Cli::Claude;
    codex Cli::Codex;
}

/// The other three run the same way: one plan each.
mod others {
    use super::*;

    #[test]
    fn pi_runs_a_dag() {
        runs_a_dag(Cli::Pi);
    }

    #[test]
    fn opencode_runs_a_dag() {
        runs_a_dag(Cli::OpenCode);
    }

    #[test]
    fn gemini_runs_a_dag() {
        runs_a_dag(Cli::Gemini);
    }
}
