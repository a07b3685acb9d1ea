//! What a child is started with: its program, its environment, the specification for its supervisor.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_core::agent::Agent;
use fleet_core::{Error, Result};
use fleet_host::exec::find_program;
use fleet_host::harness::{CommandLine, Harness};
use fleet_host::supervise::notify;
use fleet_host::supervise::recorder::Recorder;
use fleet_host::supervise::spec::{self, Spec};

use crate::app::App;
use crate::caller::{self, Caller};
use crate::config::Config;
use crate::meter::{self, Counting};
use crate::sessions::{COLS, ROWS};
use crate::{budgets, reporting, task};

/// The specification of a launch without files to copy and commands to run.
#[expect(clippy::too_many_arguments, reason = "a specification is made of exactly these")]
pub(crate) fn specification(
    app: &App,
    caller: &Caller,
    config: &Config,
    agent: &Agent,
    harness: &Harness,
    line: &CommandLine,
    env: &[(String, String)],
    prompt: Option<(String, String)>,
    generation: u32,
) -> Result<Spec> {
    let socket = app.runtime()?.socket(&agent.id);
    let mut env = env.to_vec();
    task::trailers::forget(app, &mut env);
    let marks = [
        ("FLEET_AGENT", agent.id.to_string()),
        ("FLEET_BRANCH", agent.branch.clone()),
        ("FLEET_SOCKET", socket.display().to_string()),
        ("FLEET_PORT_BASE", agent.port_base.to_string()),
        ("FLEET_HOME", app.home.root().display().to_string()),
        ("PWD", agent.worktree.display().to_string()),
    ];
    for (name, value) in marks {
        env.retain(|(each, _)| each != name);
        env.push((name.to_owned(), value));
    }
    if let Some(task) = agent.task {
        env.retain(|(name, _)| name != task::VARIABLE);
        env.push((task::VARIABLE.to_owned(), task.to_string()));
    }
    let (prompt_in_argv, prompt_to_paste) = match prompt {
        Some((id, _)) if line.holds_prompt => (Some(id), None),
        other => (None, other),
    };
    let told = reporting::reporting(app, config, agent, harness, &line.argv, &env);
    reporting::prepare(&told)?;
    let mut argv = program_path(&told.argv(&line.argv), caller)?;
    env.extend(told.env);
    let mut program_env = Vec::new();
    let is_bounded = argv.first().is_some_and(|program| program.ends_with("/bwrap"));
    // Within a boundary the folder of the hooks cannot be seen, and git would run none at all.
    if config.commit_trailers && !is_bounded && env.iter().any(|(name, _)| name == task::VARIABLE) {
        program_env = task::trailers::variables(app, &agent.worktree, &env)?;
    }
    let (metered, unmetered) = match meter::prepare(app, config, agent, harness, &argv, &env)? {
        Counting::Transcript => (None, None),
        Counting::Missed(why) => (None, Some(why)),
        Counting::Proxy(prepared) => {
            argv.splice(1..1, prepared.redirect.args);
            // What its program starts by fleet is not to go by this agent's address.
            env.push((caller::BEFORE.to_owned(), caller::before(&env, &prepared.redirect.env)));
            for (name, value) in prepared.redirect.env {
                env.retain(|(each, _)| *each != name);
                env.push((name, value));
            }
            (Some(prepared.metered), None)
        }
    };
    let env_task = env
        .iter()
        .rfind(|(name, _)| name == task::VARIABLE)
        .map(|(_, id)| id.clone());
    let (limits, used) = budgets::limits(app, agent)?;
    Ok(Spec {
        v: spec::VERSION,
        agent: agent.id.clone(),
        branch: agent.branch.clone(),
        harness: agent.harness.clone(),
        generation,
        agent_dir: app.home.agent_dir(&agent.id),
        socket,
        cwd: agent.worktree.clone(),
        argv,
        env,
        program_env,
        headless: agent.headless,
        stdin: line.stdin.clone(),
        stream: harness.stream(),
        goes_on: false,
        copy: Vec::new(),
        copy_from: PathBuf::new(),
        setup: Vec::new(),
        keep_going: false,
        signs: harness.signs.clone(),
        interrupt: harness.interrupt.clone(),
        clear: harness.clear.clone(),
        prompt_in_argv,
        prompt_to_paste,
        rows: ROWS,
        cols: COLS,
        on_waiting: config.on_waiting.clone(),
        on_idle: config.on_idle.clone(),
        on_exit: config.on_exit.clone(),
        on_budget: config.on_budget.clone(),
        limits,
        used,
        prices: app.own_prices()?.map(|(text, _)| text),
        model: agent.model.clone(),
        task: env_task,
        recorder: Some(recorder(app, caller, Some(agent))),
        metered,
        unmetered,
        grace_ms: config.kill_grace_ms,
        output_limit: config.output_limit_mb * 1_000_000,
        copy_output_to: None,
        driver: None,
    })
}

/// How the recorder of `agent` is started: with what git, fleet and a notifier need, and none of the agent's keys.
pub(crate) fn recorder(app: &App, caller: &Caller, agent: Option<&Agent>) -> Recorder {
    let passes = |name: &str| notify::passes(name) || name == "XDG_CONFIG_HOME" || name == "FLEET_ON_BUDGET";
    let given = caller.env.iter().filter(|(name, _)| passes(name));
    let home = ("FLEET_HOME".to_owned(), app.home.root().display().to_string());
    Recorder {
        agent: agent.map(|agent| agent.id.clone()),
        env: given
            .map(|(name, value)| (name.clone(), value.clone()))
            .chain([home])
            .collect(),
    }
}

/// `argv` with its program as a path, found on the caller's `PATH`.
pub(crate) fn program_path(argv: &[String], caller: &Caller) -> Result<Vec<String>> {
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| Error::usage("the harness has an empty command"))?;
    let found = find_program(program, caller.var("PATH").unwrap_or("/usr/bin:/bin"));
    let path = found.ok_or_else(|| Error::unavailable(format!("`{program}` is not installed or not on PATH")))?;
    let path = std::iter::once(path.display().to_string());
    Ok(path.chain(args.iter().cloned()).collect())
}

/// The environment of the children: the caller's, without what belongs to the caller's own place, and with what
/// `--env` gives. Errors: a variable that the caller does not have.
pub(crate) fn environment(caller: &Caller, given: &[String]) -> Result<Vec<(String, String)>> {
    const OWN: [&str; 10] = [
        "TMUX",
        "TMUX_PANE",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "LINES",
        "COLUMNS",
        "CLAUDECODE",
        "TERM_PROGRAM",
    ];
    const MARKS: [&str; 2] = ["FLEET_AGENT", "FLEET_ROLE"];
    let mut env: BTreeMap<String, String> = caller
        .env
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()) && !name.starts_with("FLEET_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for each in given {
        let (name, value) = match each.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = caller.var(each).ok_or_else(|| {
                    Error::usage(format!("the variable `{each}` is not set"))
                        .hint(format!("set it here: `--env {each}=VALUE`"))
                })?;
                (each.as_str(), value.to_owned())
            }
        };
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err(Error::usage(format!("`{name}` is no name of a variable"))
                .hint("write `--env NAME` or `--env NAME=VALUE`"));
        }
        if MARKS.contains(&name) {
            return Err(
                Error::usage(format!("`{name}` is fleet's own variable: it tells whose a process is"))
                    .hint("choose another name, such as `MY_ROLE`"),
            );
        }
        env.insert(name.to_owned(), value);
    }
    env.insert("TERM".to_owned(), "xterm-256color".to_owned());
    env.insert("COLORTERM".to_owned(), "truecolor".to_owned());
    Ok(env.into_iter().collect())
}
