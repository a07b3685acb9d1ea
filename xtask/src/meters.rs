//! How near the meters come with the real programs: what `cargo xtask record --meter` found, as a page.

use std::fmt::Write;
use std::fs;

use fleet_core::money::Usd;
use fleet_host::harness::BUILTIN;
use serde::Deserialize;

use crate::run::{io, root};
use crate::{Failure, Result};

/// What was found of one program.
#[derive(Debug, Deserialize)]
struct Found {
    /// The program's version.
    version: String,
    /// The sessions by the proxy.
    proxy: Vec<Session>,
    /// The same by the transcript.
    transcript: Vec<Session>,
}

/// One session. Amounts are millionths of a dollar.
#[derive(Debug, Deserialize)]
struct Session {
    session: String,
    /// How many requests the endpoint has answered in whole.
    requests: u64,
    /// How many of them are beside the conversation.
    side: u64,
    /// How many of its answers were cut.
    cut: u64,
    /// What the whole answers cost by the endpoint's own count.
    told: u64,
    /// What the requests had read whose answers were cut.
    lost: u64,
    /// What was counted of whole replies; by the program's own figure, where it names no model.
    counted: u64,
    /// What was estimated.
    estimated: u64,
    /// How many entries of the account are estimates.
    estimates: u64,
    /// How many entries have no known cost.
    unknown: u64,
}

impl Session {
    /// Whether the account is exact to a millionth, and what was cut is an estimate that is not too low, nor half as much
    /// again.
    fn is_exact(&self) -> bool {
        let near = self.estimated >= self.lost && self.estimated * 2 <= self.lost * 3;
        self.counted == self.told && self.unknown == 0 && self.estimates == self.cut && near
    }

    /// Whether the account is within 1 %; where a stream was cut, whether it says that it is an estimate.
    fn is_near(&self) -> bool {
        let all = self.counted + self.estimated;
        let told = self.told + self.lost;
        let near = all.abs_diff(told) * 100 <= told;
        self.unknown == 0 && (near || self.cut > 0) && (self.cut == 0 || self.estimates > 0)
    }

    fn difference(&self) -> String {
        let (all, told) = ((self.counted + self.estimated) as f64, (self.told + self.lost) as f64);
        match self.told + self.lost {
            0 => "-".to_owned(),
            _ => format!("{:+.2} %", (all - told) * 100.0 / told),
        }
    }
}

/// The page `docs/reference/meter.md`.
pub(crate) fn page() -> Result<String> {
    let mut page = String::from(
        "# How near the meters come\n\n\
         Written by `cargo xtask gen` from what `cargo xtask record --meter` found with the real programs, at the versions that\n\
         are named. Each program went through the same eleven sessions twice, once with each meter, without a terminal and against\n\
         the [scripted endpoint](../model-endpoint.md), which logs what it has told that each reply used. All amounts are in US\n\
         dollars at one table of prices.\n\n\
         - **told** is what the endpoint's whole replies come to by its own log, requests beside the conversation included.\n\
         - **lost** is what requests had read whose replies were cut. The endpoint says of these that they read as much as\n  \
         they have words, digits and signs, about as tokenizers count them: nobody else told.\n\
         - **counted** is what the meter has measured (or, where a program names no model, the program's own figure), and\n  \
         **estimated** what it says is an estimate.\n\
         - Bars: `proxy` counts what was told exactly, and has one estimate for each reply that was cut, which is not lower than\n  \
         what was lost, nor half as much again; `transcript` is within 1 %, and says that it is an estimate where a stream\n  \
         was cut. A row that misses its bar is bold.\n\n\
         A service bills a reply that was cut for what it had read and written by then. **difference** is that of all that is\n\
         counted and estimated to all that was told and lost.\n",
    );
    let mut missed = Vec::new();
    for cli in BUILTIN {
        let found = read(cli)?;
        for (meter, sessions) in [("proxy", &found.proxy), ("transcript", &found.transcript)] {
            let _ = write!(
                page,
                "\n## {cli} {}, {meter}\n\n\
                 | session | requests | beside | cut | told | lost | counted | estimated | difference |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
                found.version
            );
            for session in sessions {
                let fine = if meter == "proxy" {
                    session.is_exact()
                } else {
                    session.is_near()
                };
                let name = if fine {
                    session.session.clone()
                } else {
                    format!("**{}**", session.session)
                };
                if !fine {
                    missed.push(format!("{cli}, {meter}: {}", session.session));
                }
                let usd = |micros: u64| format!("{:.6}", Usd::from_micros(micros).dollars());
                let _ = writeln!(
                    page,
                    "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
                    session.requests,
                    session.side,
                    session.cut,
                    usd(session.told),
                    if session.cut > 0 {
                        usd(session.lost)
                    } else {
                        "-".to_owned()
                    },
                    usd(session.counted),
                    if session.estimates > 0 {
                        usd(session.estimated)
                    } else {
                        "-".to_owned()
                    },
                    session.difference(),
                );
            }
        }
    }
    page.push_str("\n## Missed\n\n");
    match missed.as_slice() {
        [] => page.push_str("No session misses its bar.\n"),
        missed => missed.iter().for_each(|line| {
            let _ = writeln!(page, "- {line}");
        }),
    }
    Ok(page)
}

fn read(cli: &str) -> Result<Found> {
    let path = root()
        .join("crates/fleet/tests/fixtures/meter")
        .join(format!("{cli}.json"));
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    serde_json::from_str(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_exact_in_every_session_that_was_recorded() {
        for cli in BUILTIN {
            let found = read(cli).expect("it was recorded");
            assert_eq!((found.proxy.len(), found.transcript.len()), (11, 11), "{cli}");
            for session in &found.proxy {
                assert!(session.is_exact(), "{cli}: {session:?}");
            }
        }
    }
}
