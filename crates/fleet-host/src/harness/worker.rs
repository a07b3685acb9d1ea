//! How a program is held to the type of a plan's worker: what is added to a headless launch, and what of the user's own
//! arguments is left out, because it would undo that.
//!
//! A worker is unattended. Whatever its type allows goes through without a question, and what it forbids the program
//! itself refuses. One file a program, all of them pure. What no program of the five can refuse is in
//! `fleet-core/src/plan/models.json`, for `check`; both are proven by `cargo xtask record --restrictions`.
//!
//! What users have set up themselves counts as theirs: their hooks run, and folders that they have opened stay open.
//! The tools of MCP servers are kept from types without a shell, because nobody knows what those do; Codex cannot.

mod claude;
mod codex;
mod gemini;
mod opencode;
mod pi;

use std::path::{Path, PathBuf};

use fleet_core::plan::word::{Effort, Sandbox, WorkerType};

use crate::boundary::Boundary;

/// One worker, as far as its program has to know.
#[derive(Clone, Copy, Debug)]
pub struct WorkerTerms<'a> {
    /// What it may do.
    pub worker_type: WorkerType,
    /// Where it runs: its worktree, or the fleet root.
    pub cwd: &'a Path,
    /// Folders beside `cwd` that belong to its workspace.
    pub added: &'a [PathBuf],
    /// Where a commit in its workspace is written: of each repository the common git directory, and of a worktree its own
    /// one below that. [`crate::git`] knows them. Opened for types with a shell alone.
    pub git: &'a [PathBuf],
    /// A folder of the agent's own for [`Terms::files`].
    pub folder: &'a Path,
    /// The name and the address of who commits, for programs that keep the user's git settings from their shell.
    pub author: Option<(&'a str, &'a str)>,
    /// How long the model thinks, for programs that can be told.
    pub effort: Option<Effort>,
    /// The model to go on with when the first is overloaded, for programs that can be told.
    pub fallback: Option<&'a str>,
    /// What it may spend in USD, for programs that count.
    pub budget_usd: Option<f64>,
    /// How many turns it may take, for programs that count.
    pub max_turns: Option<u32>,
    /// The boundary that the plan wants around it.
    pub sandbox: Option<Sandbox>,
}

/// What is different in the launch of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Arguments behind the user's own.
    pub args: Vec<String>,
    /// Variables of the program. They go before those that it has.
    pub env: Vec<(String, String)>,
    /// Files to be there before the program starts: path and text. All are below [`WorkerTerms::folder`].
    pub files: Vec<(PathBuf, String)>,
    /// Options that are left out where the user has them.
    pub drops: &'static [Dropped],
}

/// An option that a user may have and a worker may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Every way to write it.
    pub names: &'static [&'static str],
    /// What follows it.
    pub values: Values,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    None,
    /// One value, behind a blank or a `=`.
    One,
    /// Every word up to the next option.
    Many,
}

/// How the program of this harness is held to a worker's type. Nothing is known for a harness of the user's own.
pub fn terms(name: &str, worker: &WorkerTerms<'_>) -> Terms {
    match name {
        "claude" => claude::terms(worker),
        "codex" => codex::terms(worker),
        "gemini" => gemini::terms(worker),
        "opencode" => opencode::terms(worker),
        "pi" => pi::terms(worker),
        _ => Terms::default(),
    }
}

/// The boundary around a worker of this harness, for [`Sandbox::Bwrap`]: its workspace, where the type writes at all, and
/// what the program keeps of itself below `home`. `var` gives the variables of the program's environment.
pub fn boundary(name: &str, worker: &WorkerTerms<'_>, home: &Path, var: &dyn Fn(&str) -> Option<String>) -> Boundary {
    let folder = |name: &str, usual: &str| var(name).map_or_else(|| home.join(usual), PathBuf::from);
    let state = match name {
        "claude" => claude::state(&folder),
        "codex" => codex::state(&folder),
        "gemini" => gemini::state(&folder),
        "opencode" => opencode::state(&folder),
        "pi" => pi::state(&folder),
        _ => State::default(),
    };
    let workspace = worker.writable().filter(|_| worker.worker_type.writes());
    Boundary {
        cwd: worker.cwd.to_owned(),
        temporary: var("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute()),
        writable: workspace.map(Path::to_owned).collect(),
        state: state.folders,
        state_files: state.files,
        kept: state.settings,
        shown: Vec::new(),
    }
}

/// What a program keeps of itself.
#[derive(Debug, Default)]
struct State {
    /// Folders that it writes.
    folders: Vec<PathBuf>,
    /// Files beside them that it writes.
    files: Vec<PathBuf>,
    /// What in there says what it does: settings, hooks, extensions.
    settings: Vec<PathBuf>,
}

impl State {
    fn of(folder: PathBuf, settings: &[&str]) -> State {
        State {
            settings: settings.iter().map(|name| folder.join(name)).collect(),
            folders: vec![folder],
            files: Vec::new(),
        }
    }
}

impl Terms {
    /// `command`, a harness's program and the user's arguments, as a worker's: for `Harness::command`.
    pub fn command(&self, command: &[String]) -> Vec<String> {
        let (program, given) = command.split_at(command.len().min(1));
        let mut out = program.to_vec();
        let mut given = given.iter().peekable();
        while let Some(arg) = given.next() {
            let Some((dropped, has_value)) = self.drops.iter().find_map(|each| each.is_in(arg)) else {
                out.push(arg.clone());
                continue;
            };
            match dropped.values {
                Values::One if !has_value => drop(given.next()),
                Values::Many => while given.next_if(|word| !word.starts_with('-')).is_some() {},
                _ => {}
            }
        }
        out.extend(self.args.iter().cloned());
        out
    }
}

impl Dropped {
    const fn flag(names: &'static [&'static str]) -> Dropped {
        Dropped {
            names,
            values: Values::None,
        }
    }

    const fn option(names: &'static [&'static str]) -> Dropped {
        Dropped {
            names,
            values: Values::One,
        }
    }

    const fn list(names: &'static [&'static str]) -> Dropped {
        Dropped {
            names,
            values: Values::Many,
        }
    }

    /// Itself, where `arg` is the option, and whether its value is in there, too.
    fn is_in(&self, arg: &str) -> Option<(&Dropped, bool)> {
        self.names.iter().find_map(|name| {
            let rest = arg.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('=')).then_some((self, !rest.is_empty()))
        })
    }
}

impl WorkerTerms<'_> {
    /// Where it may write, if it may write at all.
    fn writable(&self) -> impl Iterator<Item = &Path> {
        let git = self.git.iter().filter(|_| self.worker_type.has_shell());
        let beside = self.added.iter().chain(git).map(PathBuf::as_path);
        std::iter::once(self.cwd).chain(beside)
    }

    /// Whether it is kept to its workspace. A reviewer has full access.
    fn is_kept_in(&self) -> bool {
        self.worker_type != WorkerType::Reviewer
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
