//! What was given out under contracts: a share for each request that has started something.

use fleet_core::money::Usd;
use fleet_core::{Result, Time};
use rusqlite::{Row, params};

use crate::failure::Attempt;
use crate::open::Store;
use crate::values;

/// What a share was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// The agents of a batch, so many.
    Batch(String, u32),
    /// A run.
    Run(String),
}

/// A share of what a contract allows; none of what it has no limit for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The contract.
    pub contract: String,
    /// Who has it.
    pub given: Given,
    /// Money.
    pub usd: Option<Usd>,
    /// Calls of tools.
    pub tool_calls: Option<u32>,
    /// Turns of the model.
    pub turns: Option<u32>,
    /// Dispatches, its own start among them.
    pub dispatches: Option<u32>,
    /// When.
    pub given_at: Time,
}

impl Store {
    /// Notes a share. A batch that gets more agents has both; what a run is given holds in place of what it had.
    pub fn grant_give(&self, site: &'static str, grant: &Grant) -> Result<()> {
        self.write(site, |transaction| {
            let (kind, id, agents) = words(&grant.given);
            let sql = "INSERT INTO grants (kind, id, contract, agents, usd, tool_calls, turns, dispatches, given_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                       ON CONFLICT (kind, id) DO UPDATE SET
                         agents = agents + ?4,
                         usd = CASE kind WHEN 'run' THEN ?5 ELSE usd + ?5 END,
                         tool_calls = CASE kind WHEN 'run' THEN ?6 ELSE tool_calls + ?6 END,
                         turns = CASE kind WHEN 'run' THEN ?7 ELSE turns + ?7 END,
                         dispatches = CASE kind WHEN 'run' THEN ?8 ELSE dispatches + ?8 END";
            let usd = grant.usd.map(|usd| values::int(usd.micros()));
            transaction.execute(
                sql,
                params![
                    kind,
                    id,
                    grant.contract,
                    agents,
                    usd,
                    grant.tool_calls,
                    grant.turns,
                    grant.dispatches,
                    grant.given_at.0
                ],
            )?;
            Ok(())
        })
    }

    /// Takes a share back: nothing was started.
    pub fn grant_take_back(&self, site: &'static str, given: &Given) -> Result<()> {
        self.write(site, |transaction| {
            let (kind, id, _) = words(given);
            transaction.execute("DELETE FROM grants WHERE kind = ?1 AND id = ?2", params![kind, id])?;
            Ok(())
        })
    }

    /// The shares of a contract, oldest first.
    pub fn grants_of(&self, contract: &str) -> Result<Vec<Grant>> {
        self.read(|connection| {
            let sql = "SELECT * FROM grants WHERE contract = ?1 ORDER BY given_at, kind, id";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_and_then([contract], read)?.collect()
        })
    }
}

fn words(given: &Given) -> (&'static str, &str, u32) {
    match given {
        Given::Batch(id, agents) => ("batch", id, *agents),
        Given::Run(id) => ("run", id, 0),
    }
}

fn read(row: &Row<'_>) -> Attempt<Grant> {
    let id: String = row.get("id")?;
    let kind: String = row.get("kind")?;
    Ok(Grant {
        contract: row.get("contract")?,
        given: match kind.as_str() {
            "run" => Given::Run(id),
            _ => Given::Batch(id, row.get("agents")?),
        },
        usd: row
            .get::<_, Option<i64>>("usd")?
            .map(|micros| Usd::from_micros(values::uint(micros))),
        tool_calls: row.get("tool_calls")?,
        turns: row.get("turns")?,
        dispatches: row.get("dispatches")?,
        given_at: Time(row.get("given_at")?),
    })
}
