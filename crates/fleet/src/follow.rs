//! What streams: `logs -f`, `logs --raw`, `list --watch`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use fleet_app::app::App;
use fleet_app::caller::Caller;
use fleet_app::op::{ALL, dispatch};
use fleet_app::ops::logs::text;
use fleet_core::agent::Agent;
use fleet_core::{Error, Kind, Result};
use fleet_host::supervise::client::Event;
use fleet_host::supervise::output;
use fleet_term::LogText;

use crate::{cli, ui};

/// Lines of a running agent are held back until they have stood still for this long.
const SETTLE: Duration = Duration::from_millis(100);
/// More lines than any agent writes between two settled moments.
const HISTORY: usize = 20_000;

/// `logs` with `--raw` or `--follow`.
pub(crate) fn logs(app: &App, caller: &Caller, matches: &ArgMatches, json: bool) -> Result<ExitCode> {
    let target = matches.get_one::<String>("target").cloned().unwrap_or_default();
    let count = matches.get_one::<usize>("lines").copied().unwrap_or(50);
    let agent = app.select_any(caller, &target)?;
    let (raw, follow) = (matches.get_flag("raw"), matches.get_flag("follow"));
    if raw {
        let (stretches, _) = output::read(&app.home.agent_dir(&agent.id), usize::MAX).map_err(|error| {
            Error::not_found(format!("nothing is kept of the output of `{}`: {error}", agent.branch))
        })?;
        stretches.iter().for_each(|stretch| ui::raw(&stretch.bytes));
    }
    if follow && app.see(&agent).alive {
        follow_output(app, &agent, raw, count, json)?;
    } else if !raw {
        text(app, &agent, count)?
            .iter()
            .for_each(|line| print_line(&agent, line, json));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints lines as they become history or stand still, each once.
fn follow_output(app: &App, agent: &Agent, raw: bool, count: usize, json: bool) -> Result<()> {
    let mut client = app.client(agent)?;
    // A size of 1 x 1 is below what a supervisor takes as a view's: it never becomes the active one.
    let (rows, cols) = client.view(1, 1)?;
    let mut log = LogText::new(rows, cols, HISTORY);
    let mut printed: Vec<String> = if raw { Vec::new() } else { text(app, agent, count)? };
    printed.iter().for_each(|line| print_line(agent, line, json));
    let mut first = true;
    let mut settle: Option<Instant> = None;
    while !ui::is_closed() {
        match client.event(settle) {
            Ok(Some(Event::Output(bytes))) => {
                if raw && !first {
                    ui::raw(&bytes);
                }
                log.feed(&bytes);
                first = false;
                settle = Some(Instant::now() + SETTLE);
            }
            Ok(Some(Event::Size(rows, cols))) => log.resize(rows, cols),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if error.kind == Kind::Timeout => {
                settle = None;
                if !raw {
                    let now = text(app, agent, HISTORY)?;
                    new_lines(&printed, &now)
                        .iter()
                        .for_each(|line| print_line(agent, line, json));
                    printed = now;
                }
            }
            Err(error) => return Err(error),
        }
    }
    if !raw {
        let now = text(app, agent, HISTORY)?;
        new_lines(&printed, &now)
            .iter()
            .for_each(|line| print_line(agent, line, json));
    }
    Ok(())
}

/// The lines of `now` that were not printed: those after the longest tail of `printed` that `now` contains.
fn new_lines<'a>(printed: &[String], now: &'a [String]) -> &'a [String] {
    for keep in (1..=printed.len().min(now.len())).rev() {
        let tail = &printed[printed.len() - keep..];
        if let Some(at) = now.windows(keep).rposition(|window| window == tail) {
            return &now[at + keep..];
        }
    }
    now
}

fn print_line(agent: &Agent, line: &str, json: bool) {
    match json {
        true => ui::out(&format!(
            "{}\n",
            serde_json::json!({ "branch": agent.branch, "line": line })
        )),
        false => ui::out(&format!("{line}\n")),
    }
}

/// `list --watch`: the list again whenever a state changes, and every two seconds for what has no event.
pub(crate) fn list(app: &App, caller: &Caller, matches: &ArgMatches, json: bool) -> Result<ExitCode> {
    let op = ALL
        .iter()
        .find(|op| op.name == "list")
        .ok_or_else(|| Error::internal("no list"))?;
    let input = (op.from_matches)(matches, &|text| Ok(text.to_owned()))?;
    let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    while !ui::is_closed() {
        let done = dispatch(app, caller, "list", input.clone(), None)?;
        if json {
            ui::out(&format!("{}\n", done.json));
        } else {
            if on_terminal {
                ui::raw(b"\x1b[H\x1b[2J");
            }
            cli::print(&done.json, &done.page, false);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.chars().map(|c| c.to_string()).collect()
    }

    #[test]
    fn only_what_is_new_is_printed() {
        let cases = [
            ("abc", "abcd", "d"),
            ("abc", "bcde", "de"),
            ("", "ab", "ab"),
            ("ab", "ab", ""),
            ("ab", "xy", "xy"),
        ];
        for (printed, now, wanted) in cases {
            assert_eq!(
                new_lines(&lines(printed), &lines(now)),
                lines(wanted),
                "{printed} then {now}"
            );
        }
    }
}
