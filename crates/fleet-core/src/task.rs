//! Tasks: units of paid work with an id, an owner, a life, a cost and a report.
//!
//! - [`TaskId`] is the one form of an id: what is no id is never a path.
//! - [`Task`] is the record. What it cost is no part of it: that is the account's word ([`cost`]); what a model says it
//!   cost is `reported`.
//! - [`crew_report`] reads what a crew says of its task, [`file`](mod@file) writes the record for people, [`skill`] tells agents of
//!   them.

pub mod cost;
pub mod crew_report;
pub mod file;
pub mod skill;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Time;
use crate::id::AgentId;
use crate::money::Usd;
use crate::report::{Priority, Status};

/// The id of a task: `TASK-20261121-001`. The day is that of UTC, the number counts from 1 within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The day, as the number `20261121`.
    day: u32,
    number: u32,
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody works on it yet, as far as fleet knows.
    Open,
    /// An agent was started for it.
    Running,
    /// Everything is done.
    Completed,
    /// Some of it is done.
    Partial,
    /// It did not succeed.
    Failed,
    /// It has ended at its ceiling.
    OverBudget,
    /// Somebody ended it.
    Cancelled,
}

/// The record of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What is to be done, in a line.
    pub title: String,
    /// What kind of work it is: `crew`, `officer`, `review`, … A plain word, by which forecasts are told apart.
    pub kind: String,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// How much it matters; none where nobody has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How it stands.
    pub status: Standing,
    /// The task that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// Real path of the repository's common git directory.
    pub repo: String,
    /// Who gave it out: `user`, or the id of an agent.
    pub dispatched_by: String,
    /// The first agent that was started for it; none for a sub-agent of a harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The agent whose program has sent out a sub-agent for it. Where nothing is counted for the task, what it cost is a part
    /// of that agent's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_agent_of: Option<AgentId>,
    /// The batch of that agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// The run that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The harness that works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<String>,
    /// The model that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How thorough it was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity: Option<String>,
    /// Its share of the ceiling of its parent, or a ceiling of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Usd>,
    /// Whether its agents end at once when that is used up; otherwise they pause.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// What its crew says that it cost. It is kept beside the account and never taken for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Usd>,
    /// The commits that its agents were seen to make, and those that its crew names and the repository has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// What is left to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<FollowUp>,
    /// The follow-up that it was made of: the task that named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_from: Option<TaskId>,
    /// How another program calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    /// When it was given out.
    pub created_at: Time,
    /// When work on it began, as far as fleet knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// What is left to do after a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FollowUp {
    /// What, in a line.
    pub title: String,
    /// How much it matters.
    pub priority: Priority,
    /// The task that was made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<TaskId>,
}

/// What happened to a task, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When.
    pub at: Time,
    /// The task; none where a report names none that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// One word: `created`, `started`, `reported`, `refused`, `doubled`, `promoted`, `ended`; of its ceiling
    /// `ceiling` where it was changed, `near` at 80 % of it, `reached` at its end.
    pub event: String,
    /// What there is to say about it.
    pub about: String,
}

/// The trailer of a commit that names the task it was made for.
pub const TRAILER: &str = "Fleet-Task";

/// The longest title, in characters.
pub const LONGEST_TITLE: usize = 200;

impl TaskId {
    /// What every id begins with.
    const PREFIX: &str = "TASK-";

    /// The id with this number on the day of `at`.
    pub fn new(at: Time, number: u32) -> TaskId {
        let day = at.day();
        let part = |number: i16| u32::try_from(number).unwrap_or_default();
        TaskId {
            day: part(day.year()) * 10_000 + part(day.month().into()) * 100 + part(day.day().into()),
            number,
        }
    }

    /// The id written as `text`, if it is one.
    pub fn parse(text: &str) -> Option<TaskId> {
        let (day, number) = text.strip_prefix(Self::PREFIX)?.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if day.len() != 8 || !digits(day) || !(3..=6).contains(&number.len()) || !digits(number) {
            return None;
        }
        let id = TaskId {
            day: day.parse().ok()?,
            number: number.parse().ok()?,
        };
        let (month, of_month) = (id.day / 100 % 100, id.day % 100);
        let is_day = (1..=12).contains(&month) && (1..=31).contains(&of_month);
        // One spelling each: `TASK-20261121-0001` is no other name of the first.
        (is_day && id.number > 0 && id.to_string() == text).then_some(id)
    }

    /// The first id in `text` that stands behind `fleet_task_id:`, as a dispatching prompt names it.
    pub fn named_in(text: &str) -> Option<TaskId> {
        const KEY: &str = "fleet_task_id:";
        text.match_indices(KEY).find_map(|(at, _)| {
            let rest = text[at + KEY.len()..].trim_start_matches([' ', '\t', '`', '"', '\'', '*']);
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            TaskId::parse(&rest[..end.unwrap_or(rest.len())])
        })
    }

    /// The day, as the number `20261121`.
    pub fn day(self) -> u32 {
        self.day
    }

    /// The number within the day.
    pub fn number(self) -> u32 {
        self.number
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:08}-{:03}", Self::PREFIX, self.day, self.number)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TaskId::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no id of a task")))
    }
}

impl JsonSchema for TaskId {
    fn schema_name() -> Cow<'static, str> {
        "TaskId".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^TASK-[0-9]{8}-[0-9]{3,6}$"})
    }
}

impl Standing {
    /// Every one, in the order of a task's life.
    pub const ALL: &[Standing] = &[
        Standing::Open,
        Standing::Running,
        Standing::Completed,
        Standing::Partial,
        Standing::Failed,
        Standing::OverBudget,
        Standing::Cancelled,
    ];

    /// Whether it is over.
    pub const fn is_final(self) -> bool {
        !matches!(self, Standing::Open | Standing::Running)
    }

    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Open => "open",
            Standing::Running => "running",
            Standing::Completed => "completed",
            Standing::Partial => "partial",
            Standing::Failed => "failed",
            Standing::OverBudget => "over_budget",
            Standing::Cancelled => "cancelled",
        }
    }
}

impl From<Status> for Standing {
    fn from(status: Status) -> Self {
        match status {
            Status::Completed => Standing::Completed,
            Status::Partial => Standing::Partial,
            Status::Failed => Standing::Failed,
            Status::OverBudget => Standing::OverBudget,
            Status::Cancelled => Standing::Cancelled,
        }
    }
}

impl Task {
    /// How long it took, in milliseconds; none before its end.
    pub fn took_ms(&self) -> Option<u64> {
        Some(self.ended_at?.since(self.started_at.unwrap_or(self.created_at)))
    }
}

/// A title by which two are the same: letters and digits in lower case, with one blank between words.
pub fn title_key(title: &str) -> String {
    let words = title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// `title` on one line and not too long; none where nothing is left of it.
pub fn title(text: &str) -> Option<String> {
    let plain = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let mut title = String::new();
    for word in plain {
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(word);
    }
    if title.chars().count() > LONGEST_TITLE {
        title = title.chars().take(LONGEST_TITLE - 1).collect();
        title.push('…');
    }
    (!title_key(&title).is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_nothing_else_is_one() {
        let id = TaskId::new(Time(1_795_000_000_000), 7);
        assert_eq!(id.to_string(), "TASK-20261118-007");
        assert_eq!(TaskId::parse(&id.to_string()), Some(id));
        assert_eq!(TaskId::new(Time(0), 1234).to_string(), "TASK-19700101-1234");
        for bad in [
            "TASK-20261118-7",
            "TASK-20261118-0007",
            "TASK-20261118-000",
            "TASK-20261318-001",
            "task-20261118-001",
            "TASK-20261118-001/../..",
            "../TASK-20261118-001",
            "TASK-20261118-00１",
            "TASK-2026111-0001",
            "",
        ] {
            assert_eq!(TaskId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_prompt_names_its_task_however_it_is_written() {
        let id = TaskId::parse("TASK-20261118-007");
        for prompt in [
            "fleet_task_id: TASK-20261118-007",
            "Do it.\n- **fleet_task_id:** TASK-20261118-007.",
            "fleet_task_id: `TASK-20261118-007`, crew: api",
            "see fleet_task_id: below. fleet_task_id:\tTASK-20261118-007",
        ] {
            assert_eq!(TaskId::named_in(prompt), id, "{prompt}");
        }
        for prompt in [
            "TASK-20261118-007",
            "fleet_task_id: TASK-20261118-007x",
            "fleet_task_id: ../x",
        ] {
            assert_eq!(TaskId::named_in(prompt), None, "{prompt}");
        }
    }

    #[test]
    fn titles_that_differ_in_case_and_signs_alone_are_the_same() {
        assert_eq!(
            title_key("Redis: connection-pooling!"),
            title_key("redis  Connection Pooling")
        );
        assert_ne!(title_key("pool redis"), title_key("redis pool"));
        assert_eq!(title("  a\n b\u{7} "), Some("a b".to_owned()));
        assert_eq!(title(" - \n"), None);
        assert_eq!(
            title(&"x".repeat(900)).map(|title| title.chars().count()),
            Some(LONGEST_TITLE)
        );
    }
}
