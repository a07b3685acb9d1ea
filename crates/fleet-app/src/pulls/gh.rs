//! GitHub through its own program, which has its own login.
//!
//! Texts go through standard input. `gh` is asked for JSON where it gives it, and for the page of what it opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::remote::Remote;
use fleet_core::{Error, Kind, Result};
use fleet_host::exec::{Cmd, status_words};
use fleet_net::forge::{NewPull, Pull};
use serde_json::Value;

use super::Pulls;
use crate::caller::Caller;

const PATIENCE: Duration = Duration::from_secs(120);

/// The program `gh`, about one repository.
pub(super) struct Gh {
    program: PathBuf,
    cwd: PathBuf,
    env: Vec<(String, String)>,
    /// `host/owner/name`.
    repository: String,
}

impl Gh {
    pub(super) fn new(caller: &Caller, program: &Path, remote: &Remote) -> Gh {
        let env = caller.env.iter().filter(|(name, _)| !name.starts_with("GIT_"));
        Gh {
            program: program.to_owned(),
            cwd: caller.cwd.clone(),
            env: env.map(|(name, value)| (name.clone(), value.clone())).collect(),
            repository: format!("{}/{}", remote.host, remote.path),
        }
    }

    fn run(&self, cmd: Cmd, args: &[&str], stdin: &str) -> Result<String> {
        let cmd = self
            .env
            .iter()
            .fold(cmd.env_clear(), |cmd, (name, value)| cmd.env(name, value));
        let output = cmd
            .env("GH_PROMPT_DISABLED", "1")
            .env("NO_COLOR", "1")
            .args(args)
            .args(["--repo", &self.repository])
            .stdin(stdin)
            .timeout(PATIENCE)
            .output()?;
        if output.status.success() {
            return Ok(output.text());
        }
        let words = output.error_text();
        let kind = if words.contains("already exists") {
            Kind::Conflict
        } else {
            Kind::Failed
        };
        let error = Error::new(
            kind,
            format!(
                "`gh {} {}` ended with {}",
                args[0],
                args[1],
                status_words(output.status)
            ),
        );
        let error = match words.contains("gh auth login") {
            true => error.hint("log in: `gh auth login`"),
            false => error,
        };
        Err(error.detail(words))
    }

    fn cmd(&self, site: &'static str) -> Cmd {
        Cmd::new(site, &self.program, &self.cwd)
    }
}

impl Pulls for Gh {
    fn find(&self, branch: &str) -> Result<Option<Pull>> {
        let fields = "number,url,isCrossRepository";
        let args = [
            "pr", "list", "--state", "open", "--json", fields, "--limit", "30", "--head", branch,
        ];
        let text = self.run(self.cmd("pr.gh-list"), &args, "")?;
        let list: Vec<Value> = serde_json::from_str(&text).map_err(|error| odd(&error.to_string()))?;
        let own = list.iter().find(|pull| pull["isCrossRepository"] != true);
        own.map(|pull| match (pull["number"].as_u64(), pull["url"].as_str()) {
            (Some(number), Some(url)) => Ok(Pull {
                number,
                url: url.to_owned(),
            }),
            _ => Err(odd("a pull request without a number")),
        })
        .transpose()
    }

    fn open(&self, new: &NewPull<'_>) -> Result<Pull> {
        let mut args = vec!["pr", "create", "--head", new.branch, "--base", new.base];
        let title = format!("--title={}", new.title);
        args.extend([title.as_str(), "--body-file", "-"]);
        if new.draft {
            args.push("--draft");
        }
        let text = self.run(self.cmd("pr.gh-create"), &args, new.body)?;
        let url = text.lines().rev().map(str::trim).find(|line| line.starts_with("http"));
        let number = url.and_then(|url| url.rsplit('/').next()?.parse().ok());
        match (url, number) {
            (Some(url), Some(number)) => Ok(Pull {
                number,
                url: url.to_owned(),
            }),
            _ => Err(odd("no page of a pull request")),
        }
    }

    fn comments(&self, number: u64) -> Result<Vec<String>> {
        let number = number.to_string();
        let args = ["pr", "view", &number, "--json", "comments"];
        let text = self.run(self.cmd("pr.gh-view"), &args, "")?;
        let view: Value = serde_json::from_str(&text).map_err(|error| odd(&error.to_string()))?;
        let comments = view["comments"].as_array().cloned().unwrap_or_default();
        let texts = comments.iter().filter_map(|comment| comment["body"].as_str());
        Ok(texts.map(str::to_owned).collect())
    }

    fn comment(&self, number: u64, text: &str) -> Result<()> {
        let number = number.to_string();
        let args = ["pr", "comment", &number, "--body-file", "-"];
        self.run(self.cmd("pr.gh-comment"), &args, text)?;
        Ok(())
    }

    fn name(&self) -> &'static str {
        "gh"
    }
}

fn odd(what: &str) -> Error {
    Error::failed(format!("`gh` answered in a way that is not known: {what}"))
        .hint("update it, or take it off PATH and set `GH_TOKEN`")
}
