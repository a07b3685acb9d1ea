//! `doctor`: whether everything that fleet needs is there and fit.

pub mod live;

use std::path::{Path, PathBuf};

use clap::Args;
use fleet_core::{Error, Kind, Result};
use fleet_host::exec::find_program;
use fleet_host::git;
use fleet_host::harness::trust::added;
use fleet_host::harness::version::{self, Fit};
use fleet_host::harness::{self, Harness};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::config::{self, Config, MeterChoice};
use crate::op::Operation;
use crate::page::{Label, Page, Show, bytes, plain, span};
use crate::{meter, reporting, trash, trust, updated};

/// Check git, tmux, the home, the database, the settings and the harnesses
///
/// With `--live` the installed program of one harness is led through a start, a prompt, a question for permission, an
/// interruption and its end. It talks to a scripted model, with a HOME of its own and no network: nothing of yours is
/// read or changed, and no vendor is reached.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Doctor {
    /// Check this harness and nothing else
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<String>,
    /// With --harness: try it against the scripted model `fleet-model`; five minutes at the most
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
}

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
    /// What the program showed when a live check failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
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
        if let Some(name) = &self.harness {
            return of_one(app, caller, name, self.live);
        }
        if self.live {
            return Err(Error::usage("`--live` is not told which harness to try")
                .hint("name it: `fleet doctor --harness claude --live`"));
        }
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
                let mut harnesses = Vec::new();
                for name in names {
                    harnesses.push(app.harness(config, name)?);
                }
                checks.add_harnesses(app, caller, config, &harnesses);
                checks.add_trust(app, config);
                checks.add_meter(app, config);
            }
        }
        if let Ok(agents) = app.store().and_then(|store| store.agents_live()) {
            let running = agents.iter().filter(|agent| app.see(agent).alive);
            for line in updated::lines(app, running) {
                checks.push_warning("update", line, "the conversation goes on after a restart");
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

/// The checks of one harness. Errors: there is none of that name, it is not installed, it cannot be tried.
fn of_one(app: &App, caller: &Caller, name: &str, live: bool) -> Result<Checks> {
    let config = app.config(caller, app.repo(caller).ok().as_ref())?;
    let harness = app.harness(&config, name)?;
    let program = harness.command.first().map(String::as_str).unwrap_or_default();
    if find_program(program, caller.var("PATH").unwrap_or_default()).is_none() {
        let Check { found, hint, .. } = missing(&harness, true);
        let error = Error::unavailable(found);
        return Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    let mut checks = Checks { checks: Vec::new() };
    checks.add_harnesses(app, caller, &config, std::slice::from_ref(&harness));
    if live {
        checks.checks.extend(live::checks(app, caller, &harness)?);
    }
    Ok(checks)
}

fn installed(harness: &Harness, program: &Path, line: &str) -> Check {
    let tested = harness.tested;
    let (level, says) = match version::fit(line, tested) {
        Fit::Tested => ("ok", "the tested version".to_owned()),
        Fit::Newer => (
            "warning",
            format!("newer than the tested {tested}: states and receipts may be wrong"),
        ),
        Fit::Older => (
            "warning",
            format!("older than the tested {tested}: it may lack what fleet uses"),
        ),
        Fit::Unknown if tested.is_empty() => ("ok", String::new()),
        Fit::Unknown => ("warning", format!("it tells no version; tested is {tested}")),
    };
    let version = match line {
        "" => program.display().to_string(),
        line => format!("{line} ({})", program.display()),
    };
    let says = (!says.is_empty()).then_some(says);
    let limits = harness.limits.iter().map(|limit| (*limit).to_owned());
    let found: Vec<String> = std::iter::once(version).chain(says).chain(limits).collect();
    let install = harness.install.as_ref().filter(|_| level == "warning");
    Check {
        what: format!("harness {}", harness.name),
        level: level.to_owned(),
        found: found.join("; "),
        hint: install.map(|install| format!("to have the tested one: `{install}@{tested}`")),
        detail: None,
    }
}

/// What counts what the program uses; nothing where the settings have decided for the transcript.
fn counted(app: &App, caller: &Caller, config: &Config, harness: &Harness) -> Option<Check> {
    let expected = meter::expected(app, caller, config, harness);
    let own = config.harness.contains_key(&harness.name);
    let (level, found, hint) = match (expected.why, config.meter) {
        _ if expected.proxy => ("info", "without a terminal it is counted by the proxy".to_owned(), None),
        (None, _) => return None,
        (Some(why), MeterChoice::Proxy) if !own => (
            "warning",
            format!("it cannot be pointed at the meter: {why}"),
            Some(meter::WITHOUT.to_owned()),
        ),
        (Some(why), _) => (
            "info",
            format!("it is counted by what it tells, not by the proxy: {why}"),
            None,
        ),
    };
    Some(Check {
        what: format!("harness {}", harness.name),
        level: level.to_owned(),
        found,
        hint,
        detail: None,
    })
}

fn missing(harness: &Harness, default: bool) -> Check {
    let program = harness.command.first().map(String::as_str).unwrap_or_default();
    let install = harness.install.as_ref().filter(|_| default);
    Check {
        what: format!("harness {}", harness.name),
        level: if default { "warning" } else { "info" }.to_owned(),
        found: format!("`{program}` is not installed"),
        hint: install.map(|install| format!("install it: `{install}`")),
        detail: None,
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
                detail: None,
            },
            Err(Error { message, hint, .. }) => Check {
                what: what.to_owned(),
                level: "error".to_owned(),
                found: message,
                hint,
                detail: None,
            },
        };
        self.checks.push(check);
    }

    /// Each program: where it is, which version, whether that was tested, and what does not work.
    fn add_harnesses(&mut self, app: &App, caller: &Caller, config: &Config, harnesses: &[Harness]) {
        let path = caller.var("PATH").unwrap_or_default();
        let find = |harness: &Harness| find_program(harness.command.first()?, path);
        let found: Vec<_> = harnesses.iter().map(find).collect();
        let programs: Vec<PathBuf> = found.iter().flatten().cloned().collect();
        let env: Vec<_> = caller
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut lines = version::of(&app.home, &programs, &env).into_iter();
        for (harness, program) in harnesses.iter().zip(found) {
            let check = match program {
                Some(program) => installed(harness, &program, &lines.next().unwrap_or_default()),
                None => missing(
                    harness,
                    harness.name == config::canonical_harness(&config.default_agent),
                ),
            };
            let runs = check.level != "info";
            self.checks.push(check);
            let unheard = runs.then(|| reporting::notes(app, caller, config, harness));
            self.checks.extend(unheard.into_iter().flatten().map(|found| Check {
                what: format!("harness {}", harness.name),
                level: "info".to_owned(),
                found,
                hint: None,
                detail: None,
            }));
            if runs {
                self.checks.extend(counted(app, caller, config, harness));
            }
            if let Err(refused) = trust::check_root(config, harness, &env)
                && runs
            {
                let hint = refused.hint.unwrap_or_default();
                self.push_warning(&format!("harness {}", harness.name), refused.message, &hint);
            }
        }
    }

    /// Whether the meter can be started.
    fn add_meter(&mut self, app: &App, config: &Config) {
        if config.meter == MeterChoice::Transcript {
            return;
        }
        if let Some(trouble) = meter::trouble(app) {
            let hint = trouble.hint.unwrap_or_default();
            self.push_warning("meter", trouble.message, &hint);
        }
    }

    /// What fleet has put into files of the user's.
    fn add_trust(&mut self, app: &App, config: &Config) {
        let keys = match added::list(&app.home) {
            Ok(keys) => keys,
            Err(error) => return self.add("trust", Err(error)),
        };
        for (file, keys) in trust::by_file(&keys) {
            let words: Vec<String> = keys.iter().map(|key| key.key.words()).collect();
            let found = format!("fleet added to {}: {}", file.display(), words.join(", "));
            match keys.iter().any(|key| key.agents.is_empty()) {
                true => self.push_warning("trust", found, "remove what no agent needs: `fleet list --repair`"),
                false => self.add("trust", Ok(found)),
            }
        }
        if keys.is_empty() {
            let found = match config.trust_worktrees {
                true => "fleet has added nothing to files of yours",
                false => "`trust_worktrees` is off: programs ask for themselves",
            };
            self.add("trust", Ok(found.to_owned()));
        }
    }

    fn push_warning(&mut self, what: &str, found: String, hint: &str) {
        self.checks.push(Check {
            what: what.to_owned(),
            level: "warning".to_owned(),
            found,
            hint: Some(hint.to_owned()),
            detail: None,
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
            for line in check.detail.iter().flat_map(|detail| detail.lines()) {
                page.spans(vec![plain(" ".repeat(8)), span(Label::Dim, format!("| {line}"))]);
            }
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
