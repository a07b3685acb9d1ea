//! Providers, models and budgets.

use std::collections::BTreeMap;

use super::super::file::FleetFile;
use super::super::model::{self, Act, Refusal};
use super::super::resolve;
use super::super::rule::{Findings, Rule, quoted};
use super::super::word::{Effort, PlanType, Sandbox, WorkerType};
use super::super::{Reach, Surroundings};
use super::{list, type_of};
use crate::money::Usd;

/// More than this for one worker is worth a second look, in USD.
const HIGH: f64 = 10.0;
/// The one provider with sandboxes of its own.
const CODEX: &str = "codex";

/// What a plan or a worker says about its model.
struct Named<'a> {
    path: String,
    /// The provider that holds here.
    provider: &'a str,
    provider_is_here: bool,
    model: Option<&'a str>,
    fallback: Option<&'a str>,
    effort: Option<Effort>,
    sandbox: Option<Sandbox>,
}

/// Notes providers and models that do not fit, and what a provider cannot do.
pub(super) fn models(file: &FleetFile, around: &Surroundings, findings: &mut Findings) {
    let config = &file.config;
    let of_plan = resolve::choice(config, None).provider;
    let plan = Named {
        path: "config".to_owned(),
        provider: &of_plan,
        provider_is_here: true,
        model: config.model.as_deref(),
        fallback: config.fallback_model.as_deref(),
        effort: config.reasoning_effort,
        sandbox: config.sandbox,
    };
    named(&plan, around, findings);
    if file.plan_type == Some(PlanType::Autoresearch) {
        return;
    }
    for (index, worker) in file.workers.iter().enumerate() {
        let worker = Named {
            path: format!("workers[{index}]"),
            provider: worker.provider.as_deref().unwrap_or(&of_plan),
            provider_is_here: worker.provider.is_some(),
            model: worker.model.as_deref(),
            fallback: worker.fallback_model.as_deref(),
            effort: worker.reasoning_effort,
            sandbox: worker.sandbox,
        };
        named(&worker, around, findings);
    }
    restrictions(file, around, findings);
}

fn named(named: &Named<'_>, around: &Surroundings, findings: &mut Findings) {
    let path = |key: &str| format!("{}.{key}", named.path);
    if let Some(sandbox) = named.sandbox.filter(|sandbox| *sandbox != Sandbox::Bwrap)
        && named.provider != CODEX
    {
        let message = format!(
            "`{}` is a sandbox of `{CODEX}`, not of {}",
            sandbox.as_str(),
            quoted(named.provider)
        );
        let _ = findings
            .add(Rule::NoEffect, path("sandbox"), message)
            .hint("write \"sandbox\": \"bwrap\", which is for any program, or leave it out");
    }
    let Some(provider) = model::provider(named.provider) else {
        let is_own = around.harnesses.iter().any(|name| name == named.provider);
        if named.provider_is_here && !is_own {
            unknown_provider(named.provider, path("provider"), around, findings);
        }
        return;
    };
    for (key, model) in [("model", named.model), ("fallback_model", named.fallback)] {
        let Some(model) = model else { continue };
        if key == "fallback_model" && provider.fallback.is_none() {
            let message = format!("`{}` has no fallback model", provider.name);
            let _ = findings.add(Rule::NoFallback, path(key), message);
            continue;
        }
        match provider.refusal(model) {
            None => {}
            Some(Refusal::Other(owner)) => {
                let message = format!("{} is a model of `{owner}`, not of `{}`", quoted(model), provider.name);
                let _ = findings.add(Rule::ModelOfOther, path(key), message).hint(format!(
                    "write \"provider\": \"{owner}\", or a model of `{}`",
                    provider.name
                ));
            }
            Some(Refusal::Unknown(_)) if around.allow_unknown_model => {
                let message = format!("{} is not known as a model of `{}`", quoted(model), provider.name);
                let _ = findings.add(Rule::AllowedModel, path(key), message);
            }
            Some(Refusal::Unknown(hint)) => {
                let message = format!("{} is not known as a model of `{}`", quoted(model), provider.name);
                let _ = findings
                    .add(Rule::UnknownModel, path(key), message)
                    .hint(format!("{hint}; or pass `--allow-unknown-model`"));
            }
        }
    }
    if named.effort.is_some() && !provider.effort {
        let message = format!("`{}` takes no reasoning effort", provider.name);
        let _ = findings.add(Rule::NoEffort, path("reasoning_effort"), message);
    }
}

fn unknown_provider(name: &str, path: String, around: &Surroundings, findings: &mut Findings) {
    let builtin = model::providers().iter().map(|provider| provider.name.as_str());
    let known: Vec<&str> = builtin.chain(around.harnesses.iter().map(String::as_str)).collect();
    let hint = match findings.guess(name, &known) {
        Some(near) => format!("did you mean `{near}`? Known are {}", known.join(", ")),
        None => format!(
            "known are {}; add your own as `[harness.NAME]`: `fleet config edit`",
            known.join(", ")
        ),
    };
    let message = format!("there is no provider {}", quoted(name));
    let _ = findings.add(Rule::UnknownProvider, path, message).hint(hint);
}

/// What programs cannot keep their workers from, or do not have; once for each provider and type.
fn restrictions(file: &FleetFile, around: &Surroundings, findings: &mut Findings) {
    let mut gaps: BTreeMap<(String, WorkerType, String), Vec<usize>> = BTreeMap::new();
    let mut without_web: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut without_limit: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, worker) in file.workers.iter().enumerate() {
        let choice = resolve::choice(&file.config, Some(worker));
        let known = model::provider(&choice.provider);
        let is_own = around.harnesses.contains(&choice.provider);
        if known.is_none() && !is_own {
            continue;
        }
        if known.is_none_or(|known| !known.budget) {
            without_limit.entry(choice.provider.clone()).or_default().push(index);
        }
        let Some(worker_type) = type_of(file, index) else {
            continue;
        };
        if worker_type == WorkerType::Research && known.is_some_and(|known| !known.web) {
            without_web.entry(choice.provider.clone()).or_default().push(index);
        }
        let mut open = model::gaps(known, worker_type, choice.sandbox);
        if let Some(known) = known {
            let further = model::reach(known, worker_type, choice.sandbox);
            open.retain(|act| !further.contains(act));
        }
        let open: Vec<&str> = open.into_iter().map(Act::as_str).collect();
        if !open.is_empty() {
            let key = (choice.provider, worker_type, open.join(" and "));
            gaps.entry(key).or_default().push(index);
        }
    }
    for ((provider, worker_type, acts), workers) in gaps {
        let message = format!(
            "{} cannot keep a worker of type `{}` from {acts}: {}",
            quoted(&provider),
            worker_type.as_str(),
            list(file, &workers)
        );
        let _ = findings.add(Rule::NotEnforced, format!("workers[{}]", workers[0]), message);
    }
    for (provider, workers) in without_web {
        let message = format!(
            "{} has no web search of its own: {}",
            quoted(&provider),
            list(file, &workers)
        );
        let _ = findings.add(Rule::NotProvided, format!("workers[{}]", workers[0]), message);
    }
    for (provider, workers) in without_limit {
        let message = format!(
            "{} has no budget limit of its own: {}",
            quoted(&provider),
            list(file, &workers)
        );
        let _ = findings.add(Rule::SoftBudget, format!("workers[{}]", workers[0]), message);
    }
}

/// What the commands of workers can do beyond their types, once for each provider and type.
pub(super) fn reach(file: &FleetFile) -> Vec<Reach> {
    let mut further: BTreeMap<(String, WorkerType, Vec<Act>), Vec<usize>> = BTreeMap::new();
    for (index, worker) in file.workers.iter().enumerate() {
        let choice = resolve::choice(&file.config, Some(worker));
        let (Some(known), Some(worker_type)) = (model::provider(&choice.provider), type_of(file, index)) else {
            continue;
        };
        let acts = model::reach(known, worker_type, choice.sandbox);
        if !acts.is_empty() {
            further
                .entry((choice.provider, worker_type, acts))
                .or_default()
                .push(index);
        }
    }
    let reach = |((provider, worker_type, acts), workers): ((String, WorkerType, Vec<Act>), Vec<usize>)| Reach {
        count: workers.len(),
        workers: list(file, &workers),
        provider,
        worker_type,
        acts,
    };
    further.into_iter().map(reach).collect()
}

/// Notes budgets that are too high, and a plan's that is too small for its workers.
pub(super) fn budgets(file: &FleetFile, findings: &mut Findings) {
    let Some(plan_type) = file.plan_type else { return };
    let (each, largest) = if plan_type == PlanType::Autoresearch {
        let round = resolve::research_budget(&file.config);
        (round, Some((round, "a round".to_owned())))
    } else {
        for (index, worker) in file.workers.iter().enumerate() {
            for (key, budget) in [
                ("max_budget_usd", worker.max_budget_usd),
                ("max_budget_per_iter", worker.max_budget_per_iter),
            ] {
                if let Some(budget) = budget.filter(|budget| *budget > HIGH).and_then(Usd::new) {
                    let message = format!("{budget} for one worker");
                    let _ = findings.add(Rule::HighBudget, format!("workers[{index}].{key}"), message);
                }
            }
        }
        let budgets = || file.workers.iter().map(|worker| resolve::budget(plan_type, worker));
        let largest = budgets().zip(&file.workers).max_by_key(|(budget, _)| *budget);
        let named = largest.map(|(budget, worker)| {
            let id = worker.id.as_deref().unwrap_or_default();
            (budget, format!("the worker {}", quoted(id)))
        });
        (budgets().sum(), named)
    };
    let mut each: Usd = each;
    let of_round = file.config.budget_per_iter.and_then(Usd::new);
    if let (PlanType::Iterative, Some(round), Some((largest, who))) = (plan_type, of_round, &largest) {
        let path = "config.budget_per_iter";
        if round < *largest {
            let message = format!("a round may spend {round}, and {who} alone {largest}");
            let _ = findings.add(Rule::Unaffordable, path, message);
        } else if round < each {
            let message = format!("a round may spend {round}, and its workers together {each}");
            let _ = findings.add(Rule::Shortfall, path, message);
        }
        each = each.min(round);
    }
    let (Some((cap, path)), Some((largest, who))) = (resolve::cap(file), largest) else {
        return;
    };
    let rounds = resolve::rounds(file).unwrap_or(1);
    let whole = each * rounds;
    if cap < largest {
        let message = format!("the plan may spend {cap}, and {who} alone {largest}");
        let _ = findings.add(Rule::Unaffordable, path, message);
    } else if file.plan_type == Some(PlanType::Iterative) && cap < each {
        // A round that cannot be paid for to its end is money for nothing: nobody reviews it.
        let message = format!("the plan may spend {cap}, and one round {each}");
        let _ = findings.add(Rule::Unaffordable, path, message);
    } else if cap < whole {
        let message = match rounds {
            1 => format!("the plan may spend {cap}, and its workers together {whole}"),
            _ => format!("the plan may spend {cap}, and its {rounds} rounds together {whole}"),
        };
        let _ = findings.add(Rule::Shortfall, path, message);
    }
}
