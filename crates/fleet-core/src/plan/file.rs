//! `fleet.json` as it is written: every key, optional ones as such. The published schema comes from these types.
//!
//! Nothing here is checked or filled in; [`super::Plan`] is what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::word::{Direction, Effort, OnDepFailure, PlanType, Role, Sandbox, WorkerType};

/// A plan of fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "fleet.json", extend("required" = ["type"], "allOf" = by_type()))]
pub struct FleetFile {
    /// Where this schema is, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What the fleet is called; `fleet` if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._/-]{1,100}$"))]
    pub fleet_name: Option<String>,
    /// Another name to tell runs apart by; the same as `fleet_name` if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._/-]{1,100}$"))]
    pub fleet_id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub plan_type: Option<PlanType>,
    /// What holds for all workers.
    #[serde(default)]
    pub config: ConfigFile,
    /// Its workers. An autoresearch plan has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerFile>,
    /// When to end: iterative and autoresearch plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_when: Option<StopFile>,
    /// What is to get better: autoresearch plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemFile>,
    /// What to do when nothing gets better: autoresearch plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchFile>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_at: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<Value>,
}

/// What holds for all workers, unless a worker says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// How many workers run at once; 5 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent: Option<u32>,
    /// The provider; `claude` if it says nothing. One of fleet's harnesses, or of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model of workers with this provider; the provider's default if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model to go on with when the first one is overloaded; `claude` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// How long the model thinks; `codex` and `pi` only. An empty text says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "effort_schema")]
    pub reasoning_effort: Option<Effort>,
    /// The boundary around workers' programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// Seconds between two starts; 0 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub launch_delay_seconds: Option<f64>,
    /// How often a worker is tried again that failed for a reason outside of it; 2 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub max_retries: Option<u32>,
    /// Seconds before the first of these; each next one waits four times as long. 5 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub retry_delay_seconds: Option<f64>,
    /// How long a worker may take, in minutes; 0, or nothing said, for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_080))]
    pub timeout_minutes: Option<f64>,
    /// After so many minutes without output and without use of the processor a worker is ended and tried again; 30 if it
    /// says nothing, 0 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_080))]
    pub stall_minutes: Option<f64>,
    /// What the whole run may spend, in USD; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_budget_fleet: Option<f64>,
    /// What becomes of workers whose dependency failed; `skip` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_dep_failure: Option<OnDepFailure>,
    /// The same as `stop_when.max_iterations`, for autoresearch plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_iterations: Option<u32>,
    /// The same as `stop_when.cost_cap_usd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cost_cap_usd: Option<f64>,
    /// What each round may spend, in USD: of an autoresearch plan 1.00 if it says nothing, of an iterative one what its
    /// workers may.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000))]
    pub budget_per_iter: Option<f64>,
    /// How many turns each round of an autoresearch plan may take; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_turns: Option<u32>,
    /// No effect: agents need no panes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_panes_open: Option<bool>,
    /// No effect: output is always recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
}

/// One worker. Its prompt is the file workers/ID/prompt.md.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub struct WorkerFile {
    /// Its name in the plan, and of its folder.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub id: Option<String>,
    /// What it may do; `code-run` for a worktree plan, else it must be given.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub worker_type: Option<WorkerType>,
    /// A label for people. The prompt is in its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Its provider, where it is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Its model, where it is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its fallback model, where it is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// How long its model thinks, where that is not the plan's. An empty text says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "effort_schema")]
    pub reasoning_effort: Option<Effort>,
    /// The boundary around its program, where it is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// What it may spend, in USD; 1.00 if it says nothing. Not in an iterative plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000))]
    pub max_budget_usd: Option<f64>,
    /// What it may spend in each round of an iterative plan, in USD; 2.00 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000))]
    pub max_budget_per_iter: Option<f64>,
    /// How long it may take, in minutes, where that is not the plan's; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_080))]
    pub timeout_minutes: Option<f64>,
    /// The ids of the workers that must be done before it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// What becomes of it when one of those failed, where that is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_dep_failure: Option<OnDepFailure>,
    /// Its part in a round. The type says the same: leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The branch it works on: worktree plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The files it will change, as paths and globs from the repository's top: worktree plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_files: Option<Vec<String>>,
    /// Written back by scripts; ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Value>,
    /// Written back by scripts; ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed_at: Option<Value>,
}

/// When a plan of rounds ends. The first that is reached counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopFile {
    /// After so many rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_iterations: Option<u32>,
    /// After so many verdicts `lgtm` in a row: iterative plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub reviewer_lgtm_count: Option<u32>,
    /// When so much was spent, in USD; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cost_cap_usd: Option<f64>,
}

/// What an autoresearch plan makes better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["eval_command", "metric_regex"]))]
pub struct ProblemFile {
    /// Where it works; the fleet root if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// The command that measures. fleet runs it, not the agent.
    pub eval_command: Option<String>,
    /// How long it may take, in seconds; 600 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub eval_timeout_seconds: Option<u32>,
    /// A regular expression with a group around the number in its output.
    pub metric_regex: Option<String>,
    /// Which way is better; `minimize` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_direction: Option<Direction>,
    /// Where the rounds are listed; `results.tsv` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results_file: Option<String>,
    /// The prompt of each round; `program.md` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_md: Option<String>,
}

/// What an autoresearch plan does when nothing gets better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchFile {
    /// Whether to look into the web for ideas; yes if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// After so many rounds without progress; 3 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub plateau_threshold: Option<u32>,
}

/// The schema of `fleet.json`, as it is published.
pub fn schema() -> Value {
    schema_of::<FleetFile>()
}

/// The schema of a file that people write: optional keys are left out, and `null` is no value.
pub fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = schemars::SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value();
    without_null(&mut schema);
    schema
}

/// What may stand for `property` of `schema`, for people: words, or the kind of value.
pub fn value_of(schema: &Value, property: &Value) -> String {
    let definition = |path: &str| &schema["$defs"][path.rsplit('/').next().unwrap_or_default()];
    if let Some(path) = property["$ref"].as_str() {
        return value_of(schema, definition(path));
    }
    let consts = property["oneOf"].as_array().into_iter().flatten();
    let enums = property["enum"].as_array().into_iter().flatten();
    let words: Vec<String> = consts
        .filter_map(|each| each["const"].as_str())
        .chain(enums.filter_map(Value::as_str))
        .filter(|word| !word.is_empty())
        .map(|word| format!("`{word}`"))
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    match property["type"].as_str() {
        Some("array") if property["items"]["$ref"].is_string() => "list of tables".to_owned(),
        Some("array") => format!("list of {}s", value_of(schema, &property["items"])),
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

/// An optional key is left out; `null` is no value of any.
fn without_null(schema: &mut Value) {
    let is_null = |each: &Value| *each == json!("null") || *each == json!({ "type": "null" });
    if let Value::Object(map) = schema {
        map.retain(|key, value| key != "default" || !value.is_null());
        for key in ["type", "anyOf"] {
            let Some(Value::Array(choices)) = map.get_mut(key) else {
                continue;
            };
            choices.retain(|each| !is_null(each));
            if choices.len() > 1 {
                continue;
            }
            match (choices.pop(), map.remove(key)) {
                (Some(Value::Object(only)), _) => map.extend(only),
                (Some(only), Some(_)) => drop(map.insert(key.to_owned(), only)),
                _ => {}
            }
        }
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(without_null),
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn effort_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "enum": ["low", "medium", "high", ""] })
}

/// What each type wants beside the keys themselves.
fn by_type() -> Value {
    let of = |name: &str, then: Value| json!({ "if": { "properties": { "type": { "const": name } } }, "then": then });
    let workers = |items: Value, least: u32| json!({ "required": ["workers"], "properties": { "workers": { "minItems": least, "items": items } } });
    let mut iterative = workers(
        json!({ "required": ["type"], "not": { "required": ["max_budget_usd"] } }),
        2,
    );
    iterative["required"] = json!(["workers", "stop_when"]);
    iterative["properties"]["stop_when"] = json!({ "required": ["max_iterations", "reviewer_lgtm_count"] });
    json!([
        of(
            "worktree",
            workers(json!({ "required": ["branch", "target_files"] }), 1)
        ),
        of("dag", workers(json!({ "required": ["type"] }), 1)),
        of("iterative", iterative),
        of("autoresearch", json!({ "required": ["problem"] })),
    ])
}
