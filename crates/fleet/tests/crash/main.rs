//! Killed with -9 at every step of create, fanout, prompt, kill and resume, and at random times: afterwards
//! `list --repair` converges, nothing is left over, and no byte of work is lost.
//!
//! The points are not written down here. Each scene is run once to see which points it passes, then once for
//! every point and every passing of it, with a kill there.

mod plans;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet_testkit::{Finished, TestEnv, wait_until};
use serde_json::Value;

/// What no repair may lose.
const PRECIOUS: &str = "precious-7d1f";
/// Environments are small; two at once keep two cores busy.
const WORKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    name: &'static str,
    /// Brings the environment to the point where the act begins.
    prepare: fn(&Stage),
    /// The commands that may be killed; all but the first run only so that the agents' lives go on.
    acts: &'static [&'static [&'static str]],
    /// Whether the prepared work must survive.
    precious: bool,
}

const SCENES: &[Scene] = &[
    Scene {
        name: "create",
        prepare: |_| {},
        acts: &[&["create", "a", "--prompt", "print hello"]],
        precious: false,
    },
    Scene {
        name: "fanout",
        prepare: |_| {},
        acts: &[&["fanout", "2", "f", "--prompt", "print hello"]],
        precious: false,
    },
    Scene {
        name: "prompt",
        prepare: Stage::with_agent,
        acts: &[&["prompt", "a", "print hello"]],
        precious: true,
    },
    Scene {
        name: "kill, clean",
        prepare: Stage::with_clean_agent,
        acts: &[&["kill", "a"]],
        precious: false,
    },
    Scene {
        name: "kill, dirty",
        prepare: Stage::with_agent,
        acts: &[&["kill", "a", "--force"]],
        precious: true,
    },
    Scene {
        name: "kill, with what git cannot hold",
        prepare: Stage::with_nested_repository,
        acts: &[&["kill", "a", "--delete-branch"]],
        precious: true,
    },
    Scene {
        name: "kill, with everything that is hard to save",
        prepare: Stage::with_hard_work,
        acts: &[&["kill", "a", "--salvage-ignored"]],
        precious: true,
    },
    Scene {
        name: "create, with a setup command that fails",
        prepare: Stage::with_failing_setup,
        acts: &[&["create", "a"]],
        precious: false,
    },
    Scene {
        name: "repair, of an end that was cut off",
        prepare: Stage::with_end_cut_off,
        acts: &[&["list", "--repair"]],
        precious: true,
    },
    Scene {
        name: "resume",
        prepare: Stage::with_lost_agent,
        acts: &[&["resume", "a"]],
        precious: true,
    },
    Scene {
        name: "a whole life",
        prepare: |_| {},
        acts: &[
            &["create", "a", "--prompt", "write work.txt precious-7d1f"],
            &["wait", "a", "--until", "idle", "--timeout", "20"],
            &["prompt", "a", "print hello"],
            &["kill", "a"],
        ],
        precious: false,
    },
];

/// One private home with one repository.
struct Stage {
    env: TestEnv,
    repo: PathBuf,
}

impl Stage {
    fn new() -> Stage {
        let env = TestEnv::new();
        env.config_with_scripted(
            "credential_files = [\"secret.env\"]\nsetup_commands = [\"true\"]\nkill_grace_ms = 2000\n",
        );
        let repo = env.repo("repo", 5);
        std::fs::write(repo.join("secret.env"), "TOKEN=1\n").expect("written");
        Stage { env, repo }
    }

    fn run(&self, args: &[&str]) -> Finished {
        self.env.fleet(args).cwd(&self.repo).timeout(PATIENCE).output()
    }

    fn with_clean_agent(&self) {
        let _ = self
            .run(&["create", "a", "--wait", "ready", "--timeout", "30"])
            .success();
    }

    fn with_agent(&self) {
        let _ = self
            .run(&[
                "create",
                "a",
                "--prompt",
                "write work.txt precious-7d1f",
                "--wait",
                "idle",
                "--timeout",
                "30",
            ])
            .success();
    }

    fn with_nested_repository(&self) {
        self.with_agent();
        let nested = self.worktree().join("nested");
        std::fs::create_dir(&nested).expect("made");
        let _ = self.env.git(&nested, ["init", "--quiet"]).success();
        std::fs::write(nested.join("inner.txt"), PRECIOUS).expect("written");
    }

    /// Conflicts, a detached head, a commit that was reset away, hidden and ignored files, an edited credential.
    fn with_hard_work(&self) {
        self.with_agent();
        let worktree = self.worktree();
        let git = |args: &[&str]| drop(self.env.git(&worktree, args).success());
        let write = |name: &str, text: &str| std::fs::write(worktree.join(name), text).expect("written");
        write(".gitignore", "*.log\n");
        git(&["add", ".gitignore"]);
        git(&["commit", "--quiet", "-m", "ignore"]);
        git(&["checkout", "--quiet", "--detach"]);
        write("away.txt", "reset away\n");
        git(&["add", "away.txt"]);
        git(&["commit", "--quiet", "-m", "away"]);
        git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        write(".gitignore", "*.log\nmine\n");
        git(&["update-index", "--assume-unchanged", ".gitignore"]);
        write("kept.log", "ignored\n");
        write("secret.env", "TOKEN=2\n");
        write("both.txt", "ours\n");
        git(&["add", "both.txt"]);
        git(&["stash", "--quiet"]);
        write("both.txt", "theirs\n");
        git(&["add", "both.txt"]);
        git(&["commit", "--quiet", "-m", "theirs"]);
        let _ = self.env.git(&worktree, ["stash", "pop"]);
    }

    fn with_failing_setup(&self) {
        self.env
            .config_with_scripted("credential_files = [\"secret.env\"]\nsetup_commands = [\"false\"]\n");
    }

    fn with_end_cut_off(&self) {
        self.with_agent();
        let hit = self.env.root().join("prepared");
        let command = self
            .env
            .fleet(["kill", "a", "--force"])
            .cwd(&self.repo)
            .timeout(PATIENCE);
        let _ = command
            .env("FLEET_FAULT", "end.salvage:after")
            .env("FLEET_FAULT_HIT", &hit)
            .output();
        assert!(hit.exists(), "the end was cut off");
    }

    fn with_lost_agent(&self) {
        self.with_agent();
        for process in self.env.own_processes() {
            if process.argv.iter().any(|word| word == "__supervise") {
                fleet_testkit::kill_process(process.pid);
            }
        }
        wait_until(PATIENCE, "the agent is lost", || {
            (self.agents()[0]["state"] == "lost").then_some(())
        });
    }

    fn worktree(&self) -> PathBuf {
        self.env.fleet_home().join("worktrees/a")
    }

    fn agents(&self) -> Vec<Value> {
        self.listing(&["list", "--all", "--json"])["agents"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    fn listing(&self, args: &[&str]) -> Value {
        self.run(args).success().json()
    }

    /// Runs the scene's commands, the first of them under a fault, or logging the points it passes.
    fn act(&self, scene: &Scene, variables: &[(&str, String)]) {
        for (index, args) in scene.acts.iter().enumerate() {
            let mut command = self.env.fleet(*args).cwd(&self.repo).timeout(PATIENCE);
            if index == 0 {
                for (name, value) in variables {
                    command = command.env(name, value);
                }
            }
            let _ = command.output();
        }
    }

    /// Repairs until there is nothing to repair, and checks every promise.
    fn check(&self, scene: &Scene, point: &str) {
        let mut quiet = 0;
        wait_until(PATIENCE, &format!("{}, {point}: repair converges", scene.name), || {
            let repaired = self.listing(&["list", "--repair", "--json"]);
            quiet = if repaired["repaired"].is_null() { quiet + 1 } else { 0 };
            // A supervisor that outlived the command may still be at the start.
            let starts = self.agents().iter().any(|agent| agent["phase"] == "reserved");
            (quiet >= 2 && !starts).then_some(())
        });
        let agents = self.agents();
        let of = |name: &str| {
            agents
                .iter()
                .filter_map(|agent| agent[name].as_str())
                .collect::<Vec<_>>()
        };
        let live: Vec<&Value> = agents.iter().filter(|agent| agent["phase"] != "ended").collect();
        for agent in &live {
            assert_eq!(agent["phase"], "started", "{}, {point}: {agent}", scene.name);
            assert!(
                Path::new(agent["worktree"].as_str().expect("path")).is_dir(),
                "{}, {point}: no worktree: {agent}",
                scene.name
            );
        }
        for worktree in fleet_testkit::scan::linked_worktrees(&self.repo) {
            let known = live
                .iter()
                .any(|agent| Path::new(agent["worktree"].as_str().unwrap_or_default()) == worktree);
            assert!(
                known,
                "{}, {point}: an orphaned worktree {}",
                scene.name,
                worktree.display()
            );
        }
        let branches = self
            .env
            .git(&self.repo, ["for-each-ref", "--format=%(refname:short)", "refs/heads"])
            .success()
            .stdout;
        for branch in branches.lines().filter(|branch| *branch != "main") {
            assert!(
                of("branch").contains(&branch),
                "{}, {point}: the branch {branch} has no record",
                scene.name
            );
        }
        if scene.precious {
            assert!(self.holds_precious(), "{}, {point}: the work is lost", scene.name);
        }
        if !live.is_empty() {
            let _ = self.run(&["kill", "*", "--force"]).success();
        }
        if scene.precious {
            assert!(
                self.holds_precious(),
                "{}, {point}: the work is lost at the end",
                scene.name
            );
        }
        let left = wait_for_none(|| self.env.leftovers());
        assert!(left.is_empty(), "{}, {point}: left over: {left:#?}", scene.name);
    }

    /// Whether the prepared work is in a worktree, a salvage ref or the trash.
    fn holds_precious(&self) -> bool {
        let in_files = |folder: &str| find(&self.env.fleet_home().join(folder), PRECIOUS);
        let refs = self
            .env
            .git(&self.repo, ["for-each-ref", "--format=%(refname)", "refs/fleet"])
            .success()
            .stdout;
        let in_ref = |name: &str| {
            self.env
                .git(&self.repo, ["grep", "-q", PRECIOUS, name])
                .status
                .success()
        };
        in_files("worktrees") || in_files("trash") || refs.lines().any(in_ref)
    }
}

fn wait_for_none(mut left: impl FnMut() -> Vec<String>) -> Vec<String> {
    let started = std::time::Instant::now();
    loop {
        let now = left();
        if now.is_empty() || started.elapsed() > Duration::from_secs(5) {
            return now;
        }
        std::thread::yield_now();
    }
}

fn find(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        match path.is_dir() && !path.is_symlink() {
            true => find(&path, text),
            false => {
                std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
            }
        }
    })
}

/// The points that a scene passes, and how often.
fn points(scene: &Scene) -> BTreeMap<String, usize> {
    let stage = Stage::new();
    (scene.prepare)(&stage);
    let log = stage.env.root().join("points");
    stage.act(scene, &[("FLEET_FAULT_LOG", log.display().to_string())]);
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(&log).expect("points were passed").lines() {
        *counts.entry(line.to_owned()).or_insert(0) += 1;
    }
    if !stage.agents().iter().all(|agent| agent["phase"] == "ended") {
        let _ = stage.run(&["kill", "*", "--force"]).success();
    }
    counts
}

/// One row of the table: scene, point, kills asked for, kills that hit.
type Row = (String, String, usize, usize);

fn walk(scene: &Scene) -> Vec<Row> {
    let full = std::env::var_os("FLEET_TEST_FULL").is_some();
    let mut cases = Vec::new();
    for (point, count) in points(scene) {
        // A supervisor's journal is where its life advances: every line counts. Elsewhere the later passings of
        // one point are the same code again.
        let most = if full || point.starts_with("supervisor.journal") {
            count
        } else {
            2
        };
        cases.extend((1..=count.min(most)).map(|nth| (point.clone(), nth)));
    }
    let next = AtomicUsize::new(0);
    let hits: Mutex<BTreeMap<String, (usize, usize)>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((point, nth)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let hit = run_case(scene, point, *nth);
                    let mut hits = hits.lock().expect("hits");
                    let row = hits.entry(point.clone()).or_default();
                    row.0 += 1;
                    row.1 += usize::from(hit);
                }
            });
        }
    });
    let hits = hits.into_inner().expect("hits");
    hits.into_iter()
        .map(|(point, (asked, hit))| (scene.name.to_owned(), point, asked, hit))
        .collect()
}

fn run_case(scene: &Scene, point: &str, nth: usize) -> bool {
    let stage = Stage::new();
    (scene.prepare)(&stage);
    let hit = stage.env.root().join("hit");
    let variables = [
        ("FLEET_FAULT", format!("{point}:{nth}")),
        ("FLEET_FAULT_HIT", hit.display().to_string()),
    ];
    stage.act(scene, &variables);
    stage.check(scene, &format!("{point}:{nth}"));
    hit.exists()
}

#[test]
fn a_kill_at_any_point_loses_nothing_and_leaves_nothing() {
    let only = std::env::var_os("FLEET_TEST_SCENE").and_then(|only| only.into_string().ok());
    let mut rows = Vec::new();
    for scene in SCENES
        .iter()
        .filter(|scene| only.as_deref().is_none_or(|only| scene.name.contains(only)))
    {
        rows.extend(walk(scene));
    }
    for (scene, point, _, hit) in &rows {
        assert!(*hit > 0, "{scene}: no kill hit {point}");
    }
    let kills: usize = rows.iter().map(|row| row.3).sum();
    assert!(
        only.is_some() || kills > 100,
        "only {kills} kills hit: the points are not passed any more"
    );
    if std::env::var_os("FLEET_TEST_FULL").is_some() && only.is_none() {
        write_table(&rows, kills);
    }
}

fn write_table(rows: &[Row], kills: usize) {
    let mut text = "# Crash points\n\nEach row is a point at which the program, or the supervisor it had started, was killed with SIGKILL, each \
                    time in a fresh home. Afterwards `fleet list --repair` converged, no worktree, session, branch without a record or process \
                    was left, and the prepared work was in the worktree, a salvage ref or the trash.\n\nMade by `cargo xtask test --full crash`.\n\n\
                    | scene | point | kills | hit |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (scene, point, asked, hit) in rows {
        let _ = writeln!(text, "| {scene} | `{point}` | {asked} | {hit} |");
    }
    let _ = writeln!(text, "\n{kills} kills in all.");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/crash-points.md");
    std::fs::write(path, text).expect("the table is written");
}

/// A small generator (xorshift64*), so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

#[test]
fn kills_at_random_times_lose_nothing_and_leave_nothing() {
    let full = std::env::var_os("FLEET_TEST_FULL").is_some();
    let rounds = if full { 500 } else { 40 };
    let seed: u64 = std::env::var_os("FLEET_TEST_SEED")
        .and_then(|seed| seed.to_str()?.parse().ok())
        .unwrap_or(7);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds {
                        return;
                    }
                    random_kill(seed.wrapping_mul(1_000_003).wrapping_add(round as u64 + 1));
                }
            });
        }
    });
}

fn random_kill(seed: u64) {
    let mut random = Random(seed | 1);
    let scene = &SCENES[random.below(SCENES.len() as u64 - 1) as usize];
    let stage = Stage::new();
    (scene.prepare)(&stage);
    let command = stage
        .env
        .fleet(scene.acts[0])
        .cwd(&stage.repo)
        .timeout(PATIENCE)
        .spawn();
    let supervisor_too = random.below(3) == 0;
    // The moment of the kill is what is random here, so this is no wait for anything.
    fleet_testkit::pause(Duration::from_micros(random.below(150_000)));
    command.signal(nix::sys::signal::Signal::SIGKILL);
    if supervisor_too {
        for process in stage
            .env
            .own_processes()
            .iter()
            .filter(|each| each.argv.iter().any(|word| word == "__supervise"))
        {
            fleet_testkit::kill_process(process.pid);
        }
    }
    stage.check(scene, &format!("seed {seed}"));
}
