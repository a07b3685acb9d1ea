//! `config`: the settings that hold, and where they come from. `config edit` needs a terminal and is the CLI's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use fleet_core::{Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::config::{self, Level};
use crate::op::{Operation, Surfaces};
use crate::page::{Label, Page, plain, span};

/// Show the settings that hold here
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Say where each comes from
    #[arg(long)]
    #[serde(default)]
    pub origin: bool,
}

/// The settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Each key with its value.
    pub settings: BTreeMap<String, Value>,
    /// Each key with where its value comes from.
    pub origins: BTreeMap<String, String>,
    /// Whether to show the origins.
    #[serde(skip)]
    #[schemars(skip)]
    origin: bool,
}

impl Operation for Show {
    const NAME: &'static str = "config.show";
    const EFFECT: Effect = Effect::Read;
    const SURFACES: Surfaces = Surfaces::CLI;
    type Output = Settings;

    fn run(self, app: &App, caller: &Caller) -> Result<Settings> {
        let repo = app.repo(caller).ok();
        let loaded = app.loaded_config(caller, repo.as_ref())?;
        Ok(Settings {
            settings: loaded.config.to_json(),
            origins: loaded
                .origins
                .iter()
                .map(|(key, origin)| (key.clone(), origin.to_string()))
                .collect(),
            origin: self.origin,
        })
    }
}

impl crate::page::Show for Settings {
    fn show(&self, page: &mut Page) {
        for (key, value) in &self.settings {
            let mut line = vec![span(Label::Name, key), plain(format!(" = {value}"))];
            if self.origin {
                let origin = self.origins.get(key).map_or("default", String::as_str);
                line.push(span(Label::Dim, format!("  # {origin}")));
            }
            page.spans(line);
        }
    }
}

/// Check the settings: unknown keys, wrong types, missing files and programs
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// Each with `level` (`error` or `warning`), `key`, `message` and `hint`.
    pub findings: Vec<Value>,
}

impl Operation for Validate {
    const NAME: &'static str = "config.validate";
    const EFFECT: Effect = Effect::Read;
    const SURFACES: Surfaces = Surfaces::CLI;
    type Output = Validation;

    fn run(self, app: &App, caller: &Caller) -> Result<Validation> {
        let repo = app.repo(caller).ok();
        let loaded = app.loaded_config(caller, repo.as_ref())?;
        let root = repo.as_ref().and_then(|repo| repo.main_root.as_deref());
        let path = caller.var("PATH").unwrap_or_default();
        let findings = config::validate(&loaded.config, root, path);
        Ok(Validation {
            findings: findings
                .iter()
                .filter_map(|finding| serde_json::to_value(finding).ok())
                .collect(),
        })
    }
}

impl crate::page::Show for Validation {
    fn show(&self, page: &mut Page) {
        if self.findings.is_empty() {
            page.line("the settings are fine");
        }
        for finding in &self.findings {
            let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            let label = if text("level") == "error" {
                Label::Bad
            } else {
                Label::Warn
            };
            page.spans(vec![
                span(label, text("level")),
                plain(format!(": `{}`: {}", text("key"), text("message"))),
            ]);
            if let Some(hint) = finding["hint"].as_str() {
                page.hint(hint);
            }
        }
    }

    fn failed(&self) -> Option<Kind> {
        let error = serde_json::to_value(Level::Error).unwrap_or_default();
        self.findings
            .iter()
            .any(|finding| finding["level"] == error)
            .then_some(Kind::Config)
    }
}

/// Print the paths of the settings files
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Path {}

/// The files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Files {
    /// The user's.
    pub user: PathBuf,
    /// The repository's; none outside a repository.
    pub project: Option<PathBuf>,
}

impl Operation for Path {
    const NAME: &'static str = "config.path";
    const EFFECT: Effect = Effect::Read;
    const SURFACES: Surfaces = Surfaces::CLI;
    type Output = Files;

    fn run(self, app: &App, caller: &Caller) -> Result<Files> {
        app.home.prepare()?;
        config::ensure_user_file(app.home.root())?;
        let repo = app.repo(caller).ok();
        let project = repo
            .and_then(|repo| repo.main_root)
            .map(|root| root.join(".fleet/config.toml"));
        Ok(Files {
            user: app.home.config(),
            project,
        })
    }
}

impl crate::page::Show for Files {
    fn show(&self, page: &mut Page) {
        page.line(self.user.display().to_string());
        if let Some(project) = self.project.as_ref().filter(|path| path.exists()) {
            page.line(project.display().to_string());
        }
    }
}
