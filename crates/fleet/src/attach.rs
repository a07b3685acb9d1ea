//! `attach`: the user's terminal on an agent's.

use std::process::ExitCode;

use clap::ArgMatches;
use fleet_app::app::App;
use fleet_app::caller::Caller;
use fleet_app::sessions;
use fleet_core::name::word;
use fleet_core::{Error, Result};

use crate::ui;
use crate::view::{self, End};

/// Attaches, through tmux unless `--direct` is given.
pub(crate) fn run(app: &App, caller: &Caller, matches: &ArgMatches, json: bool) -> Result<ExitCode> {
    let target = matches.get_one::<String>("target").cloned().unwrap_or_default();
    let agent = sessions::attachable(app, caller, &target)?;
    if matches.get_flag("direct") {
        let socket = app.runtime()?.socket(&agent.id);
        return match view::run(&socket, true)? {
            End::Left => {
                ui::remark(&format!("left `{}`; it goes on", agent.branch));
                Ok(ExitCode::SUCCESS)
            }
            End::Ended(state) => {
                ui::remark(&format!(
                    "`{}` has ended: {}",
                    agent.branch,
                    state.unwrap_or_else(|| "its supervisor is gone".to_owned())
                ));
                Ok(ExitCode::SUCCESS)
            }
        };
    }
    let attach = sessions::attach(app, caller, &agent)?;
    if matches.get_flag("print") {
        match json {
            true => ui::out(&format!(
                "{}\n",
                serde_json::json!({ "argv": attach.argv, "line": attach.line })
            )),
            false => ui::out(&format!("{}\n", attach.line)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Error::usage("`attach` needs a terminal")
            .hint(format!("read its output: `fleet logs {}`", word(&agent.branch))));
    }
    Err(fleet_host::exec::replace_self(&attach.argv))
}
