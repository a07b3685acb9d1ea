//! `merge`: lands the branches of agents.

use clap::Args;
use fleet_core::agent::{Agent, State};
use fleet_core::name::{plural, word};
use fleet_core::run::record::Run;
use fleet_core::{Error, Kind, Result};
use fleet_host::git::Repo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::started::seconds;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::merge::land::{self, Form, GateLine, Options};
use crate::merge::plan::{self, Work};
use crate::merge::target::Target;
use crate::merge::{Branch, Conflict, Fate, MergePlan, Planned};
use crate::op::Operation;
use crate::page::{Label, Page, Show, Span, plain, span};
use crate::runs::{self, branches};

/// Merge the branches of agents, one by one, behind a check of yours
///
/// Every merge is tried first, without touching a checkout. Then the branches land in the order that was found best.
/// With --gate the target only moves to what has passed; a branch that breaks it is searched for, left out and named.
/// Nothing is forced: a branch that is in conflict, or whose worktree holds work in no commit, stays as it is. Asked for
/// again, what landed is skipped.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// A fleet root; or branches, repo/branch, ids or patterns, of ended agents too, while their branches are there
    #[arg(required_unless_present = "batch")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// The branch to merge into [default: what the main checkout is on]
    #[arg(long, value_name = "BRANCH")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// A shell line that every result has to pass, in a worktree of its own; such as "cargo test"
    #[arg(long, value_name = "CMD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// How long the gate may run each time
    #[arg(long, value_name = "SECONDS", requires = "gate")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_timeout: Option<f64>,
    /// One commit for each branch, and no merge commits
    #[arg(long)]
    #[serde(default)]
    pub squash: bool,
    /// Show what would land, in which order, and what is in conflict; change nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
    /// With --dry-run: count what is in no commit yet as well, as a forecast while agents work
    #[arg(long, requires = "dry_run")]
    #[serde(default)]
    pub live: bool,
}

/// What landed and what did not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Merged {
    /// The repository's folder name.
    pub repo_name: String,
    /// The branch that was merged into.
    pub into: String,
    /// The commit that it was at.
    pub before: String,
    /// The commit that it is at.
    pub after: String,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The gate.
    pub gate: Option<String>,
    /// Each branch: those that could be merged in their order, then the others.
    pub branches: Vec<Planned>,
    /// Which of them are in each other's way.
    pub conflicts: Vec<Conflict>,
    /// Why it ended before all were tried.
    pub stopped: Option<Error>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Operation for Merge {
    const NAME: &'static str = "merge";
    const EFFECT: Effect = Effect::Write;
    type Output = Merged;

    fn effect(&self) -> Effect {
        if self.dry_run { Effect::Read } else { Effect::Write }
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Merged> {
        let limit = seconds(self.gate_timeout)?;
        let gate = self.gate.clone().map(|line| GateLine { line, limit });
        if gate.as_ref().is_some_and(|gate| gate.line.trim().is_empty()) {
            return Err(Error::usage("the gate is empty").hint("give a command, such as `--gate \"cargo test\"`"));
        }
        if self.live && !self.dry_run {
            return Err(Error::usage("`--live` is a forecast").hint("add `--dry-run`"));
        }
        let run = self.named_run(app, caller)?;
        let agents = match &run {
            Some(run) => branches::agents(app, run)?,
            None => app.select_also_ended(caller, &self.targets, self.batch.as_deref())?,
        };
        let repo = one_repo(&agents)?;
        let mut target = Target::of(repo, self.into.as_deref())?;
        refuse_target(app, &target, &agents)?;
        let work = if self.live { Work::Live } else { Work::Committed };
        let mut plan = match &run {
            Some(run) => plan::plan(&target, &branches::of(app, run)?, work)?,
            None => planned(app, &target, &agents, work)?,
        };
        let before = target.tip.clone();
        let mut warnings = Vec::new();
        let mut stopped = None;
        if self.dry_run {
            let ready: Vec<Planned> = ready(&plan).cloned().collect();
            warnings.extend(target.require_ready(&ready).err().map(|error| error.message));
        } else {
            warnings.extend(agents.iter().filter_map(|agent| still_working(app, agent)));
            let form = if self.squash { Form::Squash } else { Form::Merge };
            let options = Options { form, gate };
            stopped = land::land(app, caller, &mut target, &mut plan, &options)?.stopped;
        }
        Ok(Merged {
            repo_name: target.repo.name,
            into: target.branch,
            before,
            after: target.tip,
            dry_run: self.dry_run,
            gate: self.gate,
            branches: plan.branches,
            conflicts: plan.conflicts,
            stopped,
            warnings,
        })
    }
}

impl Merge {
    /// The run whose branches are meant, if one is.
    fn named_run(&self, app: &App, caller: &Caller) -> Result<Option<Run>> {
        let [target] = self.targets.as_slice() else {
            return Ok(None);
        };
        let run = match self.batch {
            Some(_) => None,
            None => runs::try_find(app, caller, target)?,
        };
        match (run, app.select_also_ended(caller, &self.targets, None)) {
            (Some(_), Ok(_)) => Err(Error::usage(format!("`{target}` is a run and an agent"))
                .hint("name the run by its fleet root, or the agent by its id: `fleet list`")),
            (run, _) => Ok(run),
        }
    }
}

/// The repository that all of them work in.
fn one_repo(agents: &[Agent]) -> Result<Repo> {
    let first = agents.first().ok_or_else(|| Error::internal("no agent was selected"))?;
    match agents.iter().find(|agent| agent.repo != first.repo) {
        None => Ok(Repo::of(&first.repo)),
        Some(other) => Err(Error::usage(format!(
            "`{}` and `{}` are of different repositories",
            first.branch, other.branch
        ))
        .hint(format!(
            "merge those of one at a time: `fleet merge {}`",
            word(&format!("{}/*", first.repo_name))
        ))),
    }
}

/// A branch that an agent works on moves under its feet, and nothing is merged into itself.
fn refuse_target(app: &App, target: &Target, agents: &[Agent]) -> Result<()> {
    if agents.iter().any(|agent| agent.branch == target.branch) {
        return Err(
            Error::usage(format!("`{}` cannot be merged into itself", target.branch))
                .hint("name another branch with `--into`, or leave it out"),
        );
    }
    let live = app.store()?.agents_live()?;
    let at_work = live
        .iter()
        .any(|agent| agent.repo == target.repo.common_dir && agent.branch == target.branch && app.see(agent).alive);
    match at_work {
        true => Err(Error::refused(format!("an agent works on `{}`", target.branch))
            .hint(format!("end it first: `fleet kill {}`", word(&target.branch)))),
        false => Ok(()),
    }
}

fn planned(app: &App, target: &Target, agents: &[Agent], work: Work) -> Result<MergePlan> {
    let mut branches = Vec::new();
    let mut without = Vec::new();
    for agent in agents {
        match Branch::of(app, agent) {
            Some(branch) => branches.push(branch),
            None => without.push(Planned::without_branch(&agent.branch)),
        }
    }
    let mut plan = plan::plan(target, &branches, work)?;
    plan.branches.extend(without);
    Ok(plan)
}

fn ready(plan: &MergePlan) -> impl Iterator<Item = &Planned> {
    plan.branches.iter().filter(|planned| planned.fate == Fate::Ready)
}

fn still_working(app: &App, agent: &Agent) -> Option<String> {
    let state = app.see(agent).state;
    matches!(state, State::Working | State::Waiting(_)).then(|| {
        format!(
            "`{}` is {state}: what it commits from now on is not in this merge",
            agent.branch
        )
    })
}

impl Merged {
    fn count(&self, fate: Fate) -> usize {
        self.branches.iter().filter(|planned| planned.fate == fate).count()
    }
}

impl Show for Merged {
    fn show(&self, page: &mut Page) {
        let head = ["branch", "", "ahead", "behind", "files", "lines"];
        page.table(
            &head,
            self.branches.iter().map(|planned| row(planned, self.dry_run)).collect(),
        );
        for planned in &self.branches {
            for clash in &planned.clashes {
                let with: Vec<String> = clash.with.iter().map(|name| format!("`{name}`")).collect();
                page.spans(vec![
                    span(Label::Name, planned.name.clone()),
                    plain(": "),
                    span(Label::Bad, clash.file.clone()),
                    plain(format!(" ({}), with {}", clash.kind, with.join(", "))),
                ]);
            }
            if let Some(output) = &planned.gate_output {
                page.spans(vec![span(Label::Name, planned.name.clone()), plain(": the gate said")]);
                page.raw(indented(output));
            }
        }
        for planned in self.branches.iter().filter(|planned| !planned.undeclared.is_empty()) {
            page.warning(format!(
                "`{}` changes what it had not declared: {}",
                planned.name,
                planned.undeclared.join(", ")
            ));
        }
        let short = |commit: &str| commit.chars().take(10).collect::<String>();
        let landed = plural(self.count(Fate::Landed), "branch");
        match (self.dry_run, self.before == self.after) {
            (true, _) => page.line(format!(
                "would land {} on `{}`",
                plural(self.count(Fate::Ready), "branch"),
                self.into
            )),
            (false, true) => page.line(format!("nothing landed on `{}`", self.into)),
            (false, false) => page.line(format!(
                "landed {landed} on `{}`: {}..{}",
                self.into,
                short(&self.before),
                short(&self.after)
            )),
        }
        for planned in &self.branches {
            if let Some(hint) = &planned.hint {
                page.hint(format!("{}: {hint}", planned.name));
            }
        }
        if let Some(clashing) = self.branches.iter().find(|planned| planned.fate == Fate::Conflict) {
            page.hint(format!(
                "have it solved where it was made: `fleet prompt {} \"merge {} into your branch and solve the conflicts\"`",
                word(&clashing.name),
                self.into
            ));
        }
        for warning in &self.warnings {
            page.warning(warning.clone());
        }
        if let Some(error) = &self.stopped {
            page.warning(format!("it ended early: {}", error.message));
            if let Some(hint) = &error.hint {
                page.hint(hint.clone());
            }
        }
    }

    fn failed(&self) -> Option<Kind> {
        let kinds = [
            (Fate::GateFailed, Kind::Failed),
            (Fate::Conflict, Kind::Conflict),
            (Fate::Gone, Kind::NotFound),
            (Fate::Uncommitted, Kind::Refused),
            (Fate::Elsewhere, Kind::Refused),
            (Fate::NoBranch, Kind::Refused),
        ];
        let of_fate = || {
            let found = kinds.iter().find(|(fate, _)| self.count(*fate) > 0);
            found.map(|(_, kind)| *kind)
        };
        self.stopped.as_ref().map(|error| error.kind).or_else(of_fate)
    }
}

fn row(planned: &Planned, dry_run: bool) -> Vec<Span> {
    let (label, text) = match planned.fate {
        Fate::Ready if dry_run => (Label::Good, "would land".to_owned()),
        Fate::Ready => (Label::Warn, "not tried".to_owned()),
        Fate::Landed => (Label::Good, "landed".to_owned()),
        Fate::AlreadyIn => (Label::Dim, "is in already".to_owned()),
        Fate::Empty => (Label::Dim, "has no commit".to_owned()),
        _ => (Label::Bad, planned.why.clone().unwrap_or_default()),
    };
    let lines = match planned.files.is_empty() {
        true => "-".to_owned(),
        false => format!("+{} -{}", planned.added, planned.removed),
    };
    vec![
        span(Label::Name, planned.name.clone()),
        span(label, text),
        plain(planned.ahead.to_string()),
        plain(planned.behind.to_string()),
        plain(planned.files.len().to_string()),
        plain(lines),
    ]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  | {line}\n")).collect()
}
