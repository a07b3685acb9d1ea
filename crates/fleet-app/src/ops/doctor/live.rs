//! `doctor --live`: whether an installed program still does what fleet relies on, seen on this machine.
//!
//! The program runs with a HOME of its own and a key that is nobody's, where there is no network but loopback, and
//! talks to the scripted endpoint `fleet-model`: nothing of the user's is read or changed, and no vendor is reached.
//! This file makes that place and clears it away. What is looked at is [`inside`], a process of its own, because a
//! network namespace is entered by a process.

mod endpoint;
mod inside;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::{Error, Result};
use fleet_host::alone::{Alone, is_alone};
use fleet_host::exec::{Cmd, find_program, status_words};
use fleet_host::files;
use fleet_host::harness::Harness;
use fleet_host::process::{self, Process};
use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};

use super::{Check, Checks};
use crate::app::App;
use crate::caller::Caller;

/// The first argument of the process that looks.
pub const ARGUMENT: &str = "__live";

/// The endpoint's program.
const ENDPOINT: &str = "fleet-model";
/// How long all of it may take; what looks gives up a little earlier, by itself.
const WHOLE: Duration = Duration::from_secs(300);
/// What the harness is asked to run, and may not without a permission.
const TOUCHED: &str = "asked.txt";

/// How one of the harnesses is made to ask before it runs a command.
struct Known {
    name: &'static str,
    /// Its arguments.
    flags: &'static str,
    /// Its settings in the repository, a path and their text.
    settings: Option<(&'static str, &'static str)>,
    /// Whether it asks at all.
    asks: bool,
}

const KNOWN: [Known; 5] = [
    Known {
        name: "claude",
        flags: "",
        settings: None,
        asks: true,
    },
    Known {
        name: "codex",
        flags: "--sandbox read-only --ask-for-approval on-request",
        settings: None,
        asks: true,
    },
    Known {
        name: "gemini",
        flags: "",
        settings: None,
        asks: true,
    },
    Known {
        name: "opencode",
        flags: "",
        settings: Some(("opencode.json", r#"{"permission": {"bash": "ask", "edit": "ask"}}"#)),
        asks: true,
    },
    Known {
        name: "pi",
        flags: "",
        settings: None,
        asks: false,
    },
];

/// A folder with everything that the trial uses. When it is dropped, what still runs in it is ended and it is removed.
struct Place {
    root: PathBuf,
}

/// Keeps the terminal's signals from this thread until it is dropped: Ctrl-C ends what looks, and then this process
/// clears up before it ends too.
struct Uninterrupted(SigSet);

/// Tries `harness`, which is installed. Errors: it is none that fleet brings along; the endpoint is missing; there is no
/// namespace to be had; nothing could be looked at.
pub(super) fn checks(app: &App, caller: &Caller, harness: &Harness) -> Result<Vec<Check>> {
    let known = match harness.tested {
        // One of the user's own, perhaps under the name of one of ours.
        "" => return Err(cannot_try(&harness.name)),
        _ => known(&harness.name)?,
    };
    let executable = app.executable.canonicalize().map_err(|error| {
        Error::unavailable(format!("this fleet's own file is gone: {error}")).hint("run the command again")
    })?;
    let endpoint = find_endpoint(&executable, caller)?;
    let alone = Alone::find("doctor.live-way")?;
    (caller.progress)(&format!(
        "trying `{}` with a scripted model; this takes a minute, five at the most",
        known.name
    ));
    let uninterrupted = Uninterrupted::begin();
    let place = Place::make(app, known)?;
    let cmd = alone.cmd("doctor.live", &executable, &place.repo());
    let cmd = cmd.args([ARGUMENT, known.name]).arg(&endpoint).arg("--json");
    let cmd = place
        .environment(caller)
        .into_iter()
        .fold(cmd.env_clear(), |cmd, (name, value)| cmd.env(name, value));
    let output = cmd.timeout(WHOLE).output();
    drop(place);
    drop(uninterrupted);
    let output = output.map_err(|error| error.context("the trial"))?;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if let Ok(error) = serde_json::from_value::<Error>(answer["error"].clone()) {
        return Err(error.context("the trial"));
    }
    let checks: Checks = serde_json::from_value(answer).map_err(|_| {
        Error::failed(format!("the trial ended with {}", status_words(output.status))).detail(output.error_text())
    })?;
    Ok(checks.checks)
}

/// Looks, in the place that [`checks`] has made. Errors: anything but loopback can be reached from here; the harness is
/// none of the known; the endpoint does not come up.
pub fn look(app: &App, caller: &Caller, harness: &str, endpoint: &Path) -> Result<Checks> {
    if !is_alone() {
        return Err(Error::refused("there is more network than loopback here")
            .hint(format!("start it as `fleet doctor --harness {harness} --live`")));
    }
    // Whoever made the place waits for the end of this process before it takes signals.
    let _ = terminals().thread_unblock();
    inside::look(app, caller, known(harness)?, endpoint)
}

fn known(name: &str) -> Result<&'static Known> {
    let known = KNOWN.iter().find(|known| known.name == name);
    known.ok_or_else(|| cannot_try(name))
}

fn cannot_try(name: &str) -> Error {
    let names = KNOWN.map(|known| known.name).join(", ");
    Error::usage(format!(
        "`--live` cannot try `{name}`: nobody can point it at the scripted model"
    ))
    .hint(format!("name one that fleet brings along: {names}"))
}

/// The endpoint's program: beside this one, or on PATH.
fn find_endpoint(executable: &Path, caller: &Caller) -> Result<PathBuf> {
    let beside = executable.with_file_name(ENDPOINT);
    let found = find_program(&beside.to_string_lossy(), "");
    found
        .or_else(|| find_program(ENDPOINT, caller.var("PATH").unwrap_or_default()))
        .ok_or_else(|| {
            Error::unavailable(format!(
                "`{ENDPOINT}`, which answers in place of the vendor, is not installed"
            ))
            .hint("in a checkout of fleet: `cargo install --locked --path crates/fleet-testkit --bin fleet-model`")
        })
}

/// What a terminal sends to everybody in its foreground.
fn terminals() -> SigSet {
    [Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

impl Uninterrupted {
    fn begin() -> Self {
        let before = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let _ = terminals().thread_block();
        Self(before)
    }
}

impl Drop for Uninterrupted {
    fn drop(&mut self) {
        let _ = self.0.thread_set_mask();
    }
}

impl Place {
    /// Below /tmp, so that the sockets fit.
    fn make(app: &App, known: &Known) -> Result<Self> {
        let place = Self {
            root: Path::new("/tmp").join(format!("fleet-live-{}", app.new_id())),
        };
        for folder in [place.home(), place.temporary(), place.fleet_home(), place.repo()] {
            files::create_private_dir("doctor.live-folder", &folder)?;
        }
        let write = |path: PathBuf, text: &str| files::write_cache("doctor.live-file", &path, text.as_bytes(), 0o600);
        write(
            place.home().join(".gitconfig"),
            "[user]\n\tname = Fleet\n\temail = fleet@example.invalid\n",
        )?;
        write(
            place.fleet_home().join("config.toml"),
            &format!(
                "default_agent = \"{0}\"\n{0}_flags = \"{1}\"\n",
                known.name, known.flags
            ),
        )?;
        write(place.root.join("script.json"), &script(known).to_string())?;
        write(place.repo().join("a.txt"), "text\n")?;
        if let Some((path, text)) = known.settings {
            write(place.repo().join(path), text)?;
        }
        Ok(place)
    }

    fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Codex wants its HOME outside of the folder for temporary files.
    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn fleet_home(&self) -> PathBuf {
        self.root.join("fleet")
    }

    fn repo(&self) -> PathBuf {
        self.root.join("repo")
    }

    /// All that whoever looks has of the caller's environment is the way to programs.
    fn environment(&self, caller: &Caller) -> Vec<(&'static str, OsString)> {
        vec![
            ("PATH", caller.var("PATH").unwrap_or_default().into()),
            ("HOME", self.home().into()),
            ("TMPDIR", self.temporary().into()),
            ("FLEET_HOME", self.fleet_home().into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "xterm-256color".into()),
        ]
    }

    fn processes(&self) -> Vec<Process> {
        process::with_variable("HOME", self.home().as_os_str())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let grace = Duration::from_secs(1);
        process::end_all(|| self.processes().iter().map(Process::identity).collect(), grace);
        // Nobody is left to be told, and what is left is in a folder for temporary files.
        let _ = files::remove_tree("doctor.live-remove", &self.root);
    }
}

/// What the endpoint answers where the words of a prompt are not enough: of its own sandbox Codex asks only about what
/// is to leave it.
fn script(known: &Known) -> Value {
    let line = format!("touch {TOUCHED}");
    let call = match known.name {
        "codex" => json!({"tool": {"name": "exec_command", "input": {
            "cmd": line, "sandbox_permissions": "require_escalated", "justification": "scripted"
        }}}),
        _ => json!({"shell": line}),
    };
    json!({"rules": [{"when": {"contains": TOUCHED}, "turns": [{"calls": [call]}, {"text": "It is done."}]}]})
}

/// Commits what is in the repository's folder.
fn commit(repo: &Path) -> Result<()> {
    for args in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["commit", "--quiet", "--message", "first"],
    ] {
        Cmd::new("doctor.live-repository", "git", repo).args(args).run()?;
    }
    Ok(())
}
