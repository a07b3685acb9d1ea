//! `list`: all agents and how they stand.

use std::collections::BTreeMap;

use clap::Args;
use fleet_core::agent::{Agent, Phase};
use fleet_core::name::plural;
use fleet_core::time::age;
use fleet_core::{Kind, Result, Time};
use fleet_host::supervise::journal;
use fleet_host::{files, parallel, process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::ops::explain::missing_output;
use crate::page::{Label, Page, Show, Span, bytes, plain, span};
use crate::record::{AgentRecord, state_span};
use crate::{repair, trash, updated};

/// List agents with their state, CPU, memory, disk and age
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Group them by batch
    #[arg(short, long)]
    #[serde(default)]
    pub grouped: bool,
    /// Those that have ended, too
    #[arg(short, long)]
    #[serde(default)]
    pub all: bool,
    /// Only those of the current repository
    #[arg(long)]
    #[serde(default)]
    pub repo: bool,
    /// Measure the disk use of the workspaces now (slow for large ones); else it is shown as last measured
    #[arg(long)]
    #[serde(default)]
    pub disk: bool,
    /// Make the records agree with what is there first, and say what was done
    #[arg(long)]
    #[serde(default)]
    pub repair: bool,
}

/// One agent with what it uses.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The agent.
    #[serde(flatten)]
    pub agent: AgentRecord,
    /// CPU of its whole process tree since the listing before, in per cent of a core; none when unknown.
    pub cpu_percent: Option<f64>,
    /// Memory of its whole process tree.
    pub memory_bytes: Option<u64>,
    /// Its processes, the supervisor included.
    pub processes: Option<u32>,
    /// Disk use of its workspace, when last measured.
    pub disk_bytes: Option<u64>,
    /// How long ago that was, in milliseconds.
    pub disk_age_ms: Option<u64>,
    /// Since it was made, in milliseconds.
    pub age_ms: u64,
}

/// The agents.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// In order of their making.
    pub agents: Vec<Row>,
    /// What `--repair` did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<String>,
    /// What it could not do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unrepaired: Vec<String>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether to show them by batch.
    #[serde(skip)]
    #[schemars(skip)]
    grouped: bool,
    /// Whether a repair was asked for.
    #[serde(skip)]
    #[schemars(skip)]
    asked: bool,
}

impl Operation for List {
    const NAME: &'static str = "list";
    const EFFECT: Effect = Effect::Read;
    type Output = Listing;

    fn effect(&self) -> Effect {
        if self.repair { Effect::Write } else { Effect::Read }
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Listing> {
        let repaired = match self.repair {
            true => repair::repair(app, caller)?,
            false => repair::Repaired::default(),
        };
        // The processes are looked at while the store is opened and read.
        let (table, agents) = std::thread::scope(|scope| {
            let table = scope.spawn(process::Table::read);
            let agents = self.chosen(app, caller);
            (table.join().unwrap_or_default(), agents)
        });
        let agents = agents?;
        let mut warnings = warnings(app, caller, &agents);
        let rows = rows(app, &agents, &table, self.disk);
        // One that does not run takes the new program anyway.
        let runs = |row: &Row| row.processes.is_some();
        let running = agents.iter().zip(&rows).filter(|(_, row)| runs(row));
        warnings.extend(updated::lines(app, running.map(|(agent, _)| agent)));
        Ok(Listing {
            agents: rows,
            repaired: repaired.done,
            unrepaired: repaired.failed,
            warnings,
            grouped: self.grouped,
            asked: self.repair,
        })
    }
}

impl List {
    fn chosen(&self, app: &App, caller: &Caller) -> Result<Vec<Agent>> {
        let store = app.store()?;
        let mut agents: Vec<Agent> = match self.all {
            true => store.agents_all()?.into_iter().rev().collect(),
            false => store.agents_live()?,
        };
        if self.repo {
            let repo = app.repo(caller)?.common_dir;
            agents.retain(|agent| agent.repo == repo);
        }
        Ok(agents)
    }
}

/// Disk use of workspaces, as last measured: agent id to bytes and time.
type Disk = BTreeMap<String, (u64, i64)>;

fn rows(app: &App, agents: &[Agent], table: &process::Table, measure_disk: bool) -> Vec<Row> {
    let cache = process::UsageCache::read(&app.home.usage_cache());
    let disk_file = app.home.root().join("run.disk");
    let mut disk: Disk = std::fs::read(&disk_file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let stands = parallel::map(
        agents.iter().collect(),
        parallel::shares(agents.len(), 25),
        |agent: &Agent| {
            let seen = app.see(agent);
            let runs = seen.alive && agent.phase != Phase::Ended;
            let supervisor = runs.then(|| supervisor_of(app, agent, table)).flatten();
            (seen, supervisor)
        },
    );
    let supervisors = stands.iter().map(|(_, supervisor)| *supervisor);
    let roots: Vec<u32> = supervisors.flatten().collect();
    let now = app.now();
    let rows = agents.iter().zip(&stands).map(|(agent, (seen, supervisor))| {
        if measure_disk && agent.phase != Phase::Ended {
            disk.insert(agent.id.to_string(), (files::disk_usage(&agent.worktree), now.0));
        }
        let measured = disk.get(agent.id.as_str());
        let usage = supervisor.map(|root| process::usage(table, root, &roots));
        let mut record = AgentRecord::seen(agent, seen);
        if agent.phase == Phase::Ended {
            record.state = match record.state.as_str() {
                state if state.starts_with("exited") => record.state,
                _ => "ended".to_owned(),
            };
        }
        Row {
            cpu_percent: supervisor.and_then(|root| process::cpu_percent(table, root, &roots, cache.as_ref()?)),
            memory_bytes: usage.as_ref().map(|usage| usage.rss_bytes),
            processes: usage.as_ref().map(|usage| usage.processes),
            disk_bytes: measured.map(|(bytes, _)| *bytes),
            disk_age_ms: measured.map(|(_, at)| now.since(Time(*at))),
            age_ms: now.since(agent.created_at),
            agent: record,
        }
    });
    let rows: Vec<Row> = rows.collect();
    // These are caches: when they cannot be written the next listing knows less, and that is all.
    let _ = process::UsageCache::of(table, &roots).write(&app.home.usage_cache());
    if measure_disk {
        let _ = serde_json::to_vec(&disk).map(|bytes| files::write_cache("list.disk", &disk_file, &bytes, 0o600));
    }
    rows
}

/// The process id of the supervisor of a living agent: the parent of its program, while that runs. The journal knows
/// it as well, and may be long.
fn supervisor_of(app: &App, agent: &Agent, table: &process::Table) -> Option<u32> {
    let parent = agent.pid.and_then(|pid| table.get(pid)).map(|program| program.ppid);
    parent
        .filter(|pid| process::is_supervisor_of(*pid, &agent.id))
        .or_else(|| journal::supervisor(&app.home.agent_dir(&agent.id)))
}

fn warnings(app: &App, caller: &Caller, agents: &[Agent]) -> Vec<String> {
    // The settings are read only when there is something to compare with them.
    let used = trash::remembered(app);
    let full = || trash::warning(used, app.config(caller, None).ok().as_ref());
    let running = agents.iter().filter(|agent| agent.phase == Phase::Started);
    let lost = running.filter_map(|agent| missing_output(app, agent));
    (used > 0).then(full).flatten().into_iter().chain(lost).collect()
}

impl Show for Listing {
    fn show(&self, page: &mut Page) {
        for line in &self.repaired {
            page.line(format!("repaired: {line}"));
        }
        for line in &self.unrepaired {
            page.warning(format!("could not repair {line}"));
        }
        if self.asked && self.repaired.is_empty() && self.unrepaired.is_empty() {
            page.line("nothing to repair");
        }
        if self.agents.is_empty() {
            page.line("no agents");
            page.hint("start one: `fleet create fix-42 --prompt \"write a failing test\"`");
        } else if self.grouped {
            let mut batches: Vec<&str> = Vec::new();
            for row in &self.agents {
                if !batches.contains(&row.agent.batch_id.as_str()) {
                    batches.push(&row.agent.batch_id);
                }
            }
            for batch in batches {
                let members: Vec<&Row> = self.agents.iter().filter(|row| row.agent.batch_id == batch).collect();
                page.spans(vec![
                    span(Label::Heading, batch),
                    plain(format!(": {}", plural(members.len(), "agent"))),
                ]);
                table(page, &members);
            }
        } else {
            table(page, &self.agents.iter().collect::<Vec<_>>());
        }
        for warning in &self.warnings {
            page.warning(warning.clone());
        }
    }

    fn failed(&self) -> Option<Kind> {
        (!self.unrepaired.is_empty()).then_some(Kind::Failed)
    }
}

fn table(page: &mut Page, rows: &[&Row]) {
    let many_repos = rows.iter().any(|row| row.agent.repo != rows[0].agent.repo);
    let any_outcome = rows.iter().any(|row| row.agent.outcome.is_some());
    let mut head = vec!["branch", "agent", "state", "cpu", "mem", "disk", "age", "id"];
    if any_outcome {
        head.insert(3, "outcome");
    }
    if many_repos {
        head.insert(1, "repo");
    }
    let line = |row: &&Row| {
        let unknown = || span(Label::Dim, "-");
        let mut cells: Vec<Span> = vec![
            span(Label::Name, &row.agent.branch),
            plain(&row.agent.agent),
            match row.agent.phase {
                Phase::Ended => state_span("ended"),
                _ => state_span(&row.agent.state),
            },
            row.cpu_percent.map_or_else(unknown, |cpu| plain(format!("{cpu:.0}%"))),
            row.memory_bytes.map_or_else(unknown, |memory| plain(bytes(memory))),
            row.disk_bytes.map_or_else(unknown, |disk| plain(bytes(disk))),
            plain(age(row.age_ms)),
            span(Label::Dim, row.agent.id.as_str()),
        ];
        if any_outcome {
            cells.insert(3, outcome(&row.agent));
        }
        if many_repos {
            cells.insert(1, plain(&row.agent.repo_name));
        }
        cells
    };
    page.table(&head, rows.iter().map(line).collect());
}

fn outcome(agent: &AgentRecord) -> Span {
    match &agent.outcome {
        None => span(Label::Dim, "-"),
        Some(outcome) if agent.has_failed() => span(Label::Bad, outcome),
        Some(outcome) => span(Label::Good, outcome),
    }
}
