//! `cargo xtask demo`: a whole fleet, from nothing to nothing.

mod budget;
mod plan;

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::alone;
use crate::args::Args;
use crate::clis::{self, Cli};
use crate::endpoint::{Edits, Endpoint};
use crate::install::{self, GIT, TMUX};
use crate::procs;
use crate::run::{Run, io, quoted, target};
use crate::world::World;
use crate::{Failure, Result, failed};

pub(crate) const USAGE: &str = "usage: cargo xtask demo [--repo PATH] [--harness NAME [--live]] [--keep]
       cargo xtask demo --plan
       cargo xtask demo --budget

Installs what is missing, builds, and lets three agents repair a small repository, each in a worktree of its own;
then ends them and shows that nothing is left.

  --plan           a plan instead: written from answers, checked, run round after round until its reviewer accepts
  --budget         a plan with a ceiling instead: it pauses there, and goes on when that is raised
  --repo PATH      a repository of yours instead; it is left as it was
  --harness NAME   claude, codex, pi, opencode or gemini: the version that the tests use is installed beside yours,
                   and runs with a HOME of its own, a scripted model and no network, so it costs nothing;
                   or a harness from your config, which runs with your HOME
  --live           run it with your HOME and login instead: your installed program, at your cost
  --keep           leave the fleet to explore, and say how to end it";

/// What the agents are told. The scripted one takes the first word as an order.
const PROMPT: &str = "fix add.sh, so that ./test.sh passes";

/// What the scripted model says when the work is done.
const LAST_WORD: &str = "The work is done.";

const ADD: &str = "#!/bin/sh\n# Prints the sum of its two arguments.\necho $(($1 - $2))\n";
const ADD_FIXED: &str = "#!/bin/sh\n# Prints the sum of its two arguments.\necho $(($1 + $2))\n";
const TEST: &str = "#!/bin/sh\n# The test of this repository.\nsum=$(./add.sh 2 3)\n\
    if [ \"$sum\" = 5 ]; then echo \"ok: 2 + 3 = $sum\"; else echo \"FAILED: 2 + 3 = $sum\"; exit 1; fi\n";

/// Which agents run.
#[derive(Debug)]
enum Harness {
    Scripted,
    /// A pinned program, against the scripted endpoint.
    Pinned(&'static Cli),
    /// One of the user's, with the user's login.
    Users(String),
}

/// The demo on its way.
struct Demo {
    world: World,
    repo: PathBuf,
    /// None in a repository of the user's.
    test: Option<&'static str>,
    harness: Harness,
    /// What a pinned program talks to.
    endpoint: Option<Endpoint>,
    /// Prefix of the branches, and the name of the batch.
    batch: &'static str,
}

pub(crate) fn main(mut args: Args) -> Result<()> {
    if args.flag("--plan") {
        args.end()?;
        install::require(&[GIT], "the demo")?;
        return plan::main();
    }
    if args.flag("--budget") {
        args.end()?;
        install::require(&[GIT], "the demo")?;
        return budget::main();
    }
    let keep = args.flag("--keep");
    let repo = args.value("--repo")?;
    let harness = args.value("--harness")?;
    let live = args.flag("--live");
    args.end()?;
    let harness = match (harness, live) {
        (None, false) => Harness::Scripted,
        (None, true) => return Err(Failure::Usage("`--live` wants a `--harness`".to_owned())),
        (Some(name), live) => match clis::named(&name).filter(|_| !live) {
            Some(cli) => Harness::Pinned(cli),
            None => Harness::Users(name),
        },
    };
    let inside = alone::inside();
    if inside.is_none() {
        install::require(&[GIT, TMUX], "the demo")?;
    }
    let repo = repo.map(|path| main_checkout(&path)).transpose()?;
    if inside.is_none() {
        build()?;
        if let Harness::Pinned(cli) = harness {
            println!(
                "{} runs with a HOME of its own, a scripted model and no network; `--live` takes yours",
                cli.name
            );
            return alone::go_inside("the demo", &[cli]);
        }
    }

    let start = Instant::now();
    let mut demo = Demo::prepare(repo, harness, inside.as_deref())?;
    let before = demo.picture()?;
    let went = demo.start().and_then(|()| demo.look()).and_then(|()| demo.run_tests());
    if keep {
        demo.world.keep();
        let endpoint = demo.endpoint.as_mut().and_then(Endpoint::keep);
        demo.say_how_to_go_on(endpoint);
        return went;
    }
    // Whatever went wrong, the repository is to be as it was.
    let ended = demo.end().and_then(|()| demo.prove(&before));
    went.and(ended)?;
    say(&format!("done in {} after the build", seconds(start)));
    Ok(())
}

fn build() -> Result<()> {
    say("building fleet and the scripted agent");
    let start = Instant::now();
    Run::cargo("build")
        .args(["--quiet", "--package", "fleet", "--package", "fleet-testkit", "--bins"])
        .pass()?;
    println!("built in {}", seconds(start));
    Ok(())
}

impl Demo {
    /// `clis` is the folder of the pinned programs.
    fn prepare(repo: Option<PathBuf>, harness: Harness, clis: Option<&Path>) -> Result<Self> {
        let programs = target().join("debug");
        let mut world = match harness {
            // An agent program of the user's wants its login, which is in the user's HOME.
            Harness::Users(_) => World::of_user("demo", programs.clone())?,
            Harness::Scripted | Harness::Pinned(_) => World::new("demo", programs.clone())?,
        };
        if repo.is_some() && !matches!(harness, Harness::Users(_)) {
            include_users_git_config(&world)?;
        }
        let (file, text) = match repo {
            None => ("add.sh", ADD_FIXED),
            Some(_) => ("fleet-demo.txt", "an agent was here\n"),
        };
        let (repo, test, batch) = match repo {
            // A name that nobody has in a repository of their own.
            Some(repo) => (repo, None, "fleet-demo"),
            None => (small_repository(&world)?, Some("./test.sh"), "fix"),
        };
        let mut endpoint = None;
        match &harness {
            Harness::Scripted => {
                let fix = format!("{file}={}", text.replace('\n', "\\n"));
                world.configure(&scripted(
                    &programs.join("scripted-agent"),
                    &["--turn-ms", "300..900", "--fix", &fix],
                ))?;
            }
            Harness::Pinned(_) => {
                let clis = clis.expect("a pinned program runs in the part that was given the folder");
                endpoint = Some(Endpoint::start(
                    &mut world,
                    &programs,
                    clis,
                    &writes(file, text),
                    Edits::Free,
                )?);
                // What it may do without a question is in the settings that the endpoint has written.
                world.configure("claude_flags = \"\"\n")?;
            }
            Harness::Users(_) => world.configure(&users_config()?)?,
        }
        Ok(Self {
            world,
            repo,
            test,
            harness,
            endpoint,
            batch,
        })
    }

    /// Three agents, and a wait until they have done their turn.
    fn start(&mut self) -> Result<()> {
        if let Some(test) = self.test {
            say("a repository whose test fails");
            let ended = self.world.program(test, &self.repo, [""; 0]).output()?;
            println!("$ {test}\n{}", ended.stdout.trim_end());
            if ended.status.success() {
                return failed("the test of the demo's repository should fail at first");
            }
        }
        say("three agents over it, each in a worktree of its own");
        let mut fanout = vec!["fanout", "3", self.batch, "--prompt", PROMPT];
        let (agent, patience) = match &self.harness {
            Harness::Scripted => (None, "30"),
            Harness::Pinned(cli) => (Some(cli.name), "120"),
            Harness::Users(name) => (Some(name.as_str()), "300"),
        };
        fanout.extend(agent.iter().flat_map(|name| ["--agent", name]));
        self.fleet(&fanout)?;
        // Seen while they live, so that whatever remains of them is known afterwards.
        self.world.agents(&self.repo)?;
        if let Some(endpoint) = &self.endpoint {
            println!("(until the scripted model has said its last word to all three)");
            endpoint.wait_said(LAST_WORD, 3, Duration::from_secs(180))?;
        }
        let waited = self.fleet(&["wait", "--batch", self.batch, "--until", "idle", "--timeout", patience]);
        match (waited, &self.harness) {
            (Err(Failure::Failed(why)), Harness::Users(harness)) => {
                println!("`{harness}` did not become idle (one without a `ready` rule never does): {why}");
                Ok(())
            }
            (waited, _) => waited,
        }
    }

    fn look(&mut self) -> Result<()> {
        say("what they do, said and changed");
        self.fleet(&["list"])?;
        self.fleet(&["logs", &self.first(), "-n", "12"])?;
        self.fleet(&["diff", &self.first()])
    }

    /// The repository's test in each worktree.
    fn run_tests(&mut self) -> Result<()> {
        let Some(test) = self.test else {
            say("the test command of your repository is not known: not run");
            return Ok(());
        };
        say("the repository's test in each worktree");
        let mut broken = Vec::new();
        for branch in self.branches() {
            let path = self.world.fleet(&self.repo, ["path", &branch]).text()?;
            let path = path.trim_end();
            let ended = self
                .world
                .program(&format!("{path}/{test}"), Path::new(path), [""; 0])
                .output()?;
            println!("$ cd \"$(fleet path {branch})\" && {test}\n{}", ended.stdout.trim_end());
            if !ended.status.success() {
                broken.push(branch);
            }
        }
        if broken.is_empty() {
            Ok(())
        } else {
            failed(format!("the test fails in {}", broken.join(", ")))
        }
    }

    /// Kills all. What they had not committed is saved first, as many times as there is something to save.
    fn end(&mut self) -> Result<()> {
        say("the end of all three: what is in no commit is saved first");
        let mut unsaved = 0;
        for agent in self.world.agents(&self.repo)? {
            let worktree = PathBuf::from(agent["worktree"].as_str().unwrap_or_default());
            let status = self.world.git(&worktree, ["status", "--porcelain"])?;
            unsaved += usize::from(!status.is_empty());
        }
        self.fleet(&["kill", "--batch", self.batch, "--delete-branch"])?;
        self.fleet(&["salvage", "list"])?;
        let text = self.world.fleet(&self.repo, ["salvage", "list", "--json"]).text()?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let saved = answer["salvages"].as_array().map_or(0, Vec::len);
        if self.test.is_none() {
            println!("(your repository is to be as it was, so what was saved goes too)");
            self.fleet(&["salvage", "prune", "--yes"])?;
        }
        if saved == unsaved {
            return Ok(());
        }
        failed(format!(
            "{unsaved} worktrees had work in no commit, but {saved} were saved"
        ))
    }

    /// Looks at the machine for anything of the fleet.
    fn prove(&mut self, before: &str) -> Result<()> {
        self.endpoint = None;
        say("what is left");
        let mut left = Vec::new();
        let mut check = |what: &str, found: Vec<String>| {
            println!("  {:<58} {}", what, found.len());
            left.extend(found);
        };
        let agents = self.world.agents(&self.repo)?;
        check(
            "agents in `fleet list`",
            agents
                .iter()
                .map(|agent| format!("agent {}", agent["branch"]))
                .collect(),
        );
        let worktrees = self.world.git(&self.repo, ["worktree", "list", "--porcelain"])?;
        let ours = worktrees
            .lines()
            .filter(|line| line.starts_with("worktree ") && line.contains(&*shown(self.world.root())));
        let main = format!("worktree {}", self.repo.display());
        check(
            "worktrees of the fleet in `git worktree list`",
            ours.filter(|line| *line != main).map(ToOwned::to_owned).collect(),
        );
        let branches = self
            .world
            .git(&self.repo, ["branch", "--list", &format!("{}-A*", self.batch)])?;
        check(
            "branches of the batch in `git branch`",
            branches.lines().map(|line| format!("branch {line}")).collect(),
        );

        // A supervisor has answered the kill a moment before it is gone itself.
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut processes = self.world.processes();
        while !processes.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            processes = self.world.processes();
        }
        let sockets = procs::live_sockets(&self.world.fleet_home());
        check(
            "sockets that answer (tmux server, supervisors)",
            sockets.iter().map(|path| format!("socket {}", shown(path))).collect(),
        );
        check(
            "processes with the fleet's home, folder or an agent's id",
            processes.iter().map(ToString::to_string).collect(),
        );

        let after = self.picture()?;
        if self.test.is_none() {
            let changed = before != after;
            check(
                "changes of your repository (refs, HEAD, status, settings)",
                changed.then(|| difference(before, &after)).into_iter().collect(),
            );
        }
        if left.is_empty() {
            Ok(())
        } else {
            failed(format!("left behind:\n  {}", left.join("\n  ")))
        }
    }

    /// Everything of the repository that a demo must not change.
    fn picture(&self) -> Result<String> {
        let asked: [&[&str]; 5] = [
            &["for-each-ref"],
            &["symbolic-ref", "--quiet", "HEAD"],
            &["status", "--porcelain"],
            &["worktree", "list", "--porcelain"],
            &["config", "--local", "--list"],
        ];
        // A detached HEAD has no symbolic ref, which is as good an answer.
        let answers: Result<Vec<String>> = asked
            .iter()
            .map(|words| Ok(self.world.program("git", &self.repo, *words).output()?.stdout))
            .collect();
        Ok(answers?.concat())
    }

    /// `endpoint` is the process of the scripted model.
    fn say_how_to_go_on(&self, endpoint: Option<u32>) {
        let value = |name: &str| {
            let found = self.world.environment().0.iter().find(|(known, _)| known == name);
            found
                .map(|(_, value)| quoted(&value.to_string_lossy()))
                .unwrap_or_default()
        };
        say("the fleet is yours to explore");
        println!("  cd {}", quoted(&shown(&self.repo)));
        println!("  export FLEET_HOME={} HOME={}", value("FLEET_HOME"), value("HOME"));
        println!("  export PATH={}:\"$PATH\"", quoted(&shown(&target().join("debug"))));
        println!("  fleet list");
        println!("  fleet attach {}", self.first());
        println!("  fleet prompt {} 'print hello'", self.first());
        println!("and to end it:");
        println!("  fleet kill --batch {} --delete-branch", self.batch);
        if self.test.is_none() {
            println!("  fleet salvage prune --yes");
        }
        if let Some(pid) = endpoint {
            println!("  kill {pid}    # the scripted model");
        }
        println!("  cd / && rm -rf {}", quoted(&shown(self.world.root())));
    }

    fn branches(&self) -> [String; 3] {
        [1, 2, 3].map(|n| format!("{}-A{n}", self.batch))
    }

    fn first(&self) -> String {
        format!("{}-A1", self.batch)
    }

    /// Runs `fleet`, as one would see it in a terminal.
    fn fleet(&self, args: &[&str]) -> Result<()> {
        let run = self.world.fleet(&self.repo, args);
        println!("$ {}", run.shown());
        run.pass()
    }
}

/// A `config.toml` whose one harness is the scripted agent.
pub(crate) fn scripted(program: &Path, args: &[&str]) -> String {
    let words = std::iter::once(shown(program)).chain(args.iter().map(|arg| (*arg).to_owned()));
    // A JSON string is a TOML string too.
    let words: Vec<String> = words.map(|word| Value::String(word).to_string()).collect();
    let words = words.join(", ");
    format!(
        "default_agent = \"scripted\"\n\n[harness.scripted]\ncommand = [{words}]\nprompt = \"paste\"\nready = \"^> ?$\"\n"
    )
}

/// A model that reads `file`, because some programs write only what they have read, then writes it.
fn writes(file: &str, text: &str) -> Value {
    json!({"turns": [
        {"calls": [{"read": file}]},
        {"calls": [{"write": {"path": file, "content": text}}]},
        {"text": LAST_WORD},
    ]})
}

fn small_repository(world: &World) -> Result<PathBuf> {
    let repo = world.root().join("sums");
    fs::create_dir(&repo).map_err(io("make", &repo))?;
    for (name, text) in [("add.sh", ADD), ("test.sh", TEST)] {
        let path = repo.join(name);
        fs::write(&path, text).map_err(io("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io("make executable", &path))?;
    }
    world.git(&repo, ["init", "--quiet", "-b", "main"])?;
    world.git(&repo, ["add", "--all"])?;
    world.git(&repo, ["commit", "--quiet", "-m", "Add two numbers"])?;
    Ok(repo)
}

/// The folder of the repository that `path` is in.
fn main_checkout(path: &str) -> Result<PathBuf> {
    let dir = fs::canonicalize(path).map_err(io("find", Path::new(path)))?;
    let top = Run::new("git", &dir).args(["rev-parse", "--show-toplevel"]).text()?;
    Ok(PathBuf::from(top.trim_end()))
}

/// In a repository of the user's their own git settings hold, although HOME is another.
fn include_users_git_config(world: &World) -> Result<()> {
    let Some(home) = std::env::var_os("HOME") else {
        return Ok(());
    };
    let own = Path::new(&home).join(".gitconfig");
    let config = world.root().join("home/.gitconfig");
    let mut text = fs::read_to_string(&config).map_err(io("read", &config))?;
    text.push_str(&format!("[include]\n\tpath = {}\n", Value::String(shown(&own))));
    fs::write(&config, text).map_err(io("write", &config))
}

/// The user's own settings, for the harnesses in them.
fn users_config() -> Result<String> {
    let home = std::env::var_os("FLEET_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".ai_fleet")));
    let Some(path) = home.map(|home| home.join("config.toml")).filter(|path| path.exists()) else {
        return Ok(String::new());
    };
    fs::read_to_string(&path).map_err(io("read", &path))
}

/// The first line that differs.
fn difference(before: &str, after: &str) -> String {
    let gone = before
        .lines()
        .find(|line| !after.lines().any(|other| other == *line))
        .map(|line| format!("gone: {line}"));
    let new = after
        .lines()
        .find(|line| !before.lines().any(|other| other == *line))
        .map(|line| format!("new: {line}"));
    gone.or(new).unwrap_or_else(|| "another order".to_owned())
}

fn say(what: &str) {
    println!("\n== {what}");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn seconds(start: Instant) -> impl Display {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_own_repository_has_a_test_that_fails_until_it_is_fixed() {
        let world = World::new("demo-test", target().join("debug")).unwrap();
        let repo = small_repository(&world).unwrap();
        let passes = || {
            world
                .program("./test.sh", &repo, [""; 0])
                .output()
                .unwrap()
                .status
                .success()
        };
        assert!(!passes());
        fs::write(repo.join("add.sh"), ADD_FIXED).unwrap();
        assert!(passes());
    }

    #[test]
    fn the_first_difference_of_two_pictures_is_named() {
        assert_eq!(difference("a\nb\n", "a\nb\nc\n"), "new: c");
        assert_eq!(difference("a\nb\n", "b\n"), "gone: a");
    }
}
