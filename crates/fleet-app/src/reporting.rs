//! How an agent's program is led to tell of itself ([`fleet_host::harness::reporting`]): for one that is started by
//! fleet's own description of it. What a headless one tells is its output, and beside it what that leaves out.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fleet_core::Result;
use fleet_core::agent::Agent;
use fleet_host::files;
use fleet_host::harness::redirect::{self, Redirect, Why};
use fleet_host::harness::reporting::{Reporting, Surroundings};
use fleet_host::harness::{self, Harness};

use crate::app::App;
use crate::caller::Caller;
use crate::config::Config;

/// What is added to a launch of `agent` with this environment. Nothing, for a harness of the user's own.
pub(crate) fn reporting(
    app: &App,
    config: &Config,
    agent: &Agent,
    harness: &Harness,
    argv: &[String],
    env: &[(String, String)],
) -> Reporting {
    let folder = app.home.agent_dir(&agent.id).join("reporting");
    let read = |path: &Path| text_for(config, agent, path);
    let var = |name: &str| {
        let found = env.iter().find(|(each, _)| each == name);
        found.map(|(_, value)| value.clone())
    };
    let program = Program {
        harness,
        argv,
        cwd: &agent.worktree,
    };
    let how = match agent.headless {
        true => harness::reporting_beside_stream,
        false => harness::reporting,
    };
    around(app, config, &program, &folder, &var, &read, how)
}

/// What fleet would not hear from the program of `harness`, started by `caller` where it stands: a sentence each.
pub(crate) fn notes(app: &App, caller: &Caller, config: &Config, harness: &Harness) -> Vec<String> {
    let var = |name: &str| caller.var(name).map(str::to_owned);
    let program = Program {
        harness,
        argv: &harness.command,
        cwd: &caller.cwd,
    };
    let how = harness::reporting;
    around(app, config, &program, app.home.root(), &var, &text_of, how).notes
}

/// How a program is pointed at the meter, and whether that is done without being asked for.
pub(crate) struct Pointed {
    /// How, or why it cannot be.
    pub(crate) redirect: std::result::Result<Redirect, Why>,
    /// Why it is not, unless it is asked for.
    pub(crate) unasked: Option<Why>,
}

/// How the program of `harness`, which is about to be started with `argv` and `env`, is pointed at `base`.
pub(crate) fn redirect(
    app: &App,
    config: &Config,
    agent: &Agent,
    harness: &Harness,
    argv: &[String],
    env: &[(String, String)],
    base: &str,
) -> Pointed {
    let var = |name: &str| {
        let found = env.iter().rfind(|(each, _)| each == name);
        found.map(|(_, value)| value.clone())
    };
    let program = Program {
        harness,
        argv,
        cwd: &agent.worktree,
    };
    let folder = app.home.agent_dir(&agent.id);
    let read = |path: &Path| text_for(config, agent, path);
    pointed(app, config, &program, &folder, &var, &read, base)
}

/// The same for a program that `caller` would start where it stands, at no real address.
pub(crate) fn redirect_of_caller(app: &App, caller: &Caller, config: &Config, harness: &Harness) -> Pointed {
    let var = |name: &str| caller.var(name).map(str::to_owned);
    let program = Program {
        harness,
        argv: &harness.command,
        cwd: &caller.cwd,
    };
    pointed(
        app,
        config,
        &program,
        app.home.root(),
        &var,
        &text_of,
        "http://127.0.0.1:1",
    )
}

fn pointed(
    app: &App,
    config: &Config,
    program: &Program<'_>,
    folder: &Path,
    var: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&Path) -> Option<String>,
    base: &str,
) -> Pointed {
    let name = &program.harness.name;
    surrounded(app, config, program, folder, var, read, |around| Pointed {
        redirect: redirect::redirect(name, around, base),
        unasked: redirect::why_not_by_itself(name, around),
    })
    .unwrap_or_else(|| Pointed {
        redirect: Err("its program is described by your settings".to_owned()),
        unasked: None,
    })
}

/// What is started, and where.
struct Program<'a> {
    harness: &'a Harness,
    argv: &'a [String],
    cwd: &'a Path,
}

fn around(
    app: &App,
    config: &Config,
    program: &Program<'_>,
    folder: &Path,
    var: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&Path) -> Option<String>,
    how: fn(&str, &Surroundings<'_>) -> Reporting,
) -> Reporting {
    surrounded(app, config, program, folder, var, read, |surroundings| {
        how(&program.harness.name, surroundings)
    })
    .unwrap_or_default()
}

/// What `look` sees around the program; none around one that the user's settings describe.
fn surrounded<T>(
    app: &App,
    config: &Config,
    program: &Program<'_>,
    folder: &Path,
    var: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&Path) -> Option<String>,
    look: impl FnOnce(&Surroundings<'_>) -> T,
) -> Option<T> {
    let executable = executable().filter(|_| !config.harness.contains_key(&program.harness.name))?;
    let home = var("HOME").map_or_else(|| app.user_home.clone(), PathBuf::from);
    let surroundings = Surroundings {
        executable: &executable,
        cwd: program.cwd,
        home: &home,
        folder,
        command: program.argv,
        var,
        read,
        exists: &|path| path.symlink_metadata().is_ok(),
        only_root_writes: &only_root_writes,
    };
    Some(look(&surroundings))
}

fn text_of(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The text of a file as the program of `agent` will find it: one that is copied into the worktree before the program
/// starts is not there yet.
fn text_for(config: &Config, agent: &Agent, path: &Path) -> Option<String> {
    let main = agent.repo.parent().unwrap_or(&agent.repo);
    let copied = || {
        let path = path.strip_prefix(&agent.worktree).ok()?;
        let listed = config.credential_files.iter().any(|each| Path::new(each) == path);
        listed.then(|| main.join(path))
    };
    text_of(path).or_else(|| text_of(&copied()?))
}

/// Whether nobody but root can write `path`, be it there or not, or put another in its place.
fn only_root_writes(path: &Path) -> bool {
    let roots_alone = |path: &Path| {
        path.symlink_metadata()
            .is_ok_and(|meta| !meta.is_symlink() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
    };
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok());
    there.is_some_and(|path| path.ancestors().all(roots_alone)) && nix::unistd::geteuid().is_root()
}

/// Writes the files that it wants.
pub(crate) fn prepare(reporting: &Reporting) -> Result<()> {
    for (path, text) in &reporting.files {
        if let Some(folder) = path.parent() {
            files::create_private_dir("report.folder", folder)?;
        }
        files::write_atomic("report.file", path, text.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// The executable of fleet by a path that another program can start it by: not as the kernel calls a file that an
/// update has replaced meanwhile.
fn executable() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    let known = path.to_str()?.strip_suffix(" (deleted)").map(PathBuf::from);
    [path.clone()].into_iter().chain(known).find(|path| path.is_file())
}
