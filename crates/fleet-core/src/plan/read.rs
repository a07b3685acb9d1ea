//! From JSON to [`FleetFile`]: types, ranges, known keys, and keys that belong to another type of plan.

use std::collections::BTreeMap;

use super::file::{ConfigFile, FleetFile, ProblemFile, SearchFile, StopFile, WorkerFile};
use super::json::{Member, Node, Value};
use super::rule::{Findings, Rule, quoted};
use super::word::{PlanType, Word};
use crate::money::Usd;

/// Keys that mean something in some types of plans only.
const PLACES: &[(&str, &str, &[PlanType])] = {
    use PlanType::{Autoresearch, Dag, Iterative, Worktree};
    &[
        ("", "workers", &[Worktree, Dag, Iterative]),
        ("", "stop_when", &[Iterative, Autoresearch]),
        ("", "problem", &[Autoresearch]),
        ("", "search", &[Autoresearch]),
        ("config", "on_dep_failure", &[Dag, Iterative]),
        ("config", "max_iterations", &[Iterative, Autoresearch]),
        ("config", "cost_cap_usd", &[Iterative, Autoresearch]),
        ("config", "budget_per_iter", &[Iterative, Autoresearch]),
        ("config", "max_turns", &[Autoresearch]),
        ("stop_when", "reviewer_lgtm_count", &[Iterative]),
        ("workers", "depends_on", &[Dag, Iterative]),
        ("workers", "on_dep_failure", &[Dag, Iterative]),
        ("workers", "role", &[Iterative]),
        ("workers", "max_budget_per_iter", &[Iterative]),
        ("workers", "branch", &[Worktree]),
        ("workers", "target_files", &[Worktree]),
    ]
};

/// How many rounds, verdicts and turns a plan may ask for.
const MOST_ROUNDS: u32 = 10_000;
/// How often a worker may be tried again.
const MOST_RETRIES: u32 = 20;
/// The longest time a plan may name, in minutes: a week.
const LONGEST: f64 = 10_080.0;

/// Whether `key` of the object `place` means something in plans of this type. The top's place is empty.
pub(super) fn belongs(place: &str, key: &str, plan_type: PlanType) -> bool {
    let row = PLACES.iter().find(|(of, name, _)| (*of, *name) == (place, key));
    row.is_none_or(|(_, _, types)| types.contains(&plan_type))
}

/// What `root` says, as far as it can be read. None: it is no object.
pub(super) fn file(root: &Node, findings: &mut Findings) -> Option<FleetFile> {
    let Value::Object(members) = &root.value else {
        if !matches!(root.value, Value::Bad) {
            let message = format!("a plan is an object, and this is {}", root.value.what());
            let _ = findings
                .add(Rule::WrongType, "", message)
                .at(root.at)
                .hint("write an object: `{ \"type\": \"dag\", … }`");
        }
        return None;
    };
    let mut top = Object::new(members, root.at, "", String::new(), None);
    let plan_type = top.word("type", findings);
    top.plan_type = plan_type;
    top.require(
        "type",
        "one of `worktree`, `dag`, `iterative`, `autoresearch`: see `fleet types`",
        findings,
    );
    let mut file = FleetFile {
        schema: top.text("$schema", findings),
        fleet_name: top.text("fleet_name", findings),
        fleet_id: top.text("fleet_id", findings),
        plan_type,
        ..FleetFile::default()
    };
    top.ignore(&[
        "status",
        "launched_at",
        "killed_at",
        "paused_at",
        "resumed_at",
        "completed_at",
        "stop_reason",
    ]);
    file.config = top
        .object("config", findings)
        .map(|object| config(object, findings))
        .unwrap_or_default();
    let nodes = top.list("workers", findings);
    for (index, node) in nodes.into_iter().flatten().enumerate() {
        let path = format!("workers[{index}]");
        file.workers.push(match &node.value {
            Value::Object(members) => worker(Object::new(members, node.at, "workers", path, plan_type), findings),
            other => {
                wrong(findings, &path, node.at, "an object", other);
                WorkerFile::default()
            }
        });
    }
    file.stop_when = top.object("stop_when", findings).map(|mut object| {
        let stop = StopFile {
            max_iterations: object.count("max_iterations", 1, MOST_ROUNDS, findings),
            reviewer_lgtm_count: object.count("reviewer_lgtm_count", 1, MOST_ROUNDS, findings),
            cost_cap_usd: object.limit("cost_cap_usd", findings),
        };
        object.finish(findings);
        stop
    });
    file.problem = top.object("problem", findings).map(|object| problem(object, findings));
    file.search = top.object("search", findings).map(|mut object| {
        let search = SearchFile {
            enabled: object.flag("enabled", findings),
            plateau_threshold: object.count("plateau_threshold", 1, MOST_ROUNDS, findings),
        };
        object.finish(findings);
        search
    });
    top.finish(findings);
    Some(file)
}

fn config(mut object: Object<'_>, findings: &mut Findings) -> ConfigFile {
    let config = ConfigFile {
        max_concurrent: object.count("max_concurrent", 1, 1000, findings),
        provider: object.name("provider", findings),
        model: object.name("model", findings),
        fallback_model: object.name("fallback_model", findings),
        reasoning_effort: object.word_or_none("reasoning_effort", findings),
        sandbox: object.word("sandbox", findings),
        launch_delay_seconds: object.number("launch_delay_seconds", 0.0, 3600.0, findings),
        max_retries: object.count("max_retries", 0, MOST_RETRIES, findings),
        retry_delay_seconds: object.number("retry_delay_seconds", 0.0, 3600.0, findings),
        timeout_minutes: object.number("timeout_minutes", 0.0, LONGEST, findings),
        stall_minutes: object.number("stall_minutes", 0.0, LONGEST, findings),
        max_budget_fleet: object.limit("max_budget_fleet", findings),
        on_dep_failure: object.word("on_dep_failure", findings),
        max_iterations: object.count("max_iterations", 1, MOST_ROUNDS, findings),
        cost_cap_usd: object.limit("cost_cap_usd", findings),
        budget_per_iter: object.budget("budget_per_iter", findings),
        max_turns: object.count("max_turns", 0, MOST_ROUNDS, findings),
        keep_panes_open: object.flag("keep_panes_open", findings),
        record: object.flag("record", findings),
    };
    object.no_effect("keep_panes_open", "leave it out: agents need no panes", findings);
    object.no_effect("record", "leave it out: output is always recorded", findings);
    if object.plan_type == Some(PlanType::Iterative) {
        object.no_effect("max_iterations", "write it as `stop_when.max_iterations`", findings);
    }
    object.finish(findings);
    config
}

fn worker(mut object: Object<'_>, findings: &mut Findings) -> WorkerFile {
    object.require("id", "a name of its own, such as \"id\": \"parser\"", findings);
    if let Some(member) = object.take("max_turns") {
        let path = object.path_of("max_turns");
        let _ = findings
            .add(Rule::MaxTurns, path, "a worker has no limit of turns")
            .at(member.key_at);
    }
    let budget = object.take("max_budget_usd").map(|member| member.key_at);
    if let Some(at) = budget.filter(|_| object.plan_type == Some(PlanType::Iterative)) {
        let path = object.path_of("max_budget_usd");
        let message = "the workers of an iterative plan have a budget for each round";
        let _ = findings.add(Rule::BudgetPerIteration, path, message).at(at);
    }
    let worker = WorkerFile {
        id: object.text("id", findings),
        worker_type: object.word("type", findings),
        task: object.text("task", findings),
        provider: object.name("provider", findings),
        model: object.name("model", findings),
        fallback_model: object.name("fallback_model", findings),
        reasoning_effort: object.word_or_none("reasoning_effort", findings),
        sandbox: object.word("sandbox", findings),
        max_budget_usd: object.budget("max_budget_usd", findings),
        max_budget_per_iter: object.budget("max_budget_per_iter", findings),
        timeout_minutes: object.number("timeout_minutes", 0.0, LONGEST, findings),
        depends_on: object.texts("depends_on", findings).unwrap_or_default(),
        on_dep_failure: object.word("on_dep_failure", findings),
        role: object.word("role", findings),
        branch: object.text("branch", findings),
        target_files: object.texts("target_files", findings),
        ..WorkerFile::default()
    };
    object.ignore(&["status", "session_name", "started_at", "killed_at"]);
    object.finish(findings);
    worker
}

fn problem(mut object: Object<'_>, findings: &mut Findings) -> ProblemFile {
    object.require(
        "eval_command",
        "the command that measures, such as \"eval_command\": \"./score.sh\"",
        findings,
    );
    object.require(
        "metric_regex",
        "a group around the number, such as \"metric_regex\": \"score: ([0-9.]+)\"",
        findings,
    );
    let problem = ProblemFile {
        workdir: object.name("workdir", findings),
        eval_command: object.text("eval_command", findings),
        eval_timeout_seconds: object.count("eval_timeout_seconds", 1, 86_400, findings),
        metric_regex: object.text("metric_regex", findings),
        metric_direction: object.word("metric_direction", findings),
        results_file: object.name("results_file", findings),
        program_md: object.name("program_md", findings),
    };
    object.finish(findings);
    problem
}

/// One object: its members are asked for by name, and what nobody asked for is unknown.
struct Object<'a> {
    members: &'a BTreeMap<String, Member>,
    at: usize,
    /// Which object it is in [`PLACES`].
    place: &'static str,
    path: String,
    plan_type: Option<PlanType>,
    asked: Vec<&'static str>,
}

impl<'a> Object<'a> {
    fn new(
        members: &'a BTreeMap<String, Member>,
        at: usize,
        place: &'static str,
        path: String,
        plan_type: Option<PlanType>,
    ) -> Self {
        Self {
            members,
            at,
            place,
            path,
            plan_type,
            asked: Vec::with_capacity(24),
        }
    }

    fn path_of(&self, key: &str) -> String {
        let plain =
            (1..=80).contains(&key.len()) && key.chars().all(|c| c.is_ascii_alphanumeric() || "_$-".contains(c));
        match (plain, self.path.as_str()) {
            (true, "") => key.to_owned(),
            (true, path) => format!("{path}.{key}"),
            (false, path) => format!("{path}[{}]", quoted(key).replace('`', "\"")),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Member> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.members.get(key)
    }

    fn wrong(&self, key: &str, wanted: &str, node: &Node, findings: &mut Findings) {
        wrong(findings, &self.path_of(key), node.at, wanted, &node.value);
    }

    /// Notes that `key` is missing, if it is; `usual` is what it could be.
    fn require(&mut self, key: &'static str, usual: &str, findings: &mut Findings) {
        if self.take(key).is_none() {
            let message = format!("the key `{key}` is missing");
            let _ = findings
                .add(Rule::Missing, self.path_of(key), message)
                .at(self.at)
                .hint(format!("write {usual}"));
        }
    }

    /// Notes that `key` does nothing, if it is set to something.
    fn no_effect(&mut self, key: &'static str, instead: &str, findings: &mut Findings) {
        if let Some(member) = self.take(key) {
            let message = format!("`{key}` has no effect here");
            let _ = findings
                .add(Rule::NoEffect, self.path_of(key), message)
                .at(member.key_at)
                .hint(instead);
        }
    }

    fn ignore(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        let node = &self.take(key)?.node;
        if let Value::Text(text) = &node.value {
            return Some(text.clone());
        }
        self.wrong(key, "a text", node, findings);
        None
    }

    /// A text; an empty one says nothing.
    fn name(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        self.text(key, findings).filter(|text| !text.is_empty())
    }

    fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Option<Vec<String>> {
        let nodes = self.list(key, findings)?;
        let mut texts = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            match &node.value {
                Value::Text(text) => texts.push(text.clone()),
                other => {
                    let path = format!("{}[{index}]", self.path_of(key));
                    wrong(findings, &path, node.at, "a text", other);
                    // It keeps its place, so that the paths of the others stay true.
                    texts.push(String::new());
                }
            }
        }
        Some(texts)
    }

    fn flag(&mut self, key: &'static str, findings: &mut Findings) -> Option<bool> {
        let node = &self.take(key)?.node;
        if let Value::Bool(flag) = node.value {
            return Some(flag);
        }
        self.wrong(key, "`true` or `false`", node, findings);
        None
    }

    fn list(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'a Vec<Node>> {
        let node = &self.take(key)?.node;
        if let Value::List(nodes) = &node.value {
            return Some(nodes);
        }
        self.wrong(key, "a list", node, findings);
        None
    }

    fn object(&mut self, key: &'static str, findings: &mut Findings) -> Option<Object<'a>> {
        let node = &self.take(key)?.node;
        if let Value::Object(members) = &node.value {
            // What is out of place as a whole is not looked through for more of it.
            let plan_type = self.plan_type.filter(|_| self.elsewhere(key).is_none());
            return Some(Object::new(members, node.at, key, self.path_of(key), plan_type));
        }
        self.wrong(key, "an object", node, findings);
        None
    }

    /// One of a few words; an empty text says nothing.
    fn word_or_none<W: Word>(&mut self, key: &'static str, findings: &mut Findings) -> Option<W> {
        let is_empty = |member: &Member| matches!(&member.node.value, Value::Text(text) if text.is_empty());
        match self.take(key).is_some_and(is_empty) {
            true => None,
            false => self.word(key, findings),
        }
    }

    /// One of a few words.
    fn word<W: Word>(&mut self, key: &'static str, findings: &mut Findings) -> Option<W> {
        let text = self.text(key, findings)?;
        if let Some((_, word)) = W::WORDS.iter().find(|(known, _)| *known == text) {
            return Some(*word);
        }
        let at = self.members.get(key).map_or(self.at, |member| member.node.at);
        let known: Vec<&str> = W::WORDS.iter().map(|(known, _)| *known).collect();
        let list = known
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let hint = match findings.guess(&text, &known) {
            Some(near) => format!("did you mean `{near}`? It is one of {list}"),
            None => format!("it is one of {list}"),
        };
        let message = format!("`{key}` cannot be {}", quoted(&text));
        let _ = findings
            .add(Rule::UnknownWord, self.path_of(key), message)
            .at(at)
            .hint(hint);
        None
    }

    fn number(&mut self, key: &'static str, least: f64, most: f64, findings: &mut Findings) -> Option<f64> {
        let node = &self.take(key)?.node;
        let Value::Number(number) = node.value else {
            self.wrong(key, "a number", node, findings);
            return None;
        };
        if (least..=most).contains(&number) {
            return Some(number);
        }
        self.out_of_range(key, node, format!("a number from {least} to {most}"), number, findings);
        None
    }

    fn count(&mut self, key: &'static str, least: u32, most: u32, findings: &mut Findings) -> Option<u32> {
        let node = &self.take(key)?.node;
        let Value::Number(number) = node.value else {
            self.wrong(key, "a whole number", node, findings);
            return None;
        };
        if number.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(&number) {
            return Some(number as u32);
        }
        self.out_of_range(
            key,
            node,
            format!("a whole number from {least} to {most}"),
            number,
            findings,
        );
        None
    }

    /// An amount that a worker may spend: more than 0.
    fn budget(&mut self, key: &'static str, findings: &mut Findings) -> Option<f64> {
        let node = &self.take(key)?.node;
        let Value::Number(number) = node.value else {
            self.wrong(key, "a number of USD", node, findings);
            return None;
        };
        if Usd::new(number).is_some_and(|amount| !amount.is_zero()) {
            return Some(number);
        }
        let wanted = format!("an amount in USD above 0 and up to {}", Usd::MAX);
        self.out_of_range(key, node, wanted, number, findings);
        None
    }

    /// An amount that a plan may spend; 0 is no limit.
    fn limit(&mut self, key: &'static str, findings: &mut Findings) -> Option<f64> {
        self.number(key, 0.0, Usd::MAX, findings)
    }

    fn out_of_range(&self, key: &str, node: &Node, wanted: String, number: f64, findings: &mut Findings) {
        let message = format!("`{key}` is {number}, which is out of range");
        let _ = findings
            .add(Rule::OutOfRange, self.path_of(key), message)
            .at(node.at)
            .hint(format!("write {wanted}"));
    }

    /// The types of plans that `key` has a place in, where this plan's is none of them.
    fn elsewhere(&self, key: &str) -> Option<(PlanType, &'static [PlanType])> {
        let plan_type = self.plan_type?;
        let (_, _, types) = PLACES
            .iter()
            .find(|(place, name, _)| *place == self.place && *name == key)?;
        (!types.contains(&plan_type)).then_some((plan_type, types))
    }

    /// Notes what nobody asked for, and what belongs to another type.
    fn finish(self, findings: &mut Findings) {
        for (key, member) in self.members {
            if !self.asked.contains(&key.as_str()) {
                self.unknown(key, member.key_at, findings);
                continue;
            }
            let Some((plan_type, types)) = self.elsewhere(key) else {
                continue;
            };
            if member.node.value.says_nothing() {
                continue;
            }
            let types: Vec<String> = types.iter().map(|each| format!("`{}`", each.as_str())).collect();
            let message = format!("`{key}` has no place in a plan of type `{}`", plan_type.as_str());
            let hint = format!("leave it out, or choose the type it belongs to: {}", types.join(" or "));
            let _ = findings
                .add(Rule::OtherType, self.path_of(key), message)
                .at(member.key_at)
                .hint(hint);
        }
    }

    fn unknown(&self, key: &str, at: usize, findings: &mut Findings) {
        let message = format!("the key {} is not known", quoted(key));
        let hint = match findings.guess(key, &self.asked) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let mut known = self.asked.clone();
                known.sort_unstable();
                format!("known here are {}", known.join(", "))
            }
        };
        let _ = findings
            .add(Rule::UnknownKey, self.path_of(key), message)
            .at(at)
            .hint(hint);
    }
}

impl Value {
    fn what(&self) -> &'static str {
        match self {
            Value::Null => "`null`",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
            Value::Bad => "no value",
        }
    }

    fn says_nothing(&self) -> bool {
        match self {
            Value::List(nodes) => nodes.is_empty(),
            Value::Text(text) => text.is_empty(),
            _ => false,
        }
    }
}

fn wrong(findings: &mut Findings, path: &str, at: usize, wanted: &str, is: &Value) {
    if matches!(is, Value::Bad) {
        return;
    }
    let _ = findings
        .add(Rule::WrongType, path, format!("this is {}, not {wanted}", is.what()))
        .at(at)
        .hint(format!("write {wanted}"));
}

/// The byte of the text that `path`, of known keys and indices, leads to; the innermost that is there.
pub(super) fn locate(root: &Node, path: &str) -> usize {
    let mut node = root;
    for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
        let next = match &node.value {
            Value::Object(members) => members.get(step).map(|member| &member.node),
            Value::List(nodes) => step.parse::<usize>().ok().and_then(|index| nodes.get(index)),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node.at
}
