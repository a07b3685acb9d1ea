//! Tasks with the real binary: records, reports, what they cost, whose lines are whose, and forecasts.

mod commits;
mod costs;
mod crashes;
mod crews;
mod reports;
mod stage;

use serde_json::{Value, json};

use self::stage::{GOOD, Stage};

#[test]
fn a_record_is_there_before_the_work_and_in_the_repository_too() {
    let stage = Stage::new();
    let whole = stage.task(&["Search that forgives typing", "--ceiling", "5"]);
    let made = stage.answer([
        "task",
        "create",
        "The index",
        "--crew",
        "api",
        "--parent",
        &whole,
        "--ceiling",
        "3",
    ]);
    let part = &made["task"];
    assert_eq!(
        (&part["status"], &part["crew"], &part["parent"], &part["dispatched_by"]),
        (&json!("open"), &json!("api"), &json!(whole), &json!("user"))
    );
    let id = part["id"].as_str().expect("an id");
    let yaml = stage.read(&format!(".fleet/tasks/{id}/task.yaml"));
    for line in [
        "title: \"The index\"\n",
        "status: open\n",
        "cost: unknown\n",
        "ceiling_usd: 3.00\n",
    ] {
        assert!(yaml.contains(line), "{line}: {yaml}");
    }
    // The shares of all parts stay within the ceiling of the whole.
    let parent = ["task", "create", "The page", "--parent", &whole, "--ceiling", "2.01"];
    let refused = stage.refusal(parent, fleet_core::Kind::OverBudget);
    let message = refused["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("2.00 USD of it are not given out"), "{message}");
    for bad in ["0", "-1", "NaN", "1e308"] {
        let _ = stage.refusal(["task", "create", "x", "--ceiling", bad], fleet_core::Kind::Usage);
    }
    assert_eq!(stage.tasks().len(), 2);
    let listed = stage.fleet(["task", "list"]).output().success().stdout;
    assert!(listed.contains(id) && listed.contains("The index"), "{listed}");
    stage.end();
}

#[test]
fn the_same_name_of_another_program_is_the_same_task() {
    let stage = Stage::new();
    let one = stage.task(&["The plan", "--external", "sprint-7/plan"]);
    assert_eq!(stage.task(&["The plan, again", "--external", "sprint-7/plan"]), one);
    assert_eq!(
        stage.task(&["Theirs", "--external", "TASK-20260404-001"]),
        "TASK-20260404-001"
    );
    for bad in ["", "two words"] {
        let _ = stage.refusal(["task", "create", "x", "--external", bad], fleet_core::Kind::Usage);
    }
    assert_eq!(stage.tasks().len(), 2);
    stage.end();
}

#[test]
fn what_an_agent_makes_is_a_part_of_what_it_works_for() {
    let stage = Stage::new();
    let whole = stage.task(&["The whole"]);
    let prompt = "!run fleet task create 'A part' --crew docs";
    stage.run("captain", &whole, prompt);
    let parts: Vec<Value> = stage
        .tasks()
        .into_iter()
        .filter(|task| task["parent"] == whole)
        .collect();
    assert_eq!(parts.len(), 1, "{:?}", stage.tasks());
    let details = stage.answer(["task", "show", &whole]);
    assert_eq!(parts[0]["dispatched_by"], details["agents"][0]["id"]);
    assert_eq!(details["status"], "running");
    stage.end();
}

#[test]
fn an_agent_is_not_started_for_a_task_that_is_over_or_somewhere_else() {
    let stage = Stage::new();
    let id = stage.task(&["Over"]);
    let _ = stage.answer(["task", "end", &id, "--status", "failed"]);
    let _ = stage.refusal(["task", "end", &id], fleet_core::Kind::Conflict);
    let create = ["create", "x", "--headless", "-p", "!cost 1", "--task", &id];
    let _ = stage.refusal(create, fleet_core::Kind::Conflict);
    let other = stage.env.repo("other", 1);
    let open = stage.task(&["Here"]);
    let create = ["create", "x", "--headless", "-p", "!cost 1", "--task", &open];
    let said = stage.fleet(create).cwd(&other).arg("--json").output();
    assert_eq!(said.json::<Value>()["error"]["kind"], "not_found", "{said}");
    let _ = stage.refusal(["task", "show", "TASK-20200101-001"], fleet_core::Kind::NotFound);
    let _ = stage.refusal(["task", "show", "../../etc"], fleet_core::Kind::Usage);
    assert!(
        stage.answer(["list", "--all"])["agents"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    stage.end();
}

#[test]
fn a_follow_up_becomes_one_task_for_each_title() {
    let stage = Stage::new();
    let (one, two) = (stage.task(&["One"]), stage.task(&["Two"]));
    let left = "follow_ups:\n  - title: Pool the connections\n    priority: high\n  - title: Rename it\n";
    let _ = stage.report(&format!("{}{left}", GOOD.replace("TASK", &one)));
    let again = left.replace("Pool the connections", "\"pool: the CONNECTIONS!\"");
    let _ = stage.report(&format!("{}{again}", GOOD.replace("TASK", &two)));
    let named = stage.answer(["task", "follow-ups"]);
    assert_eq!(named["follow_ups"][0]["priority"], "high");
    assert_eq!(named["follow_ups"].as_array().map(Vec::len), Some(4));

    let made = stage.answer(["task", "promote", &one, "1"]);
    assert_eq!(made["tasks"][0]["promoted_from"], one);
    // It matters as much as its crew said, and is for that crew.
    let first = &stage.answer(["task", "show", &one])["follow_ups"][0];
    assert_eq!(
        (
            &made["tasks"][0]["priority"],
            &made["tasks"][0]["title"],
            &made["tasks"][0]["crew"]
        ),
        (&first["priority"], &first["title"], &json!("api"))
    );
    let bad = ["task", "promote", &two, "--all", "--priority", "urgent"];
    let _ = stage.refusal(bad, fleet_core::Kind::Usage);
    let made = stage.answer(["task", "promote", &two, "--all", "--priority", "low"]);
    assert_eq!(made["tasks"][0]["priority"], "low");
    assert_eq!(
        (
            made["tasks"].as_array().map(Vec::len),
            made["before"].as_array().map(Vec::len)
        ),
        (Some(1), Some(1))
    );
    assert_eq!(made["tasks"][0]["title"], "Rename it");
    assert_eq!(stage.answer(["task", "follow-ups"])["follow_ups"], json!([]));
    assert_eq!(stage.tasks().len(), 4);
    let _ = stage.refusal(["task", "promote", &one, "no such"], fleet_core::Kind::NotFound);
    stage.end();
}

#[test]
fn a_follow_up_for_another_project_is_a_file_in_the_outbox_once() {
    let stage = Stage::new();
    let id = stage.task(&["One"]);
    let left = "follow_ups:\n  - title: \"A protocol: for reports\"\n    priority: critical\n";
    let _ = stage.report(&format!("{}{left}", GOOD.replace("TASK", &id)));
    let made = stage.answer(["task", "promote", &id, "1", "--to", "vibe"]);
    let path = made["requests"][0].as_str().expect("a path").to_owned();
    let name = format!(".fleet/federation/outbox/{id}-vibe-a-protocol-for-reports.md");
    assert!(path.ends_with(&name), "{path}");
    let text = stage.read(&name);
    for line in [
        "from: repo\n",
        "to: vibe\n",
        "title: \"A protocol: for reports\"\n",
        "priority: critical\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let again = stage.answer(["task", "promote", &id, "1", "--to", "vibe"]);
    assert_eq!(again["before"].as_array().map(Vec::len), Some(1), "{again}");
    assert_eq!(stage.tasks().len(), 1, "no task is made of it");
    let _ = stage.refusal(["task", "promote", &id, "1", "--to", "../x"], fleet_core::Kind::Usage);
    stage.end();
}

#[test]
fn nothing_is_written_through_a_link_that_stands_in_the_place_of_the_records() {
    let stage = Stage::new();
    let elsewhere = stage.env.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::fs::create_dir_all(stage.repo.join(".fleet")).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, stage.repo.join(".fleet/tasks")).expect("a link");
    let refused = stage.fleet(["task", "create", "x", "--json"]).output();
    assert_eq!(refused.json::<Value>()["error"]["kind"], "refused", "{refused}");
    assert_eq!(std::fs::read_dir(&elsewhere).expect("a folder").count(), 0);
    stage.end();
}
