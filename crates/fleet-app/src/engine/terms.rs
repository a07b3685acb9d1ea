//! What holds a worker's program to its type, and what it is told of the plan: budget, effort, a second model.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::Result;
use fleet_core::agent::Agent;
use fleet_core::money::Usd;
use fleet_core::plan::word::{Sandbox, WorkerType};
use fleet_core::plan::{ModelChoice, Shape};
use fleet_core::run::{Key, Part};
use fleet_host::boundary;
use fleet_host::files;
use fleet_host::git;
use fleet_host::harness::Harness;
use fleet_host::harness::worker::{self, Terms, WorkerTerms};

use super::{Engine, layout};

/// What a launch is held to.
pub(super) struct Held {
    terms: Terms,
    /// The boundary around it: bubblewrap and its arguments up to the program.
    boundary: Vec<String>,
}

/// The repository that workers work on, as far as their programs have to know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// Its main checkout.
    pub(super) main: Option<PathBuf>,
    /// Its common git directory.
    pub(super) common: Option<PathBuf>,
    /// Who commits.
    pub(super) author: Option<(String, String)>,
}

impl Engine<'_> {
    /// How the step `key` is held to its worker's type in `agent`'s workspace. `env` is its environment so far.
    pub(super) fn held(
        &self,
        ground: &Ground,
        key: Key,
        harness: &Harness,
        agent: &Agent,
        hold: Usd,
        env: &[(String, String)],
    ) -> Result<Held> {
        let nothing = Held {
            terms: Terms::default(),
            boundary: Vec::new(),
        };
        if key.part == Part::Measure {
            return Ok(nothing);
        }
        let worker = self.plan.workers.get(key.worker);
        let (choice, max_turns): (&ModelChoice, Option<u32>) = match (&self.plan.shape, worker) {
            (Shape::Autoresearch(research), _) => (&research.choice, research.max_turns),
            (Shape::Pipeline(pipeline), Some(worker)) => (&worker.choice, self.stage_turns(pipeline)),
            (_, Some(worker)) => (&worker.choice, None),
            (_, None) => return Ok(nothing),
        };
        // A round of research changes files, runs commands, commits, and may be told to search the web.
        let worker_type = worker.map_or(WorkerType::Reviewer, |worker| worker.worker_type);
        let cwd = &agent.worktree;
        let added: Vec<PathBuf> = match self.plan.shape {
            Shape::Worktree | Shape::Pipeline(_) => Vec::new(),
            _ => ground
                .main
                .iter()
                .filter(|main| !cwd.starts_with(main))
                .cloned()
                .collect(),
        };
        let git: Vec<PathBuf> = ground.common.iter().cloned().chain(git::admin_dir(cwd)).collect();
        let folder = self.app.home.agent_dir(&agent.id);
        let author = ground
            .author
            .as_ref()
            .map(|(name, mail)| (name.as_str(), mail.as_str()));
        let budget = match &self.plan.shape {
            Shape::Pipeline(pipeline) => self.stage_limits(pipeline, hold).usd,
            _ => Some(hold),
        };
        let terms = WorkerTerms {
            worker_type,
            cwd,
            added: &added,
            git: &git,
            folder: &folder,
            author,
            effort: choice.effort,
            fallback: choice.fallback.as_deref(),
            budget_usd: budget.map(Usd::dollars),
            max_turns,
            sandbox: choice.sandbox,
        };
        let boundary = match choice.sandbox {
            Some(Sandbox::Bwrap) => self.boundary(ground, harness, &terms, env)?,
            _ => Vec::new(),
        };
        let terms = worker::terms(&harness.name, &terms);
        for (path, text) in &terms.files {
            files::write_cache("drive.terms", path, text.as_bytes(), 0o600)?;
        }
        Ok(Held { terms, boundary })
    }

    fn boundary(
        &self,
        ground: &Ground,
        harness: &Harness,
        terms: &WorkerTerms<'_>,
        env: &[(String, String)],
    ) -> Result<Vec<String>> {
        let var = |name: &str| {
            env.iter()
                .rfind(|(each, _)| each == name)
                .map(|(_, value)| value.clone())
        };
        let path = var("PATH").unwrap_or_default();
        let bwrap = boundary::find(&path)?;
        let home = var("HOME").map_or_else(|| self.app.user_home.clone(), PathBuf::from);
        let mut boundary = worker::boundary(&harness.name, terms, &home, &var);
        for folder in &boundary.state {
            layout::make_dir("drive.state-dir", folder)?;
        }
        // What lies among temporary files would be hidden.
        let program = harness
            .command
            .first()
            .and_then(|program| fleet_host::exec::find_program(program, &path));
        let named = program.as_deref().and_then(Path::parent).map(Path::to_owned);
        let installed = program.and_then(|program| fs::canonicalize(program).ok());
        let shown = [
            Some(self.run.root.clone()),
            ground.main.clone(),
            Some(terms.folder.to_owned()),
            named,
            installed.as_deref().map(package),
        ];
        boundary.shown = shown
            .into_iter()
            .flatten()
            .filter(|path| path.starts_with("/tmp"))
            .collect();
        Ok(boundary.argv(&bwrap, &[]))
    }
}

/// The folder that a program comes from: the outermost `node_modules` around it, or its own.
fn package(program: &Path) -> PathBuf {
    let modules = program.ancestors().filter(|path| path.ends_with("node_modules")).last();
    modules.or(program.parent()).unwrap_or(program).to_owned()
}

impl Held {
    /// `harness` with the arguments of its worker.
    pub(super) fn harness(&self, harness: &Harness) -> Harness {
        Harness {
            command: self.terms.command(&harness.command),
            ..harness.clone()
        }
    }

    /// The environment with what its worker needs.
    pub(super) fn add_to(&self, env: &mut Vec<(String, String)>) {
        for (name, value) in &self.terms.env {
            env.retain(|(each, _)| each != name);
            env.push((name.clone(), value.clone()));
        }
    }

    /// `argv`, whose program is a path, within its boundary.
    pub(super) fn within(&self, argv: Vec<String>) -> Vec<String> {
        self.boundary.iter().cloned().chain(argv).collect()
    }
}
