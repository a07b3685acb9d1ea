//! How true the states are: every recording of `cargo xtask record` read by the rules of today, against its label.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use fleet_core::agent::{Reason, Standing, State};
use fleet_core::fact::Fact;
use fleet_host::harness::sign::{Look, Sign, SignReader};
use fleet_host::harness::{BUILTIN, builtin};
use serde_json::{Value, json};

use crate::run::{io, root};
use crate::{Failure, Result, failed};

/// One recording and what the rules make of it.
#[derive(Debug)]
struct Judged {
    moment: String,
    size: String,
    label: String,
    said: String,
}

/// The page `docs/reference/states.md`.
pub(crate) fn page() -> Result<String> {
    let mut page = String::from(
        "# How true the states are\n\n\
         Written by `cargo xtask gen` from the recordings in `crates/fleet-host/tests/fixtures/states`, which\n\
         `cargo xtask record` makes with the real programs. What is true at each moment is known from the model\n\
         endpoint's log and from the processes, never from the screen; the states are what the rules of today make of the\n\
         screen and the journal. Rows are what was true, columns what fleet says. The interval is that of Wilson, 95 %.\n",
    );
    for cli in BUILTIN {
        let judged = judge(cli)?;
        let right = judged.iter().filter(|each| each.said == each.label).count();
        let (low, high) = wilson(right, judged.len());
        let _ = write!(
            page,
            "\n## {cli}\n\n{right} of {} right ({:.1} % to {:.1} %); {} while a person was being asked.\n\n{}",
            judged.len(),
            low * 100.0,
            high * 100.0,
            match hidden(&judged) {
                0 => "never ready, idle or working".to_owned(),
                count => format!("{count} times ready, idle or working"),
            },
            matrix(&judged)
        );
        let wrong: Vec<&Judged> = judged.iter().filter(|each| each.said != each.label).collect();
        if !wrong.is_empty() {
            page.push_str("\nWrong:\n\n");
        }
        for each in wrong {
            let _ = writeln!(
                page,
                "- {} at {}: {}, and fleet says {}",
                each.moment, each.size, each.label, each.said
            );
        }
    }
    Ok(page)
}

/// How often a person was being asked and fleet said something else.
fn hidden(judged: &[Judged]) -> usize {
    let asked = |each: &&Judged| each.label.starts_with("waiting") && !each.said.starts_with("waiting");
    judged.iter().filter(asked).count()
}

fn judge(cli: &str) -> Result<Vec<Judged>> {
    let path = root()
        .join("crates/fleet-host/tests/fixtures/states")
        .join(format!("{cli}.jsonl"));
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    let Some(harness) = builtin(cli, &[]) else {
        return failed(format!("{cli} is no harness"));
    };
    let reader = SignReader::new(&harness.signs).map_err(|error| Failure::Failed(error.message))?;
    let broken = |error: serde_json::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let one = |line: &str| {
        let recording: Value = serde_json::from_str(line).map_err(broken)?;
        let text = |name: &str| recording[name].as_str().unwrap_or_default().to_owned();
        Ok(Judged {
            moment: text("moment"),
            size: format!("{}x{}", recording["rows"], recording["cols"]),
            label: text("label"),
            said: state(&reader, &recording)?.to_string(),
        })
    };
    text.lines().map(one).collect()
}

/// What fleet says of a recording: the facts of its journal, and after them what the screen shows.
fn state(reader: &SignReader, recording: &Value) -> Result<State> {
    let facts = recording["facts"].as_array();
    let first = facts.and_then(|facts| facts.first()?["seq"].as_u64()).unwrap_or(1);
    // The oldest facts of a long life are not in the recording; the launch and a turn are among them.
    let mut standing = Standing {
        ready_rule: true,
        child: Some((0, 0)),
        turns: u32::from(first > 1),
        ..Standing::default()
    };
    let mut seq = 0;
    for fact in facts.into_iter().flatten() {
        seq = fact["seq"].as_u64().unwrap_or(seq + 1);
        standing.apply(seq, &read(fact)?);
    }
    let look: Option<Look> = serde_json::from_value(recording["look"].clone())
        .map_err(|error| Failure::Failed(format!("a look: {error}")))?;
    let sign = look.and_then(|look| reader.read(&look).map(|(sign, rule)| (sign, rule.to_owned())));
    let seen = sign.map(|(sign, rule)| match sign {
        Sign::Prompt => Fact::Ready { rule: Some(rule) },
        Sign::Works | Sign::Loads => Fact::Busy { rule: Some(rule) },
        Sign::Asks(reason) => Fact::Asked { reason, rule },
    });
    // The log of the facts may be a moment behind the screen, never ahead.
    if let Some(seen) = seen.filter(|_| standing.exited.is_none()) {
        standing.apply(seq + 1, &seen);
    }
    Ok(standing.state(true).0)
}

/// A fact as it was recorded, without what differs from run to run.
fn read(fact: &Value) -> Result<Fact> {
    let mut whole = json!({ "boot": "", "supervisor": 0, "pid": 0, "start": 0 });
    if let (Some(whole), Some(fact)) = (whole.as_object_mut(), fact.as_object()) {
        whole.extend(fact.clone());
    }
    serde_json::from_value(whole).map_err(|error| Failure::Failed(format!("a fact: {error}")))
}

fn matrix(judged: &[Judged]) -> String {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for each in judged {
        *counts.entry((&each.label, &each.said)).or_default() += 1;
    }
    let names: Vec<String> = order()
        .into_iter()
        .filter(|name| judged.iter().any(|each| each.label == *name || each.said == *name))
        .collect();
    let mut text = format!("| | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    for label in names
        .iter()
        .filter(|name| judged.iter().any(|each| each.label == **name))
    {
        let cell = |said: &String| match counts.get(&(label.as_str(), said.as_str())) {
            Some(count) => count.to_string(),
            None => String::new(),
        };
        let cells: Vec<String> = names.iter().map(cell).collect();
        let _ = writeln!(text, "| **{label}** | {} |", cells.join(" | "));
    }
    text
}

/// The states in the order of an agent's life.
fn order() -> Vec<String> {
    let waiting = [Reason::Permission, Reason::Question, Reason::Limit, Reason::Login].map(State::Waiting);
    let mut all = vec![State::Starting, State::Ready, State::Working];
    all.extend(waiting);
    all.extend([
        State::Idle,
        State::Exited(0),
        State::Exited(1),
        State::Exited(137),
        State::Lost,
    ]);
    all.iter().map(State::to_string).collect()
}

/// The interval of Wilson for `right` of `all`, at 95 %.
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
fn wilson(right: usize, all: usize) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (all as f64, 1.959_964);
    let share = right as f64 / n;
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_states_ninety_nine_are_right_and_no_question_is_hidden() {
        for cli in BUILTIN {
            let judged = judge(cli).unwrap();
            let wrong: Vec<&Judged> = judged.iter().filter(|each| each.said != each.label).collect();
            assert!(judged.len() >= 100, "{cli}: {} recordings", judged.len());
            assert!(wrong.len() * 100 <= judged.len(), "{cli}: {wrong:#?}");
            assert_eq!(hidden(&judged), 0, "{cli}: {wrong:#?}");
        }
    }

    #[test]
    fn the_interval_is_that_of_wilson() {
        let (low, high) = wilson(99, 100);
        assert!(
            (low - 0.9455).abs() < 0.0005 && (high - 0.9982).abs() < 0.0005,
            "{low} {high}"
        );
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
