//! Starting steps: all that are due in one turn. Their names are reserved and recorded in one transaction, then they are
//! launched beside each other; what could not be started has ended.

use std::path::PathBuf;

use fleet_core::agent::{Agent, Phase, Standing, Workspace};
use fleet_core::budget::Limits;
use fleet_core::money::Usd;
use fleet_core::plan::{ModelChoice, Shape};
use fleet_core::run::record::{StepEnd, StepName, StepRecord};
use fleet_core::run::{How, Key, Part};
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result};
use fleet_host::git::{self, BranchMode, Repo};
use fleet_host::harness::sign::Signs;
use fleet_host::harness::trust::Trust;
use fleet_host::harness::{Harness, Launch, PromptBy};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_host::supervise::launch::launch;
use fleet_host::supervise::spec::Spec;
use fleet_host::{files, parallel};
use fleet_store::{Change, PortRange, Reservation};

use super::terms::Ground;
use super::{Engine, Live, came, layout, pipeline, research};
use crate::config::Config;
use crate::trust::{self, Asker};
use crate::{child, end, kept, runs};

/// One step about to be started.
struct Job {
    key: Key,
    record: StepRecord,
    harness: Harness,
    prompt: String,
    model: Option<String>,
    conversation: Option<String>,
    goes_on: bool,
    env: Vec<(String, String)>,
    /// The task that its agent works for.
    task: Option<TaskId>,
    /// The one that it works for itself, where a pipeline keeps tasks.
    stage: Option<TaskId>,
    place: Place,
    /// Its agent, once its names are reserved.
    agent: Option<Agent>,
    lock: Option<Lock>,
}

/// Where a step works.
enum Place {
    /// In a folder together with others.
    Shared(PathBuf),
    /// In a worktree of its own that is to be made.
    Worktree {
        branch: String,
        mode: BranchMode,
        base: String,
    },
    /// In the worktree that its agent has already.
    Same(Box<Agent>),
}

/// What all starts of one turn share.
pub(super) struct Setting {
    config: Config,
    repo: Option<Repo>,
    ground: Ground,
}

impl Engine<'_> {
    /// What all starts of one turn share, as it is now. Error: the configuration cannot be read.
    pub(super) fn setting(&mut self) -> Result<Setting> {
        let repo = self.run.repo.as_deref().map(Repo::of);
        Ok(Setting {
            config: self.app.config(self.caller, repo.as_ref())?,
            ground: self.ground(repo.as_ref()),
            repo,
        })
    }

    /// Starts these steps: key, what is reserved, whether it goes on with the conversation before.
    pub(super) fn start_all(&mut self, setting: &Setting, starts: Vec<(Key, Usd, bool)>) -> Result<()> {
        let mut jobs = Vec::new();
        for (key, hold, goes_on) in starts {
            let record = self.new_record(key, hold);
            match self.job(setting, key, record.clone(), goes_on) {
                Ok(job) => jobs.push(job),
                Err(error) => self.fail_start(key, record, &error),
            }
        }
        let jobs = self.reserve(setting, jobs)?;
        for job in &jobs {
            self.put_step(&job.record, job.key);
        }
        let this = &*self;
        let launched = parallel::map(jobs, parallel::cores(), |mut job| {
            let pid = this.launch(setting, &mut job);
            (job, pid)
        });
        for (job, pid) in launched {
            self.after_launch(job, pid);
        }
        Ok(())
    }

    /// What the programs have to know of the repository. Who commits is asked once: nobody changes that meanwhile.
    fn ground(&mut self, repo: Option<&Repo>) -> Ground {
        let known = self.ground.get_or_insert_with(|| Ground {
            main: repo.and_then(|repo| repo.main_root.clone()),
            common: repo.map(|repo| repo.common_dir.clone()),
            author: repo.and_then(|repo| git::author(&repo.common_dir)),
        });
        known.clone()
    }

    fn new_record(&self, key: Key, hold: Usd) -> StepRecord {
        StepRecord {
            name: StepName::of(&self.plan, key),
            agent: self.app.new_agent_id(),
            generation: 1,
            hold,
            boot: self.boot.clone(),
            began: self.now(),
            began_at: self.app.now(),
            ending: None,
            ended: None,
            forgiven: false,
            forgotten: false,
        }
    }

    /// Records a step that could not even be prepared: it has cost nothing.
    fn fail_start(&mut self, key: Key, record: StepRecord, error: &Error) {
        // What is wrong with the plan or the machine is wrong the next time, too.
        let how = match error.kind {
            Kind::Usage | Kind::NotFound | Kind::Config | Kind::Refused => How::Failed,
            _ => How::NotStarted,
        };
        let hint = error
            .hint
            .as_deref()
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        let end = StepEnd {
            how,
            text: came::first_line(&format!("{}{hint}", error.message)),
            cost: Some(Usd::default()),
            estimated: Usd::default(),
            metric: None,
            resumable: false,
            ended: self.now(),
            ended_at: self.app.now(),
            until: None,
        };
        self.put_step(&record, key);
        self.note(
            "ended",
            Some(&record.name.worker),
            format!("{}: {}", how.as_str(), end.text),
        );
        if let Some(step) = self.seen.step_mut(key) {
            step.ended = Some(fleet_core::run::Ended {
                at: end.ended,
                how,
                text: end.text.clone(),
                cost: end.cost,
                resumable: false,
                metric: None,
                until: None,
            });
        }
        let name = record.name.clone();
        self.changes.push(Change::Step(record));
        self.changes.push(Change::Ended(name, end));
    }

    fn job(&self, setting: &Setting, key: Key, mut record: StepRecord, goes_on: bool) -> Result<Job> {
        let worker = self.plan.workers.get(key.worker);
        let id = self.plan.worker_id(key.worker);
        if let (Shape::Autoresearch(research), Part::Measure) = (&self.plan.shape, key.part) {
            let base = self.rounds.get(&key.round).and_then(|round| round.base.as_deref());
            research::commit(&self.run, research, key.round, base)?;
        }
        let choice = match (&self.plan.shape, worker) {
            (Shape::Autoresearch(research), _) => &research.choice,
            (_, Some(worker)) => &worker.choice,
            (_, None) => return Err(Error::internal(format!("there is no worker `{id}`"))),
        };
        let conversation = if goes_on { self.conversation_before(key)? } else { None };
        let goes_on = conversation.is_some();
        let harness = match (&self.plan.shape, key.part) {
            (Shape::Autoresearch(research), Part::Measure) => measure(shell_line(&research.eval_command)),
            (Shape::Pipeline(pipeline), Part::Measure) => {
                let checks = pipeline.stages.get(key.worker).map(|stage| stage.gate.as_slice());
                measure(pipeline::gate(checks.unwrap_or_default()))
            }
            _ => self.app.harness_for(&setting.config, &choice.provider, true)?,
        };
        let place = self.place(setting, key, &mut record)?;
        let mut env = child::environment(self.caller, &[])?;
        let (mut task, mut stage) = (self.run.task, None);
        let root = self.run.root.display().to_string();
        let output = layout::output_dir(&self.run.root, id);
        if key.part != Part::Measure && !matches!(self.plan.shape, Shape::Autoresearch(_)) {
            layout::make_output(&self.run.root, &self.plan, key, goes_on)?;
        }
        env.push(("FLEET_ROOT".to_owned(), root));
        env.push(("WORKER_ID".to_owned(), id.to_owned()));
        env.push(("WORKER_OUTPUT_DIR".to_owned(), output.display().to_string()));
        if let Some(branch) = worker.and_then(|worker| worker.branch.clone()) {
            env.push(("WORKER_BRANCH".to_owned(), branch));
        }
        if let (Shape::Pipeline(pipeline), Part::Work) = (&self.plan.shape, key.part) {
            env.push((
                pipeline::CONTRACT.to_owned(),
                self.stage_contract(pipeline, key, record.hold)?,
            ));
            if let Some(own) = self.stage_task(pipeline, key.worker)? {
                // The stages of a job have one agent, which works for the job.
                (task, stage) = (own.parent, Some(own.id));
            }
        }
        let new = (!goes_on && !harness.conversation.is_empty()).then(|| self.app.new_uuid());
        Ok(Job {
            key,
            prompt: self.prompt(key, goes_on, record.hold)?,
            model: model(choice, key.part),
            conversation: conversation.or(new),
            goes_on,
            record,
            harness,
            env,
            task: self.open_task(task)?,
            stage,
            place,
            agent: None,
            lock: None,
        })
    }

    /// The conversation of the tries before, or where a reviewer is asked that of its review.
    fn conversation_before(&self, key: Key) -> Result<Option<String>> {
        let (part, attempt) = match key.part {
            Part::Ask => (Part::Work, u32::MAX),
            part => (part, key.attempt),
        };
        let worker = self.plan.worker_id(key.worker);
        let store = self.app.store()?;
        let steps = store.steps(&self.run.id)?;
        let before = steps.iter().rev().filter(|step| {
            let name = &step.name;
            let same = name.worker == worker && name.round == key.round && name.part == part;
            same && name.attempt < attempt && !step.forgotten
        });
        let conversation = |step: &StepRecord| {
            let entries = journal::read(&self.app.home.agent_dir(&step.agent)).unwrap_or_default();
            let chosen = || store.agent(&step.agent).ok().flatten()?.conversation;
            Standing::fold(&entries).conversation.or_else(chosen)
        };
        Ok(before.into_iter().find_map(conversation))
    }

    fn place(&self, setting: &Setting, key: Key, record: &mut StepRecord) -> Result<Place> {
        let worker = self.plan.workers.get(key.worker);
        match (&self.plan.shape, worker.and_then(|worker| worker.branch.clone())) {
            (Shape::Autoresearch(research), _) => Ok(Place::Shared(research::workdir(&self.run.root, research))),
            (Shape::Worktree | Shape::Pipeline(_), Some(branch)) => {
                let repo = setting
                    .repo
                    .as_ref()
                    .ok_or_else(|| Error::internal("a worktree plan without a repository"))?;
                let live = self.app.store()?.agents_live()?;
                let own = live.into_iter().find(|agent| {
                    agent.repo == repo.common_dir && agent.branch == branch && agent.batch_id == self.batch()
                });
                if let (Some(agent), Part::Measure) = (&own, key.part) {
                    return Ok(Place::Shared(agent.worktree.clone()));
                }
                if let Some(agent) = own {
                    record.agent = agent.id.clone();
                    record.generation = agent.generation + 1;
                    return Ok(Place::Same(Box::new(agent)));
                }
                let exists = git::branch_exists(&repo.common_dir, &branch)?;
                let base = self.run.base.clone().unwrap_or_default();
                Ok(Place::Worktree {
                    branch,
                    mode: if exists { BranchMode::Existing } else { BranchMode::New },
                    base,
                })
            }
            _ => Ok(Place::Shared(self.run.root.clone())),
        }
    }

    /// The batch of the run's agents.
    pub(super) fn batch(&self) -> String {
        self.run.name.clone()
    }

    /// `task`, unless it has ended: what is done for it from then on is the run's alone.
    pub(super) fn open_task(&self, task: Option<TaskId>) -> Result<Option<TaskId>> {
        let found = task.map(|id| self.app.store()?.task(id)).transpose()?.flatten();
        Ok(found.filter(|task| !task.status.is_final()).map(|task| task.id))
    }

    /// Records the steps with the names of their agents. Those whose names are taken fail alone.
    fn reserve(&mut self, setting: &Setting, mut jobs: Vec<Job>) -> Result<Vec<Job>> {
        for job in &mut jobs {
            if job.lock.is_none() {
                files::create_private_dir("drive.agent-dir", &self.app.home.agent_dir(&job.record.agent))?;
                job.lock = Lock::try_take(&self.app.home.agent_lock(&job.record.agent))?;
            }
        }
        // What others without a budget of their own have of the task is freed for them, and given to nobody else meanwhile.
        let turn = self.make_room(jobs.iter().map(|job| job.record.hold).sum())?;
        let new: Vec<Reservation> = jobs.iter().filter_map(|job| self.reservation(setting, job)).collect();
        let before = self.changes.len();
        for job in &jobs {
            self.changes.push(Change::Step(job.record.clone()));
        }
        let flushed = self.flush(&new);
        drop(turn);
        let error = match flushed {
            Ok(agents) => {
                self.refusals = 0;
                let mut agents = agents.into_iter();
                for job in &mut jobs {
                    job.agent = match &job.place {
                        Place::Same(agent) => Some((**agent).clone()),
                        _ => agents.next(),
                    };
                }
                return Ok(jobs);
            }
            Err(error) => error,
        };
        // What was lent for it is given back.
        self.freed = true;
        let replaced = || -> Result<bool> {
            let run = self.app.store()?.run(&self.run.id)?;
            Ok(run.is_none_or(|run| run.generation != self.number))
        };
        let expected = matches!(error.kind, Kind::Conflict | Kind::Unavailable | Kind::OverBudget);
        if !expected || replaced()? {
            return Err(error);
        }
        self.changes.truncate(before);
        if error.kind == Kind::OverBudget {
            // Somebody else has taken what was left. What is left now is seen before the next decision.
            self.refusals += 1;
            return Ok(Vec::new());
        }
        // Which of them it was is not told: they are tried one by one.
        if jobs.len() <= 1 {
            for job in jobs {
                self.fail_start(job.key, job.record, &error);
            }
            return Ok(Vec::new());
        }
        let mut reserved = Vec::new();
        for job in jobs {
            reserved.extend(self.reserve(setting, vec![job])?);
        }
        Ok(reserved)
    }

    fn reservation(&self, setting: &Setting, job: &Job) -> Option<Reservation> {
        let config = &setting.config;
        let id = self.plan.worker_id(job.key.worker);
        let part = match job.key.part {
            Part::Work => "",
            Part::Ask => "/ask",
            Part::Measure => "/measure",
        };
        let repo = setting.repo.clone().unwrap_or_else(|| Repo::none(&self.run.root));
        let (workspace, branch, here_dir, base, made_branch) = match &job.place {
            Place::Same(_) => return None,
            Place::Shared(folder) => {
                let label = format!("{}/{id}{part}", self.run.name);
                (Workspace::Here, label, Some(folder.clone()), None, false)
            }
            Place::Worktree { branch, mode, base } => (
                Workspace::Worktree,
                branch.clone(),
                None,
                Some(base.clone()),
                *mode == BranchMode::New,
            ),
        };
        Some(Reservation {
            id: job.record.agent.clone(),
            repo: repo.common_dir,
            repo_name: repo.name,
            branch,
            workspace,
            shared: here_dir.is_some(),
            here_dir,
            session_prefix: config.tmux_prefix.clone(),
            worktree_root: config.worktree_root.clone(),
            batch_id: self.batch(),
            batch_exclusive: false,
            task: job.task,
            harness: job.harness.name.clone(),
            model: job.model.clone(),
            headless: true,
            env_names: Vec::new(),
            conversation: job.conversation.clone(),
            base,
            made_branch,
            now: self.app.now(),
            // What the step may spend is reserved with its record.
            cap: None,
            shares: false,
            ports: PortRange {
                first: config.port_base,
                step: config.port_block,
                count: config.port_blocks,
            },
        })
    }

    /// Makes the worktree where there is to be one, and starts the supervisor; the program's process id.
    fn launch(&self, setting: &Setting, job: &mut Job) -> Result<u32> {
        let agent = job
            .agent
            .as_ref()
            .ok_or_else(|| Error::internal("a step without an agent"))?;
        let lock = job.lock.take();
        let lock = lock.ok_or_else(|| Error::conflict(format!("`{}` runs already", agent.branch)))?;
        let mut fresh = false;
        if let (Place::Worktree { branch, mode, base }, Some(repo)) = (&job.place, &setting.repo) {
            if let Some(parent) = agent.worktree.parent() {
                files::create_private_dir("drive.worktree-root", parent)?;
            }
            git::add_worktree(repo, branch, &agent.worktree, base, *mode)?;
            git::checkout(&agent.worktree)?;
            fresh = true;
        }
        if matches!(job.place, Place::Same(_)) {
            came::end_remains(self.app, &agent.id);
        }
        let held = self.held(&setting.ground, job.key, &job.harness, agent, job.record.hold, &job.env)?;
        let harness = held.harness(&job.harness);
        held.add_to(&mut job.env);
        let mut line = harness.command_line(&Launch {
            model: job.model.as_deref(),
            prompt: Some(&job.prompt),
            conversation: job.conversation.as_deref(),
            resume: job.goes_on,
        })?;
        let main = setting.repo.as_ref().and_then(|repo| repo.main_root.clone());
        let asker = Asker {
            agent,
            trust: harness.trust,
            argv: &mut line.argv,
            env: &mut job.env,
        };
        trust::answer(self.app, self.caller, &setting.config, main.as_deref(), &mut [asker]);
        let prompt = (job.key.part != Part::Measure).then(|| (self.app.new_id(), job.prompt.clone()));
        let config = &setting.config;
        let made = child::specification(
            self.app,
            self.caller,
            config,
            &Agent {
                task: job.stage.or(agent.task),
                ..agent.clone()
            },
            &harness,
            &line,
            &job.env,
            prompt,
            job.record.generation,
        )?;
        let spec = Spec {
            argv: held.within(made.argv),
            goes_on: job.goes_on,
            copy: if fresh {
                config.credential_files.clone()
            } else {
                Vec::new()
            },
            copy_from: main.unwrap_or_default(),
            setup: if fresh && !config.quick_setup {
                config.setup_commands.clone()
            } else {
                Vec::new()
            },
            copy_output_to: layout::session_file(&self.run.root, &self.plan, job.key),
            driver: Some(runs::driver(self.app, self.caller, &self.run.id)?),
            limits: self.limits(job.key, job.record.hold),
            ..made
        };
        // A lost database has no runs either: what shares the fleet root is not taken up from its folder.
        if !agent.shared {
            kept::keep(self.app, agent);
        }
        launch(&self.app.executable, &spec, lock, |_| {})
    }

    /// What the supervisor of the step `key` heeds, for which `hold` is reserved.
    fn limits(&self, key: Key, hold: Usd) -> Limits {
        match (&self.plan.shape, key.part) {
            (_, Part::Measure) => Limits::default(),
            (Shape::Pipeline(pipeline), _) => self.stage_limits(pipeline, hold),
            _ => Limits {
                usd: Some(hold),
                hard: true,
                ..Limits::default()
            },
        }
    }

    /// Takes back the worktree and the names of an agent whose program never ran: what is half made is no place for the
    /// next try.
    pub(super) fn take_back(&self, agent: &Agent) -> Result<()> {
        let options = end::Options {
            force: true,
            delete_branch: agent.made_branch,
            forget: true,
            ..end::Options::default()
        };
        end::end(self.app, self.caller, agent, &options).map(drop)
    }

    fn after_launch(&mut self, job: Job, pid: Result<u32>) {
        let Some(agent) = job.agent else { return };
        let generation = job.record.generation;
        let mut agent = Agent {
            generation,
            phase: Phase::Started,
            conversation: job.conversation,
            ..agent
        };
        let id = job.record.name.worker.clone();
        match pid {
            Ok(pid) => {
                agent.pid = Some(pid);
                self.changes
                    .push(Change::AgentStarted(agent.id.clone(), pid, generation));
                let what = match (job.key.part, job.key.attempt, job.goes_on) {
                    (Part::Ask, ..) => "to be asked for the verdict".to_owned(),
                    (Part::Measure, ..) => "to measure".to_owned(),
                    (Part::Work, 1, _) => format!("with {}", job.harness.name),
                    (Part::Work, attempt, true) => format!("try {attempt}, which goes on with the conversation"),
                    (Part::Work, attempt, false) => format!("try {attempt}"),
                };
                self.note("started", Some(&id), what);
                let live = Live {
                    client: self.app.client(&agent).ok(),
                    agent,
                    trace: 0,
                };
                if job.key.part == Part::Work && !matches!(self.plan.shape, Shape::Autoresearch(_)) {
                    self.show_status(job.key, &live, None);
                }
                self.live.insert(job.key, live);
            }
            Err(error) => self.after_failure(job.key, &job.place, agent, &error),
        }
    }

    /// Takes in that `agent` could not be launched, or that its supervisor was killed before it could tell that it was.
    fn after_failure(&mut self, key: Key, place: &Place, agent: Agent, error: &Error) {
        let entries = journal::read(&self.app.home.agent_dir(&agent.id)).unwrap_or_default();
        let standing = Standing::fold(&entries);
        let began = came::began(&standing, agent.generation) && standing.start_failed.is_none();
        let live = Live {
            client: None,
            agent,
            trace: 0,
        };
        if began {
            // Its end is seen and paid for as any other.
            if let Some((pid, _)) = standing.child {
                let id = live.agent.id.clone();
                self.changes.push(Change::AgentStarted(id, pid, live.agent.generation));
            }
            self.live.insert(key, live);
            return;
        }
        came::end_remains(self.app, &live.agent.id);
        let how = match error.kind {
            Kind::Usage | Kind::NotFound | Kind::Config => How::Failed,
            _ => How::NotStarted,
        };
        let end = StepEnd {
            how,
            text: came::first_line(&error.message),
            cost: Some(Usd::default()),
            estimated: Usd::default(),
            metric: None,
            resumable: false,
            ended: self.now(),
            ended_at: self.app.now(),
            until: None,
        };
        self.record_end(key, &live, end);
        if matches!(place, Place::Worktree { .. }) {
            // What cannot be taken back now is found by `list --repair`.
            let _ = self.take_back(&live.agent);
        }
    }
}

/// The model of a step: a measurement has none.
fn model(choice: &ModelChoice, part: Part) -> Option<String> {
    choice.model.clone().filter(|_| part != Part::Measure)
}

/// The user's own shell line. Nothing is put into it.
fn shell_line(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
}

/// A command that measures, as a program that fleet supervises.
fn measure(command: Vec<String>) -> Harness {
    Harness {
        name: "measure".to_owned(),
        command,
        prompt: PromptBy::Stdin,
        model: Vec::new(),
        conversation: Vec::new(),
        resume: Vec::new(),
        resume_last: Vec::new(),
        conversations: Vec::new(),
        dashes: false,
        signs: Signs::default(),
        interrupt: String::new(),
        clear: String::new(),
        env: Vec::new(),
        install: None,
        trust: Trust::Unasked,
        tested: "",
        limits: &[],
    }
}
