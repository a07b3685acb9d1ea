//! A home that cannot be used, programs that are missing, a database that is not as it should be.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use fleet_testkit::raw_command;
use serde_json::Value;

use super::*;

#[test]
fn a_full_disk_is_told_and_after_room_was_made_nothing_is_left() {
    for kilobytes in [0, 4, 24, 60, 100, 140, 200, 260, 320, 400] {
        let (env, repo) = scene("");
        let before = env.git(&repo, ["for-each-ref"]).success().stdout;
        // What is free: nothing at all, up to just not enough for the last steps.
        let lines = format!(
            "cp \"$FLEET_HOME/config.toml\" ../config.toml
             mount -t tmpfs -o size=8m,mode=700 tmpfs \"$FLEET_HOME\"
             cp ../config.toml \"$FLEET_HOME/config.toml\"
             \"$FLEET\" list > ../first.txt
             head -c 10000000 /dev/zero > \"$FLEET_HOME/filler\" 2>/dev/null || true
             truncate -s -{kilobytes}K \"$FLEET_HOME/filler\"
             code=0; \"$FLEET\" create fix > ../out.txt 2> ../err.txt || code=$?
             rm -f \"$FLEET_HOME/filler\"
             \"$FLEET\" list --repair > ../repair.txt
             if [ $code = 0 ]; then \"$FLEET\" kill fix --force > ../kill.txt; fi
             \"$FLEET\" list --json > ../left.json
             ls -A \"$FLEET_HOME/worktrees\" \"$FLEET_HOME/agents\" > ../folders.txt
             exit $code"
        );
        let Some(done) = env.in_namespace(&repo, &lines) else {
            return;
        };
        let read = |name: &str| fs::read_to_string(env.root().join(name)).unwrap_or_default();
        let story = format!(
            "{kilobytes} KiB free: {done}\n{}{}{}",
            read("out.txt"),
            read("err.txt"),
            read("repair.txt")
        );
        if !done.status.success() {
            assert_eq!(done.status.code(), Some(7), "{story}");
            let told = read("err.txt");
            assert!(told.contains("disk is full") && told.contains("hint: "), "{story}");
            assert!(kilobytes > 0 || read("out.txt").is_empty(), "{story}");
        } else {
            assert!(kilobytes > 60, "{story}");
            let _ = env.git(&repo, ["branch", "-D", "fix"]).success();
        }
        let left: Value = serde_json::from_str(&read("left.json")).expect(&story);
        assert_eq!(left["agents"], serde_json::json!([]), "{story}");
        assert_eq!(env.git(&repo, ["for-each-ref"]).success().stdout, before, "{story}");
        let _ = env.git(&repo, ["worktree", "prune"]).success();
        env.assert_nothing_left();
    }
}

#[test]
fn output_that_a_full_disk_lost_is_told_where_it_is_missing() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    let agent = env.root().join("talker");
    script(
        &agent,
        "echo before; read go < \"$1/go\"; seq 1 5000; read go < \"$1/go\"; echo after; exec tail -f /dev/null",
    );
    let (agent, root) = (agent.display(), env.root().display());
    env.write_config(&format!(
        "default_agent = \"own\"\n[harness.own]\ncommand = [\"{agent}\", \"{root}\"]\nprompt = \"paste\"\n"
    ));
    let lines = "mkfifo \"$ROOT/go\"
        cp \"$FLEET_HOME/config.toml\" \"$ROOT/config.toml\"
        mount -t tmpfs -o size=8m,mode=700 tmpfs \"$FLEET_HOME\"
        cp \"$ROOT/config.toml\" \"$FLEET_HOME/config.toml\"
        \"$FLEET\" create talker > /dev/null
        until \"$FLEET\" logs talker | grep -q before; do :; done
        head -c 10000000 /dev/zero > \"$FLEET_HOME/filler\" 2> /dev/null || true
        echo > \"$ROOT/go\"
        until [ -e \"$FLEET_HOME\"/agents/*/missing ]; do :; done
        \"$FLEET\" list > /dev/null 2> \"$ROOT/full.txt\" || true
        echo > \"$ROOT/go\"
        rm \"$FLEET_HOME/filler\"
        \"$FLEET\" prompt talker more --timeout 1 > /dev/null 2>&1 || true
        until [ -s \"$FLEET_HOME\"/agents/*/missing ]; do :; done
        until \"$FLEET\" logs talker -n 9000 > \"$ROOT/logs.txt\" && grep -q after \"$ROOT/logs.txt\"; do :; done
        \"$FLEET\" explain talker --json > \"$ROOT/explain.json\"
        \"$FLEET\" list --json > \"$ROOT/list.json\"
        cp -r \"$FLEET_HOME\"/agents/*/output \"$ROOT/output\"
        \"$FLEET\" kill talker --force > /dev/null";
    let Some(done) = env.in_namespace(&repo, lines) else {
        return;
    };
    let _ = done.success();
    let read = |name: &str| fs::read_to_string(env.root().join(name)).expect("written");
    assert!(
        read("full.txt").contains("cannot be written since"),
        "{}",
        read("full.txt")
    );
    let logs = read("logs.txt");
    let lines: Vec<&str> = logs.lines().collect();
    let gap = lines.iter().position(|line| line.starts_with("[fleet: "));
    let gap = gap.unwrap_or_else(|| panic!("no gap is told in {logs}"));
    assert!(
        lines[gap].contains("bytes of output are missing here, from 20"),
        "{}",
        lines[gap]
    );
    assert!(
        lines[..gap].contains(&"before") && lines[gap..].contains(&"after"),
        "{logs}"
    );
    assert!(lines[gap..].contains(&"5000"), "the screen follows the gap: {logs}");
    for name in ["explain.json", "list.json"] {
        let answer: Value = serde_json::from_str(&read(name)).expect("JSON");
        let warning = answer["warnings"][0].as_str().expect("a warning");
        assert!(
            warning.contains("of the output of `talker` are missing from 20"),
            "{warning}"
        );
    }
    for line in read("output/index").lines() {
        let mark: Value = serde_json::from_str(line).expect("a whole line");
        let segment = env
            .root()
            .join(format!("output/{:06}", mark["segment"].as_u64().expect("a number")));
        assert!(mark["offset"].as_u64() <= Some(fs::metadata(segment).expect("it is there").len()));
    }
    env.assert_nothing_left();
}

#[test]
fn a_read_only_home_is_told_and_can_still_be_read() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["create", "old"]).output().success();
    let _ = fleet(&env, &repo, &["kill", "old"]).output().success();
    let before = world(&env, &repo);
    let lines = "mount --bind \"$FLEET_HOME\" \"$FLEET_HOME\"
                 mount -o remount,bind,ro \"$FLEET_HOME\"
                 \"$FLEET\" list --all --json > ../list.json
                 \"$FLEET\" logs old > ../logs.txt
                 exec \"$FLEET\" create fix";
    let Some(done) = env.in_namespace(&repo, lines) else {
        return;
    };
    let said = refused(done, 7).says("read-only").hints("FLEET_HOME");
    assert_eq!(said.whole.stdout, "");
    let list: Value = serde_json::from_slice(&fs::read(env.root().join("list.json")).unwrap()).unwrap();
    assert_eq!(list["agents"][0]["branch"], "old");
    assert_eq!(world(&env, &repo), before);
    env.assert_nothing_left();
}

#[test]
fn a_read_only_place_for_a_new_home_is_told() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    let lines = "mount --bind \"$HOME\" \"$HOME\"
                 mount -o remount,bind,ro \"$HOME\"
                 exec \"$FLEET\" create fix";
    let Some(done) = env.in_namespace(&repo, lines) else {
        return;
    };
    let _ = refused(done, 7).says("read-only").hints("export FLEET_HOME=");
    assert!(!env.fleet_home().exists());
    env.assert_nothing_left();
}

#[test]
fn a_test_that_needs_mounts_is_named_where_there_can_be_none() {
    let env = TestEnv::new();
    let tools = only(&env, &["sh", "git"]);
    script(
        &tools.join("unshare"),
        "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1",
    );
    let said = env.root().join("missing");
    let run = || {
        let me = std::env::current_exe().expect("this program");
        let one = "input::home::a_read_only_place_for_a_new_home_is_told";
        env.program(me, ["--exact", one]).env("PATH", &tools)
    };
    let _ = run().env("FLEET_TEST_MISSING", &said).output().success();
    let told = fs::read_to_string(&said).expect("it was told");
    assert_eq!(
        told,
        "tests with mounts: unshare: unshare failed: Operation not permitted\n"
    );
    let alone = run().output().fails(101);
    assert!(alone.stdout.contains("cannot run on this machine"), "{alone}");
}

#[test]
fn a_home_on_a_network_file_system_is_refused_and_another_one_works() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    fs::write(env.home().join(".fleet-test-statfs"), "26985").unwrap();
    for args in [&["create", "fix"][..], &["list"], &["fanout", "2"]] {
        let _ = refused(fleet(&env, &repo, args).output(), 7)
            .says("NFS")
            .hints("export FLEET_HOME=");
    }
    assert!(!env.fleet_home().exists());
    let said = refused(fleet(&env, &repo, &["list"]).output(), 7);
    let other = env.root().join("local");
    let done = said.paste(&env, &repo, |line| {
        line.replace("/var/tmp/fleet", other.to_str().unwrap()) + " && fleet list"
    });
    let _ = done.success();
    env.assert_nothing_left();
}

#[test]
fn without_a_short_private_folder_for_sockets_nothing_starts() {
    let (env, repo) = scene("");
    let long = env.root().join("a-long-name-".repeat(10));
    fs::create_dir(&long).unwrap();
    fs::copy(env.fleet_home().join("config.toml"), long.join("config.toml")).unwrap();
    let run = |args: &[&str]| fleet(&env, &repo, args).env("FLEET_HOME", &long).output();
    let _ = run(&["doctor"]);
    let chosen = PathBuf::from(fs::read_to_string(long.join("runtime")).expect("a choice is recorded"));
    assert!(chosen.starts_with("/tmp"), "{}", chosen.display());
    fs::remove_dir_all(&chosen).unwrap();
    // Somebody else has the place.
    fs::create_dir(&chosen).unwrap();
    fs::set_permissions(&chosen, fs::Permissions::from_mode(0o755)).unwrap();
    let said = refused(run(&["create", "fix"]), 7)
        .says("is not a private folder")
        .says(chosen.to_str().unwrap());
    let _ = said.paste(&env, &repo, |line| line).success();
    let refs = env.git(&repo, ["for-each-ref", "refs/heads/"]).success().stdout;
    assert_eq!(refs.lines().count(), 1, "{refs}");
    assert_eq!(fs::read_dir(long.join("worktrees")).unwrap().count(), 0);
    let list: Value = run(&["list", "--all", "--json"]).success().json();
    assert_eq!(list["agents"], serde_json::json!([]));
    fs::remove_dir_all(&chosen).unwrap();
    // The user's own runtime folder does as well, and a short one is remembered.
    let own = env.root().join("r");
    fs::create_dir(&own).unwrap();
    fs::remove_file(long.join("runtime")).unwrap();
    let done = fleet(&env, &repo, &["create", "fix"])
        .env("FLEET_HOME", &long)
        .env("XDG_RUNTIME_DIR", &own)
        .output();
    let _ = done.success();
    let _ = run(&["kill", "fix"]).success();
    env.assert_nothing_left();
}

#[test]
fn without_tmux_agents_run_and_the_warning_says_how_to_install_it() {
    let (env, repo) = scene("");
    let path = only(&env, &["git", "sh"]);
    let run = |args: &[&str]| fleet(&env, &repo, args).env("PATH", &path).output();
    let done = run(&["create", "fix", "--json"]).success();
    let warning = done
        .stderr
        .lines()
        .find(|line| line.starts_with("warning: "))
        .expect("a warning");
    assert!(
        warning.contains("`tmux` is not installed") && warning.contains("apt-get install tmux"),
        "{done}"
    );
    let told: Value = done.json();
    assert_eq!(told["agents"][0]["phase"], "started");
    let _ = run(&["prompt", "fix", "print hello", "--wait"]).success();
    let _ = refused(run(&["attach", "fix", "--print"]), 7)
        .says("`tmux` is not installed")
        .hints("apt-get install tmux");
    let doctor = run(&["doctor"]).fails(7);
    let mut lines = doctor.stdout.lines();
    let check = lines.find(|line| line.contains("`tmux` is not installed"));
    assert!(check.is_some_and(|line| line.starts_with("error ")), "{doctor}");
    let hint = lines.next().expect("a line below the check");
    assert!(
        hint.trim_start().starts_with("hint: ") && hint.contains("apt-get install tmux"),
        "{doctor}"
    );
    assert_eq!(doctor.stderr, "", "nothing is said apart from its check");
    let listed: Value = run(&["list", "--repair", "--json"]).success().json();
    assert_eq!(listed["agents"][0]["branch"], "fix");
    let _ = run(&["restart", "fix"]).success();
    // Once it is there, a view opens.
    let _ = fleet(&env, &repo, &["attach", "fix", "--print"]).output().success();
    let _ = run(&["kill", "fix"]).success();
    kill_tmux(&env);
    env.assert_nothing_left();
}

#[test]
fn without_git_nothing_starts_and_the_error_says_how_to_install_it() {
    let (env, repo) = scene("");
    let before = world(&env, &repo);
    let path = only(&env, &["tmux", "sh"]);
    let run = |args: &[&str]| fleet(&env, &repo, args).env("PATH", &path).output();
    let _ = refused(run(&["create", "fix"]), 7)
        .says("`git` is not installed")
        .hints("`apt-get install git`");
    let doctor: Value = run(&["doctor", "--json"]).fails(7).json();
    assert_eq!(doctor["checks"][0]["level"], "error", "{doctor}");
    let hint = doctor["checks"][0]["hint"].as_str().expect("a hint");
    assert!(hint.contains("`apt-get install git`"), "{hint}");
    assert_eq!(world(&env, &repo), before);
    env.assert_nothing_left();
}

#[test]
fn a_tmux_that_is_too_old_is_told_and_agents_run() {
    let (env, repo) = scene("");
    let old = env.root().join("old");
    fs::create_dir(&old).unwrap();
    script(
        &old.join("tmux"),
        "[ \"$1\" = -V ] && echo tmux 2.9 && exit 0\necho 'unknown option -- N' >&2\nexit 1",
    );
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", old.display());
    let run = |args: &[&str]| fleet(&env, &repo, args).env("PATH", &path).output();
    let done = run(&["create", "fix"]).success();
    assert!(
        done.stderr.contains("warning: ") && done.stderr.contains("tmux 2.9 is too old"),
        "{done}"
    );
    assert!(done.stderr.contains("install"), "{done}");
    let _ = refused(run(&["attach", "fix", "--print"]), 7)
        .says("tmux 2.9 is too old")
        .hints("install");
    let doctor = run(&["doctor"]).fails(7);
    assert!(doctor.stdout.contains("tmux 2.9 is too old"), "{doctor}");
    let _ = run(&["kill", "fix"]).success();
    env.assert_nothing_left();
}

#[test]
fn a_database_of_a_newer_fleet_is_refused_and_left_as_it_is() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["list"]).output().success();
    sql(&env, "PRAGMA user_version = 999");
    let before = fs::read(env.fleet_home().join("fleet.db")).unwrap();
    for args in [
        &["create", "fix"][..],
        &["list"],
        &["list", "--repair"],
        &["kill", "x"],
        &["resume", "--all"],
    ] {
        let _ = refused(fleet(&env, &repo, args).output(), 78)
            .says("newer fleet")
            .says("999")
            .hints("update fleet");
    }
    assert_eq!(fs::read(env.fleet_home().join("fleet.db")).unwrap(), before);
    assert_eq!(env.git(&repo, ["branch"]).success().stdout.lines().count(), 1);
    env.assert_nothing_left();
}

#[test]
fn a_locked_database_is_told_after_a_while_and_nothing_is_half_done() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["list"]).output().success();
    changes_nothing(&env, &repo, || {
        let held = rusqlite::Connection::open(env.fleet_home().join("fleet.db")).unwrap();
        held.execute_batch("BEGIN IMMEDIATE").unwrap();
        let _ = fleet(&env, &repo, &["list"]).output().success();
        let _ = refused(fleet(&env, &repo, &["create", "fix"]).output(), 7)
            .says("is locked")
            .hints("end the program");
        held.execute_batch("ROLLBACK").unwrap();
    });
}

#[test]
fn a_damaged_database_is_kept_and_repair_takes_every_agent_up_again() {
    let (env, repo) = scene("");
    for branch in ["live", "saved", "done"] {
        let _ = fleet(&env, &repo, &["create", branch]).output().success();
    }
    let _ = fleet(&env, &repo, &["prompt", "live", "print before the damage", "--wait"])
        .output()
        .success();
    fs::write(env.fleet_home().join("worktrees/saved/new.txt"), "unsaved").unwrap();
    let _ = fleet(&env, &repo, &["kill", "saved", "done"]).output().success();
    let _ = fleet(&env, &repo, &["create", "lost"]).output().success();
    let pid = lose_supervisor(&env, "lost");
    let before: Value = fleet(&env, &repo, &["list", "--all", "--json"])
        .output()
        .success()
        .json();

    damage(&env);
    let broken = fs::read(env.fleet_home().join("fleet.db")).unwrap();
    let said = refused(fleet(&env, &repo, &["list"]).output(), 7)
        .says("is damaged")
        .says("a copy is kept as");
    let copy = said.message.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(fs::read(&copy).unwrap(), broken);
    let _ = refused(fleet(&env, &repo, &["create", "new"]).output(), 7).says("is damaged");
    assert_eq!(said.command(), "fleet list --repair");
    let repaired = said.paste(&env, &repo, |line| line).success();
    assert!(repaired.stdout.contains("live"), "{repaired}");
    assert_eq!(fs::read(&copy).unwrap(), broken, "the copy stays");

    let after: Value = fleet(&env, &repo, &["list", "--all", "--json"])
        .output()
        .success()
        .json();
    assert_eq!(essence(&after), essence(&before));
    assert!(pid > 0);
    let logs = fleet(&env, &repo, &["logs", "live"]).output().success();
    assert!(logs.stdout.contains("before the damage"), "{logs}");
    let _ = fleet(&env, &repo, &["prompt", "live", "print after it", "--wait"])
        .output()
        .success();
    let _ = fleet(&env, &repo, &["resume", "lost"]).output().success();
    let restored: Value = fleet(&env, &repo, &["salvage", "restore", "saved", "--json"])
        .output()
        .success()
        .json();
    let file = Path::new(restored["worktree"].as_str().unwrap()).join("new.txt");
    assert_eq!(fs::read_to_string(file).unwrap(), "unsaved");
    let _ = env
        .git(
            &repo,
            ["worktree", "remove", "--force", restored["worktree"].as_str().unwrap()],
        )
        .success();
    let _ = fleet(&env, &repo, &["create", "new"]).output().success();
    kill_all(&env);
}

/// What must be the same of each agent before and after its record was rebuilt.
fn essence(list: &Value) -> Vec<Value> {
    let keys = [
        "branch",
        "id",
        "pid",
        "session",
        "worktree",
        "phase",
        "state",
        "generation",
        "port_base",
        "base",
        "batch_id",
    ];
    let mut agents = list["agents"].as_array().expect("a list").clone();
    for agent in &mut agents {
        agent
            .as_object_mut()
            .expect("a record")
            .retain(|key, _| keys.contains(&key.as_str()));
    }
    agents.sort_by_key(|agent| agent["branch"].to_string());
    agents
}

/// Kills the supervisor of an agent and gives its process id.
fn lose_supervisor(env: &TestEnv, branch: &str) -> u32 {
    let of = |process: &fleet_testkit::scan::Process| {
        process.argv.get(1).is_some_and(|arg| arg == "__supervise")
            && process.argv.last().is_some_and(|arg| arg == branch)
    };
    let found = env
        .own_processes()
        .into_iter()
        .chain(fleet_testkit::scan::processes(of))
        .find(of)
        .expect("a supervisor");
    let killed = raw_command("kill")
        .args(["-9", &found.pid.to_string()])
        .status()
        .expect("the test may do that");
    assert!(killed.success());
    wait_until(PATIENCE, "the end of the supervisor", || {
        let list: Value = fleet(env, env.root(), &["list", "--repair", "--json"])
            .output()
            .success()
            .json();
        let agent = list["agents"]
            .as_array()?
            .iter()
            .find(|agent| agent["branch"] == branch)?
            .clone();
        (agent["state"] == "lost").then_some(())
    });
    found.pid
}

fn sql(env: &TestEnv, statement: &str) {
    let connection = rusqlite::Connection::open(env.fleet_home().join("fleet.db")).expect("the test may do that");
    connection.execute_batch(statement).expect("the test may do that");
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("the log is emptied");
}

/// Overwrites the head of the database.
fn damage(env: &TestEnv) {
    sql(env, "SELECT 1");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(env.fleet_home().join("fleet.db"))
        .expect("the test may do that");
    file.seek(SeekFrom::Start(0)).expect("the test may do that");
    file.write_all(&[0x5a; 4096]).expect("the test may do that");
}

fn kill_tmux(env: &TestEnv) {
    let socket = env.fleet_home().join("run/tmux.sock");
    let _ = env
        .program(
            "tmux",
            ["-S", socket.to_str().expect("the test may do that"), "kill-server"],
        )
        .output();
}
