//! `cargo xtask record`: what the terminals of the real agent programs look like, with what is true at that moment.
//!
//! Each session runs one program under fleet against the scripted model endpoint, in a network namespace with
//! loopback alone. Whether it works, asks or rests is decided by the endpoint's log and the processes, never by its
//! screen. A recording is one line of JSON: the label, the look, and the facts of the journal up to then.

mod prompts;
mod session;
mod traits;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::session::{Programs, Session};
use self::traits::Traits;
use crate::alone;
use crate::args::Args;
use crate::clis;
use crate::run::{Run, io, root, target};
use crate::suite;
use crate::{Failure, Result};

pub(crate) const USAGE: &str =
    "usage: cargo xtask record [--walk NAME | --prompts N [--kind KIND] | --restrictions | --meter] [--sizes N] [CLI…]

Installs the pinned agent programs, or those named, and records their states into
crates/fleet-host/tests/fixtures/states, or with --prompts what becomes of each kind of prompt in N tries, into
crates/fleet-host/tests/fixtures/prompts. Takes some minutes for each; `cargo xtask gen` makes the pages of it.

  --restrictions  what a worker of each type can do, into crates/fleet/tests/fixtures/restrictions
  --meter       how near both meters come in ten sessions, into crates/fleet/tests/fixtures/meter
  --prompts N   what becomes of prompts, N tries of each kind
  --kind KIND   of this kind alone; what is known of the others stays
  --walk NAME   only this walk: free, asking or delegating; what the others have recorded stays
  --sizes N     with so many sizes of the terminal, of six";

/// Rows and columns of the sessions: narrow and wide, low and high.
const SIZES: [(u16, u16); 6] = [(24, 80), (50, 160), (30, 100), (40, 120), (20, 70), (60, 200)];

/// What a session leads the program through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// Everything with a program that asks nothing.
    Free,
    /// The questions.
    Asking,
    /// A sub-agent that works in the background.
    Delegating,
}

const WALKS: [Walk; 3] = [Walk::Free, Walk::Asking, Walk::Delegating];

impl Walk {
    fn name(self) -> &'static str {
        match self {
            Walk::Free => "free",
            Walk::Asking => "asking",
            Walk::Delegating => "delegating",
        }
    }
}

pub(crate) fn main(mut args: Args) -> Result<()> {
    let restricts = args.flag("--restrictions");
    let meters = args.flag("--meter");
    let sizes = args.value("--sizes")?;
    let count = sizes.as_deref().map_or(Ok(SIZES.len()), str::parse);
    let count = count.map_err(|_| Failure::Usage("`--sizes` wants a number".to_owned()))?;
    let tries = args.value("--prompts")?.map(|tries| tries.parse::<usize>()).transpose();
    let tries = tries.map_err(|_| Failure::Usage("`--prompts` wants a number".to_owned()))?;
    let kind = args.value("--kind")?;
    if let Some(name) = kind.as_deref().filter(|name| !prompts::is_kind(name)) {
        return Err(Failure::Usage(format!("`{name}` is no kind of prompt")));
    }
    let walk = args.value("--walk")?;
    let walks = match walk.as_deref() {
        None => WALKS.to_vec(),
        Some(name) => match WALKS.iter().find(|walk| walk.name() == name) {
            Some(walk) => vec![*walk],
            None => return Err(Failure::Usage(format!("`{name}` is no walk"))),
        },
    };
    let names = args.words()?;
    if let Some(name) = names.iter().find(|name| clis::named(name).is_none()) {
        return Err(Failure::Usage(format!("`{name}` is none of the agent programs")));
    }
    let asked = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);
    if restricts {
        return full("restrictions", &names);
    }
    if meters {
        return full("accuracy", &names);
    }
    let Some(programs) = alone::inside() else {
        Run::cargo("build")
            .args(["--package", "fleet", "--package", "fleet-testkit", "--bins"])
            .pass()?;
        let wanted: Vec<_> = clis::CLIS.iter().filter(|cli| asked(cli.name)).collect();
        return alone::go_inside("the recording", &wanted);
    };
    let programs = Programs {
        ours: target().join("debug"),
        clis: programs,
    };
    for cli in traits::TRAITS.iter().filter(|cli| asked(cli.name)) {
        if let Some(tries) = tries {
            let found = prompts::walk(&programs, cli, tries, kind.as_deref())?;
            let path = fixtures("prompts").join(format!("{}.json", cli.name));
            let found = match &kind {
                Some(kind) => with_kind(&path, found, kind),
                None => found,
            };
            let text = serde_json::to_string_pretty(&found).unwrap_or_default() + "\n";
            fs::write(&path, text).map_err(io("write", &path))?;
            println!("wrote {}", path.display());
            continue;
        }
        let path = fixtures("states").join(format!("{}.jsonl", cli.name));
        let before = match walk {
            Some(_) => fs::read_to_string(&path).unwrap_or_default(),
            None => String::new(),
        };
        let mut recordings = Vec::new();
        for size in &SIZES[..count.min(SIZES.len())] {
            for walk in walks.iter().filter(|walk| **walk != Walk::Delegating || cli.delegates) {
                recordings.extend(record(&programs, cli, *size, *walk)?);
                fs::write(&path, beside(&before, &recordings)).map_err(io("write", &path))?;
            }
        }
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The test with the real programs finds out; with all that there is to try it writes it down.
fn full(group: &str, names: &[String]) -> Result<()> {
    let filters = match names {
        [] => vec![format!("{group}::")],
        names => names.iter().map(|name| format!("{group}::{name}")).collect(),
    };
    let run = suite::real()?.env("FLEET_TEST_FULL", "1");
    run.args(["--", "--test-threads=1"]).args(filters).pass()
}

fn fixtures(kind: &str) -> PathBuf {
    root().join("crates/fleet-host/tests/fixtures").join(kind)
}

/// One session. When it is cut short, what was recorded before counts all the same.
fn record(programs: &Programs, cli: &'static Traits, size: (u16, u16), walk: Walk) -> Result<Vec<Value>> {
    println!("{} at {}x{}, {}", cli.name, size.0, size.1, walk.name());
    let mut session = Session::start(programs, cli, size, walk != Walk::Asking)?;
    let done = match walk {
        Walk::Free => session.walk_free(),
        Walk::Asking => session.walk_asking(),
        Walk::Delegating => session.walk_delegating(),
    };
    if let Err(Failure::Failed(why)) = &done {
        println!("  cut short: {why}");
    }
    Ok(session.recordings().to_vec())
}

/// What the file says of prompts, with that of one `kind` as it was `found` now.
fn with_kind(path: &Path, found: Value, kind: &str) -> Value {
    let before = fs::read_to_string(path).unwrap_or_default();
    let mut all: Value = serde_json::from_str(&before).unwrap_or(Value::Null);
    let (Some(kinds), Some(lies)) = (all["kinds"].as_object().cloned(), all["lies"].as_array().cloned()) else {
        return found;
    };
    let new = found["kinds"].as_object().cloned().unwrap_or_default();
    let of_kind = |lie: &Value| lie.as_str().is_some_and(|lie| lie.starts_with(&format!("{kind}:")));
    let kept = lies.into_iter().filter(|lie| !of_kind(lie));
    let lies: Vec<Value> = kept
        .chain(found["lies"].as_array().cloned().unwrap_or_default())
        .collect();
    all["kinds"] = kinds.into_iter().chain(new).collect();
    all["lies"] = lies.into();
    all
}

/// The lines of a file with `recordings`, behind those that it had `before` of other moments.
fn beside(before: &str, recordings: &[Value]) -> String {
    let anew = |line: &&str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        recordings.iter().any(|each| each["moment"] == line["moment"])
    };
    let kept = before.lines().filter(|line| !anew(line)).map(ToOwned::to_owned);
    let lines = kept.chain(recordings.iter().map(Value::to_string));
    lines.map(|line| line + "\n").collect()
}
