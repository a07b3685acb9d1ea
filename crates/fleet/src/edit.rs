//! `config edit`: the settings file in the user's editor.

use std::process::ExitCode;

use fleet_app::app::App;
use fleet_app::caller::Caller;
use fleet_app::config;
use fleet_app::op::dispatch;
use fleet_core::{Error, Result};
use fleet_host::exec;

use crate::cli;

/// Opens the file, waits for the editor, and checks what was written.
pub(crate) fn run(app: &App, caller: &Caller, json: bool) -> Result<ExitCode> {
    app.home.prepare()?;
    config::ensure_user_file(app.home.root())?;
    let editor = caller
        .var("VISUAL")
        .or(caller.var("EDITOR"))
        .filter(|editor| !editor.trim().is_empty())
        .unwrap_or("vi");
    let mut argv: Vec<String> = editor.split_whitespace().map(str::to_owned).collect();
    argv.push(app.home.config().display().to_string());
    let status = exec::run_on_this_terminal("config.edit", &argv, &caller.cwd)
        .map_err(|error| error.hint("set EDITOR to an editor that is installed"))?;
    if !status.success() {
        return Err(Error::failed(format!(
            "`{editor}` ended with {}",
            exec::status_words(status)
        )));
    }
    let done = dispatch(app, caller, "config.validate", serde_json::json!({}), None)?;
    cli::print(&done.json, &done.page, json);
    Ok(done
        .failed
        .map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}
