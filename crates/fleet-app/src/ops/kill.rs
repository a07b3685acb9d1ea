//! `kill`: ends agents, saves their work, removes their workspaces.

use clap::Args;
use fleet_core::agent::Agent;
use fleet_core::id::AgentId;
use fleet_core::name::plural;
use fleet_core::{Error, Kind, Result};
use fleet_host::parallel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::end::{self, Ended, Options};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::record::Naming;

/// End agents: their processes, their worktrees and sessions; unsaved work is saved first, and printed
///
/// Asks nothing and loses nothing: work that is in no commit goes to a salvage ref, what git cannot hold to the
/// trash. When it cannot be saved everything stays. Branches stay unless --delete-branch is given.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Branches, repo/branch, ids or patterns
    #[arg(required_unless_present = "batch")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Skip the polite waits
    #[arg(long)]
    #[serde(default)]
    pub force: bool,
    /// Keep ignored files as well
    #[arg(long)]
    #[serde(default)]
    pub salvage_ignored: bool,
    /// Delete the branches too; commits that only they hold are saved
    #[arg(long)]
    #[serde(default)]
    pub delete_branch: bool,
    /// Show what would be saved and removed, and do nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of one agent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Killed {
    /// Its branch.
    pub branch: String,
    /// Its repository's folder name.
    pub repo_name: String,
    /// Its id.
    pub id: AgentId,
    /// What was done; none when it failed.
    pub ended: Option<Ended>,
    /// Why it failed. Everything but its processes is still there.
    pub error: Option<Error>,
    /// With --dry-run: what would be saved.
    pub would_save: Option<Vec<String>>,
}

/// What became of all.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Kills {
    /// Each agent.
    pub agents: Vec<Killed>,
}

impl Operation for Kill {
    const NAME: &'static str = "kill";
    const EFFECT: Effect = Effect::Write;
    type Output = Kills;

    fn effect(&self) -> Effect {
        if self.dry_run { Effect::Read } else { Effect::Write }
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Kills> {
        let agents = app.select(caller, &self.targets, self.batch.as_deref())?;
        refuse_own(caller, &agents)?;
        let mut options = Options {
            force: self.force,
            salvage_ignored: self.salvage_ignored,
            delete_branch: self.delete_branch,
            ..Options::default()
        };
        if self.dry_run {
            return dry_run(app, &agents, &options);
        }
        let config = app.config(caller, None)?;
        options.grace = Some(std::time::Duration::from_millis(config.kill_grace_ms));
        let killed = kill_all(app, caller, &agents, &options);
        match killed.as_slice() {
            [Killed { error: Some(error), .. }] => Err(error.clone()),
            _ => Ok(Kills { agents: killed }),
        }
    }
}

/// Refuses to stop the agent that asks: it would not live to see the rest done.
pub(crate) fn refuse_own(caller: &Caller, agents: &[Agent]) -> Result<()> {
    let own = |agent: &&Agent| caller.var("FLEET_AGENT") == Some(agent.id.as_str());
    match agents.iter().find(own) {
        Some(own) => Err(Error::refused(format!("`{}` is the agent that asks", own.branch))
            .hint("leave it to the person or to another agent")),
        None => Ok(()),
    }
}

/// Ends all of `agents` and closes their sessions, and says what became of each. The waiting of one overlaps with the
/// waiting of the others.
pub(crate) fn kill_all(app: &App, caller: &Caller, agents: &[Agent], options: &Options) -> Vec<Killed> {
    let killed = parallel::map(agents.iter().collect(), parallel::cores() * 4, |agent: &Agent| {
        let (ended, error) = match kill(app, caller, agent, options) {
            Ok(ended) => (Some(ended), None),
            Err(error) => (None, Some(error)),
        };
        Killed {
            branch: agent.branch.clone(),
            repo_name: agent.repo_name.clone(),
            id: agent.id.clone(),
            ended,
            error,
            would_save: None,
        }
    });
    let sessions: Vec<&str> = agents
        .iter()
        .zip(&killed)
        .filter(|(_, killed)| killed.ended.is_some())
        .map(|(agent, _)| agent.session.as_str())
        .collect();
    if !sessions.is_empty()
        && let Err(error) = app
            .tmux(caller)
            .and_then(|tmux| tmux.kill_sessions("kill.sessions", &sessions))
    {
        (caller.progress)(&format!("warning: tmux sessions may be left: {}", error.message));
    }
    app.publish();
    killed
}

fn kill(app: &App, caller: &Caller, agent: &Agent, options: &Options) -> Result<Ended> {
    end::end(app, caller, agent, options).map_err(|error| {
        let stays = error.kind != Kind::Conflict;
        let error = error.context(format!("could not end `{}`", agent.branch));
        match (&error.hint, stays) {
            (None, true) => error.hint(format!("its workspace is untouched: {}", agent.worktree.display())),
            _ => error,
        }
    })
}

fn dry_run(app: &App, agents: &[Agent], options: &Options) -> Result<Kills> {
    let mut kills = Kills { agents: Vec::new() };
    for agent in agents {
        let findings = end::look(app, agent, options)?;
        kills.agents.push(Killed {
            branch: agent.branch.clone(),
            repo_name: agent.repo_name.clone(),
            id: agent.id.clone(),
            ended: None,
            error: None,
            would_save: Some(findings.map(|findings| findings.reasons).unwrap_or_default()),
        });
    }
    Ok(kills)
}

/// Shows what became of each.
pub(crate) fn show_all(agents: &[Killed], naming: Naming, page: &mut Page) {
    for killed in agents {
        let name = span(Label::Name, naming.name(&killed.repo_name, &killed.branch));
        if let Some(would) = &killed.would_save {
            let what = if would.is_empty() {
                "nothing needs saving".to_owned()
            } else {
                format!("would save {}", would.join(", "))
            };
            page.spans(vec![plain("would end "), name, plain(format!(": {what}"))]);
        } else if let Some(ended) = &killed.ended {
            show_ended(page, name, ended);
        } else if let Some(error) = &killed.error {
            page.spans(vec![
                span(Label::Bad, "not ended "),
                name,
                plain(format!(": {}", error.message)),
            ]);
            if let Some(hint) = &error.hint {
                page.hint(hint.clone());
            }
        }
    }
}

impl Show for Kills {
    fn show(&self, page: &mut Page) {
        let naming = Naming::of(self.agents.iter().map(|killed| killed.repo_name.as_str()));
        show_all(&self.agents, naming, page);
    }

    fn failed(&self) -> Option<Kind> {
        self.agents
            .iter()
            .find_map(|killed| killed.error.as_ref())
            .map(|error| error.kind)
    }
}

fn show_ended(page: &mut Page, name: crate::page::Span, ended: &Ended) {
    let swept = match ended.swept.len() {
        0 => String::new(),
        count => format!(", with {} it had left running", plural(count, "process")),
    };
    let branch = if ended.deleted_branch {
        ", its branch deleted"
    } else {
        ""
    };
    page.spans(vec![plain("ended "), name, plain(format!("{swept}{branch}"))]);
    if let Some(salvage) = &ended.salvage {
        let place = match (&salvage.reference, &salvage.trash) {
            (Some(reference), Some(trash)) => format!("{reference} and {}", trash.display()),
            (Some(reference), None) => reference.clone(),
            (None, Some(trash)) => trash.display().to_string(),
            (None, None) => "nowhere".to_owned(),
        };
        let holds = if salvage.holds.is_empty() {
            String::new()
        } else {
            format!(" ({})", salvage.holds.join(", "))
        };
        page.spans(vec![
            plain("  saved its work in "),
            span(Label::Good, place),
            plain(holds),
        ]);
        page.hint(format!("get it back: `fleet salvage restore {}`", salvage.id));
    }
    for text in &ended.undelivered {
        let first: String = text.lines().next().unwrap_or_default().chars().take(80).collect();
        page.warning(format!("a queued prompt was never delivered: {first:?}"));
    }
    for stranger in &ended.left {
        page.warning(format!(
            "process {} ({}) works in the removed directory and is none of the agent's: it was left",
            stranger.pid, stranger.name
        ));
    }
    for warning in &ended.warnings {
        page.warning(warning.clone());
    }
}
