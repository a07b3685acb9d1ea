//! `types`: the index of the types of plans, and the schema of their file.

use clap::Args;
use fleet_core::Result;
use fleet_core::plan::file;
use fleet_core::plan::word::PlanType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};

/// Show the types of plans, and when to choose which
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Types {
    /// The JSON Schema of `fleet.json` instead
    #[arg(long)]
    #[serde(default)]
    pub schema: bool,
}

/// A type of plan.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The word in `fleet.json`.
    #[serde(rename = "type")]
    pub plan_type: PlanType,
    /// What it is.
    pub hint: String,
    /// When to choose it.
    pub when: String,
    /// What its plan must have beside its name, type and workers.
    pub needs: String,
}

/// The index.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Index {
    /// The types; dag is for what no other fits better.
    pub types: Vec<Row>,
    /// The JSON Schema of `fleet.json`, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

impl Operation for Types {
    const NAME: &'static str = "types";
    const EFFECT: Effect = Effect::Read;
    type Output = Index;

    fn run(self, _: &App, _: &Caller) -> Result<Index> {
        let row = |plan_type: &PlanType| {
            let row = plan_type.row();
            Row {
                plan_type: *plan_type,
                hint: row.hint.to_owned(),
                when: row.when.to_owned(),
                needs: row.needs.to_owned(),
            }
        };
        Ok(Index {
            types: PlanType::ALL.iter().map(row).collect(),
            schema: self.schema.then(file::schema),
        })
    }
}

impl Show for Index {
    fn show(&self, page: &mut Page) {
        if let Some(schema) = &self.schema {
            page.raw(format!("{schema:#}"));
            return;
        }
        let rows = self.types.iter().map(|row| {
            vec![
                span(Label::Name, row.plan_type.as_str()),
                plain(&row.hint),
                plain(&row.when),
            ]
        });
        page.table(&["TYPE", "WHAT", "CHOOSE IT WHEN"], rows.collect());
    }
}
