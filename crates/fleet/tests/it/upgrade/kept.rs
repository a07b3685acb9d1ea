//! What an old fleet has left on disk: its database, its journals, its output.

use std::fs;
use std::path::Path;

use fleet_core::agent::{Standing, State};
use fleet_core::fact::Entry;
use fleet_testkit::TestEnv;
use serde_json::{Value, json};

use super::fixture;
use crate::drive::{agent, answer, create, fleet, listed_by, text};

/// The recorded agents.
const LIVE: &str = "5etx9sdk2n";
const ENDED: &str = "9r6wf7cymc";

/// An environment whose fleet home is the recorded one.
fn recorded_home() -> TestEnv {
    let env = TestEnv::new();
    env.config_with_scripted("");
    copy(&fixture("home"), env.fleet_home());
    env
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

/// What was recorded of the lost agent, in the words of every surface.
fn recorded_live() -> Value {
    json!({
        "branch": "live", "id": LIVE, "agent": "scripted", "batch_id": "manual-2026-11-21", "session": "ai_live",
        "worktree": "/tmp/fleet-v1/home/.ai_fleet/worktrees/live", "repo": "/tmp/fleet-v1/repo/.git",
        "repo_name": "repo", "phase": "started", "workspace": "worktree", "headless": false, "generation": 1,
        "base": "d3d562b62ba0235da6a9421e4ac52fd6e039cd88", "env_names": ["TOKEN"], "ended_at": null, "model": null,
        "pid": 11112, "port_base": 20000, "created_at": "2026-11-21T03:34:45Z", "state": "lost",
    })
}

#[track_caller]
fn assert_has(row: &Value, wanted: &Value) {
    for (name, value) in wanted.as_object().expect("an object") {
        assert_eq!(&row[name], value, "{name} of {row}");
    }
}

#[test]
fn an_old_database_opens_and_lists_its_agents() {
    let env = recorded_home();
    assert_has(&agent(&env, "live"), &recorded_live());
    let all = answer(&env, env.root(), ["list", "--all"]);
    let rows = all["agents"].as_array().expect("a list");
    assert_eq!(rows.len(), 2, "{all}");
    let ended = rows.iter().find(|row| row["branch"] == "ended").expect("listed");
    assert_has(ended, &json!({"id": ENDED, "phase": "ended", "generation": 1}));
    assert!(ended["ended_at"].is_string(), "{ended}");
    let saved = answer(&env, env.root(), ["salvage", "list"]);
    assert_has(
        &saved["salvages"][0],
        &json!({"id": ENDED, "branch": "ended", "reference": format!("refs/fleet/salvage/{ENDED}"),
            "holds": ["1 untracked file"], "repo": "/tmp/fleet-v1/repo/.git"}),
    );
}

#[test]
fn an_old_database_is_gone_on_with() {
    let env = recorded_home();
    let repo = env.repo("repo", 3);
    let made = create(&env, &repo, "live");
    assert_ne!(made["session"], "ai_live", "the name is taken by the old agent");
    assert_ne!(made["port_base"], 20000, "and so are its ports");
    assert_eq!(listed_by(&env, "branch"), ["live", "live"]);
    let state: Value =
        serde_json::from_slice(&fs::read(env.fleet_home().join("state.json")).expect("published")).expect("JSON");
    assert_eq!(state.as_array().map(Vec::len), Some(2), "{state}");
    // Its worktree is long gone; it can be ended all the same.
    let said = fleet(&env, &repo, ["resume", LIVE]).env("TOKEN", "x").output().fails(3);
    assert!(said.stderr.contains("is gone"), "{said}");
    let _ = answer(&env, &repo, ["kill", LIVE]);
    let _ = answer(&env, &repo, ["kill", "live"]);
    let repaired = answer(&env, &repo, ["list", "--repair"]);
    assert_eq!(repaired["agents"], json!([]), "{repaired}");
    env.assert_nothing_left();
}

#[test]
fn an_old_journal_folds_to_the_standing_that_was_recorded() {
    let text = fs::read_to_string(fixture("home").join("agents").join(LIVE).join("journal")).expect("recorded");
    let entries: Vec<Entry> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect();
    let standing = Standing::fold(&entries);
    assert_eq!(standing.seq, 19);
    assert_eq!(standing.generation, 1);
    assert!(standing.ready_rule && !standing.stopping);
    assert_eq!(standing.child, Some((11112, 623_502)));
    assert_eq!(standing.turns, 3);
    assert_eq!(standing.queue, [("hntshjwkx4f2".to_owned(), "print three".to_owned())]);
    assert_eq!(standing.typed, None);
    let copied: Vec<&str> = standing.copied.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(copied, [".env"]);
    assert_eq!(
        (standing.state(true).0, standing.state(false).0),
        (State::Working, State::Lost)
    );

    // Every state in the journal follows from the entries before it, as it did when they were written.
    for end in 1..=entries.len() {
        let state = Standing::fold(&entries[..end]).state(true).0.to_string();
        assert_eq!(state, entries[end - 1].state, "after entry {end}");
    }

    let ended = fs::read_to_string(fixture("home").join("agents").join(ENDED).join("journal")).expect("recorded");
    let entries: Vec<Entry> = ended
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect();
    let standing = Standing::fold(&entries);
    assert!(standing.stopping && standing.exited.is_some());
    assert!(matches!(standing.state(false).0, State::Exited(_)));
}

#[test]
fn an_old_agent_is_explained_and_its_output_is_readable() {
    let env = recorded_home();
    let explained = answer(&env, env.root(), ["explain", "live"]);
    assert_has(&explained["agent"], &recorded_live());
    assert_eq!(explained["alive"], false, "{explained}");
    let facts: Vec<String> = explained["facts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| text(&each["fact"]))
        .collect();
    assert!(facts.contains(&"prompt_queued".to_owned()), "{facts:?}");
    let logs = fleet(&env, env.root(), ["logs", "live"]).output().success();
    for line in ["setting up", "done: print one", "two"] {
        assert!(logs.stdout.contains(line), "{line}: {logs}");
    }
    let logs = fleet(&env, env.root(), ["logs", "ended"]).output().success();
    assert!(logs.stdout.contains("famous last words"), "{logs}");
}

#[test]
fn an_old_agent_survives_the_loss_of_its_database() {
    let env = recorded_home();
    fs::write(
        env.fleet_home().join("fleet.db"),
        "this is no database, but it once was\n",
    )
    .expect("written");
    let _ = fs::remove_file(env.fleet_home().join("fleet.db-wal"));
    let repaired = answer(&env, env.root(), ["list", "--repair"]);
    let row = &repaired["agents"][0];
    assert_has(
        row,
        &json!({"branch": "live", "id": LIVE, "session": "ai_live", "state": "lost"}),
    );
}

#[test]
fn a_journal_of_the_future_is_refused_and_left_as_it_is() {
    let env = recorded_home();
    let journal = env.fleet_home().join("agents").join(LIVE).join("journal");
    let mut text = fs::read_to_string(&journal).expect("recorded");
    text.push_str("{\"v\":2,\"seq\":20,\"what\":\"something else entirely\"}\n");
    fs::write(&journal, &text).expect("written");
    let said = crate::drive::refusal(&env, env.root(), ["explain", "live"], 78);
    assert!(said["error"]["hint"].is_string(), "{said}");
    assert_eq!(listed_by(&env, "branch"), ["live"], "it is still listed");
    assert_eq!(fs::read_to_string(&journal).expect("there"), text);
}
