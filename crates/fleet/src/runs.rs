//! What streams of runs: their driver, `launch` until the run ends, `status --watch`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use fleet_app::app::App;
use fleet_app::caller::Caller;
use fleet_app::op::{ALL, Done, dispatch};
use fleet_app::ops::run::{failure, report_of, show_report};
use fleet_app::page::Page;
use fleet_app::{engine, runs, task};
use fleet_core::run::record::Run;
use fleet_core::run::{Control, Finish, Pause};
use fleet_core::{Error, Kind, Result};
use fleet_host::supervise::{client, driver, recorder};
use serde_json::Value;

use crate::{cli, ui};

/// How often what happened is looked for: the store announces nothing to other processes.
const LOOK: Duration = Duration::from_millis(200);
/// How long after a start the next driver is started at the earliest, where one ends again and again.
const RESTART: Duration = Duration::from_secs(2);

/// Enters the driver of the run that `args` names, apart from the process that started it.
pub(crate) fn drive(mut args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    if !driver::enter() {
        return ExitCode::SUCCESS;
    }
    let id = args.next().and_then(|id| id.into_string().ok()).unwrap_or_default();
    match cli::service().and_then(|(app, caller)| engine::drive(&app, &caller, &id)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// Enters the recorder of the agent that `args` names, if they name one, apart from the process that started it.
pub(crate) fn record(mut args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    if !recorder::enter() {
        return ExitCode::SUCCESS;
    }
    let id = args.next().and_then(|id| id.into_string().ok());
    match cli::service().and_then(|(app, caller)| task::record(&app, &caller, id.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.kind.exit_code()),
    }
}

/// Shows what happens in the run that `launched` tells of until it ends or pauses. The exit code is that of its end.
pub(crate) fn follow(app: &App, caller: &Caller, launched: &Done) -> Result<ExitCode> {
    if let Some(kind) = launched.failed {
        return Ok(ExitCode::from(kind.exit_code()));
    }
    let over = ["dry run", "is done already"];
    let how = launched.json["how"].as_str().unwrap_or_default();
    let Some(id) = launched.json["run"]["id"].as_str().filter(|_| !over.contains(&how)) else {
        return Ok(ExitCode::SUCCESS);
    };
    let Some(run) = until_over(app, caller, id, launched, ui::out)? else {
        return Ok(ExitCode::SUCCESS);
    };
    show(app, &run)?;
    Ok(match run.finish {
        Some(Finish::Done) => ExitCode::SUCCESS,
        _ => ExitCode::from(Kind::Failed.exit_code()),
    })
}

/// Shows what happens in the pipeline that `started` tells of until it ends or pauses, and then its report. The exit code
/// is that of its status.
pub(crate) fn pipeline(app: &App, caller: &Caller, started: &Done, json: bool) -> Result<ExitCode> {
    let tell = |text: &str| {
        if !json {
            ui::out(text);
        }
    };
    let id = started.json["run"]["id"].as_str().unwrap_or_default();
    if !json {
        ui::page(&started.page);
    }
    let over = started.json["how"].as_str() == Some("is done already");
    let run = match over {
        true => app.store()?.run(id)?,
        false => until_over(app, caller, id, started, tell)?,
    };
    let Some(run) = run else { return Ok(ExitCode::SUCCESS) };
    let report = report_of(app, &run)?;
    if json {
        let mut answer = started.json.clone();
        answer["run"] = serde_json::to_value(runs::view::record(app, &run)?).unwrap_or_default();
        answer["report"] = serde_json::to_value(&report).unwrap_or_default();
        cli::print(&answer, &started.page, true);
    } else if let Some(report) = &report {
        let mut page = Page::default();
        show_report(&run.name, report, &mut page)?;
        ui::page(&page);
    }
    let failed = report.as_ref().and_then(failure);
    Ok(failed.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// Tells what happens in the run `id` since `begun` was answered, until it ends or pauses; the run as it is then.
fn until_over(app: &App, caller: &Caller, id: &str, begun: &Done, tell: impl Fn(&str)) -> Result<Option<Run>> {
    let since = begun.json["run"]["events"].as_array().map_or(0, Vec::len);
    let mut seen = app.store()?.run_events(id, 0)?.len().saturating_sub(since) as u64;
    let mut next_start = Instant::now();
    loop {
        let run = app.store()?.run(id)?;
        for (number, event) in app.store()?.run_events(id, seen)? {
            seen = number;
            let worker = event.worker.map(|worker| format!("{worker} ")).unwrap_or_default();
            tell(&format!(
                "{} {worker}{}: {}\n",
                clock(event.at),
                event.event,
                event.about
            ));
        }
        let Some(run) = run else { return Ok(None) };
        let driven = runs::is_driven(app, id);
        // A driver that waits for more money waits for others, and they may wait for this answer.
        let waits = driven && run.pause != Some(Pause::Budget);
        let left = run.finish.is_none() && (run.control != Control::Paused || waits);
        // Whoever notices that nobody drives a run starts a driver.
        if left && !driven && Instant::now() >= next_start {
            runs::wake(app, caller, id)?;
            next_start = Instant::now() + RESTART;
        }
        if !left || ui::is_closed() {
            return Ok(Some(run));
        }
        client::wait_any(&[], Instant::now() + LOOK)?;
    }
}

fn show(app: &App, run: &Run) -> Result<()> {
    let record = runs::view::record(app, run)?;
    let mut page = Page::default();
    record.show(&mut page);
    ui::page(&page);
    Ok(())
}

/// The time of day in UTC.
fn clock(at: fleet_core::Time) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}

/// `status --watch`: the same page again whenever it has changed.
pub(crate) fn watch(app: &App, caller: &Caller, matches: &ArgMatches, json: bool) -> Result<ExitCode> {
    let op = ALL.iter().find(|op| op.name == "status");
    let op = op.ok_or_else(|| Error::internal("no operation `status`"))?;
    let args = (op.from_matches)(matches, &|text| Ok(text.to_owned()))?;
    let mut shown: Option<Value> = None;
    while !ui::is_closed() {
        let done = dispatch(app, caller, op.name, args.clone(), None)?;
        if shown.as_ref() != Some(&done.json) {
            match json {
                true => ui::out(&format!("{}\n", done.json)),
                false => {
                    ui::page(&done.page);
                    ui::out("\n");
                }
            }
        }
        let runs = done.json["runs"].as_array().cloned().unwrap_or_default();
        let goes_on = |run: &Value| matches!(run["state"].as_str(), Some("running" | "stopping"));
        let over = args.get("run").is_some_and(|run| !run.is_null()) && !runs.iter().any(goes_on);
        shown = Some(done.json);
        if over {
            return Ok(ExitCode::SUCCESS);
        }
        client::wait_any(&[], Instant::now() + LOOK)?;
    }
    Ok(ExitCode::SUCCESS)
}
