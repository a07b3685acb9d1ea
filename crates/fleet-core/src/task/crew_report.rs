//! What a crew says of its task: the block `FLEET_REPORT` at the end of its last message.
//!
//! One text may hold several, of different tasks. What it costs is `reported`: the account has its own figure. A block
//! that breaks a rule changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskId;
use crate::block::keys::{Amount, Keys};
use crate::block::rule::{Checked, Findings, Rule};
use crate::block::tree::Tree;
use crate::block::{self, Mark};
use crate::money::Usd;
use crate::plan::rule::quoted;
use crate::report::{FollowUp, Status};

/// What a crew says of its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrewReport {
    /// The task, as the dispatching prompt names it.
    pub fleet_task_id: TaskId,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What the crew says that it cost in US dollars; left out where it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// Its commits, by their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// What is left to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<FollowUp>,
    /// What was done, in a few sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// One block as it stands in a text, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The block, from its mark to its end.
    pub block: &'a str,
    /// The report in it, where there is no error.
    pub checked: Checked<CrewReport>,
    /// Whether an earlier block of the text says the same.
    pub doubled: bool,
}

/// The longest text that is looked through for reports, in bytes.
pub const LONGEST: usize = 4 * 1024 * 1024;

/// The most commits, and the most follow-ups, that one report may name.
const MOST: usize = 200;

/// Every report in `text`, in order. Of two that differ and are of the same task neither is taken.
pub fn read(text: &str) -> Vec<Found<'_>> {
    let mut all: Vec<Found<'_>> = Vec::new();
    for block in block::each(text, Mark::CREW) {
        let doubled = all.iter().any(|found| found.block.trim() == block.trim());
        all.push(Found {
            block,
            checked: read_one(block),
            doubled,
        });
    }
    let id = |found: &Found<'_>| found.checked.value.as_ref().map(|report| report.fleet_task_id);
    let ids: Vec<Option<TaskId>> = all.iter().map(|found| id(found).filter(|_| !found.doubled)).collect();
    for (index, found) in all.iter_mut().enumerate() {
        let Some(id) = ids[index] else { continue };
        if ids.iter().filter(|other| **other == Some(id)).count() > 1 {
            let mut findings = Findings::default();
            findings.add(Rule::Differ, 0, "", format!("two reports of {id} differ"));
            found.checked = findings.close(found.block, None);
        }
    }
    all
}

/// The report in `block`, which holds one.
fn read_one(block: &str) -> Checked<CrewReport> {
    let mut findings = Findings::default();
    let node = block::find(block, Mark::CREW, &mut findings);
    let report = node.and_then(|node| {
        let mut keys = Keys::of(&node, "", &mut findings)?;
        if !block::is_readable(&mut keys, &mut findings) {
            return None;
        }
        report(keys, &mut findings)
    });
    findings.close(block, report)
}

fn report(mut keys: Keys<'_>, findings: &mut Findings) -> Option<CrewReport> {
    let id = keys.name("fleet_task_id", findings);
    let id = keys.require("fleet_task_id", id, findings).and_then(|id| {
        let parsed = TaskId::parse(&id);
        if parsed.is_none() {
            let at = keys.place("fleet_task_id");
            let message = format!("{} is no id of a task", quoted(&id));
            findings.add(Rule::BadText, at, "fleet_task_id", message).hint =
                "the id from the prompt, such as `TASK-20260404-001`".to_owned();
        }
        parsed
    });
    let crew = keys.text("crew", findings);
    let status = keys.word("status", findings);
    let status = keys.require("status", status, findings);
    let cost_usd = keys.money("cost_usd", Amount::AnyCost, findings);
    let commits = keys.texts("commits", findings);
    let follow_ups: Vec<FollowUp> = keys
        .list("follow_ups", findings)
        .into_iter()
        .filter_map(|(path, node)| {
            let mut keys = Keys::of(node, &path, findings)?;
            let title = keys.text("title", findings);
            let title = keys.require("title", title, findings);
            let priority = keys.word("priority", findings).unwrap_or_default();
            keys.end(findings);
            Some(FollowUp {
                title: title?,
                priority,
            })
        })
        .collect();
    let summary = keys.text("summary", findings);
    for (key, count) in [("commits", commits.len()), ("follow_ups", follow_ups.len())] {
        if count > MOST {
            let message = format!("{count} values, and at most {MOST} are read");
            findings.add(Rule::TooLarge, keys.place(key), key, message);
        }
    }
    keys.end(findings);
    Some(CrewReport {
        fleet_task_id: id?,
        crew,
        status: status?,
        cost_usd,
        commits,
        follow_ups,
        summary,
    })
}

/// The report as a block.
pub fn write(report: &CrewReport) -> String {
    let follow_up = |each: &FollowUp| {
        Tree::map()
            .with("title", Some(Tree::text(&each.title)))
            .with("priority", Some(Tree::text(each.priority.as_str())))
    };
    let texts = |texts: &[String]| (!texts.is_empty()).then(|| Tree::texts(texts));
    let follow_ups =
        (!report.follow_ups.is_empty()).then(|| Tree::List(report.follow_ups.iter().map(follow_up).collect()));
    let map = Tree::map()
        .with("fleet_task_id", Some(Tree::text(&report.fleet_task_id.to_string())))
        .with("crew", report.crew.as_deref().map(Tree::text))
        .with("status", Some(Tree::text(report.status.as_str())))
        .with("cost_usd", report.cost_usd.map(Tree::money))
        .with("commits", texts(&report.commits))
        .with("follow_ups", follow_ups)
        .with("summary", report.summary.as_deref().map(Tree::text));
    block::write(Mark::CREW, &map)
}

/// The JSON Schema of what stands in the block.
pub fn schema() -> serde_json::Value {
    block::schema_of::<CrewReport>(&example())
}

/// The report of the documentation.
pub fn example() -> CrewReport {
    CrewReport {
        fleet_task_id: TaskId::parse("TASK-20260404-001").unwrap_or(TaskId { day: 0, number: 0 }),
        crew: Some("api".to_owned()),
        status: Status::Completed,
        cost_usd: Usd::new(1.85),
        commits: vec!["def5678".to_owned()],
        follow_ups: vec![FollowUp {
            title: "Redis connection pooling".to_owned(),
            priority: crate::report::Priority::Medium,
        }],
        summary: Some("The endpoint answers from the cache. All tests pass.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes(text: &str) -> Vec<String> {
        let found = read(text);
        let codes = |found: &Found<'_>| {
            found
                .checked
                .findings
                .iter()
                .map(|each| each.code.to_owned())
                .collect::<Vec<_>>()
        };
        found.iter().flat_map(codes).collect()
    }

    fn one(body: &str) -> String {
        format!("Done.\n<!-- FLEET_REPORT\n{body}\n-->\nBye.")
    }

    const GOOD: &str = "fleet_task_id: TASK-20260404-001\nstatus: completed\ncost_usd: 1.85";

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let text = write(&example());
        let found = read(&text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].checked.value, Some(example()), "{text}");
        assert!(found[0].checked.findings.is_empty());
    }

    #[test]
    fn the_schema_takes_the_example_and_refuses_what_the_reader_refuses() {
        let schema = schema();
        let valid = jsonschema::validator_for(&schema).expect("a schema");
        let good = serde_json::to_value(example()).expect("json");
        assert!(valid.is_valid(&good));
        for (key, bad) in [
            ("fleet_task_id", serde_json::json!("../x")),
            ("status", serde_json::json!("great")),
            ("cost_usd", serde_json::json!(-5)),
        ] {
            let mut wrong = good.clone();
            wrong[key] = bad;
            assert!(!valid.is_valid(&wrong), "{wrong}");
        }
    }

    #[test]
    fn each_mistake_has_its_code_and_no_report_comes_of_it() {
        for (text, code) in [
            (one("fleet_task_id: ../../etc\nstatus: completed"), "C027"),
            (one("fleet_task_id: TASK-20260404-001"), "C022"),
            (one("status: completed"), "C022"),
            (one(&GOOD.replace("1.85", "-5")), "C024"),
            (one(&GOOD.replace("1.85", ".nan")), "C024"),
            (one(&GOOD.replace("1.85", "1e308")), "C024"),
            (one(&GOOD.replace("completed", "great")), "C025"),
            (one(&format!("version: 2\n{GOOD}")), "C020"),
            (one("a: &x [1]\nb: *x"), "C012"),
            (one("status: completed\n\tfleet_task_id: x"), "C011"),
            (format!("<!-- FLEET_REPORT\n{GOOD}"), "C002"),
            (one(&format!("{GOOD}\n<!-- FLEET_REPORT\n{GOOD}")), "C005"),
            (one(&format!("{GOOD}\ncommits: [{}]", "a, ".repeat(300))), "C006"),
            (one(&"x".repeat(100_000)), "C006"),
        ] {
            assert!(
                codes(&text).contains(&code.to_owned()),
                "{code}: {:?}\n{:.200}",
                codes(&text),
                text
            );
            assert!(
                read(&text).iter().all(|found| found.checked.value.is_none()),
                "{text:.200}"
            );
        }
    }

    #[test]
    fn several_tasks_stand_in_one_text_and_one_that_is_doubled_counts_once() {
        let other = GOOD.replace("001", "002");
        let text = format!("{}{}{}", one(GOOD), one(&other), one(GOOD));
        let found = read(&text);
        let seen: Vec<(bool, bool)> = found
            .iter()
            .map(|each| (each.doubled, each.checked.value.is_some()))
            .collect();
        assert_eq!(seen, [(false, true), (false, true), (true, true)]);
    }

    #[test]
    fn of_two_that_differ_none_is_taken() {
        let text = format!("{}{}", one(GOOD), one(&GOOD.replace("completed", "failed")));
        assert!(read(&text).iter().all(|found| found.checked.value.is_none()));
        assert_eq!(codes(&text), ["C004", "C004"]);
    }

    #[test]
    fn a_session_report_is_no_report_of_a_crew_and_keys_may_be_unknown() {
        assert!(read("<!-- FLEET_SESSION_REPORT\njob_id: x\n-->").is_empty());
        assert!(read("no block").is_empty());
        let found = one(&format!("{GOOD}\nmood: fine\r\n"));
        assert!(read(&found)[0].checked.value.is_some());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(<!-- FLEET_REPORT\\n|-->|fleet_task_id: TASK-20260404-001\\n|status: failed\\n|[`~:\\[{&-]|\\PC){0,40}") {
            for found in read(&text) {
                prop_assert!(text.contains(found.block));
            }
        }
    }
}
