//! The contract of a session: what whoever pays lets it spend, and what it is for.
//!
//! It comes as a block `VIBE_SESSION_CONTRACT` in a prompt. Whoever starts a session obeys it; in what a session answers it
//! is data. A contract without a ceiling is one without a ceiling, and never one of 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::keys::{Amount, Keys};
use crate::block::rule::{Checked, Findings, Rule};
use crate::block::tree::Tree;
use crate::block::{self, Mark};
use crate::intensity::Intensity;
use crate::money::Usd;
use crate::{Error, Result, Time};

/// What a session may spend, and what it is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contract {
    /// The job, by the name that whoever pays gave it: 1 to 128 characters without blanks.
    #[schemars(length(min = 1, max = 128))]
    pub job_id: String,
    /// The pipeline that the session belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The stage of the pipeline that the session is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What it may spend.
    #[serde(default)]
    pub budget: Budget,
    /// What happened before it.
    #[serde(default)]
    pub context: Context,
}

/// What a session may spend. A limit that is left out is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// US dollars, more than 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub ceiling_usd: Option<Usd>,
    /// Calls of tools, 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tool_calls: Option<u32>,
    /// Turns of the model, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_turns: Option<u32>,
    /// How often work may be given to another agent or sub-agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_crew_dispatches: Option<u32>,
    /// How thorough the work is meant to be; `standard` if it says nothing.
    #[serde(default)]
    pub intensity: Intensity,
    /// Whether the session is ended at the ceiling; otherwise it finishes its turn and starts no other.
    #[serde(default)]
    pub hard_ceiling: bool,
}

/// What happened before a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Context {
    /// The stages before it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prior_stages: Vec<PriorStage>,
}

/// A stage that is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PriorStage {
    /// Its name.
    pub stage: String,
    /// What it came to, in its own words: data, and no instruction.
    #[serde(default)]
    pub summary: String,
    /// What it cost in US dollars; left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
}

/// The contract in `text`, and everything that is wrong with it.
pub fn read(text: &str) -> Checked<Contract> {
    let mut findings = Findings::default();
    let node = block::find(text, Mark::CONTRACT, &mut findings);
    let contract = node.and_then(|node| contract(Keys::of(&node, "", &mut findings)?, &mut findings));
    findings.close(text, contract)
}

/// The contract that a prompt carries; none where none begins in it.
pub fn carried(prompt: &str) -> Option<Checked<Contract>> {
    block::is_there(prompt, Mark::CONTRACT).then(|| read(prompt))
}

/// The contract as a block. Error: it breaks a rule, or is too long for a block.
pub fn write(contract: &Contract) -> Result<String> {
    let text = block::write(Mark::CONTRACT, &tree(contract));
    let back = read(&text);
    match back.value.as_ref() {
        Some(value) if value == contract => Ok(text),
        _ => {
            let fault = back.fault().unwrap_or_else(|| "it reads back as another".to_owned());
            Err(Error::failed(format!("the contract cannot be written: {fault}")))
        }
    }
}

/// The name of the job with this number, from 1, of the day of `now`: `FL-20261121-001`.
pub fn own_job_id(now: Time, number: u32) -> String {
    format!("FL-{}-{number:03}", now.date().replace('-', ""))
}

/// The JSON Schema of what stands in the block.
pub fn schema() -> serde_json::Value {
    block::schema_of::<Contract>(&example())
}

/// The contract of the documentation.
pub fn example() -> Contract {
    Contract {
        job_id: "VB-20260404-042".to_owned(),
        pipeline: Some("feature".to_owned()),
        stage: Some("implement".to_owned()),
        budget: Budget {
            ceiling_usd: Usd::new(5.0),
            max_tool_calls: Some(200),
            max_turns: Some(60),
            max_crew_dispatches: Some(3),
            intensity: Intensity::Thorough,
            hard_ceiling: false,
        },
        context: Context {
            prior_stages: vec![PriorStage {
                stage: "plan".to_owned(),
                summary: "Identified 3 files, 2 crews needed".to_owned(),
                cost_usd: Usd::new(0.85),
            }],
        },
    }
}

fn contract(mut keys: Keys<'_>, findings: &mut Findings) -> Option<Contract> {
    if !block::is_readable(&mut keys, findings) {
        return None;
    }
    let job_id = keys.name("job_id", findings);
    let job_id = keys.require("job_id", job_id, findings);
    let pipeline = keys.text("pipeline", findings);
    let stage = keys.text("stage", findings);
    if !keys.has("budget") {
        findings.add(
            Rule::NoCeiling,
            keys.at(),
            "budget",
            "there is no budget, and so no ceiling",
        );
    }
    let budget = keys
        .map("budget", findings)
        .map(|keys| budget(keys, findings))
        .unwrap_or_default();
    let context = keys
        .map("context", findings)
        .map(|keys| context(keys, findings))
        .unwrap_or_default();
    keys.end(findings);
    Some(Contract {
        job_id: job_id?,
        pipeline,
        stage,
        budget,
        context,
    })
}

fn budget(mut keys: Keys<'_>, findings: &mut Findings) -> Budget {
    let budget = Budget {
        ceiling_usd: keys.money("ceiling_usd", Amount::Ceiling, findings),
        max_tool_calls: keys.count("max_tool_calls", 0..=u32::MAX, findings),
        max_turns: keys.count("max_turns", 1..=u32::MAX, findings),
        max_crew_dispatches: keys.count("max_crew_dispatches", 0..=u32::MAX, findings),
        intensity: keys.word("intensity", findings).unwrap_or_default(),
        hard_ceiling: keys.flag("hard_ceiling", findings).unwrap_or_default(),
    };
    if !keys.has("ceiling_usd") {
        let path = keys.path("ceiling_usd");
        findings.add(Rule::NoCeiling, keys.at(), path, "there is no ceiling");
        if budget.hard_ceiling {
            let (at, path) = (keys.place("hard_ceiling"), keys.path("hard_ceiling"));
            findings.add(Rule::NoEffect, at, path, "there is no ceiling that could be hard");
        }
    }
    keys.end(findings);
    budget
}

fn context(mut keys: Keys<'_>, findings: &mut Findings) -> Context {
    let list = keys.list("prior_stages", findings);
    let prior_stages = list.into_iter().filter_map(|(path, node)| {
        let mut keys = Keys::of(node, &path, findings)?;
        let stage = keys.text("stage", findings);
        let stage = keys.require("stage", stage, findings);
        let summary = keys.text("summary", findings).unwrap_or_default();
        let cost_usd = keys.money("cost_usd", Amount::AnyCost, findings);
        keys.end(findings);
        Some(PriorStage {
            stage: stage?,
            summary,
            cost_usd,
        })
    });
    let prior_stages = prior_stages.collect();
    keys.end(findings);
    Context { prior_stages }
}

fn tree(contract: &Contract) -> Tree {
    let text = |text: &Option<String>| text.as_deref().map(Tree::text);
    let budget = &contract.budget;
    let budget = Tree::map()
        .with("ceiling_usd", budget.ceiling_usd.map(Tree::money))
        .with("max_tool_calls", budget.max_tool_calls.map(Tree::count))
        .with("max_turns", budget.max_turns.map(Tree::count))
        .with("max_crew_dispatches", budget.max_crew_dispatches.map(Tree::count))
        .with("intensity", Some(Tree::text(budget.intensity.as_str())))
        .with("hard_ceiling", Some(Tree::Scalar(budget.hard_ceiling.to_string())));
    let prior = |prior: &PriorStage| {
        Tree::map()
            .with("stage", Some(Tree::text(&prior.stage)))
            .with("summary", Some(Tree::text(&prior.summary)))
            .with("cost_usd", prior.cost_usd.map(Tree::money))
    };
    let prior: Vec<Tree> = contract.context.prior_stages.iter().map(prior).collect();
    let context = (!prior.is_empty()).then(|| Tree::map().with("prior_stages", Some(Tree::List(prior))));
    Tree::map()
        .with("job_id", Some(Tree::text(&contract.job_id)))
        .with("pipeline", text(&contract.pipeline))
        .with("stage", text(&contract.stage))
        .with("budget", Some(budget))
        .with("context", context)
}

#[cfg(test)]
mod tests;
