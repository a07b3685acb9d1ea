//! `doctor`: whether everything that fleet needs is there and fit.

use clap::Args;
use fleet_core::{Error, Kind, Result};
use fleet_host::exec::{Cmd, find_program};
use fleet_host::{git, harness};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, bytes, plain, span};
use crate::{reporting, trash};

/// Check git, tmux, the home, the database, the settings and the harnesses
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Doctor {}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// `ok`, `info`, `warning` or `error`.
    pub level: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All checks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Checks {
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl Operation for Doctor {
    const NAME: &'static str = "doctor";
    const EFFECT: Effect = Effect::Read;
    type Output = Checks;

    fn run(self, app: &App, caller: &Caller) -> Result<Checks> {
        let mut checks = Checks { checks: Vec::new() };
        checks.add("git", git::version().map(|version| format!("version {version}")));
        let tmux = app
            .tmux(caller)
            .and_then(|tmux| tmux.version())
            .map(|(major, minor)| format!("version {major}.{minor}"));
        checks.add("tmux", tmux);
        checks.add(
            "home",
            app.home.prepare().map(|()| app.home.root().display().to_string()),
        );
        checks.add(
            "sockets",
            app.runtime().map(|runtime| runtime.path().display().to_string()),
        );
        let store = app
            .store()
            .and_then(|store| store.check())
            .map(|()| app.home.db().display().to_string());
        checks.add("database", store);
        let config = app.config(caller, app.repo(caller).ok().as_ref());
        match &config {
            Err(error) => checks.add("settings", Err(error.clone())),
            Ok(config) => {
                checks.add("settings", Ok(app.home.config().display().to_string()));
                let mut names: Vec<&str> = harness::BUILTIN.to_vec();
                names.extend(config.harness.keys().map(String::as_str));
                for name in names {
                    let harness = app.harness(config, name)?;
                    let program = harness.command.first().cloned().unwrap_or_default();
                    let found = find_program(&program, caller.var("PATH").unwrap_or_default());
                    match (found, name == config.default_agent) {
                        (Some(path), _) => {
                            checks.add(&format!("harness {name}"), Ok(version_of(&path)));
                            let unheard = reporting::notes(app, caller, config, &harness);
                            checks.checks.extend(unheard.into_iter().map(|found| Check {
                                what: format!("harness {name}"),
                                level: "info".to_owned(),
                                found,
                                hint: None,
                            }));
                        }
                        (None, default) => checks.checks.push(Check {
                            what: format!("harness {name}"),
                            level: if default { "warning" } else { "info" }.to_owned(),
                            found: format!("`{program}` is not installed"),
                            hint: harness
                                .install
                                .filter(|_| default)
                                .map(|install| format!("install it: `{install}`")),
                        }),
                    }
                }
            }
        }
        let config = config.ok();
        let used = trash::measured(app, config.as_ref());
        match trash::warning(used, config.as_ref()) {
            Some(warning) => checks.push_warning(
                "trash",
                warning,
                "see and prune it: `fleet salvage list`, `fleet salvage prune`",
            ),
            None => checks.add("trash", Ok(bytes(used))),
        }
        Ok(checks)
    }
}

/// What a harness says of its version; its path when it says nothing.
fn version_of(path: &std::path::Path) -> String {
    let output = Cmd::new("doctor.version", path, std::path::Path::new("/"))
        .arg("--version")
        .timeout(std::time::Duration::from_secs(10))
        .output();
    let text = output.map(|output| output.text()).unwrap_or_default();
    match text.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => format!(
            "{} ({})",
            line.trim().chars().take(60).collect::<String>(),
            path.display()
        ),
        None => path.display().to_string(),
    }
}

impl Checks {
    fn add(&mut self, what: &str, result: Result<String>) {
        let check = match result {
            Ok(found) => Check {
                what: what.to_owned(),
                level: "ok".to_owned(),
                found,
                hint: None,
            },
            Err(Error { message, hint, .. }) => Check {
                what: what.to_owned(),
                level: "error".to_owned(),
                found: message,
                hint,
            },
        };
        self.checks.push(check);
    }

    fn push_warning(&mut self, what: &str, found: String, hint: &str) {
        self.checks.push(Check {
            what: what.to_owned(),
            level: "warning".to_owned(),
            found,
            hint: Some(hint.to_owned()),
        });
    }
}

impl Show for Checks {
    fn show(&self, page: &mut Page) {
        for check in &self.checks {
            let label = match check.level.as_str() {
                "ok" => Label::Good,
                "warning" => Label::Warn,
                "info" => Label::Dim,
                _ => Label::Bad,
            };
            page.spans(vec![
                span(label, format!("{:8}", check.level)),
                span(Label::Name, &check.what),
                plain(format!(": {}", check.found)),
            ]);
            // What a check says to do is a part of the answer: beside the checks of others it would tell nothing.
            if let Some(hint) = &check.hint {
                page.spans(vec![
                    plain(" ".repeat(8)),
                    span(Label::Name, "hint"),
                    plain(format!(": {hint}")),
                ]);
            }
        }
    }

    fn failed(&self) -> Option<Kind> {
        self.checks
            .iter()
            .any(|check| check.level == "error")
            .then_some(Kind::Unavailable)
    }
}
