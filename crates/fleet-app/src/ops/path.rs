//! `path`: where an agent works.

use std::path::PathBuf;

use clap::Args;
use fleet_core::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Page, Show};

/// Print the directory that an agent works in
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// A branch, repo/branch or id
    pub target: String,
}

/// A directory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Directory {
    /// Absolute.
    pub path: PathBuf,
}

impl Operation for Path {
    const NAME: &'static str = "path";
    const EFFECT: Effect = Effect::Read;
    type Output = Directory;

    fn run(self, app: &App, caller: &Caller) -> Result<Directory> {
        let agents = app.select(caller, &[self.target], None)?;
        super::one(agents).map(|agent| Directory { path: agent.worktree })
    }
}

impl Show for Directory {
    fn show(&self, page: &mut Page) {
        page.line(self.path.display().to_string());
    }
}
