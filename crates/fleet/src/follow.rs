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
use fleet_host::supervise::client::{self, Client, Event};
use fleet_host::supervise::output::{self, Place};
use fleet_term::Terminal;

use crate::{cli, ui};

/// Lines of a running agent are held back until they have stood still for this long.
const SETTLE: Duration = Duration::from_millis(100);
/// … but not longer than this: a spinner never stands still.
const LONGEST: Duration = Duration::from_secs(1);
/// How often processor, memory and age are looked at again: nothing announces them.
const REFRESH: Duration = Duration::from_secs(2);
/// More lines than any agent writes between two settled moments.
const HISTORY: usize = 20_000;
/// A size below what a supervisor takes as a view's: it never decides the agent's.
const UNSEEN: (u16, u16) = (1, 1);

/// `logs` with `--raw` or `--follow`.
pub(crate) fn logs(app: &App, caller: &Caller, matches: &ArgMatches, json: bool) -> Result<ExitCode> {
    let target = matches.get_one::<String>("target").cloned().unwrap_or_default();
    let count = matches.get_one::<usize>("lines").copied().unwrap_or(50);
    let agent = app.select_any(caller, &target)?;
    let (raw, follow) = (matches.get_flag("raw"), matches.get_flag("follow"));
    match (raw, follow && app.see(&agent).alive) {
        (true, true) => follow_bytes(app, &agent)?,
        (true, false) => drop(print_bytes(app, &agent, Place::default())?),
        (false, true) => follow_lines(app, &agent, count, json)?,
        (false, false) => text(app, &agent, count)?
            .iter()
            .for_each(|line| print_line(&agent, line, json)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the kept output as it is and goes on with what comes. The kept output is the source and the
/// supervisor only says when there is more, so nothing is lost or doubled between the two. A line of a stream of events
/// of which nothing is shown is not announced, and looked for now and then.
fn follow_bytes(app: &App, agent: &Agent) -> Result<()> {
    let mut client = app.client(agent)?;
    client.view(UNSEEN.0, UNSEEN.1)?;
    let mut place = print_bytes(app, agent, Place::default())?;
    while !ui::is_closed() {
        let over = match client.event(Some(Instant::now() + REFRESH)) {
            Ok(event) => event.is_none(),
            Err(error) if error.kind == Kind::Timeout => false,
            Err(error) => return Err(error),
        };
        if over {
            break;
        }
        place = print_bytes(app, agent, place)?;
    }
    print_bytes(app, agent, place).map(drop)
}

fn print_bytes(app: &App, agent: &Agent, place: Place) -> Result<Place> {
    let folder = app.home.agent_dir(&agent.id);
    let (bytes, place) = output::read_on(&folder, output::raw(&folder), place)
        .map_err(|error| Error::not_found(format!("nothing is kept of the output of `{}`: {error}", agent.branch)))?;
    if !bytes.is_empty() {
        ui::raw(&bytes);
    }
    Ok(place)
}

/// Prints lines as they become history or stand still, each once.
fn follow_lines(app: &App, agent: &Agent, count: usize, json: bool) -> Result<()> {
    let mut client = app.client(agent)?;
    let (rows, cols) = client.view(UNSEEN.0, UNSEEN.1)?;
    let mut screen = Terminal::new(rows, cols);
    let mut printed: Option<Vec<String>> = None;
    let mut settle: Option<Instant> = None;
    let mut unseen: Option<Instant> = None;
    let mut over = false;
    while !over && !ui::is_closed() {
        match client.event(settle) {
            Ok(Some(Event::Output(bytes))) => {
                screen.feed(&bytes);
                let now = Instant::now();
                let latest = *unseen.get_or_insert(now + LONGEST);
                settle = Some((now + SETTLE).min(latest));
                continue;
            }
            Ok(Some(Event::Size(rows, cols))) => {
                screen.resize(rows, cols);
                continue;
            }
            Ok(Some(_)) => continue,
            Ok(None) => over = true,
            Err(error) if error.kind == Kind::Timeout => (settle, unseen) = (None, None),
            Err(error) => return Err(error),
        }
        let mut now = text(app, agent, HISTORY)?;
        // The line that the cursor is in is not finished: a prompt, a draft, a spinner.
        let open = screen.cursor_line();
        if !over && !open.is_empty() && now.last().is_some_and(|last| open.ends_with(last.as_str())) {
            now.pop();
        }
        let new = match &printed {
            Some(printed) => new_lines(printed, &now),
            None => &now[now.len().saturating_sub(count)..],
        };
        new.iter().for_each(|line| print_line(agent, line, json));
        printed = Some(now);
    }
    Ok(())
}

/// The lines of `now` that were not printed: those after what it has in common with `printed` from the beginning.
/// Lines that have left at the top, because only so many are kept, do not count.
fn new_lines<'a>(printed: &[String], now: &'a [String]) -> &'a [String] {
    let common = |shift: usize| {
        printed[shift..]
            .iter()
            .zip(now)
            .take_while(|(old, new)| old == new)
            .count()
    };
    if common(0) > 0 {
        return &now[common(0)..];
    }
    let best = (1..printed.len()).map(common).max().unwrap_or(0);
    &now[best..]
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
        wait_for_change(app)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a fact of any living agent, or until the figures that have no event are due again.
fn wait_for_change(app: &App) -> Result<()> {
    let deadline = Instant::now() + REFRESH;
    let live = app.store()?.agents_live()?;
    let watch = |agent: &Agent| {
        let mut client = app.client(agent).ok()?;
        client.watch().ok().map(|_| client)
    };
    let clients: Vec<Client> = live.iter().filter_map(watch).collect();
    client::wait_any(&clients, deadline)
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
