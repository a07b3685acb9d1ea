//! What tasks cost: the account, grouped and summed. Amounts are exact, so every way of grouping has the same sum.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskId;
use crate::money::Usd;
use crate::spend::{Spend, Total};
use crate::usage::Tokens;

/// What the account is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The task.
    Task,
    /// The crew of the task.
    Crew,
    /// The agent, by its branch.
    Agent,
    /// The batch of the agent.
    Batch,
    /// The run of a plan.
    Run,
    /// The day, UTC.
    Day,
    /// The model.
    Model,
    /// The repository, by its folder.
    Repo,
}

/// One group and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What all entries of it share; none for those that have nothing of the kind, such as no task.
    pub name: Option<String>,
    /// Its cost.
    pub total: Total,
}

/// A sum as it is answered: what is not known is none, and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// What is known of it in US dollars; none where nothing is.
    pub usd: Option<Usd>,
    /// Whether that is all of it.
    pub complete: bool,
    /// How many entries of the account have no known cost.
    pub unknown_entries: u64,
    /// How many are estimates.
    pub estimated_entries: u64,
    /// The tokens of all entries.
    pub tokens: Tokens,
}

/// What a task cost with all of its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// What is its own.
    pub own: Total,
    /// Its own and that of all tasks below it.
    pub whole: Total,
}

impl By {
    /// Every way, in the order of the help.
    pub const ALL: &[By] = &[
        By::Task,
        By::Crew,
        By::Agent,
        By::Batch,
        By::Run,
        By::Day,
        By::Model,
        By::Repo,
    ];

    /// As it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            By::Task => "task",
            By::Crew => "crew",
            By::Agent => "agent",
            By::Batch => "batch",
            By::Run => "run",
            By::Day => "day",
            By::Model => "model",
            By::Repo => "repo",
        }
    }
}

impl std::str::FromStr for By {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<By> {
        let text = if text == "repository" { "repo" } else { text };
        By::ALL.iter().copied().find(|by| by.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = By::ALL.iter().map(|by| by.as_str()).collect();
            crate::Error::usage(format!("costs cannot be grouped by `{text}`"))
                .hint(format!("group them by one of {}", names.join(", ")))
        })
    }
}

impl From<&Total> for Cost {
    fn from(total: &Total) -> Cost {
        let nothing_known = is_empty(total) || (total.cost.is_zero() && total.unknown > 0);
        Cost {
            usd: (!nothing_known).then_some(total.cost),
            complete: !is_empty(total) && total.unknown == 0,
            unknown_entries: total.unknown,
            estimated_entries: total.estimated,
            tokens: total.tokens,
        }
    }
}

impl std::fmt::Display for Cost {
    /// `1.50 USD`, with what of it is not known, or is an estimate: `1.50 USD + unknown (2)`, `~1.50 USD`. Where nothing
    /// was counted it is `-`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let about = if self.estimated_entries > 0 { "~" } else { "" };
        match (self.usd, self.unknown_entries) {
            (None, 0) => f.write_str("-"),
            (None, _) => f.write_str("unknown"),
            (Some(usd), 0) => write!(f, "{about}{usd}"),
            (Some(usd), some) => write!(f, "{about}{usd} + unknown ({some})"),
        }
    }
}

/// Adds `other` to `total`.
pub fn add(total: &mut Total, other: &Total) {
    total.cost = total.cost + other.cost;
    total.unknown += other.unknown;
    total.estimated += other.estimated;
    total.tokens += other.tokens;
}

/// The entries by the name that each is given, the dearest group first, and the sum of all.
pub fn group<'a>(entries: impl IntoIterator<Item = (Option<String>, &'a Spend)>) -> (Vec<Group>, Total) {
    let mut groups: BTreeMap<Option<String>, Total> = BTreeMap::new();
    let mut sum = Total::default();
    for (name, entry) in entries {
        groups.entry(name).or_default().add(entry);
        sum.add(entry);
    }
    let mut groups: Vec<Group> = groups.into_iter().map(|(name, total)| Group { name, total }).collect();
    groups.sort_by(|a, b| b.total.cost.cmp(&a.total.cost).then_with(|| a.name.cmp(&b.name)));
    (groups, sum)
}

/// What each task cost with its parts. `parents` has a task and the one that it is a part of; a circle, which no record
/// should make, is cut where it closes.
pub fn tree(own: &HashMap<TaskId, Total>, parents: &HashMap<TaskId, Option<TaskId>>) -> HashMap<TaskId, Node> {
    let mut nodes: HashMap<TaskId, Node> = HashMap::new();
    for id in parents.keys().chain(own.keys()) {
        nodes.entry(*id).or_default();
    }
    for (id, total) in own {
        if let Some(node) = nodes.get_mut(id) {
            node.own = *total;
        }
        let mut seen = HashSet::new();
        let mut next = Some(*id);
        while let Some(at) = next.filter(|at| seen.insert(*at)) {
            add(&mut nodes.entry(at).or_default().whole, total);
            next = parents.get(&at).copied().flatten();
        }
    }
    nodes
}

/// Whether nothing at all was counted: then a cost of 0 says nothing.
pub fn is_empty(total: &Total) -> bool {
    total.cost.is_zero() && total.unknown == 0 && total.tokens == Tokens::default()
}

/// A sum in words; see [`Cost`].
pub fn describe(total: &Total) -> String {
    Cost::from(total).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::spend::{Certainty, Meter};
    use proptest::prelude::*;

    fn entry(cost: Option<u64>, certainty: Certainty) -> Spend {
        Spend {
            meter: Meter::Transcript,
            seq: 1,
            at: Time(0),
            model: None,
            tokens: Tokens {
                output: 3,
                ..Tokens::default()
            },
            cost: cost.map(Usd::from_micros),
            certainty,
            reported: None,
            task: None,
        }
    }

    fn total(entry: &Spend) -> Total {
        let mut total = Total::default();
        total.add(entry);
        total
    }

    #[test]
    fn what_is_not_known_is_said_and_never_0() {
        let mut sum = Total::default();
        assert_eq!(describe(&sum), "-");
        sum.add(&entry(None, Certainty::Unknown));
        assert_eq!(describe(&sum), "unknown");
        sum.add(&entry(Some(1_500_000), Certainty::Estimated));
        assert_eq!(describe(&sum), "~1.50 USD + unknown (1)");
        assert_eq!(describe(&total(&entry(Some(0), Certainty::Measured))), "0.00 USD");
    }

    /// A task, its place among those before it that it is a part of, and its entries.
    type Made = (TaskId, Option<TaskId>, Vec<Spend>);

    fn forest() -> impl Strategy<Value = Vec<Made>> {
        let spend = prop_oneof![
            8 => (0..5_000_000_u64).prop_map(|cost| entry(Some(cost), Certainty::Measured)),
            2 => (0..5_000_000_u64).prop_map(|cost| entry(Some(cost), Certainty::Estimated)),
            1 => Just(entry(None, Certainty::Unknown)),
        ];
        let task = (any::<Option<prop::sample::Index>>(), prop::collection::vec(spend, 0..5));
        prop::collection::vec(task, 0..40).prop_map(|made| {
            let id = |number: usize| TaskId::new(Time(0), number as u32 + 1);
            let tasks = made.into_iter().enumerate().map(|(number, (parent, entries))| {
                let parent = parent.filter(|_| number > 0).map(|parent| id(parent.index(number)));
                (id(number), parent, entries)
            });
            tasks.collect()
        })
    }

    proptest! {
        #[test]
        fn sums_agree_at_every_level_of_every_tree(tasks in forest()) {
            let parents: HashMap<_, _> = tasks.iter().map(|(id, parent, _)| (*id, *parent)).collect();
            let sum = |entries: &[Spend]| entries.iter().fold(Total::default(), |mut sum, each| { sum.add(each); sum });
            let own: HashMap<_, _> = tasks.iter().map(|(id, _, entries)| (*id, sum(entries))).collect();
            let nodes = tree(&own, &parents);
            for (id, _, _) in &tasks {
                let mut wanted = nodes[id].own;
                for (part, _, _) in tasks.iter().filter(|(_, parent, _)| *parent == Some(*id)) {
                    add(&mut wanted, &nodes[part].whole);
                }
                prop_assert_eq!(nodes[id].whole, wanted);
            }
            let mut roots = Total::default();
            for (id, _, _) in tasks.iter().filter(|(_, parent, _)| parent.is_none()) {
                add(&mut roots, &nodes[id].whole);
            }
            let entries = || tasks.iter().flat_map(|(id, _, entries)| entries.iter().map(move |each| (id, each)));
            let (by_task, all) = group(entries().map(|(id, each)| (Some(id.to_string()), each)));
            let (by_parity, same) = group(entries().map(|(id, each)| ((id.number() % 2 == 0).then(String::new), each)));
            prop_assert_eq!(all, roots);
            prop_assert_eq!(all, same);
            for groups in [by_task, by_parity] {
                let mut again = Total::default();
                groups.iter().for_each(|each| add(&mut again, &each.total));
                prop_assert_eq!(again, all);
            }
        }
    }

    #[test]
    fn a_circle_of_tasks_counts_each_once() {
        let (a, b) = (TaskId::new(Time(0), 1), TaskId::new(Time(0), 2));
        let own = HashMap::from([(a, total(&entry(Some(5), Certainty::Measured)))]);
        let nodes = tree(&own, &HashMap::from([(a, Some(b)), (b, Some(a))]));
        assert_eq!((nodes[&a].whole.cost.micros(), nodes[&b].whole.cost.micros()), (5, 5));
    }
}
