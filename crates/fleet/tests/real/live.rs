//! `doctor --live` with the programs whose behaviour is known: all of its checks hold, and nothing of it is left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fleet_testkit::clis::{self, Cli};
use fleet_testkit::{TestEnv, scan};
use serde_json::Value;

use crate::world::LONG;

/// In the namespace of the tests there is loopback alone: the trial runs in it instead of one of its own.
#[track_caller]
fn holds_on_this_machine(cli: Cli) {
    cli.require();
    let env = TestEnv::new();
    env.write_config("claude_flags = \"\"\n");
    let doctor = |more: &[&str]| {
        let cmd = env.fleet(["doctor", "--json", "--harness", cli.name()]).args(more);
        cmd.env("PATH", clis::search_path()).timeout(3 * LONG).output()
    };
    // Some programs write into HOME when they are asked for their version.
    let _ = doctor(&[]).success();
    let (before, others) = (entries(env.home()), trials(cli));
    let done = doctor(&["--live"]);
    let answer: Value = serde_json::from_str(&done.stdout).unwrap_or_default();
    let checks = answer["checks"].as_array().unwrap_or_else(|| panic!("{done}"));
    let live = |name: &str| {
        let what = format!("live {name}");
        let check = checks.iter().find(|check| check["what"] == what);
        check.map(|check| check["level"].clone()).unwrap_or_default()
    };
    for name in ["start", "prompt", "permission", "interrupt", "end"] {
        assert_eq!(live(name), "ok", "{name}: {answer:#}");
    }
    let _ = done.success();
    assert_eq!(entries(env.home()), before, "the user's HOME is as it was");
    let left = trials(cli);
    assert!(left.is_subset(&others), "{left:?}");
    let orphans = scan::processes(|process| home_of_trial(process).is_some_and(|home| !home.exists()));
    assert_eq!(orphans, []);
    env.assert_nothing_left();
}

/// The folders of trials with this program.
fn trials(cli: Cli) -> BTreeSet<PathBuf> {
    let of_cli = |folder: &PathBuf| {
        let config = fs::read_to_string(folder.join("fleet/config.toml")).unwrap_or_default();
        config.contains(&format!("default_agent = \"{}\"", cli.name()))
    };
    entries(Path::new("/tmp")).into_iter().filter(of_cli).collect()
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.flatten().map(|entry| entry.path()).collect()
}

fn home_of_trial(process: &scan::Process) -> Option<PathBuf> {
    let homes = process.environ.iter().filter_map(|entry| entry.strip_prefix(b"HOME="));
    let homes = homes.map(|home| PathBuf::from(OsStr::from_bytes(home)));
    homes
        .into_iter()
        .find(|home| home.to_string_lossy().starts_with("/tmp/fleet-live-"))
}

#[test]
fn claude_holds_in_a_trial_on_this_machine() {
    holds_on_this_machine(Cli::Claude);
}

#[test]
fn codex_holds_in_a_trial_on_this_machine() {
    holds_on_this_machine(Cli::Codex);
}
