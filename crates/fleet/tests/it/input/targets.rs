//! Names that fit nothing, or too much, and two who end the same agent.

use serde_json::Value;

use super::*;

#[test]
fn a_target_that_matches_nothing_names_the_nearest() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["kill", "fix"]).output();
    let _ = refused(fleet(&env, &repo, &["kill", "fix"]).output(), 3)
        .says("no agent matches `fix`")
        .hints("fleet create");
    let _ = fleet(&env, &repo, &["fanout", "2", "auth"]).output().success();
    changes_nothing(&env, &repo, || {
        let verbs: [&[&str]; 10] = [
            &["kill", "auth-a1"],
            &["kill", "auth-A1", "auth-a1"],
            &["kill", "auth-a1", "--dry-run"],
            &["prompt", "auth-a1", "x"],
            &["logs", "auth-a1"],
            &["diff", "auth-a1"],
            &["path", "auth-a1"],
            &["wait", "auth-a1", "--until", "idle"],
            &["resume", "auth-a1"],
            &["attach", "auth-a1", "--print"],
        ];
        for args in verbs {
            let _ = refused(fleet(&env, &repo, args).output(), 3)
                .says("`auth-a1`")
                .hints("`auth-A1`");
        }
        for args in [&["restart", "zzz"][..], &["explain", "zzz"], &["kill", "zzz*"]] {
            let said = refused(fleet(&env, &repo, args).output(), 3)
                .says("zzz")
                .hints("fleet list");
            let _ = said.paste(&env, &repo, |line| line).success();
        }
        let _ = refused(fleet(&env, &repo, &["kill", "--batch", "aut"]).output(), 3)
            .says("`aut`")
            .hints("--batch auth");
        let said = refused(fleet(&env, &repo, &["kill", "--batch", "zzz"]).output(), 3);
        let _ = said.paste(&env, &repo, |line| line).success();
        let _ = refused(fleet(&env, &repo, &["kill", "["]).output(), 2).says("no valid pattern");
        for args in [
            &["salvage", "show", "x"][..],
            &["salvage", "restore", "x"],
            &["salvage", "prune", "x"],
        ] {
            let _ = refused(fleet(&env, &repo, args).output(), 3)
                .paste(&env, &repo, |line| line)
                .success();
        }
        let _ = refused(fleet(&env, &repo, &["wait", "auth-A1", "--until", "idel"]).output(), 2).hints("idle");
        let _ = refused(
            fleet(&env, &repo, &["wait", "auth-A1", "--until", "idle", "--timeout", "0"]).output(),
            2,
        );
    });
    let _ = fleet(&env, &repo, &["kill", "--batch", "auth"]).output().success();
    env.assert_nothing_left();
}

#[test]
fn a_name_that_fits_agents_of_two_repositories_is_an_error_with_a_way_out() {
    let (env, one) = scene("");
    let two = env.repo("other", 1);
    for repo in [&one, &two] {
        let _ = fleet(&env, repo, &["create", "same"]).output().success();
    }
    let said = refused(fleet(&env, env.root(), &["kill", "same"]).output(), 2);
    let said = said.says("`same` fits 2 agents").says("repo/same").says("other/same");
    let id = said.hint.split('`').nth(1).expect("an id").to_owned();
    let _ = fleet(&env, env.root(), &["path", &id]).output().success();
    let _ = refused(fleet(&env, env.root(), &["path", "*/same"]).output(), 2).says("takes one agent");
    // Where one stands decides; the other is named in full.
    let here: Value = fleet(&env, &two, &["path", "same", "--json"]).output().success().json();
    let there: Value = fleet(&env, &two, &["path", "repo/same", "--json"])
        .output()
        .success()
        .json();
    assert_ne!(here["path"], there["path"]);
    kill_all(&env);
}

#[test]
fn of_two_kills_at_once_one_ends_the_agent_and_the_other_says_so() {
    let (env, repo) = scene("");
    for round in 0..4 {
        let branch = format!("fix-{round}");
        let _ = fleet(&env, &repo, &["create", &branch]).output().success();
        std::fs::write(env.fleet_home().join("worktrees").join(&branch).join("new.txt"), "work").unwrap();
        let kills = [(); 2].map(|()| fleet(&env, &repo, &["kill", &branch, "--json"]).spawn());
        let done = kills.map(|kill| kill.wait(PATIENCE));
        let good = done.iter().filter(|done| done.status.success()).count();
        assert_eq!(good, 1, "{}\n{}", done[0], done[1]);
        let other = done.iter().find(|done| !done.status.success()).expect("the other");
        let told: Value = other.json();
        let kind = told["error"]["kind"].as_str().expect("a kind");
        assert!(["conflict", "not_found"].contains(&kind), "{other}");
        assert!(
            ["ended by somebody else", "no agent matches"]
                .iter()
                .any(|words| other.stderr.contains(words)),
            "{other}"
        );
    }
    let saved: Value = fleet(&env, &repo, &["salvage", "list", "--json"])
        .output()
        .success()
        .json();
    assert_eq!(saved["salvages"].as_array().unwrap().len(), 4, "each once");
    env.assert_nothing_left();
}
