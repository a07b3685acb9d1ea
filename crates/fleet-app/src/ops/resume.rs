//! `resume`: revives agents that have ended or were lost, with their conversation.

use clap::Args;
use fleet_core::agent::{Agent, Phase, Standing, State};
use fleet_core::name::word;
use fleet_core::run::record::Run;
use fleet_core::{Error, Kind, Result};
use fleet_host::harness::{Harness, Launch};
use fleet_host::lock::Lock;
use fleet_host::process;
use fleet_host::supervise::journal;
use fleet_host::supervise::launch::launch;
use fleet_host::supervise::prompt::check_text;
use fleet_host::supervise::spec::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::started::{NotStarted, local_text, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::conversation::{self, GoesOn};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::record::{AgentRecord, Naming, state_span};
use crate::runs::view::RunRecord;
use crate::trust::{self, Asker};
use crate::{budgets, child, end, kept, runs, task, up};

/// Revive agents that have ended or were lost: same worktree, same conversation; or let a paused run go on
///
/// A fleet root, or the name of a run, means that run. The environment is the caller's. A variable that `--env` gave at
/// the start must be set again. An agent without a terminal needs `--prompt`: its next run goes on with the conversation.
/// `--all` leaves those out whose run is over.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Branches, repo/branch, ids or patterns
    #[arg(required_unless_present_any = ["all", "batch"])]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Every agent that does not run
    #[arg(long)]
    #[serde(default)]
    pub all: bool,
    /// A variable for the agent: NAME takes it from the caller, NAME=VALUE sets it
    #[arg(long, value_name = "NAME[=VALUE]")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The target is a run, not an agent: let it go on
    #[arg(long, conflicts_with_all = ["all", "batch", "env", "prompt"])]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run: bool,
    /// The targets are agents, whatever run has their name
    #[arg(long, conflicts_with = "run")]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
    /// What to say to them first; an agent without a terminal goes on with this alone. @FILE reads a file, - reads
    /// standard input
    #[arg(short, long, allow_hyphen_values = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// What was revived and what was not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// The agents that run again.
    pub agents: Vec<AgentRecord>,
    /// Those that do not.
    pub failed: Vec<NotStarted>,
    /// What was done, in one word: `resumed`, `restarted` or `started anew`.
    pub how: String,
    /// The run that goes on, where the target was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRecord>,
}

impl Operation for Resume {
    const NAME: &'static str = "resume";
    const EFFECT: Effect = Effect::Write;
    type Output = Resumed;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        local_text(&mut self.prompt, read)
    }

    fn redacted(&self) -> Value {
        without_values(self)
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Resumed> {
        if let Some(run) = self.named_run(app, caller)? {
            let asked = super::pause::go_on(app, caller, &run)?;
            return Ok(Resumed {
                agents: Vec::new(),
                failed: Vec::new(),
                how: asked.how,
                run: Some(asked.run),
            });
        }
        let agents = if self.all {
            let mut agents = app.store()?.agents_live()?;
            agents.retain(|agent| {
                let seen = app.see(agent);
                let over = seen.outcome.is_some() && self.prompt.is_none();
                agent.phase == Phase::Started && !seen.alive && !over
            });
            agents
        } else {
            app.select(caller, &self.targets, self.batch.as_deref())?
        };
        let with = With {
            env: &self.env,
            prompt: self.prompt.as_deref().map(check_text).transpose()?,
        };
        revive_all(app, caller, agents, &with, How::Resume)
    }
}

impl Resume {
    /// The run that is meant, if one is. Error: the target is a run and an agent.
    fn named_run(&self, app: &App, caller: &Caller) -> Result<Option<Run>> {
        let [target] = self.targets.as_slice() else {
            return Ok(None);
        };
        if self.run {
            return runs::find(app, caller, Some(target)).map(Some);
        }
        if self.agent || self.all || self.batch.is_some() {
            return Ok(None);
        }
        let Some(run) = runs::try_find(app, caller, target)? else {
            return Ok(None);
        };
        match app.select(caller, &self.targets, None) {
            Err(_) => Ok(Some(run)),
            Ok(_) => {
                let name = word(target);
                Err(Error::usage(format!("`{target}` is a run and an agent")).hint(format!(
                    "say which: `fleet resume --run {name}` or `fleet resume --agent {name}`"
                )))
            }
        }
    }
}

/// What agents are revived with.
pub(crate) struct With<'a> {
    /// Variables, as `--env` gives them.
    pub(crate) env: &'a [String],
    /// The first prompt.
    pub(crate) prompt: Option<String>,
}

/// Which way agents are revived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// They go on.
    Resume,
    /// They were stopped and go on.
    Restart,
    /// They were stopped and start anew.
    Fresh,
}

impl How {
    fn verb(self) -> &'static str {
        match self {
            How::Resume => "resume",
            How::Restart | How::Fresh => "restart",
        }
    }

    fn done(self) -> &'static str {
        match self {
            How::Resume => "resumed",
            How::Restart => "restarted",
            How::Fresh => "started anew",
        }
    }
}

/// Revives `agents`.
pub(crate) fn revive_all(app: &App, caller: &Caller, agents: Vec<Agent>, with: &With<'_>, how: How) -> Result<Resumed> {
    let only = agents.len() == 1;
    let mut resumed = Resumed {
        agents: Vec::new(),
        failed: Vec::new(),
        how: how.done().to_owned(),
        run: None,
    };
    let mut revived = Vec::new();
    for agent in agents {
        match revive(app, caller, &agent, with, how) {
            Ok(pid) => revived.push(Agent {
                pid: Some(pid),
                generation: agent.generation + 1,
                ..agent
            }),
            Err(error) if only => return Err(error),
            Err(error) => resumed.failed.push(NotStarted {
                branch: agent.branch,
                repo_name: Some(agent.repo_name),
                error,
            }),
        }
    }
    let failures = up::open_and_come_up(app, caller, &revived.iter().collect::<Vec<_>>());
    app.publish();
    for (agent, failure) in revived.into_iter().zip(failures) {
        match failure {
            None => resumed.agents.push(AgentRecord::of(app, &agent)),
            Some(error) if only => return Err(error),
            Some(error) => resumed.failed.push(NotStarted {
                branch: agent.branch,
                repo_name: Some(agent.repo_name),
                error,
            }),
        }
    }
    Ok(resumed)
}

/// Refuses, before anything is stopped, what could not be revived.
pub(crate) fn check(app: &App, caller: &Caller, agent: &Agent, with: &With<'_>, how: How) -> Result<()> {
    require_workspace(agent)?;
    let env = child::environment(caller, &environment(caller, agent, with.env, how.verb())?)?;
    let config = app.config(caller, None)?;
    let harness = app.harness_for(&config, &agent.harness, agent.headless)?;
    trust::check_root(&config, &harness, &env)?;
    require_prompt(agent, &harness, with, how)?;
    child::program_path(&harness.command, caller).map(|_| ())
}

/// A run without a terminal begins with a prompt.
fn require_prompt(agent: &Agent, harness: &Harness, with: &With<'_>, how: How) -> Result<()> {
    if harness.stream().is_none() || with.prompt.is_some() {
        return Ok(());
    }
    let name = word(&agent.branch);
    Err(
        Error::usage(format!("`{}` runs without a terminal and needs a prompt", agent.branch)).hint(match how {
            How::Resume => format!("say how it goes on: `fleet resume {name} --prompt TEXT`"),
            How::Restart => format!("say how it goes on: `fleet restart {name} --prompt TEXT`"),
            How::Fresh => format!("give it one: `fleet restart {name} --fresh --prompt TEXT`"),
        }),
    )
}

fn require_workspace(agent: &Agent) -> Result<()> {
    if agent.worktree.is_dir() {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "the workspace of `{}` is gone: {}",
        agent.branch,
        agent.worktree.display()
    ))
    .hint(format!("end the agent: `fleet kill {}`", word(&agent.branch))))
}

fn revive(app: &App, caller: &Caller, agent: &Agent, with: &With<'_>, how: How) -> Result<u32> {
    let fresh = how == How::Fresh;
    let store = app.store()?;
    let folder = app.home.agent_dir(&agent.id);
    let _turn = end::take_turn(app, &agent.id)?;
    // It may have been ended since it was selected.
    let agent = &store.agent(&agent.id)?.unwrap_or_else(|| Agent {
        phase: Phase::Ended,
        ..agent.clone()
    });
    let path = app.home.agent_lock(&agent.id);
    let lock = match Lock::try_take(&path)? {
        Some(lock) => lock,
        None => match app.see(agent).state {
            // Its supervisor ends what the program left and runs `on_exit`, and is over in a moment.
            State::Exited(_) => Lock::take(&path)?,
            state => {
                return Err(
                    Error::conflict(format!("`{}` runs already: it is {state}", agent.branch))
                        .hint(format!("to start it over: `fleet restart {}`", word(&agent.branch))),
                );
            }
        },
    };
    if agent.phase == Phase::Ended {
        return Err(Error::conflict(format!("`{}` was ended meanwhile", agent.branch)));
    }
    if agent.phase != Phase::Started {
        return Err(Error::conflict(format!("`{}` is being started or ended", agent.branch))
            .hint("clear up first: `fleet list --repair`"));
    }
    require_workspace(agent)?;
    let config = app.config(caller, None)?;
    let harness = app.harness_for(&config, &agent.harness, agent.headless)?;
    require_prompt(agent, &harness, with, how)?;
    let entries = journal::read(&folder)?;
    let standing = Standing::fold(&entries);
    task::fold(app, "resume.fold", agent, &entries)?;
    let id = agent.id.clone();
    let left = || process::marked(&id).iter().map(process::Process::identity).collect();
    process::end_all(left, std::time::Duration::from_millis(500));

    let mut env = child::environment(caller, &environment(caller, agent, with.env, how.verb())?)?;
    trust::check_root(&config, &harness, &env)?;
    let goes_on = match fresh {
        true => GoesOn::Anew,
        false => conversation::find(caller, agent, &standing, &harness, &env)?,
    };
    let (id, resume) = match goes_on {
        GoesOn::With(id) => (id, true),
        // With an id that was never used: some programs know the one before though nothing was said in it.
        GoesOn::Anew => (agent.conversation.as_ref().map(|_| app.new_uuid()), false),
    };
    if let Some(new) = id.as_ref().filter(|_| !resume) {
        store.set_conversation("resume.conversation", &agent.id, new)?;
        let talks_anew = Agent {
            conversation: Some(new.clone()),
            ..agent.clone()
        };
        kept::keep(app, &talks_anew);
    }
    let mut line = harness.command_line(&Launch {
        model: agent.model.as_deref(),
        // A terminal is given it when the program has come up again: not all take one as an argument then.
        prompt: with.prompt.as_deref().filter(|_| agent.headless),
        conversation: id.as_deref(),
        resume,
    })?;
    let asker = Asker {
        agent,
        trust: harness.trust,
        argv: &mut line.argv,
        env: &mut env,
    };
    trust::answer(app, caller, &config, trust::main_of(agent).as_deref(), &mut [asker]);
    let generation = standing.generation.max(agent.generation) + 1;
    budgets::reserve(app, &config, agent, generation)?;
    let prompt = with.prompt.clone().map(|text| (app.new_id(), text));
    let spec = Spec {
        goes_on: resume,
        ..child::specification(app, caller, &config, agent, &harness, &line, &env, prompt, generation)?
    };
    let pid = launch(&app.executable, &spec, lock, |_| {})
        .map_err(|error| error.context(format!("could not resume `{}`", agent.branch)))?;
    store.set_started("resume.started", &agent.id, pid, generation)?;
    end::fold(app, agent);
    Ok(pid)
}

/// What `--env` gives now, and what it gave at the start and the caller has. Error: what is missing.
fn environment(caller: &Caller, agent: &Agent, given: &[String], verb: &str) -> Result<Vec<String>> {
    let mut env = given.to_vec();
    let has = |name: &str| given.iter().any(|each| each.split('=').next() == Some(name));
    let missing: Vec<&str> = agent
        .env_names
        .iter()
        .map(String::as_str)
        .filter(|name| !has(name) && caller.var(name).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(Error::refused(format!(
            "`{}` was started with {}, which {} not set now",
            agent.branch,
            missing.join(", "),
            if missing.len() == 1 { "is" } else { "are" }
        ))
        .hint(format!(
            "set {}: `fleet {verb} {}{}`",
            if missing.len() == 1 { "it" } else { "them" },
            word(&agent.branch),
            missing
                .iter()
                .map(|name| format!(" --env {name}=VALUE"))
                .collect::<String>()
        )));
    }
    env.extend(agent.env_names.iter().filter(|name| !has(name)).cloned());
    Ok(env)
}

impl Show for Resumed {
    fn show(&self, page: &mut Page) {
        if let Some(run) = &self.run {
            page.spans(vec![span(Label::Name, &run.name), plain(format!(" {}", self.how))]);
            return page.line(run.counts());
        }
        if self.agents.is_empty() && self.failed.is_empty() {
            page.line("there is nothing to resume");
        }
        let failed = self.failed.iter().filter_map(|failed| failed.repo_name.as_deref());
        let naming = Naming::of(self.agents.iter().map(|agent| agent.repo_name.as_str()).chain(failed));
        for agent in &self.agents {
            page.spans(vec![
                plain(format!("{} ", self.how)),
                span(Label::Name, naming.name(&agent.repo_name, &agent.branch)),
                plain(" ("),
                state_span(&agent.state),
                agent.outcome_span(),
                plain(")"),
            ]);
        }
        for failed in &self.failed {
            page.spans(vec![
                span(Label::Bad, format!("not {} ", self.how)),
                span(
                    Label::Name,
                    naming.name(failed.repo_name.as_deref().unwrap_or_default(), &failed.branch),
                ),
                plain(format!(": {}", failed.error.message)),
            ]);
            if let Some(hint) = &failed.error.hint {
                page.hint(hint.clone());
            }
        }
    }

    fn failed(&self) -> Option<Kind> {
        (!self.failed.is_empty()).then_some(Kind::Failed)
    }
}
