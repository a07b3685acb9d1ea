//! The values of environment variables: in the agent's own environment, and nowhere else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use fleet_testkit::scan;
use serde_json::Value;

use super::*;

const INHERITED: &str = "marker-inherited-5e1f0c7a";
const GIVEN: &str = "marker-given-91d3b8e2";

/// Where a marker was seen that it must not be in. Goes on until told to stop.
fn watch(home: &Path, root: &Path, stop: &AtomicBool, rounds: &AtomicUsize) -> Vec<String> {
    let mut found = Vec::new();
    while !stop.load(Ordering::Relaxed) && found.is_empty() {
        files(home, &mut found);
        let of_ours = |process: &scan::Process| {
            process
                .environ
                .iter()
                .any(|variable| contains(variable, &root.to_string_lossy()))
                || process.argv.iter().any(|arg| arg.contains(&*root.to_string_lossy()))
        };
        for process in scan::processes(of_ours) {
            // The user's own call names what it gives; whatever it starts must not.
            let own = process.argv.first().is_some_and(|program| program.ends_with("/fleet"))
                && process.argv.iter().any(|arg| arg == "--env");
            let line = process.argv.join(" ");
            if !own && (line.contains(INHERITED) || line.contains(GIVEN)) {
                found.push(process.to_string());
            }
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    found
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&path, found),
            Ok(kind) if kind.is_file() => {
                let bytes = fs::read(&path).unwrap_or_default();
                if contains(&bytes, INHERITED) || contains(&bytes, GIVEN) {
                    found.push(path.display().to_string());
                }
            }
            _ => {}
        }
    }
}

/// Says stop when it is dropped.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn contains(bytes: &[u8], wanted: &str) -> bool {
    // The search of the standard library is optimised in a debug build too; one written here is not.
    String::from_utf8_lossy(bytes).contains(wanted)
}

#[test]
fn a_value_of_the_environment_is_in_no_file_and_no_command_line_at_any_time() {
    let env = TestEnv::new();
    let seen = env.root().join("seen.txt");
    let tell = format!(
        "setup_commands = [\"test \\\"$SECRET\\\" = {INHERITED_NAME}\"]\n[harness.teller]\n\
         command = [\"/bin/sh\", \"-c\", 'printf \"%s %s %s\" \"$SECRET\" \"$GIVEN\" \"$TAKEN\" > \"$0\"; cat', \"{}\"]\n\
         prompt = \"paste\"\n[harness.headless]\ncommand = [\"/bin/sleep\", \"1000\"]\nprompt = \"stdin\"",
        seen.display(),
        INHERITED_NAME = "\\\"$SECRET_COPY\\\"",
    );
    env.config_with_scripted(&tell);
    let repo = env.repo("repo", 2);
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let given = format!("GIVEN={GIVEN}");
    let run = |args: &[&str], code: i32| {
        let call = fleet(&env, &repo, args);
        let call = call
            .env("SECRET", INHERITED)
            .env("SECRET_COPY", INHERITED)
            .env("TAKEN", INHERITED);
        call.output().fails(code)
    };
    let found = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(env.fleet_home(), env.root(), &stop, &rounds));
        // A failure below must end the watching too, or the scope would wait for it.
        let until = Until(&stop);
        let done = run(
            &[
                "create", "tells", "-a", "teller", "--env", &given, "--env", "TAKEN", "--json",
            ],
            0,
        );
        let told: Value = done.json();
        assert_eq!(told["agents"][0]["env_names"], serde_json::json!(["GIVEN", "TAKEN"]));
        wait_until(PATIENCE, "the agent's own word", || {
            let text = fs::read_to_string(&seen).unwrap_or_default();
            (text == format!("{INHERITED} {GIVEN} {INHERITED}")).then_some(())
        });
        let _ = run(&["create", "one", "--env", &given], 0);
        let _ = run(&["create", "plain", "-a", "headless", "-p", "x", "--env", &given], 0);
        let _ = run(&["fanout", "2", "pair", "--env", &given], 0);
        let _ = run(&["multi", "m:print x", "--env", &given], 0);
        let _ = run(&["prompt", "one", "print hello", "--wait"], 0);
        let _ = run(&["restart", "one", "--env", &given], 0);
        let _ = run(&["attach", "one", "--print"], 0);
        let _ = run(&["list", "--repair"], 0);
        // Refusals are recorded as well.
        let _ = run(&["create", "one", "--env", &given], 4);
        let _ = run(&["create", "bad", "--env", &given, "--env", "NOT_SET_ANYWHERE"], 2);
        let _ = run(&["create", "bad", "--env", &format!("A B={GIVEN}")], 2);
        let _ = run(&["create", "bad", "--env", &format!("={GIVEN}")], 2);
        let _ = run(&["kill", "one", "--dry-run"], 0);
        let resumed = run(&["resume", "one", "--env", &given], 4);
        assert!(!resumed.stderr.contains(GIVEN), "{resumed}");
        let missing = run(&["restart", "pair-A1"], 5);
        assert!(
            missing.stderr.contains("GIVEN") || missing.stdout.contains("GIVEN"),
            "{missing}"
        );
        let _ = run(&["restart", "pair-A1", "--env", &given], 0);
        // A busy machine looks slowly: the agents run on until it has looked often enough to see something.
        wait_until(PATIENCE, "enough looks", || {
            (rounds.load(Ordering::Relaxed) > 5).then_some(())
        });
        let _ = run(&["kill", "*", "--force"], 0);
        drop(until);
        watcher.join().expect("the watcher does not panic")
    });
    assert_eq!(found, [""; 0], "after {} rounds", rounds.load(Ordering::Relaxed));
    let mut left = Vec::new();
    files(env.fleet_home(), &mut left);
    assert_eq!(left, [""; 0]);
    env.assert_nothing_left();
}
