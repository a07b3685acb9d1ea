//! The command line: the tree of verbs made from the operations, and the few that need a terminal or stream.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};
use fleet_app::app::App;
use fleet_app::caller::Caller;
use fleet_app::op::{ALL, Op, dispatch};
use fleet_app::ops::doctor::live;
use fleet_app::page::{Block, Page};
use fleet_core::{Error, Kind, Result};
use fleet_host::home::Home;
use serde_json::Value;

use crate::{attach, dialogue, edit, follow, mcp, reference, runs, ui};

/// Enters the command line.
pub(crate) fn main() -> ExitCode {
    let matches = match tree().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    match run(&matches) {
        Ok(code) => code,
        Err(error) => fail(&error, wants_json(&matches)),
    }
}

/// clap's own messages, with the help on standard output and errors on standard error.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let color = if error.use_stderr() {
        ui::colored(&std::io::stderr())
    } else {
        ui::colored(&std::io::stdout())
    };
    let plain = text.to_string();
    let text = if color { text.ansi().to_string() } else { plain.clone() };
    if error.use_stderr() {
        // There are no matches to ask for the flag.
        let mut args = std::env::args_os().take_while(|arg| arg != "--");
        let own = usage_error(&plain);
        if args.any(|arg| arg == "--json") {
            print_error(&own);
        }
        if error.kind() == ErrorKind::ValueValidation && plain.contains(ADVICE) {
            ui::error(&own);
            return ExitCode::from(own.kind.exit_code());
        }
        ui::remark(text.trim_end());
        return ExitCode::from(Kind::Usage.exit_code());
    }
    ui::out(&text);
    ExitCode::SUCCESS
}

/// What stands between what is wrong with a number and what to give instead.
const ADVICE: &str = ": give ";

/// clap's message as an error of ours: its first paragraph, and its tip, the advice in it or the way to the help.
fn usage_error(text: &str) -> Error {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (first, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if let Some((message, advice)) = message.rsplit_once(ADVICE) {
        return Error::usage(message).hint(format!("give {advice}"));
    }
    let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let usage = rest.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    let verbs = usage.unwrap_or("fleet").split_whitespace();
    let verbs: Vec<&str> = verbs
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    let help = format!("see how it is used: `{} --help`", verbs.join(" "));
    Error::usage(message).hint(tip.map_or(help, str::to_owned))
}

fn print_error(error: &Error) {
    let value = serde_json::json!({ "error": error });
    ui::out(&format!("{value}\n"));
}

fn fail(error: &Error, json: bool) -> ExitCode {
    if json {
        print_error(error);
    }
    ui::error(error);
    ExitCode::from(error.kind.exit_code())
}

/// The whole command line.
pub(crate) fn tree() -> Command {
    let mut root = Command::new("fleet")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run, watch and end many coding agents at once, each in a git worktree of its own")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .after_help("Start with: fleet create fix-42 --prompt \"write a failing test\"\nExit codes: docs/reference/exit-codes.md")
        .arg(
            Arg::new("json")
                .long("json")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Print the answer as JSON, a line each where it streams"),
        )
        .arg(
            Arg::new("request-id")
                .long("request-id")
                .global(true)
                .hide_short_help(true)
                .value_name("ID")
                .help("A name for this request: asked for again under the same name it is not done twice"),
        );
    let mut nouns: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in ALL.iter().filter(|op| op.surfaces.cli) {
        match op.name.split_once('.') {
            Some((noun, _)) => nouns.entry(noun).or_default().push(op),
            None => root = root.subcommand(with_streams(op.name, (op.command)(Command::new(op.name)))),
        }
    }
    for (noun, ops) in nouns {
        let mut command = Command::new(noun)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .about(match noun {
                "salvage" => "Work that was saved when its workspace went",
                "task" => "Units of paid work: records, reports, cost",
                "config" => "Settings",
                "contract" => "What a session may spend, as another program says it",
                "report" => "What a session did and spent, as it says itself",
                "integrate" => "Make other programs know of fleet",
                _ => "",
            });
        for op in ops {
            let verb = op.name.split_once('.').map_or(op.name, |(_, verb)| verb);
            command = command.subcommand((op.command)(Command::new(verb)));
        }
        if noun == "config" {
            command = command.subcommand(
                Command::new("edit").about("Open the settings file in $VISUAL or $EDITOR, and check it afterwards"),
            );
        }
        root = root.subcommand(command);
    }
    let target = || Arg::new("target").required(true).help("A branch, repo/branch or id");
    root.subcommand(
        Command::new("attach")
            .about("Look at an agent and type to it; detach with Ctrl-b d")
            .arg(target())
            .arg(
                Arg::new("print")
                    .long("print")
                    .action(ArgAction::SetTrue)
                    .help("Print the command that attaches, and do nothing"),
            )
            .arg(
                Arg::new("direct")
                    .long("direct")
                    .action(ArgAction::SetTrue)
                    .help("Without tmux; detach with Ctrl-\\ Ctrl-\\"),
            ),
    )
    .subcommand(Command::new("mcp").about("Serve the operations to an agent over MCP on standard input and output"))
    .subcommand(
        Command::new("completions").about("Print shell completions").arg(
            Arg::new("shell")
                .required(true)
                .help("Which shell")
                .value_parser(clap::value_parser!(clap_complete::Shell)),
        ),
    )
    .subcommand(Command::new("__gen").hide(true).arg(Arg::new("page").required(true)))
    .subcommand(
        Command::new(live::ARGUMENT)
            .hide(true)
            .arg(Arg::new("harness").required(true))
            .arg(
                Arg::new("endpoint")
                    .required(true)
                    .value_parser(clap::value_parser!(PathBuf)),
            ),
    )
}

/// Flags of verbs that can stream; the streaming itself is no operation.
fn with_streams(name: &str, command: Command) -> Command {
    match name {
        "logs" => command
            .arg(
                Arg::new("follow")
                    .short('f')
                    .long("follow")
                    .action(ArgAction::SetTrue)
                    .help("Go on with what the agent writes"),
            )
            .arg(
                Arg::new("raw")
                    .long("raw")
                    .action(ArgAction::SetTrue)
                    .help("The bytes as the program wrote them, escape sequences and all; of a headless agent its stream of events"),
            ),
        "launch" | "run" => command.arg(
            Arg::new("detach")
                .short('d')
                .long("detach")
                .action(ArgAction::SetTrue)
                .help("Answer as soon as the run goes on, and do not show it"),
        ),
        "list" | "status" => command.arg(
            Arg::new("watch")
                .short('w')
                .long("watch")
                .action(ArgAction::SetTrue)
                .help("Show it again whenever something changes"),
        ),
        _ => command,
    }
}

fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let Some((verb, below)) = matches.subcommand() else {
        return Ok(ExitCode::SUCCESS);
    };
    match verb {
        "completions" => {
            if let Some(shell) = below.get_one::<clap_complete::Shell>("shell") {
                let mut text = Vec::new();
                clap_complete::generate(*shell, &mut tree(), "fleet", &mut text);
                if wants_json(matches) {
                    let script = String::from_utf8_lossy(&text);
                    text = format!("{}\n", serde_json::json!({ "script": script })).into_bytes();
                }
                ui::raw(&text);
            }
            return Ok(ExitCode::SUCCESS);
        }
        "__gen" => {
            let page = below.get_one::<String>("page").map(String::as_str).unwrap_or_default();
            ui::out(&reference::page(page)?);
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let (app, caller) = service()?;
    let json = wants_json(matches);
    match (verb, below.subcommand()) {
        ("attach", _) => return attach::run(&app, &caller, below, json),
        ("logs", _) if json && below.get_flag("raw") => {
            return Err(Error::usage("`--raw` prints bytes, which are no JSON").hint("leave out `--raw` or `--json`"));
        }
        ("mcp", _) => return mcp::run(app, caller),
        (live::ARGUMENT, _) => return look(&app, &caller, below),
        ("config", Some(("edit", _))) => return edit::run(&app, &caller, json),
        ("logs", _) if below.get_flag("follow") || below.get_flag("raw") => {
            return follow::logs(&app, &caller, below, json);
        }
        ("list", _) if below.get_flag("watch") => return follow::list(&app, &caller, below, json),
        ("status", _) if below.get_flag("watch") => return runs::watch(&app, &caller, below, json),
        _ => {}
    }
    let (name, args) = match below.subcommand() {
        Some((inner, args)) => (format!("{verb}.{inner}"), args),
        None => (verb.to_owned(), below),
    };
    let op = ALL
        .iter()
        .find(|op| op.name == name)
        .ok_or_else(|| Error::internal(format!("no operation `{name}`")))?;
    let input = (op.from_matches)(args, &|text| local_text(&caller, text))?;
    let request = args.get_one::<String>("request-id").map(String::as_str);
    if op.name == "plan" && !json && ui::can_ask() {
        return dialogue::plan(&app, &caller, input, request);
    }
    let done = match (op.name, dispatch(&app, &caller, op.name, input.clone(), request)) {
        // The one verb that may meet a broken database and mend it.
        ("list", Err(error)) if input["repair"] == Value::Bool(true) && error.message.contains("damaged") => {
            if let Some(line) = fleet_app::repair::recover_store(&app)? {
                ui::remark(&line);
            }
            dispatch(&app, &caller, op.name, input, request)?
        }
        (_, done) => done?,
    };
    if verb == "run" && !below.get_flag("detach") {
        return runs::pipeline(&app, &caller, &done, json);
    }
    print(&done.json, &done.page, json);
    if verb == "launch" && !json && !below.get_flag("detach") {
        return runs::follow(&app, &caller, &done);
    }
    Ok(done
        .failed
        .map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// Answers `doctor --live`, which has started this process in a namespace.
fn look(app: &App, caller: &Caller, matches: &ArgMatches) -> Result<ExitCode> {
    let harness = matches
        .get_one::<String>("harness")
        .map(String::as_str)
        .unwrap_or_default();
    let endpoint = matches.get_one::<PathBuf>("endpoint").cloned().unwrap_or_default();
    let checks = live::look(app, caller, harness, &endpoint)?;
    ui::out(&format!("{}\n", serde_json::json!(checks)));
    Ok(ExitCode::SUCCESS)
}

/// The answer as JSON, with hints and warnings still narrated; or as a page.
pub(crate) fn print(value: &Value, page: &Page, json: bool) {
    if !json {
        ui::page(page);
        return;
    }
    ui::out(&format!(
        "{}\n",
        serde_json::to_string_pretty(value).unwrap_or_default()
    ));
    let narration = page
        .blocks
        .iter()
        .filter(|block| matches!(block, Block::Warning(_)))
        .cloned()
        .collect();
    ui::page(&Page { blocks: narration });
}

pub(crate) fn wants_json(matches: &ArgMatches) -> bool {
    let mut matches = matches;
    loop {
        if matches.try_get_one::<bool>("json").ok().flatten() == Some(&true) {
            return true;
        }
        match matches.subcommand() {
            Some((_, below)) => matches = below,
            None => return false,
        }
    }
}

/// The service layer and the caller of this process: its environment and directory are read here, once.
#[expect(
    clippy::disallowed_methods,
    reason = "the surface reads its environment here and passes it on"
)]
pub(crate) fn service() -> Result<(App, Caller)> {
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let cwd = std::env::current_dir().map_err(|error| {
        Error::usage(format!("the current directory cannot be used: {error}")).hint("cd into a directory that exists")
    })?;
    let user_home = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = match (env.get("FLEET_HOME").filter(|home| !home.is_empty()), &user_home) {
        (Some(home), _) => Home::at(cwd.join(home)),
        (None, Some(user)) => Home::of_user(user),
        (None, None) => {
            return Err(
                Error::usage("neither HOME nor FLEET_HOME is set").hint("set one: `export FLEET_HOME=/var/tmp/fleet`")
            );
        }
    };
    let runtime = env
        .get("XDG_RUNTIME_DIR")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let app = App::new(home, user_home.unwrap_or_else(|| PathBuf::from("/")), runtime);
    let mut caller = Caller::new(cwd, env);
    caller.progress = Arc::new(ui::progress);
    Ok((app, caller))
}

/// A text of the command line: `@FILE` and `-` are read, `@@…` is a text that begins with `@`.
pub(crate) fn local_text(caller: &Caller, text: &str) -> Result<String> {
    if text == "-" {
        let mut read = String::new();
        return std::io::stdin()
            .read_to_string(&mut read)
            .map(|_| read)
            .map_err(|error| {
                Error::usage(format!("standard input cannot be read as text: {error}")).hint("pass UTF-8 text")
            });
    }
    match text.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(file) if !file.is_empty() => {
            let path = caller.cwd.join(file);
            std::fs::read_to_string(&path).map_err(|error| {
                Error::usage(format!("cannot read {}: {error}", path.display())).hint(format!(
                    "name a readable text file, or write `@@{file}` for a text that begins with @"
                ))
            })
        }
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_help_renders() {
        tree().debug_assert();
        let mut root = tree();
        root.build();
        let mut waiting = vec![root];
        let mut count = 0;
        while let Some(mut command) = waiting.pop() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Usage: "), "{help}");
            let hidden = command.is_hide_set();
            assert!(
                hidden || command.get_about().is_some(),
                "`{}` says nothing",
                command.get_name()
            );
            for arg in command.get_arguments().filter(|_| !hidden) {
                assert!(
                    arg.get_help().is_some(),
                    "`{}` of `{}` says nothing",
                    arg.get_id(),
                    command.get_name()
                );
            }
            waiting.extend(command.get_subcommands().cloned());
            count += 1;
        }
        assert!(count > ALL.len());
    }

    #[test]
    fn only_what_needs_a_terminal_or_streams_is_no_operation() {
        let mut own = Vec::new();
        for command in tree().get_subcommands().filter(|command| !command.is_hide_set()) {
            let verbs: Vec<String> = command
                .get_subcommands()
                .map(|inner| inner.get_name().to_owned())
                .collect();
            let name = command.get_name();
            let names = match verbs.is_empty() {
                true => vec![name.to_owned()],
                false => verbs.iter().map(|verb| format!("{name}.{verb}")).collect(),
            };
            own.extend(names.into_iter().filter(|name| !ALL.iter().any(|op| op.name == name)));
        }
        own.sort_unstable();
        assert_eq!(own, ["attach", "completions", "config.edit", "mcp"]);
        let streams = |op: &&Op| {
            let plain = (op.command)(Command::new(op.name));
            let with = with_streams(op.name, plain.clone());
            with.get_arguments().count() > plain.get_arguments().count()
        };
        let streaming: Vec<&str> = ALL.iter().filter(streams).map(|op| op.name).collect();
        assert_eq!(streaming, ["list", "logs", "launch", "status", "run"]);
    }

    #[test]
    fn no_flag_that_takes_a_number_takes_what_is_none() {
        let mut root = tree();
        root.build();
        let mut waiting = vec![root];
        let mut count = 0;
        while let Some(command) = waiting.pop() {
            waiting.extend(command.get_subcommands().cloned());
            let is_number = |arg: &&Arg| arg.get_value_parser().type_id() == std::any::TypeId::of::<f64>();
            for arg in command.get_arguments().filter(is_number) {
                let flag = format!("--{}", arg.get_long().expect("a number has a flag"));
                assert!(arg.is_allow_negative_numbers_set(), "`{}` {flag}", command.get_name());
                // Alone, without what it conflicts with or needs.
                let parser = arg.get_value_parser().clone();
                let own = Arg::new("own").long("own").value_parser(parser);
                let alone = Command::new("alone").arg(own.allow_negative_numbers(true));
                for bad in ["NaN", "nan", "inf", "-inf", "infinity", "1e400", "", "five", "1_0"] {
                    for words in [vec![format!("--own={bad}")], vec!["--own".to_owned(), bad.to_owned()]] {
                        let words = std::iter::once("alone".to_owned()).chain(words);
                        let parsed = alone.clone().try_get_matches_from(words);
                        let error = parsed
                            .err()
                            .unwrap_or_else(|| panic!("`{} {flag} {bad}`", command.get_name()));
                        let shown = usage_error(&error.to_string());
                        assert!(shown.hint.is_some(), "`{flag} {bad}`: {error}");
                    }
                }
                // What is below 0 or too large arrives, and is refused for every surface in the same words.
                for good in ["0", "5", "0.25", "1e3", "-1", "1e308"] {
                    let parsed = alone.clone().try_get_matches_from(["alone", "--own", good]);
                    assert!(parsed.is_ok(), "`{} {flag} {good}`", command.get_name());
                }
                count += 1;
            }
        }
        assert!(count >= 12, "{count} flags");
    }

    #[test]
    fn what_is_no_whole_number_is_refused_by_each_flag_with_what_to_give() {
        use std::any::TypeId;
        let mut root = tree();
        root.build();
        let mut waiting = vec![root];
        let mut count = 0;
        while let Some(command) = waiting.pop() {
            waiting.extend(command.get_subcommands().cloned());
            let whole = [
                TypeId::of::<u8>(),
                TypeId::of::<u16>(),
                TypeId::of::<u32>(),
                TypeId::of::<u64>(),
                TypeId::of::<usize>(),
                TypeId::of::<i32>(),
                TypeId::of::<i64>(),
            ];
            let is_whole = |arg: &&Arg| whole.iter().any(|each| arg.get_value_parser().type_id() == *each);
            for arg in command.get_arguments().filter(is_whole) {
                let about = format!("`{}` {}", command.get_name(), arg.get_id());
                assert!(arg.is_allow_negative_numbers_set(), "{about}");
                let parser = arg.get_value_parser().clone();
                let own = Arg::new("own").long("own").value_parser(parser);
                let alone = Command::new("alone").arg(own.allow_negative_numbers(true));
                for bad in ["-1", "-0.5", "1.5", "x", "", "NaN", "1_0", "99999999999999999999999"] {
                    let parsed = alone.clone().try_get_matches_from(["alone", "--own", bad]);
                    let error = parsed.err().unwrap_or_else(|| panic!("{about} {bad}"));
                    let shown = usage_error(&error.to_string());
                    let hint = shown.hint.unwrap_or_default();
                    assert!(hint.starts_with("give a "), "{about} {bad}: {hint}");
                    assert!(shown.message.starts_with("invalid value "), "{}", shown.message);
                }
                for good in ["0", "7"] {
                    let parsed = alone.clone().try_get_matches_from(["alone", "--own", good]);
                    assert!(parsed.is_ok(), "{about} {good}");
                }
                count += 1;
            }
        }
        assert!(count >= 12, "{count} arguments");
    }

    #[test]
    fn a_usage_error_is_told_as_one_of_ours() {
        let text = |args: &[&str]| {
            let error = tree().try_get_matches_from(args).expect_err("bad arguments");
            usage_error(&error.render().to_string())
        };
        let error = text(&["fleet", "create"]);
        assert_eq!(
            error.message,
            "the following required arguments were not provided: <BRANCH>"
        );
        assert_eq!(error.hint.as_deref(), Some("see how it is used: `fleet create --help`"));
        let error = text(&["fleet", "create", "x", "--agnt", "y"]);
        assert!(error.hint.expect("a tip").contains("--agent"));
    }
}
