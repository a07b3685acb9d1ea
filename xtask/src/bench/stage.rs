//! The world that the benchmarks run in: repositories, a fleet, and beside it plain git and tmux as the floor.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::plans;
use crate::demo::scripted;
use crate::run::{Run, io};
use crate::world::World;
use crate::{Failure, Result, failed};

/// How long what was started may go on in the background before the next measurement.
const SETTLE: Duration = Duration::from_millis(150);

/// A program that never writes anything: what its screen shows is written by the benchmark.
const STILL: &str = "[harness.still]\ncommand = [\"sleep\", \"1000000\"]\nprompt = \"paste\"\nready = \"^> ?$\"\n";

/// The stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    /// Where the release programs are.
    pub(crate) programs: PathBuf,
    pub(crate) quick: bool,
    agent: Vec<String>,
    /// Rounds whose files were kept.
    kept: usize,
    received: Receiver<(Instant, String)>,
}

/// A repository to measure in.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    pub(crate) path: PathBuf,
    worktrees: PathBuf,
}

impl Stage {
    /// Sets it: the floor's tmux server runs, and so does fleet's, by one agent that stays.
    pub(crate) fn set(programs: PathBuf, quick: bool) -> Result<Self> {
        let world = World::new("bench", programs.clone())?;
        let pipe = world.root().join("received");
        world.program("mkfifo", world.root(), [&pipe]).text()?;
        let program = programs.join("scripted-agent");
        let log = ["--receive-log".to_owned(), pipe.display().to_string()];
        let more = plans::harnesses(world.root());
        world.configure(&(scripted(&program, &[&log[0], &log[1]]) + STILL + &more))?;
        let agent = std::iter::once(program.display().to_string()).chain(log).collect();
        let received = listen(&pipe)?;
        let stage = Self {
            world,
            programs,
            quick,
            agent,
            kept: 0,
            received,
        };
        stage.tmux(["new-session", "-d", "-s", "stays", "sleep", "100000"])?;
        let home = stage.repo("warm", 1)?;
        stage.fleet(&home, &["create", "stays"])?;
        Ok(stage)
    }

    /// `full` samples, or a few.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick { full.clamp(1, 3) } else { full }
    }

    /// A repository with `files` files in one commit.
    pub(crate) fn repo(&self, name: &str, files: usize) -> Result<Repo> {
        let path = self.world.root().join(name);
        if path.exists() {
            return Ok(Repo {
                worktrees: path.with_extension("floor"),
                path,
            });
        }
        for n in 0..files {
            let dir = path.join(format!("src{}", n / 50));
            fs::create_dir_all(&dir).map_err(io("make", &dir))?;
            let file = dir.join(format!("file{n}.txt"));
            // About the length of a source file.
            let text: String = (0..80)
                .map(|line| format!("line {line} of file {n}, with some words in it\n"))
                .collect();
            fs::write(&file, text).map_err(io("write", &file))?;
        }
        self.world.git(&path, ["init", "--quiet", "-b", "main"])?;
        self.world.git(&path, ["add", "--all"])?;
        self.world.git(&path, ["commit", "--quiet", "-m", "first"])?;
        self.world.git(&path, ["gc", "--quiet"])?;
        let worktrees = path.with_extension("floor");
        fs::create_dir(&worktrees).map_err(io("make", &worktrees))?;
        Ok(Repo { path, worktrees })
    }

    pub(crate) fn fleet(&self, repo: &Repo, args: &[&str]) -> Result<String> {
        self.world.fleet(&repo.path, args).text()
    }

    pub(crate) fn git(&self, repo: &Repo, args: &[&str]) -> Result<String> {
        self.world.git(&repo.path, args)
    }

    /// tmux on the floor's own server.
    pub(crate) fn tmux<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let socket = self.world.root().join("floor.sock").display().to_string();
        let fixed = ["-f", "/dev/null", "-S", &socket];
        self.world.program("tmux", self.world.root(), fixed).args(args).text()
    }

    /// tmux on fleet's server.
    pub(crate) fn fleets_tmux(&self, args: &[&str]) -> Result<Run> {
        let recorded = self.world.fleet_home().join("runtime");
        let dir = fs::read_to_string(&recorded).map_err(io("read", &recorded))?;
        let socket = Path::new(dir.trim_end()).join("tmux.sock").display().to_string();
        Ok(self
            .world
            .program("tmux", self.world.root(), ["-S", &socket])
            .args(args))
    }

    /// What one does without fleet to start an agent.
    pub(crate) fn floor_create(&self, repo: &Repo, branch: &str) -> Result<()> {
        let worktree = repo.worktrees.join(branch).display().to_string();
        self.git(repo, &["worktree", "add", "--quiet", "-b", branch, &worktree])?;
        let words = ["new-session", "-d", "-s", branch, "-c", &worktree];
        self.tmux(words.into_iter().chain(self.agent.iter().map(String::as_str)))?;
        Ok(())
    }

    /// And to save its work.
    pub(crate) fn floor_save(&self, repo: &Repo, branch: &str) -> Result<()> {
        let worktree = repo.worktrees.join(branch);
        self.world.git(&worktree, ["add", "--all"])?;
        self.world.git(&worktree, ["commit", "--quiet", "-m", "saved"])?;
        Ok(())
    }

    /// And to end it.
    pub(crate) fn floor_kill(&self, repo: &Repo, branch: &str) -> Result<()> {
        self.tmux(["kill-session", "-t", &format!("={branch}")])?;
        let worktree = repo.worktrees.join(branch).display().to_string();
        self.git(repo, &["worktree", "remove", "--force", &worktree])?;
        Ok(())
    }

    /// Where an agent of the floor works.
    pub(crate) fn floor_worktree(&self, repo: &Repo, branch: &str) -> PathBuf {
        repo.worktrees.join(branch)
    }

    /// Keeps the files of all worktrees by links, so that ending them frees no inode. For minutes after that ext4 goes past
    /// each freed one whenever it makes a file (`recently_deleted` in its ialloc.c): the next round would be slower by what
    /// the last one has deleted.
    pub(crate) fn keep_files(&mut self, repo: &Repo) -> Result<()> {
        let kept = self.world.root().join("kept").join(self.kept.to_string());
        self.kept += 1;
        fs::create_dir_all(&kept).map_err(io("make", &kept))?;
        for worktrees in [&repo.worktrees, &self.world.fleet_home().join("worktrees")] {
            self.world
                .program("cp", &kept, ["-al".as_ref(), worktrees.as_os_str(), ".".as_ref()])
                .text()?;
        }
        Ok(())
    }

    /// Takes away the branches of a round, and checks that `repo` is as new.
    pub(crate) fn clean(&mut self, repo: &Repo) -> Result<()> {
        let branches = self.git(repo, &["for-each-ref", "--format=%(refname:short)", "refs/heads"])?;
        let extra: Vec<&str> = branches.lines().filter(|branch| *branch != "main").collect();
        if !extra.is_empty() {
            let words: Vec<&str> = ["branch", "--quiet", "-D"].into_iter().chain(extra).collect();
            self.git(repo, &words)?;
        }
        let saved = self.git(repo, &["for-each-ref", "--format=delete %(refname)", "refs/fleet"])?;
        for line in saved.lines() {
            self.git(repo, &["update-ref", "-d", line.trim_start_matches("delete ")])?;
        }
        let worktrees = self.git(repo, &["worktree", "list"])?;
        if worktrees.lines().count() != 1 {
            return failed(format!("a round has left worktrees:\n{worktrees}"));
        }
        Ok(())
    }

    /// The agents, as JSON.
    pub(crate) fn agents(&mut self, repo: &Repo) -> Result<Vec<Value>> {
        self.world.agents(&repo.path)
    }

    /// When the program was given the prompt `text`.
    pub(crate) fn received(&self, text: &str) -> Result<Instant> {
        loop {
            let (at, line) = self
                .received
                .recv_timeout(Duration::from_secs(10))
                .map_err(|_| Failure::Failed(format!("the prompt `{text}` has not arrived")))?;
            let received: Value = serde_json::from_str(&line).unwrap_or_default();
            if received["text"] == text {
                return Ok(at);
            }
        }
    }
}

/// Milliseconds that `act` takes; then what it started gets a moment to settle.
pub(crate) fn timed<T>(act: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    act()?;
    let took = millis(start.elapsed());
    std::thread::sleep(SETTLE);
    Ok(took)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Lines as they come out of a named pipe, each with its moment: no polling, which would cost the other side time.
fn listen(pipe: &Path) -> Result<Receiver<(Instant, String)>> {
    // Open for writing too, so that it has no end while nobody writes.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(pipe)
        .map_err(io("open", pipe))?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(file).lines().map_while(std::io::Result::ok) {
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
