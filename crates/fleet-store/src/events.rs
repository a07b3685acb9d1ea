//! Journals, folded into the database.

use fleet_core::Result;
use fleet_core::fact::{Entry, Fact};
use fleet_core::id::AgentId;
use fleet_core::spend::Spend;
use fleet_core::task::TaskId;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::crews::{self, Sent};
use crate::failure::Attempt;
use crate::open::Store;
use crate::{agents, money, values};

impl Store {
    /// Takes in what is new in `entries` and answers how many that were. Entries up to [`Store::folded`] are old, so
    /// an entry counts once however often and by however many processes it is folded. A sub-agent that they tell of gets
    /// a task; `is_taken` tells of ids that others have used, as for [`Store::task_add`].
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub fn fold(
        &self,
        site: &'static str,
        agent: &AgentId,
        entries: &[Entry],
        is_taken: &dyn Fn(TaskId) -> bool,
    ) -> Result<u64> {
        let Some(last) = entries.iter().map(|entry| entry.seq).max() else {
            return Ok(0);
        };
        // A reader that finds nothing new has no reason to wait for its turn.
        if last <= self.folded(agent)? {
            return Ok(0);
        }
        self.write(site, |transaction| {
            let folded = high_water(transaction, agent)?;
            let sql = "INSERT OR IGNORE INTO events (agent, seq, at, fact) VALUES (?1, ?2, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            let mut new = 0;
            let (mut spent, mut sums) = (Vec::new(), Vec::new());
            for entry in entries.iter().filter(|entry| entry.seq > folded) {
                let fact = values::json(entry)?;
                new += insert.execute(params![agent.as_str(), values::int(entry.seq), entry.at.0, fact])?;
                take_crew(transaction, agent, entry, is_taken)?;
                let crew = match &entry.fact {
                    Fact::Used(used) => used.crew.as_deref(),
                    _ => None,
                };
                let task = crew
                    .map(|crew| crews::task_of(transaction, agent, crew))
                    .transpose()?
                    .flatten();
                let own = entry.spend().map(|spend| Spend {
                    task: task.map(|task| task.to_string()).or(spend.task),
                    ..spend
                });
                match &entry.fact {
                    Fact::Used(used) if used.beside => sums.extend(own),
                    _ => spent.extend(own),
                }
            }
            if !spent.is_empty() || !sums.is_empty() {
                money::add(transaction, agent, &spent, false)?;
                money::add(transaction, agent, &sums, true)?;
            }
            let sql = "UPDATE agents SET folded = max(folded, ?2) WHERE id = ?1";
            transaction.execute(sql, params![agent.as_str(), values::int(last)])?;
            Ok(new as u64)
        })
    }

    /// Sequence of the last entry that was folded; 0 when none was.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub fn folded(&self, agent: &AgentId) -> Result<u64> {
        self.read(|connection| high_water(connection, agent))
    }

    /// The folded entries after sequence `after`, in order.
    pub fn events(&self, agent: &AgentId, after: u64) -> Result<Vec<Entry>> {
        self.read(|connection| {
            let sql = "SELECT fact FROM events WHERE agent = ?1 AND seq > ?2 ORDER BY seq";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_and_then(params![agent.as_str(), values::int(after)], |row| {
                let fact: String = row.get(0)?;
                Ok(values::from_json(&fact)?)
            })?;
            rows.collect()
        })
    }
}

/// Records what an entry tells of sub-agents.
fn take_crew(
    transaction: &Transaction<'_>,
    agent: &AgentId,
    entry: &Entry,
    is_taken: &dyn Fn(TaskId) -> bool,
) -> Attempt<()> {
    match &entry.fact {
        Fact::SentOut {
            id,
            crew,
            reads,
            about,
            task,
            part_of,
            within,
        } => {
            let record = agents::one(transaction, agent)?.ok_or_else(|| agents::unknown(agent))?;
            let sent = Sent {
                id,
                crew: crew.as_deref(),
                reads: *reads,
                about,
                named: task.as_deref().and_then(TaskId::parse),
                part_of: part_of.as_deref().and_then(TaskId::parse),
                within: within.as_deref(),
            };
            crews::begin(transaction, &record, &sent, entry.at, is_taken)
        }
        Fact::CameBack { id, ok } => crews::back(transaction, agent, id, *ok, entry.at),
        Fact::Launched { .. } | Fact::Exited { .. } | Fact::StartFailed { .. } => {
            crews::close(transaction, agent, entry.at)
        }
        _ => Ok(()),
    }
}

fn high_water(connection: &Connection, agent: &AgentId) -> Attempt<u64> {
    let mut statement = connection.prepare_cached("SELECT folded FROM agents WHERE id = ?1")?;
    let folded: Option<i64> = statement.query_row([agent.as_str()], |row| row.get(0)).optional()?;
    Ok(folded.map(values::uint).ok_or_else(|| agents::unknown(agent))?)
}
