//! `rank`: runs a check in each worktree and says whose work is the best.

use std::time::Duration;

use clap::Args;
use fleet_core::agent::{Agent, State, Workspace};
use fleet_core::id::AgentId;
use fleet_core::name::{plural, word};
use fleet_core::rank::{self, Entry};
use fleet_core::tally::{self, Tally};
use fleet_core::{Error, Kind, Result};
use fleet_host::exec::Checked;
use fleet_host::git::Merges;
use fleet_host::{files, parallel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kill::{Killed, kill_all, refuse_own, show_all};
use super::started::seconds;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::checked::{self, Verdict};
use crate::end::Options;
use crate::merge::gate::run_line;
use crate::merge::land::{how_it_ended, tail};
use crate::op::Operation;
use crate::page::{Label, Page, Show, Span, plain, span};
use crate::record::{Naming, state_span};

/// Run a check in each agent's worktree and rank what they made
///
/// The first are those whose check passed and that changed something; then the fewest failing and the most passing tests
/// (read from what cargo, pytest, jest, vitest, node and `go test -v` print), the smallest change, the lowest cost where
/// it is known, and the shortest time. The worktrees are checked as they are, also while an agent works.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// Branches, repo/branch, ids, patterns or batches
    #[arg(required_unless_present = "batch")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// The shell line that is run in each worktree; such as "cargo test"
    #[arg(long, value_name = "CMD")]
    pub check: String,
    /// How long it may run in each; one that takes longer has failed
    #[arg(long, value_name = "SECONDS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// How many run at once [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u16>,
    /// End all but the best, as `kill` does: unsaved work is saved, branches stay
    #[arg(long)]
    #[serde(default)]
    pub keep_best: bool,
}

/// One agent's place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ranked {
    /// Its branch.
    pub branch: String,
    /// Its repository's folder name.
    pub repo_name: String,
    /// Its id.
    pub id: AgentId,
    /// How it stood when the check began.
    pub state: String,
    /// Whether the check passed.
    pub passed: bool,
    /// Exit code of the check; none when time ran out.
    pub exit_code: Option<i32>,
    /// How long the check took, in milliseconds.
    pub check_ms: u64,
    /// Counts of tests, where the check printed some that fleet can read.
    pub tests: Option<Tally>,
    /// Files that differ from the start, those in no commit included.
    pub files: usize,
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
    /// What it cost in US dollars, by its program's own account; none where it tells of none.
    pub cost_usd: Option<f64>,
    /// How long it has worked, in milliseconds: until it came to rest, or until now.
    pub took_ms: i64,
    /// The end of what the check printed, when it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The commit that was checked, or one that nobody else knows where not all was committed.
    #[serde(skip)]
    #[schemars(skip)]
    work: String,
    /// Files in its worktree that are no work of its own, with their digests.
    #[serde(skip)]
    #[schemars(skip)]
    left: Vec<(String, String)>,
}

/// All of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ranking {
    /// The best first.
    pub agents: Vec<Ranked>,
    /// The branch of the best; none when no agent's change passed.
    pub best: Option<String>,
    /// What it has before the next, in words.
    pub because: Option<String>,
    /// With --keep-best: what became of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Killed>,
}

impl Operation for Rank {
    const NAME: &'static str = "rank";
    const EFFECT: Effect = Effect::Write;
    type Output = Ranking;

    fn run(self, app: &App, caller: &Caller) -> Result<Ranking> {
        let limit = seconds(self.timeout)?;
        if self.check.trim().is_empty() {
            return Err(Error::usage("the check is empty").hint("give a command, such as `--check \"cargo test\"`"));
        }
        let agents = selected(app, caller, &self.targets, self.batch.as_deref())?;
        if self.keep_best {
            refuse_own(caller, &agents)?;
        }
        let jobs = usize::from(self.jobs.unwrap_or(1)).max(1);
        let ranked = parallel::map(agents.iter().collect(), jobs, |agent: &Agent| {
            rank_one(app, caller, agent, &self.check, limit)
                .map_err(|error| error.context(format!("could not check `{}`", agent.branch)))
        });
        let ranked = ranked.into_iter().collect::<Result<Vec<Ranked>>>()?;
        let entries: Vec<Entry> = ranked.iter().map(entry).collect();
        let order = rank::order(&entries);
        let best = order.first().copied().filter(|first| rank::can_win(&entries[*first]));
        let decided = match (best, order.get(1)) {
            (Some(best), Some(next)) => Some(rank::decided_by(&entries[best], &entries[*next])),
            _ => None,
        };
        keep_verdicts(app, &agents, &ranked, &order, &self.check);
        let mut ranking = Ranking {
            best: best.map(|best| ranked[best].branch.clone()),
            because: decided.flatten().map(|measure| measure.words().to_owned()),
            agents: order.iter().map(|place| ranked[*place].clone()).collect(),
            ended: Vec::new(),
        };
        if self.keep_best {
            let Some(best) = best.filter(|_| decided != Some(None)) else {
                return Err(nobody_wins(&ranking));
            };
            let others: Vec<Agent> = agents
                .iter()
                .filter(|agent| agent.id != ranked[best].id)
                .cloned()
                .collect();
            let config = app.config(caller, None)?;
            let options = Options {
                grace: Some(Duration::from_millis(config.kill_grace_ms)),
                ..Options::default()
            };
            ranking.ended = kill_all(app, caller, &others, &options);
        }
        Ok(ranking)
    }
}

/// The agents that are meant; a target that is no agent's name may be a batch.
fn selected(app: &App, caller: &Caller, targets: &[String], batch: Option<&str>) -> Result<Vec<Agent>> {
    let live = app.store()?.agents_live()?;
    let is_batch = |target: &&String| live.iter().any(|agent| agent.batch_id == **target);
    let (batches, names): (Vec<&String>, Vec<&String>) = targets.iter().partition(is_batch);
    let names: Vec<String> = names.into_iter().cloned().collect();
    let mut agents: Vec<Agent> = Vec::new();
    let mut add = |found: Vec<Agent>| {
        for agent in found {
            if !agents.iter().any(|each| each.id == agent.id) {
                agents.push(agent);
            }
        }
    };
    for each in batches.into_iter().map(String::as_str).chain(batch) {
        add(app.select(caller, &[], Some(each))?);
    }
    if !names.is_empty() || (targets.is_empty() && batch.is_none()) {
        add(app.select(caller, &names, None)?);
    }
    if let Some(here) = agents.iter().find(|agent| agent.workspace == Workspace::Here) {
        return Err(Error::refused(format!(
            "`{}` works in a directory of yours, so there is nothing of its own to rank",
            here.branch
        ))
        .hint("rank agents with worktrees: `fleet list`"));
    }
    Ok(agents)
}

fn rank_one(app: &App, caller: &Caller, agent: &Agent, check: &str, limit: Option<Duration>) -> Result<Ranked> {
    let seen = app.see(agent);
    let folder = app.home.agent_dir(&agent.id);
    let mark = format!("rank-{}", app.new_id());
    (caller.progress)(&format!("the check runs for {}", agent.branch));
    // Before the check, which may leave files that are no work of the agent's.
    let foreign = checked::foreign(app, &agent.id);
    let merges = Merges::trial(&agent.repo)?;
    let work = merges.snapshot(&agent.worktree, &foreign)?;
    let changes = match &agent.base {
        None => Vec::new(),
        Some(base) => merges.changes(base, &work)?,
    };
    let log = folder.join(format!("{mark}.log"));
    let ran = run_line("rank.check", caller, check, &agent.worktree, limit, &log, &mark)?;
    let mut left = foreign;
    for path in merges.new_paths(&work, &merges.snapshot(&agent.worktree, &left)?)? {
        left.extend(files::file_digest(&agent.worktree.join(&path)).map(|digest| (path, digest)));
    }
    let rest_since = match seen.state {
        State::Idle | State::Exited(_) | State::Ready => seen.since,
        _ => None,
    };
    Ok(Ranked {
        branch: agent.branch.clone(),
        repo_name: agent.repo_name.clone(),
        id: agent.id.clone(),
        state: seen.state.to_string(),
        passed: ran.passed(),
        exit_code: ran.code,
        check_ms: u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX),
        tests: tally::read(&ran.output),
        files: changes.len(),
        added: changes.iter().filter_map(|change| change.added).sum(),
        removed: changes.iter().filter_map(|change| change.removed).sum(),
        cost_usd: cost(&seen.usage),
        took_ms: rest_since
            .unwrap_or_else(|| app.now())
            .0
            .saturating_sub(agent.created_at.0),
        output: (!ran.passed()).then(|| said(&ran)),
        work,
        left,
    })
}

fn said(ran: &Checked) -> String {
    match ran.code {
        Some(_) => tail(&ran.output),
        None => format!("{}\n{}", tail(&ran.output), how_it_ended(ran))
            .trim()
            .to_owned(),
    }
}

/// What all of it cost; none when a part of it is not known.
fn cost(usage: &[fleet_core::usage::Usage]) -> Option<f64> {
    let parts: Option<Vec<f64>> = usage.iter().map(|each| each.cost_usd).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.iter().sum())
}

fn entry(ranked: &Ranked) -> Entry {
    Entry {
        name: ranked.branch.clone(),
        passed: ranked.passed,
        tests: ranked.tests,
        // A binary file has no lines, and is a change all the same.
        lines: (ranked.added + ranked.removed).max(ranked.files as u64),
        cost_usd: ranked.cost_usd,
        took_ms: ranked.took_ms,
    }
}

/// Notes for `pr` what the check said of each. That this fails is no reason to fail.
fn keep_verdicts(app: &App, agents: &[Agent], ranked: &[Ranked], order: &[usize], check: &str) {
    for (place, index) in order.iter().enumerate() {
        let (agent, ranked) = (&agents[*index], &ranked[*index]);
        let verdict = Verdict {
            check: check.to_owned(),
            commit: ranked.work.clone(),
            passed: ranked.passed,
            exit_code: ranked.exit_code,
            tests: ranked.tests,
            files: ranked.files,
            added: ranked.added,
            removed: ranked.removed,
            cost_usd: ranked.cost_usd,
            place: place + 1,
            of: order.len(),
            left: ranked.left.clone(),
            at: app.now(),
        };
        checked::keep(app, &agent.id, &verdict);
    }
}

fn nobody_wins(ranking: &Ranking) -> Error {
    let why = match (&ranking.best, ranking.agents.iter().any(|each| each.passed)) {
        (Some(_), _) => "the first two differ in nothing but their names",
        (None, true) => "those that passed changed nothing",
        (None, false) => "the check passed nowhere",
    };
    let first = ranking.agents.first().map_or("", |first| first.branch.as_str());
    Error::refused(format!("there is no best one, so all are kept: {why}"))
        .hint(format!("look at what they made: `fleet diff {} --stat`", word(first)))
        .detail(
            ranking
                .agents
                .first()
                .and_then(|first| first.output.clone())
                .unwrap_or_default(),
        )
}

impl Show for Ranking {
    fn show(&self, page: &mut Page) {
        let naming = Naming::of(self.agents.iter().map(|each| each.repo_name.as_str()));
        let head = ["", "agent", "check", "tests", "files", "lines", "cost", "time", "state"];
        let row = |(place, each): (usize, &Ranked)| -> Vec<Span> {
            let is_best = place == 0 && self.best.is_some();
            let name = naming.name(&each.repo_name, &each.branch);
            let check = match (each.passed, each.exit_code) {
                (true, _) => span(Label::Good, "passed"),
                (false, Some(code)) => span(Label::Bad, format!("failed({code})")),
                (false, None) => span(Label::Bad, "out of time"),
            };
            vec![
                match is_best {
                    true => span(Label::Good, "best"),
                    false => plain(format!("{}", place + 1)),
                },
                span(if is_best { Label::Good } else { Label::Name }, name),
                check,
                plain(each.tests.map_or("-".to_owned(), |tests| match tests.failed {
                    0 => format!("{} passed", tests.passed),
                    failed => format!("{} passed, {failed} failed", tests.passed),
                })),
                plain(each.files.to_string()),
                plain(format!("+{} -{}", each.added, each.removed)),
                plain(each.cost_usd.map_or("-".to_owned(), |cost| format!("{cost:.2} USD"))),
                plain(fleet_core::time::age(u64::try_from(each.took_ms).unwrap_or(0))),
                state_span(&each.state),
            ]
        };
        page.table(&head, self.agents.iter().enumerate().map(row).collect());
        match (&self.best, &self.because) {
            (None, _) => page.line("no change passed the check"),
            (Some(best), Some(because)) => page.line(format!("the best is `{best}`: {because}")),
            (Some(best), None) => page.line(format!("the best is `{best}`")),
        }
        show_all(&self.ended, naming, page);
        if let (Some(best), true) = (&self.best, self.ended.is_empty() && self.agents.len() > 1) {
            page.hint(format!(
                "land it: `fleet merge {}`; end the other {}: `--keep-best`",
                word(best),
                plural(self.agents.len() - 1, "agent")
            ));
        }
    }

    fn failed(&self) -> Option<Kind> {
        let not_ended = self
            .ended
            .iter()
            .find_map(|each| each.error.as_ref())
            .map(|error| error.kind);
        not_ended.or(self.best.is_none().then_some(Kind::Failed))
    }
}
