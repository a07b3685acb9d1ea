//! The keys of a `fleet.json` of one type, as tables: from the published schema.

use std::fmt::Write;

use super::super::file;
use super::super::read::belongs;
use super::super::word::PlanType;

/// The objects of a plan: their key, how they are written in a path, and their name in the schema.
const OBJECTS: [(&str, &str, &str); 6] = [
    ("", "", ""),
    ("config", "config.", "ConfigFile"),
    ("workers", "workers[].", "WorkerFile"),
    ("stop_when", "stop_when.", "StopFile"),
    ("problem", "problem.", "ProblemFile"),
    ("search", "search.", "SearchFile"),
];

/// Adds one table of all keys that mean something in a plan of this type.
pub(super) fn tables(text: &mut String, plan_type: PlanType) {
    let schema = file::schema();
    text.push_str("\n| key | value | meaning |\n| --- | --- | --- |\n");
    for (object, prefix, definition) in OBJECTS {
        if !belongs("", object, plan_type) {
            continue;
        }
        let of = match definition {
            "" => &schema,
            name => &schema["$defs"][name],
        };
        for (key, property) in of["properties"].as_object().into_iter().flatten() {
            let meaning = property["description"].as_str().unwrap_or_default();
            let is_idle = meaning.starts_with("Written back") || meaning.starts_with("No effect");
            let is_idle = is_idle || is_said_otherwise(plan_type, object, key);
            let is_object = object.is_empty() && OBJECTS.iter().any(|(name, ..)| name == key);
            if is_idle || is_object || !belongs(object, key, plan_type) {
                continue;
            }
            let needed = if is_required(plan_type, object, key) {
                "required. "
            } else {
                ""
            };
            let meaning = meaning.replace('\n', " ").replace('|', "\\|");
            let value = match (object, key.as_str()) {
                ("", "type") => format!("`{}`", plan_type.as_str()),
                _ => file::value_of(&schema, property),
            };
            let _ = writeln!(text, "| `{prefix}{key}` | {value} | {needed}{meaning} |");
        }
    }
}

/// Keys that are read, and that another one says better.
fn is_said_otherwise(plan_type: PlanType, object: &str, key: &str) -> bool {
    match (object, key) {
        ("workers", "role") | ("config", "cost_cap_usd" | "max_iterations") => true,
        ("workers", "max_budget_usd") => plan_type == PlanType::Iterative,
        _ => false,
    }
}

/// What a plan of this type cannot be without. The schema says the same by conditions.
fn is_required(plan_type: PlanType, object: &str, key: &str) -> bool {
    match (object, key) {
        ("", "type") | ("workers", "id") => true,
        ("workers", "type") => plan_type != PlanType::Worktree,
        ("workers", "branch" | "target_files") => true,
        ("stop_when", "max_iterations" | "reviewer_lgtm_count") => plan_type == PlanType::Iterative,
        ("problem", "eval_command" | "metric_regex") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_own_keys_and_no_others() {
        let of = |plan_type| {
            let mut text = String::new();
            tables(&mut text, plan_type);
            text
        };
        let worktree = of(PlanType::Worktree);
        assert!(
            worktree.contains("| `workers[].branch` | text | required. "),
            "{worktree}"
        );
        assert!(!worktree.contains("depends_on") && !worktree.contains("stop_when"));
        let iterative = of(PlanType::Iterative);
        assert!(!iterative.contains("max_budget_usd"), "{iterative}");
        assert!(iterative.contains("| `stop_when.reviewer_lgtm_count` | whole number | required. "));
        let research = of(PlanType::Autoresearch);
        assert!(
            research.contains("| `problem.metric_direction` | `minimize`, `maximize` | "),
            "{research}"
        );
        assert!(!research.contains("workers[]"), "{research}");
        assert!(!of(PlanType::Dag).contains("launched_at"));
    }
}
