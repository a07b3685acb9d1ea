//! An agent as every surface shows it.

use std::path::PathBuf;

use fleet_core::Time;
use fleet_core::agent::{Agent, Phase, Workspace};
use fleet_core::id::AgentId;
use fleet_core::outcome::Outcome;
use fleet_core::task::TaskId;
use fleet_core::usage::Usage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{App, Seen};
use crate::page::{Label, Span, span};

/// One agent. The first seven fields are those of `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRecord {
    /// Its branch, or its label with `--here`.
    pub branch: String,
    /// Where it works.
    pub worktree: PathBuf,
    /// Its tmux session.
    pub session: String,
    /// Process id of its program, as last started.
    pub pid: Option<u32>,
    /// The batch it was made in.
    pub batch_id: String,
    /// The task that it works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Its harness.
    pub agent: String,
    /// When it was made.
    pub created_at: Time,
    /// Its id.
    pub id: AgentId,
    /// Its repository's common git directory.
    pub repo: PathBuf,
    /// Its repository's folder name.
    pub repo_name: String,
    /// `starting`, `ready`, `working`, `waiting(reason)`, `idle`, `exited(code)` or `lost`.
    pub state: String,
    /// When it entered that state, as far as is known.
    pub since: Option<Time>,
    /// `reserved`, `started`, `ending` or `ended`.
    pub phase: Phase,
    /// `worktree` or `here`.
    pub workspace: Workspace,
    /// The model asked for.
    pub model: Option<String>,
    /// The commit its worktree started from.
    pub base: Option<String>,
    /// Whether it runs without a terminal.
    pub headless: bool,
    /// First port of its block.
    pub port_base: u16,
    /// Names of the variables that `--env` gave it.
    pub env_names: Vec<String>,
    /// How often it was launched.
    pub generation: u32,
    /// When its workspace went.
    pub ended_at: Option<Time>,
    /// The program's own id of its conversation, as it told it last, else as it was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// How its run without a terminal ended: `success`, `login`, `api error 403`, … as the table of outcomes has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What was said about a run that did not end in success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it has used over all runs, as its program tells, by model and source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
}

impl AgentRecord {
    /// The record of `agent`, seen now.
    pub fn of(app: &App, agent: &Agent) -> Self {
        Self::seen(agent, &app.see(agent))
    }

    /// The record of `agent` as it was `seen`.
    pub fn seen(agent: &Agent, seen: &Seen) -> Self {
        let agent = agent.clone();
        Self {
            branch: agent.branch,
            worktree: agent.worktree,
            session: agent.session,
            pid: agent.pid,
            batch_id: agent.batch_id,
            task: agent.task,
            agent: agent.harness,
            created_at: agent.created_at,
            id: agent.id,
            repo: agent.repo,
            repo_name: agent.repo_name,
            state: seen.state.to_string(),
            since: seen.since,
            phase: agent.phase,
            workspace: agent.workspace,
            model: agent.model,
            base: agent.base,
            headless: agent.headless,
            port_base: agent.port_base,
            env_names: agent.env_names,
            generation: agent.generation,
            ended_at: agent.ended_at,
            conversation: seen.conversation.clone().or(agent.conversation),
            outcome: seen.outcome.as_ref().map(|(outcome, _)| outcome.to_string()),
            why: seen
                .outcome
                .as_ref()
                .map(|(_, why)| why.clone())
                .filter(|why| !why.is_empty()),
            usage: seen.usage.clone(),
        }
    }

    /// Whether its run without a terminal has ended, and not in success.
    pub(crate) fn has_failed(&self) -> bool {
        let success = Outcome::Success.to_string();
        self.outcome.as_ref().is_some_and(|outcome| *outcome != success)
    }

    /// Its outcome for a line, behind its state; empty where there is none.
    pub(crate) fn outcome_span(&self) -> Span {
        match &self.outcome {
            None => span(Label::Plain, ""),
            Some(outcome) if self.has_failed() => span(Label::Bad, format!(", {outcome}")),
            Some(outcome) => span(Label::Good, format!(", {outcome}")),
        }
    }
}

/// How agents are named that are shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// All are of one repository, so the branch is enough.
    Branch,
    /// They are of several, so each has its repository's name before its branch.
    RepoBranch,
}

impl Naming {
    /// The naming for agents of repositories with these names.
    pub(crate) fn of<'a>(repo_names: impl IntoIterator<Item = &'a str>) -> Naming {
        let mut names = repo_names.into_iter();
        let first = names.next();
        match names.all(|name| Some(name) == first) {
            true => Naming::Branch,
            false => Naming::RepoBranch,
        }
    }

    /// The name of one of them, as it can be typed as a target.
    pub(crate) fn name(self, repo_name: &str, branch: &str) -> String {
        match self {
            Naming::Branch => branch.to_owned(),
            Naming::RepoBranch => format!("{repo_name}/{branch}"),
        }
    }
}

/// A state with its label.
pub fn state_span(state: &str) -> Span {
    let label = match state.split('(').next().unwrap_or_default() {
        "ready" | "idle" => Label::Good,
        "waiting" => Label::Warn,
        "lost" => Label::Bad,
        "exited" if state != "exited(0)" => Label::Bad,
        "exited" | "ended" => Label::Dim,
        _ => Label::Plain,
    };
    span(label, state)
}
