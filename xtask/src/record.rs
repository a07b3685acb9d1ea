//! `cargo xtask record`: what the terminals of the real agent programs look like, with what is true at that moment.
//!
//! Each session runs one program under fleet against the scripted model endpoint, in a network namespace with
//! loopback alone. Whether it works, asks or rests is decided by the endpoint's log and the processes, never by its
//! screen. A recording is one line of JSON: the label, the look, and the facts of the journal up to then.

mod clis;
mod prompts;
mod session;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::clis::{CLIS, Cli};
use self::session::{Programs, Session};
use crate::args::Args;
use crate::run::{Run, io, root};
use crate::{Failure, Result, failed};

pub(crate) const USAGE: &str = "usage: cargo xtask record --clis FOLDER [--walk NAME | --prompts N] [CLI…]

Records the states of the agent programs in FOLDER (FOLDER/CLI/node_modules/.bin/CLI), or of those named, into
crates/fleet-host/tests/fixtures/states, or with --prompts what becomes of each kind of prompt in N tries, into
crates/fleet-host/tests/fixtures/prompts. Takes some minutes for each.

  --clis FOLDER   where they are installed
  --walk NAME     only this walk: free, asking or delegating; what the others have recorded stays
  --sizes N       with so many sizes of the terminal, of six";

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
    let Some(folder) = args.value("--clis")? else {
        return Err(Failure::Usage("`--clis` is missing".to_owned()));
    };
    let sizes = args.value("--sizes")?;
    let count = sizes.as_deref().map_or(Ok(SIZES.len()), str::parse);
    let count = count.map_err(|_| Failure::Usage("`--sizes` wants a number".to_owned()))?;
    let tries = args.value("--prompts")?.map(|tries| tries.parse::<usize>()).transpose();
    let tries = tries.map_err(|_| Failure::Usage("`--prompts` wants a number".to_owned()))?;
    let walk = args.value("--walk")?;
    let walks = match walk.as_deref() {
        None => WALKS.to_vec(),
        Some(name) => match WALKS.iter().find(|walk| walk.name() == name) {
            Some(walk) => vec![*walk],
            None => return Err(Failure::Usage(format!("`{name}` is no walk"))),
        },
    };
    let names = args.words()?;
    let folder = PathBuf::from(folder)
        .canonicalize()
        .map_err(io("find", Path::new("the folder of the programs")))?;
    if !alone()? {
        Run::cargo("build").args(["--workspace", "--bins"]).pass()?;
        return inside(&folder, count, tries, walk.as_deref(), &names);
    }
    Run::new("ip", Path::new("/"))
        .args(["link", "set", "lo", "up"])
        .text()?;
    let programs = Programs {
        ours: own_folder()?,
        clis: folder,
    };
    for cli in CLIS
        .iter()
        .filter(|cli| names.is_empty() || names.iter().any(|name| name == cli.name))
    {
        if let Some(tries) = tries {
            let found = prompts::walk(&programs, cli, tries)?;
            let path = fixtures("prompts").join(format!("{}.json", cli.name));
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

/// Where this program is, and the others that were built with it.
fn own_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(io("find", Path::new("this program")))?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

fn fixtures(kind: &str) -> PathBuf {
    root().join("crates/fleet-host/tests/fixtures").join(kind)
}

/// One session. When it is cut short, what was recorded before counts all the same.
fn record(programs: &Programs, cli: &'static Cli, size: (u16, u16), walk: Walk) -> Result<Vec<Value>> {
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

/// Whether this process has no network but loopback.
fn alone() -> Result<bool> {
    let folder = Path::new("/sys/class/net");
    // What a namespace shows there is that of the mount; the table of this process is its own.
    let table = fs::read_to_string("/proc/self/net/dev").map_err(io("read", folder))?;
    Ok(table.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")))
}

/// Runs itself again in a network namespace of its own.
fn inside(folder: &Path, sizes: usize, tries: Option<usize>, walk: Option<&str>, names: &[String]) -> Result<()> {
    let own = std::env::current_exe().map_err(io("find", Path::new("this program")))?;
    let own = own.display().to_string();
    let folder = folder.display().to_string();
    let sizes = sizes.to_string();
    let args = ["-n", &own, "record", "--clis", &folder, "--sizes", &sizes];
    let tries: Vec<String> = tries
        .into_iter()
        .flat_map(|tries| ["--prompts".to_owned(), tries.to_string()])
        .collect();
    let walk = walk.into_iter().flat_map(|walk| ["--walk", walk]);
    Run::new("unshare", &root())
        .args(args)
        .args(tries)
        .args(walk)
        .args(names)
        .pass()?;
    if names.iter().any(|name| !CLIS.iter().any(|cli| cli.name == name)) {
        return failed("a name is none of the five");
    }
    Ok(())
}
