//! `explain`: why an agent's state is what it is.

use clap::Args;
use fleet_core::agent::{Agent, Standing, State};
use fleet_core::fact::{Entry, Fact};
use fleet_core::usage::{Basis, Usage};
use fleet_core::{Result, Time};
use fleet_host::harness::heartbeat;
use fleet_host::supervise::{journal, output};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, bytes, plain, span};
use crate::record::{AgentRecord, state_span};
use crate::{reporting, updated};

/// Say why an agent's state is what it is: the rule that won, and the facts it rests on
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// A branch, repo/branch or id
    pub target: String,
    /// How many of the last facts
    #[arg(short = 'n', long, default_value_t = default_facts(), value_name = "N")]
    #[serde(default = "default_facts")]
    pub facts: usize,
}

fn default_facts() -> usize {
    12
}

/// A sign of life that the program itself has written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// When.
    pub at: Time,
    /// Its age in seconds; one is written every 15 s.
    pub age_s: u64,
    /// Whether it is so old that the program hangs.
    pub stale: bool,
    /// The model that it runs with now, `provider/name`.
    pub model: Option<String>,
}

/// Why a state is what it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The agent.
    pub agent: AgentRecord,
    /// Whether its supervisor lives.
    pub alive: bool,
    /// The rule that won.
    pub rule: String,
    /// The line that the cursor is in, while it lives.
    pub cursor_line: Option<String>,
    /// Prompts that wait for the end of the turn.
    pub queued: usize,
    /// What the program itself wrote last of how it does, while it lives; only some programs do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// The last facts of its journal, oldest first.
    pub facts: Vec<Value>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What fleet would not hear from its program if it were started now, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<String>,
}

impl Operation for Explain {
    const NAME: &'static str = "explain";
    const EFFECT: Effect = Effect::Read;
    type Output = Explanation;

    fn run(self, app: &App, caller: &Caller) -> Result<Explanation> {
        let agent = app.select_any(caller, &self.target)?;
        let entries = journal::read(&app.home.agent_dir(&agent.id))?;
        let seen = app.see(&agent);
        let standing = Standing::fold(&entries);
        let status = if seen.alive {
            app.client(&agent).and_then(|mut client| client.status()).ok()
        } else {
            None
        };
        let updated = updated::lines(app, seen.alive.then_some(&agent));
        let shown = entries.iter().skip(entries.len().saturating_sub(self.facts));
        Ok(Explanation {
            agent: AgentRecord::seen(&agent, &seen),
            alive: seen.alive,
            rule: rule(&agent, &standing, seen.alive),
            cursor_line: status.map(|status| status.cursor_line),
            queued: standing.queue.len(),
            heartbeat: seen.alive.then(|| beat(app, &agent, &entries)).flatten(),
            facts: shown.map(without_text).collect(),
            warnings: missing_output(app, &agent).into_iter().chain(updated).collect(),
            unheard: unheard(app, caller, &agent),
        })
    }
}

/// The rule that won, and for a run without a terminal what came of it.
fn rule(agent: &Agent, standing: &Standing, alive: bool) -> String {
    let (state, rule) = standing.state(alive);
    match (&standing.outcome, state) {
        (Some((outcome, why)), State::Exited(_)) if why.is_empty() => format!("{rule}, {outcome}"),
        (Some((outcome, why)), State::Exited(_)) => format!("{rule}, {outcome}: {why}"),
        (_, State::Working) if agent.headless => "it runs without a terminal and has not ended".to_owned(),
        _ => rule.to_owned(),
    }
}

/// The heartbeat of the program that runs now.
fn beat(app: &App, agent: &Agent, entries: &[Entry]) -> Option<Heartbeat> {
    let beat = heartbeat::read(&app.home.agent_dir(&agent.id))?;
    let started = entries
        .iter()
        .rfind(|entry| matches!(entry.fact, Fact::Started { .. }))?;
    let age = app.now().since(beat.at);
    // Of the program before this one it says nothing.
    (beat.at >= started.at).then_some(Heartbeat {
        at: beat.at,
        age_s: age / 1000,
        stale: age > heartbeat::STALE_MS,
        model: beat.model,
    })
}

/// What is left to the user's own settings.
fn unheard(app: &App, caller: &Caller, agent: &Agent) -> Vec<String> {
    let there = Caller {
        cwd: agent.worktree.clone(),
        ..caller.clone()
    };
    let notes = || {
        let config = app.config(caller, None).ok()?;
        let harness = app.harness(&config, &agent.harness).ok()?;
        Some(reporting::notes(app, &there, &config, &harness))
    };
    (!agent.headless).then(notes).flatten().unwrap_or_default()
}

/// A line about output of `agent` that is missing, if any is.
pub(crate) fn missing_output(app: &App, agent: &Agent) -> Option<String> {
    let missing = output::missing(&app.home.agent_dir(&agent.id))?;
    let (branch, since) = (&agent.branch, missing.since);
    Some(match missing.bytes {
        None => format!("the output of `{branch}` cannot be written since {since}, and is lost"),
        Some(count) => format!(
            "{} of the output of `{branch}` are missing from {since} on: they could not be written",
            bytes(count)
        ),
    })
}

/// The fact as JSON, a prompt's text cut to its first line.
fn without_text(entry: &Entry) -> Value {
    let mut entry = entry.clone();
    if let Fact::PromptQueued { text, .. } = &mut entry.fact {
        let first: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
        *text = first;
    }
    serde_json::to_value(entry).unwrap_or(Value::Null)
}

impl Show for Explanation {
    fn show(&self, page: &mut Page) {
        page.spans(vec![
            span(Label::Name, &self.agent.branch),
            plain(" is "),
            state_span(&self.agent.state),
            plain(format!(": {}", self.rule)),
        ]);
        let supervisor = if self.alive { "lives" } else { "is gone" };
        page.line(format!(
            "its supervisor {supervisor}; {} waiting",
            fleet_core::name::plural(self.queued, "prompt")
        ));
        if let Some(line) = &self.cursor_line {
            page.line(format!("the cursor's line is {line:?}"));
        }
        if let Some(conversation) = &self.agent.conversation {
            page.line(format!("its conversation is {conversation}"));
        }
        if let Some(beat) = &self.heartbeat {
            let model = beat.model.as_deref().unwrap_or("an unknown model");
            let hangs = if beat.stale { ", so it hangs" } else { "" };
            page.line(format!(
                "it wrote {} s ago that it runs with {model}{hangs}",
                beat.age_s
            ));
        }
        for used in &self.agent.usage {
            page.line(format!("it has used {}", usage_words(used)));
        }
        for note in &self.unheard {
            page.line(note.clone());
        }
        let rows = self.facts.iter().map(|fact| {
            let text = |name: &str| fact[name].as_str().unwrap_or_default().to_owned();
            let rest: Vec<String> = fact
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| !["v", "seq", "at", "src", "fact", "state"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name}={}", shortened(&value.to_string())))
                .collect();
            vec![
                plain(fact["seq"].to_string()),
                span(Label::Dim, text("at")),
                plain(text("src")),
                span(Label::Name, text("fact")),
                state_span(&text("state")),
                plain(rest.join(" ")),
            ]
        });
        for warning in &self.warnings {
            page.warning(warning.clone());
        }
        page.table(&["seq", "at", "source", "fact", "state after", "more"], rows.collect());
    }
}

/// An account in words: what is 0 is left out.
fn usage_words(used: &Usage) -> String {
    let tokens = &used.tokens;
    let counts = [
        (tokens.input, "in"),
        (tokens.cached, "cached"),
        (tokens.cache_write, "written to the cache"),
        (tokens.output, "out"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let mut words: Vec<String> = counts.map(|(count, name)| format!("{count} {name}")).collect();
    words.extend(used.cost_usd.map(|usd| format!("reported cost ${usd:.4}")));
    let model = used
        .model
        .as_deref()
        .map(|model| format!(" of {model}"))
        .unwrap_or_default();
    let basis = match used.basis {
        Basis::Reported => "",
        Basis::Partial => ", at least",
        Basis::Estimated => ", estimated",
        Basis::WholeConversation => ", since the conversation began",
    };
    format!("{}{model}{basis} ({})", words.join(", "), used.source)
}

/// A value for a line of a table: a command can be of any length. The JSON answer has it whole.
fn shortened(value: &str) -> String {
    const MOST: usize = 60;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
