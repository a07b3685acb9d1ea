//! Runs of plans, killed with -9 at every step of launcher, driver and supervisors: launched again, each ends as the run
//! without a kill did, no step that was paid for is repeated, and none is skipped.
//!
//! The stand-in for Claude Code notes each step in a ledger; that ledger decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_testkit::{Finished, TestEnv, binary, wait_until};
use serde_json::{Value, json};

use super::{PATIENCE, WORKERS};

/// One kind of plan.
struct Scene {
    name: &'static str,
    prepare: fn(&Stage, usize),
    /// What starts it, and goes on with it; `--detach` is added.
    launch: &'static [&'static str],
    /// What `status` calls it.
    named: &'static str,
}

impl Scene {
    /// A plan in a `fleet.json`.
    const fn plan(name: &'static str, prepare: fn(&Stage, usize)) -> Scene {
        Scene {
            name,
            prepare,
            launch: &["launch", "../root"],
            named: "../root",
        }
    }
}

const SCENES: &[Scene] = &[
    Scene::plan("dag", dag),
    Scene::plan("worktree", worktree),
    Scene::plan("iterative", iterative),
    Scene::plan("autoresearch", autoresearch),
    Scene {
        name: "pipeline",
        prepare: pipeline,
        launch: &["run", "--job", "WALK", "--branch", "work/w0", "--prompt", "@../task.md"],
        named: "WALK",
    },
];

struct Stage {
    scene: &'static Scene,
    env: TestEnv,
    repo: PathBuf,
    root: PathBuf,
    path: String,
}

/// What a run left that must be the same, however often it was cut off.
#[derive(Debug, PartialEq)]
struct Left {
    states: Vec<String>,
    /// How often each step was paid for.
    paid: BTreeMap<String, usize>,
    files: BTreeMap<String, String>,
}

fn full() -> bool {
    std::env::var_os("FLEET_TEST_FULL").is_some()
}

impl Stage {
    fn new(scene: &'static Scene) -> Stage {
        let env = TestEnv::new();
        env.write_config("claude_flags = \"\"\nkill_grace_ms = 1000\n");
        let repo = env.repo("repo", 3);
        let bin = env.root().join("bin");
        fs::create_dir_all(&bin).expect("made");
        std::os::unix::fs::symlink(binary("worker"), bin.join("claude")).expect("a link");
        let root = env.root().join("root");
        fs::create_dir_all(&root).expect("made");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        let stage = Stage {
            scene,
            env,
            repo,
            root,
            path,
        };
        (scene.prepare)(&stage, if full() { 20 } else { 3 });
        stage
    }

    fn run(&self, args: &[&str], variables: &[(&str, String)]) -> Finished {
        let mut command = self.env.fleet(args).cwd(&self.repo).timeout(PATIENCE);
        command = command
            .env("PATH", &self.path)
            .env("WORKER_LEDGER", self.env.root().join("ledger"));
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command.output()
    }

    fn plan(&self, plan: &Value, prompts: &[(String, String)]) {
        let mut plan = plan.clone();
        plan["config"]["retry_delay_seconds"] = json!(0.05);
        self.write("fleet.json", &plan.to_string());
        for (id, prompt) in prompts {
            self.write(&format!("workers/{id}/prompt.md"), prompt);
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Starts the run, or goes on with it, and leaves it to itself.
    fn launch(&self, variables: &[(&str, String)]) -> Finished {
        self.run(&[self.scene.launch, &["--detach"]].concat(), variables)
    }

    fn status(&self) -> Option<Value> {
        let done = self.run(&["status", self.scene.named, "--json"], &[]);
        let runs: Value = serde_json::from_str(&done.stdout).ok()?;
        runs["runs"].get(0).cloned()
    }

    /// Launches until the run is over. Whoever notices drives it, so that once may be enough even without asking.
    fn finish(&self, point: &str) {
        let _ = self.launch(&[]).success();
        wait_until(PATIENCE, &format!("{point}: the run ends"), || {
            let run = self.status()?;
            let state = run["state"].as_str().unwrap_or_default().to_owned();
            if state == "unattended" || state == "paused" {
                let _ = self.launch(&[]);
            }
            assert_ne!(state, "failed", "{point}: {run:#}");
            (state == "done").then_some(())
        });
    }

    fn left(&self, workers: usize) -> Left {
        let run = self.status().expect("a run");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let workers_of = run["workers"].as_array().cloned().unwrap_or_default();
        let states = workers_of
            .iter()
            .map(|worker| format!("{} {}", text(&worker["id"]), text(&worker["state"])));
        let mut files = BTreeMap::new();
        for (name, path) in [("work/score", "work/score"), ("reviews", "iterations/2/review.md")] {
            if let Ok(text) = fs::read_to_string(self.root.join(path)) {
                files.insert(name.to_owned(), text);
            }
        }
        if let Ok(results) = fs::read_to_string(self.root.join("work/results.tsv")) {
            // A commit's id has its time in it.
            let rows = results
                .lines()
                .map(|line| line.split('\t').skip(1).collect::<Vec<_>>().join(" "));
            files.insert("results".to_owned(), rows.collect::<Vec<_>>().join("\n"));
        }
        for n in 0..workers {
            if let Ok(text) = fs::read_to_string(self.root.join(format!("workers/w{n}/output/out"))) {
                files.insert(format!("w{n}"), text);
            }
            let shown = self.env.git(&self.repo, ["show", &format!("work/w{n}:w{n}.txt")]);
            if shown.status.success() {
                files.insert(format!("branch w{n}"), shown.stdout);
            }
        }
        let tasks: Value = serde_json::from_str(&self.run(&["task", "list", "--json"], &[]).stdout).expect("a list");
        for task in tasks["tasks"].as_array().into_iter().flatten() {
            // Which of the stages that leave the same to do is heard first is up to the kill.
            let about = ["title", "status", "priority"].map(|key| text(&task[key]));
            let name = format!("task {} {}", text(&task["external"]), about[0]);
            let had = files.insert(name.clone(), about.join(", "));
            assert_eq!(had, None, "{name} is there once: {tasks:#}");
        }
        let ledger = fs::read_to_string(self.env.root().join("ledger")).unwrap_or_default();
        let mut paid = BTreeMap::new();
        for line in ledger
            .lines()
            .filter(|line| line.starts_with("paid ") || line.starts_with("asked "))
        {
            *paid.entry(line.to_owned()).or_default() += 1;
        }
        Left {
            states: states.collect(),
            paid,
            files,
        }
    }
}

fn dag(stage: &Stage, workers: usize) {
    let after = |n: usize| match n {
        0 => Vec::new(),
        1 | 2 => vec!["w0".to_owned()],
        n => vec![format!("w{}", n - 1), format!("w{}", n / 2)],
    };
    let rows: Vec<Value> = (0..workers)
        .map(|n| json!({"id": format!("w{n}"), "type": "code-run", "depends_on": after(n)}))
        .collect();
    let prompts: Vec<_> = (0..workers)
        .map(|n| {
            (
                format!("w{n}"),
                format!("Do it.\n!write $FLEET_ROOT/workers/w{n}/output/out {n}\n"),
            )
        })
        .collect();
    stage.plan(
        &json!({"fleet_name": "walk", "type": "dag", "config": {"max_concurrent": 4}, "workers": rows}),
        &prompts,
    );
}

fn worktree(stage: &Stage, workers: usize) {
    let rows: Vec<Value> = (0..workers)
        .map(|n| json!({"id": format!("w{n}"), "branch": format!("work/w{n}"), "target_files": [format!("w{n}.txt")]}))
        .collect();
    let prompts: Vec<_> = (0..workers)
        .map(|n| {
            (
                format!("w{n}"),
                format!("Do it and commit.\n!write w{n}.txt {n}\n!commit done\n"),
            )
        })
        .collect();
    stage.plan(
        &json!({"fleet_name": "walk", "type": "worktree", "config": {"max_concurrent": 4}, "workers": rows}),
        &prompts,
    );
}

fn iterative(stage: &Stage, workers: usize) {
    let mut rows: Vec<Value> = (1..workers)
        .map(|n| json!({"id": format!("w{n}"), "type": "code-run"}))
        .collect();
    rows.push(json!({"id": "judge", "type": "reviewer"}));
    let mut prompts: Vec<_> = (1..workers).map(|n| (format!("w{n}"), "Do it.\n".to_owned())).collect();
    let recipe =
        "Write your verdict to `iterations/<N>/review.md`: `verdict: lgtm`, `verdict: iterate`, `verdict: escalate`.";
    prompts.push((
        "judge".to_owned(),
        format!("{recipe}\n!verdict none lgtm\n!answer iterate\n"),
    ));
    stage.plan(
        &json!({"fleet_name": "walk", "type": "iterative", "config": {"max_concurrent": 4}, "workers": rows,
            "stop_when": {"max_iterations": 3, "reviewer_lgtm_count": 1}}),
        &prompts,
    );
}

fn autoresearch(stage: &Stage, _: usize) {
    let work = stage.root.join("work");
    fs::create_dir_all(&work).expect("made");
    let git = |args: &[&str]| drop(stage.env.git(&work, args.iter().copied()).success());
    git(&["init", "--quiet", "-b", "main"]);
    fs::write(work.join("score"), "10\n").expect("written");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "start"]);
    stage.plan(
        &json!({"fleet_name": "walk", "type": "autoresearch", "config": {}, "stop_when": {"max_iterations": 2},
            "problem": {"workdir": "work", "eval_command": "cat score", "metric_regex": "^([0-9.]+)"}}),
        &[],
    );
    stage.write(
        "program.md",
        "Make it less.\n!round 1 write score 12\n!round 2 write score 8\n!round 2 commit a change\n",
    );
}

fn pipeline(stage: &Stage, _: usize) {
    let file = "fleet: {enabled: true, budget_protocol: true, task_sync: true}\n\
                checks: {steps: [{name: there, command: test -f w0.txt}]}\n";
    fs::write(stage.repo.join("vibe.yaml"), file).expect("written");
    let task = "Add a cart.\n!report completed\n!at implement write w0.txt full\n!at implement commit Add the cart\n\
                !at review say verdict: lgtm\n";
    fs::write(stage.env.root().join("task.md"), task).expect("written");
}

/// The points that a run of this scene passes, and how often; and what it leaves.
fn reference(scene: &'static Scene) -> (BTreeMap<String, usize>, Left) {
    let stage = Stage::new(scene);
    let log = stage.env.root().join("points");
    let _ = stage
        .run(scene.launch, &[("FLEET_FAULT_LOG", log.display().to_string())])
        .success();
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(&log).expect("points were passed").lines() {
        *counts.entry(line.to_owned()).or_insert(0) += 1;
    }
    (counts, stage.left(20))
}

/// One kill, and what came of it; whether it hit.
fn case(scene: &'static Scene, point: &str, nth: usize, wanted: &Left) -> bool {
    let stage = Stage::new(scene);
    let hit = stage.env.root().join("hit");
    let variables = [
        ("FLEET_FAULT", format!("{point}:{nth}")),
        ("FLEET_FAULT_HIT", hit.display().to_string()),
    ];
    let _ = stage.launch(&variables);
    let name = format!("{}, {point}:{nth}", scene.name);
    stage.finish(&name);
    let left = stage.left(20);
    assert_eq!(left, *wanted, "{name}");
    let _ = stage.run(&["kill", "*", "--force"], &[]);
    let _ = stage.run(&["list", "--repair"], &[]).success();
    let roots = fs::read_dir(stage.env.fleet_home().join("pipelines"))
        .into_iter()
        .flatten();
    assert!(roots.count() <= 1, "{name}: folders of pipelines that never were");
    let left = super::wait_for_none(|| stage.env.leftovers());
    assert!(left.is_empty(), "{name}: left over: {left:#?}");
    hit.exists()
}

#[test]
fn a_run_that_is_cut_off_at_any_point_ends_as_one_that_was_not() {
    let only = std::env::var_os("FLEET_TEST_SCENE").and_then(|only| only.into_string().ok());
    let mut rows = Vec::new();
    let mut walked = BTreeSet::new();
    for scene in SCENES
        .iter()
        .filter(|scene| only.as_deref().is_none_or(|only| scene.name.contains(only)))
    {
        let (points, wanted) = reference(scene);
        let own = |point: &str| {
            [
                "drive.",
                "launch.",
                "round.",
                "run.",
                "task.",
                "supervisor.copy-output",
                "supervisor.child",
            ]
            .iter()
            .any(|own| point.starts_with(own))
        };
        let mut cases = Vec::new();
        for (point, count) in points {
            // What the other verbs pass, too, is walked there; here once in the first plan that has it.
            let is_new = walked.insert(point.clone());
            let times = match (full(), own(&point)) {
                (true, _) => passings(&point, count),
                (false, true) if is_new => vec![1],
                (false, _) => Vec::new(),
            };
            cases.extend(times.into_iter().map(|nth| (point.clone(), nth)));
        }
        rows.extend(walk(scene, &cases, &wanted));
    }
    for (scene, point, _, hit) in &rows {
        assert!(*hit > 0, "{scene}: no kill hit {point}");
    }
    if full() && only.is_none() {
        write_table(&rows);
    }
}

/// At which of its passings a point is tried in full: every turn of the driver, because its life advances there; of all
/// else the first two, one in the middle and the last, because those between are the same code again.
fn passings(point: &str, count: usize) -> Vec<usize> {
    if point.starts_with("drive.turn") || point.starts_with("launch.supervisor") {
        return (1..=count).collect();
    }
    let few = BTreeSet::from([1, 2.min(count), count.div_ceil(2), count]);
    few.into_iter().collect()
}

type Row = (String, String, usize, usize);

fn walk(scene: &'static Scene, cases: &[(String, usize)], wanted: &Left) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let hits: Mutex<BTreeMap<String, (usize, usize)>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((point, nth)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let hit = case(scene, point, *nth, wanted);
                    let mut hits = hits.lock().expect("hits");
                    let row = hits.entry(point.clone()).or_default();
                    row.0 += 1;
                    row.1 += usize::from(hit);
                }
            });
        }
    });
    let hits = hits.into_inner().expect("hits").into_iter();
    hits.map(|(point, (asked, hit))| (scene.name.to_owned(), point, asked, hit))
        .collect()
}

fn write_table(rows: &[Row]) {
    let kills: usize = rows.iter().map(|row| row.3).sum();
    let mut text = "# Crash points of runs\n\nEach row is a point at which the launcher, the driver or a supervisor of a run was killed with \
                    SIGKILL, each time in a fresh home. The run was launched again and ended with the same states, files and branches as \
                    the run without a kill; no step was paid for twice, and none was left out.\n\nMade by `cargo xtask test --full crash`.\n\n\
                    | plan | point | kills | hit |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (scene, point, asked, hit) in rows {
        let _ = writeln!(text, "| {scene} | `{point}` | {asked} | {hit} |");
    }
    let _ = writeln!(text, "\n{kills} kills in all.");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/crash-points-plans.md");
    fs::write(path, text).expect("the table is written");
}
