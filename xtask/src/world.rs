//! A private world to run a fleet in: its own folder, fleet home and environment.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::procs::{self, Process};
use crate::run::{Environment, Run, io};
use crate::{Failure, Result, failed};

/// The world. What still runs in it is killed when it is dropped, and its folder removed.
#[derive(Debug)]
pub(crate) struct World {
    // None once the world is to stay.
    dir: Option<TempDir>,
    root: PathBuf,
    programs: PathBuf,
    environment: Environment,
    /// Ids of the agents that were seen here: a supervisor has nothing else of this world about it.
    seen: Vec<String>,
}

impl World {
    /// A world whose programs see a cleared environment and an empty HOME. `programs` is the folder of `fleet`.
    pub(crate) fn new(name: &str, programs: PathBuf) -> Result<Self> {
        let (dir, root) = folder(name)?;
        let home = root.join("home");
        fs::create_dir(&home).map_err(io("make", &home))?;
        let identity = "[user]\n\tname = Demo\n\temail = demo@example.invalid\n[init]\n\tdefaultBranch = main\n";
        let config = home.join(".gitconfig");
        fs::write(&config, identity).map_err(io("write", &config))?;
        let environment = Environment(vec![
            ("PATH".into(), path_with(&programs)?),
            ("HOME".into(), home.into()),
            ("FLEET_HOME".into(), root.join("fleet").into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "xterm-256color".into()),
        ]);
        Self::start(dir, root, programs, environment)
    }

    /// A world whose programs see the user's own environment and HOME, but a fleet home of this world.
    pub(crate) fn of_user(name: &str, programs: PathBuf) -> Result<Self> {
        let (dir, root) = folder(name)?;
        let foreign = |name: &OsString| {
            let name = name.to_string_lossy();
            // What cargo and an outer tmux or fleet put there is none of the agents'.
            ["FLEET_", "TMUX", "CARGO", "RUST"]
                .iter()
                .any(|start| name.starts_with(start))
                || name == "PATH"
        };
        let mut variables: Vec<_> = std::env::vars_os().filter(|(name, _)| !foreign(name)).collect();
        variables.push(("PATH".into(), path_with(&programs)?));
        variables.push(("FLEET_HOME".into(), root.join("fleet").into()));
        Self::start(dir, root, programs, Environment(variables))
    }

    fn start(dir: TempDir, root: PathBuf, programs: PathBuf, environment: Environment) -> Result<Self> {
        let world = Self {
            dir: Some(dir),
            root,
            programs,
            environment,
            seen: Vec::new(),
        };
        fs::create_dir(world.fleet_home()).map_err(io("make", &world.fleet_home()))?;
        Ok(world)
    }

    /// The folder of it all, under /tmp so that sockets fit.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn fleet_home(&self) -> PathBuf {
        self.root.join("fleet")
    }

    /// What every program here sees.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Adds variables, and a folder in front of PATH.
    pub(crate) fn add(&mut self, variables: Vec<(OsString, OsString)>, programs: &Path) -> Result<()> {
        for (_, path) in self.environment.0.iter_mut().filter(|(name, _)| name == "PATH") {
            *path = in_front(programs, path)?;
        }
        self.environment.0.extend(variables);
        Ok(())
    }

    /// Writes fleet's settings.
    pub(crate) fn configure(&self, text: &str) -> Result<()> {
        let path = self.fleet_home().join("config.toml");
        fs::write(&path, text).map_err(io("write", &path))
    }

    /// A run of `fleet` in `cwd`.
    pub(crate) fn fleet<S: AsRef<OsStr>>(&self, cwd: &Path, args: impl IntoIterator<Item = S>) -> Run {
        Run::new(self.programs.join("fleet"), cwd)
            .args(args)
            .within(&self.environment)
    }

    /// A run of any other program in `cwd`.
    pub(crate) fn program<S: AsRef<OsStr>>(&self, program: &str, cwd: &Path, args: impl IntoIterator<Item = S>) -> Run {
        Run::new(program, cwd).args(args).within(&self.environment)
    }

    pub(crate) fn git<S: AsRef<OsStr>>(&self, repo: &Path, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.program("git", repo, args).text()
    }

    /// The living agents, as `fleet list --json` has them.
    pub(crate) fn agents(&mut self, repo: &Path) -> Result<Vec<Value>> {
        let text = self.fleet(repo, ["list", "--json"]).text()?;
        let answer: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::Failed(format!("`fleet list --json` gave no JSON: {error}\n{text}")))?;
        let Some(agents) = answer["agents"].as_array() else {
            return failed(format!("`fleet list --json` has no `agents`:\n{text}"));
        };
        for id in agents.iter().filter_map(|agent| agent["id"].as_str()) {
            if !self.seen.iter().any(|seen| seen == id) {
                self.seen.push(id.to_owned());
            }
        }
        Ok(agents.clone())
    }

    /// Every process of this world: with its fleet home in the environment, in its folder or about it, or with the
    /// id of an agent that was seen.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let home = self.fleet_home();
        procs::all(|process| {
            process.has_env("FLEET_HOME", &home)
                || process.mentions(&self.root)
                || self
                    .seen
                    .iter()
                    .any(|id| process.has_env("FLEET_AGENT", id) || process.argv.contains(id))
        })
    }

    /// Leaves everything as it is when this ends.
    pub(crate) fn keep(&mut self) {
        if let Some(dir) = self.dir.take() {
            let _ = dir.keep();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.dir.is_none() {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let pids: Vec<String> = self.processes().iter().map(|process| process.pid.to_string()).collect();
            if pids.is_empty() {
                break;
            }
            let _ = Run::new("kill", Path::new("/")).args(["-9"]).args(&pids).output();
        }
    }
}

fn folder(name: &str) -> Result<(TempDir, PathBuf)> {
    let made = tempfile::Builder::new()
        .prefix(&format!("fleet-{name}-"))
        .tempdir_in("/tmp");
    let dir = made.map_err(io("make a folder in", Path::new("/tmp")))?;
    // Programs report real paths; /tmp may be a symlink.
    let root = dir.path().canonicalize().map_err(io("find", dir.path()))?;
    Ok((dir, root))
}

fn path_with(programs: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    in_front(programs, &path)
}

/// The search path `path` with `folder` as its first.
fn in_front(folder: &Path, path: &OsStr) -> Result<OsString> {
    let dirs = std::iter::once(folder.to_owned()).chain(std::env::split_paths(path));
    std::env::join_paths(dirs).map_err(|error| Failure::Failed(format!("{} on PATH: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_runs_in_a_world_is_seen_and_ends_with_it() {
        let world = World::new("test", PathBuf::from("/usr/bin")).unwrap();
        let root = world.root().to_owned();
        let run = world.program("sh", Path::new("/"), ["-c", "echo up; read -r line"]);
        let mut child = run
            .into_command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it speaks its exec is over, and its environment to be seen.
        let mut up = [0; 3];
        child.stdout.take().unwrap().read_exact(&mut up).unwrap();
        assert_eq!(
            world.processes().iter().map(|process| process.pid).collect::<Vec<_>>(),
            [child.id()]
        );
        drop(world);
        assert!(!child.wait().unwrap().success());
        assert!(!root.exists());
    }
}
