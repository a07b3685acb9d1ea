//! What tasks cost, from every side, whose lines are whose, and what the next one is expected to cost.

use std::collections::BTreeMap;
use std::fs;

use fleet_core::money::Usd;
use serde_json::{Value, json};

use super::stage::{GOOD, Stage};

const BY: [&str; 8] = ["task", "crew", "agent", "batch", "run", "day", "model", "repo"];

fn micros(value: &Value) -> u64 {
    let usd: Usd = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"));
    usd.micros()
}

#[test]
fn every_way_of_grouping_has_the_same_sum_to_the_cent() {
    let stage = Stage::new();
    let whole = stage.task(&["The whole"]);
    let part = stage.task(&["A part", "--crew", "api", "--parent", &whole]);
    stage.run("captain", &whole, "!cost 0.25");
    stage.run("api-1", &part, "!cost 0.333333");
    stage.run("api-2", &part, "!cost 1.1");
    let other = ["create", "alone", "--headless", "-p", "!cost 0.07", "--wait", "exited"];
    let _ = stage.fleet(other).output().success();

    let total = 1_753_333;
    for by in BY {
        let cost = stage.answer(["task", "cost", "--by", by]);
        let groups = cost["groups"].as_array().expect("groups");
        let sum: u64 = groups.iter().map(|group| micros(&group["cost"]["usd"])).sum();
        assert_eq!((sum, micros(&cost["total"]["usd"])), (total, total), "{by}: {cost}");
        let csv = stage
            .fleet(["task", "cost", "--by", by, "--csv"])
            .output()
            .success()
            .stdout;
        let column = |line: &str| {
            line.split(',')
                .nth(1)
                .expect("a cost")
                .replace('.', "")
                .parse::<u64>()
                .expect("digits")
        };
        assert_eq!(csv.lines().skip(1).map(column).sum::<u64>(), total, "{csv}");
        let chart = stage
            .fleet(["task", "cost", "--by", by, "--chart"])
            .output()
            .success()
            .stdout;
        assert!(
            chart.contains(&"█".repeat(40)) && chart.contains("1.753333 USD"),
            "{chart}"
        );
    }
    let tree = stage.answer(["task", "show", &whole]);
    assert_eq!(
        (micros(&tree["own_cost"]["usd"]), micros(&tree["cost"]["usd"])),
        (250_000, 1_683_333)
    );
    assert_eq!(micros(&tree["parts"][0]["cost"]["usd"]), 1_433_333);
    let below = stage.answer(["task", "cost", &whole, "--by", "crew"]);
    let named: BTreeMap<String, u64> = below["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| {
            (
                group["name"].as_str().unwrap_or("none").to_owned(),
                micros(&group["cost"]["usd"]),
            )
        })
        .collect();
    assert_eq!(
        named,
        BTreeMap::from([("api".to_owned(), 1_433_333), ("none".to_owned(), 250_000)])
    );
    let table = stage.fleet(["task", "cost"]).output().success().stdout;
    assert!(table.contains("(no task)") && table.contains("0.07 USD"), "{table}");
    // The files follow with the next change.
    let _ = stage.report(&GOOD.replace("TASK", &part));
    let yaml = stage.read(&format!(".fleet/tasks/{whole}/task.yaml"));
    assert!(yaml.contains("shown: \"1.683333 USD\"\n"), "{yaml}");
    // It outlives its agents.
    let _ = stage.fleet(["kill", "*", "--force"]).output().success();
    let after = stage.answer(["task", "cost"]);
    assert_eq!(micros(&after["total"]["usd"]), total);
    assert_eq!(
        stage.answer(["task", "cost", "--since", "2020-01-01"])["total"],
        after["total"]
    );
    let _ = stage.refusal(["task", "cost", "--by", "mood"], fleet_core::Kind::Usage);
    stage.end();
}

#[test]
fn nothing_that_was_spent_is_known_is_not_0() {
    let stage = Stage::new();
    let id = stage.task(&["Quiet"]);
    let shown = stage.fleet(["task", "show", &id]).output().success().stdout;
    assert!(shown.contains("cost         -"), "{shown}");
    let cost = stage.answer(["task", "cost", &id]);
    assert_eq!(
        (&cost["total"]["usd"], &cost["total"]["complete"]),
        (&Value::Null, &json!(false))
    );
    let none = stage.fleet(["task", "cost"]).output().success().stdout;
    assert_eq!(none, "nothing was spent that fleet knows of\n");
    stage.end();
}

#[test]
fn a_line_is_joined_to_its_task_by_the_trailer_or_by_the_report() {
    let stage = Stage::new();
    let (trailer, named) = (stage.task(&["By trailer"]), stage.task(&["By report"]));
    let commit = |text: &str, message: &str| {
        fs::write(stage.repo.join("lines.txt"), text).expect("written");
        let _ = stage.env.git(&stage.repo, ["add", "lines.txt"]).success();
        let _ = stage
            .env
            .git(&stage.repo, ["commit", "--quiet", "-m", message])
            .success();
        stage
            .env
            .git(&stage.repo, ["rev-parse", "HEAD"])
            .success()
            .stdout
            .trim()
            .to_owned()
    };
    let _ = commit("a\n", "nobody's");
    let first = commit("a\nb\nc\nd\n", &format!("work\n\nFleet-Task: {trailer}"));
    let second = commit("a\nb\nc\nd\ne\nf\n", "more work");
    let _ = stage.report(&format!("{}commits: [{second}]\n", GOOD.replace("TASK", &named)));
    stage.run("paid", &trailer, "!cost 0.5");
    fs::write(stage.repo.join("lines.txt"), "a\nb\nc\nd\ne\nf\nnot yet\n").expect("written");

    let blamed = stage.answer(["task", "blame", "lines.txt"]);
    assert_eq!(blamed["lines"], 7);
    let rows: Vec<(Value, Value, Value)> = blamed["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .map(|row| (row["task"].clone(), row["lines"].clone(), row["cost"]["usd"].clone()))
        .collect();
    assert_eq!(rows.len(), 3, "{blamed}");
    assert!(rows.contains(&(json!(trailer), json!(3), json!(0.5))), "{blamed}");
    assert!(rows.contains(&(json!(named), json!(2), Value::Null)), "{blamed}");
    assert!(rows.contains(&(Value::Null, json!(2), Value::Null)), "{blamed}");
    let before = stage.answer(["task", "blame", "lines.txt", "--rev", &first]);
    assert_eq!(
        (&before["lines"], before["tasks"].as_array().map(Vec::len)),
        (&json!(4), Some(2))
    );
    let shown = stage.fleet(["task", "blame", "lines.txt"]).output().success().stdout;
    assert!(shown.contains("By trailer") && shown.contains("(no task)"), "{shown}");
    let _ = stage.refusal(["task", "blame", "no-such-file"], fleet_core::Kind::Failed);
    stage.end();
}

#[test]
fn a_file_that_is_in_no_commit_has_no_lines_to_tell_of_until_the_hint_is_followed() {
    let stage = Stage::new();
    for (name, text) in [
        ("it's new.txt", "a\nb\n"),
        ("ignored.log", "x\n"),
        (".gitignore", "*.log\n"),
    ] {
        fs::write(stage.repo.join(name), text).expect("written");
    }
    let error = stage.refusal(["task", "blame", "it's new.txt"], fleet_core::Kind::NotFound);
    assert_eq!(error["error"]["message"], "it's new.txt is in no commit yet", "{error}");
    let hint = error["error"]["hint"].as_str().expect("a hint");
    let command = hint.trim_start_matches("commit it: `").trim_end_matches('`');
    let committed = stage.env.program("/bin/sh", ["-c", command]).cwd(&stage.repo);
    let _ = committed.output().success();
    assert_eq!(stage.answer(["task", "blame", "it's new.txt"])["lines"], 2);
    let error = stage.refusal(["task", "blame", "ignored.log"], fleet_core::Kind::NotFound);
    let hint = "see by which rule: `git check-ignore -v -- ignored.log`";
    assert_eq!(error["error"]["hint"], hint, "{error}");
    stage.end();
}

/// The costs of thirty workers: three sizes, none twice.
fn costs() -> Vec<f64> {
    (0..30)
        .map(|number| 0.1 + 0.01 * f64::from(number) + if number % 3 == 0 { 0.5 } else { 0.0 })
        .collect()
}

#[test]
fn after_thirty_pieces_of_work_a_start_is_forecast_with_its_error() {
    let stage = Stage::new();
    let cold = stage.fleet(["profile"]).output().success().stdout;
    assert_eq!(cold, "no forecast yet: 0 of 30 pieces of work have finished\n");
    let root = stage.repo.join("plan");
    let mut workers = Vec::new();
    for (number, cost) in costs().iter().enumerate() {
        let folder = root.join(format!("workers/w{number}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(
            folder.join("prompt.md"),
            format!("Do it.\n!sleep 20\n!cost {cost:.2}\n"),
        )
        .expect("written");
        workers.push(json!({"id": format!("w{number}"), "type": "code-run"}));
    }
    let plan = json!({"fleet_name": "many", "type": "dag", "config": {"max_concurrent": 8}, "workers": workers});
    fs::write(root.join("fleet.json"), plan.to_string()).expect("written");
    let launched = stage.fleet(["launch", "plan"]).output().success();
    assert!(!launched.stderr.contains("forecast:"), "{launched}");

    let told = stage.answer(["profile", "--kind", "dag", "--agent", "claude"]);
    assert_eq!(told["finished"], 30);
    let cost = &told["outlook"]["cost_usd"];
    // Once more from the costs alone: each is forecast from all others.
    let costs = costs();
    let mut errors: Vec<f64> = (0..30)
        .map(|left_out| {
            let others = costs.iter().enumerate().filter(|(index, _)| *index != left_out);
            let logs: Vec<f64> = others.map(|(_, cost)| cost.ln()).collect();
            let mean = logs.iter().sum::<f64>() / 29.0;
            let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
            let expected = (mean + squares / 28.0 / 2.0).exp();
            100.0 * (expected - costs[left_out]).abs() / costs[left_out]
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    let wanted = (errors[14] + errors[15]) / 2.0;
    let shown = cost["error"]["median_percent"].as_f64().expect("an error");
    assert!((shown - wanted).abs() < 1e-6, "{shown}, not {wanted}");

    let start = stage
        .fleet(["create", "next", "--headless", "-p", "!cost 0.2"])
        .output()
        .success();
    let line = start
        .stderr
        .lines()
        .find(|line| line.starts_with("forecast: "))
        .expect("a forecast");
    assert!(
        line.contains(&format!("off by {wanted:.0} % in the median of 30")),
        "{line}"
    );
    let dry = stage.answer(["launch", "plan", "--dry-run"]);
    assert_eq!(dry["forecast"]["pieces"], 30);
    stage.end();
}
