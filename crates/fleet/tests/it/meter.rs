//! Agents whose requests go through the meter: a stand-in for Claude Code, and the scripted endpoint as its service.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use fleet_app::app::App;
use fleet_core::budget::{Cap, Scope};
use fleet_core::money::Usd;
use fleet_host::home::Home;
use fleet_testkit::model::{Fault, FaultRule, ModelServer, Request, Script, Turn, Usage, When};
use fleet_testkit::tls::{AUTHORITY, TlsFront};
use fleet_testkit::{Cmd, TestEnv, binary, kill_process, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::drive::{LONG, journal, supervisor, text};

/// What each reply of the endpoint uses: at the prices of Claude Opus 4.8 that is 0.5225 USD.
const USAGE: Usage = Usage {
    input: 100_000,
    cached: 20_000,
    cache_write: 0,
    output: 500,
    reasoning: 0,
};
const COST: f64 = 0.5225;

struct Stage {
    env: TestEnv,
    repo: PathBuf,
    endpoint: ModelServer,
}

impl Stage {
    fn new() -> Self {
        Self::with("meter = \"proxy\"\n")
    }

    /// A stage whose settings have these lines.
    fn with(lines: &str) -> Self {
        let env = TestEnv::new();
        let repo = env.repo("shop", 2);
        let programs = env.root().join("bin");
        fs::create_dir(&programs).expect("a fresh root");
        symlink(binary("asker"), programs.join("claude")).expect("a link");
        env.write_config(&format!("claude_flags = \"\"\n{lines}"));
        let endpoint = ModelServer::start(Script::of([Turn::say("an answer").with_usage(USAGE)]));
        Self { env, repo, endpoint }
    }

    fn fleet(&self, args: &[&str]) -> Cmd {
        let path = self.env.variables().into_iter().find(|(name, _)| name == "PATH");
        let mut programs: OsString = self.env.root().join("bin").into();
        programs.push(":");
        programs.push(path.expect("a PATH").1);
        let run = self.env.fleet(args).cwd(&self.repo).timeout(LONG);
        run.env("PATH", programs).env("ANTHROPIC_BASE_URL", self.endpoint.url())
    }

    /// Runs an agent without a terminal to its end.
    #[track_caller]
    fn run(&self, branch: &str, prompt: &str) -> Value {
        let create = ["create", branch, "--headless", "-p", prompt, "--wait", "exited"];
        let _ = self.fleet(&create).output();
        self.agent(branch)
    }

    /// The same with an API key, where the settings say nothing of the meter.
    #[track_caller]
    fn run_with_key(&self, branch: &str, prompt: &str) -> Value {
        let create = ["create", branch, "--headless", "-p", prompt, "--wait", "exited"];
        let _ = self.fleet(&create).env("ANTHROPIC_API_KEY", "made-up").output();
        self.agent(branch)
    }

    /// How many of the agent's requests the proxy has counted.
    #[track_caller]
    fn counted(&self, branch: &str) -> usize {
        let used = self.facts(branch, "used");
        used.iter().filter(|fact| fact["request"].is_u64()).count()
    }

    /// Gives the meter's port to somebody else.
    fn take_port(&self) -> TcpListener {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = other.local_addr().expect("an address").port();
        let folder = self.env.fleet_home().join("meter");
        fs::create_dir_all(&folder).expect("the fleet home can be written");
        fs::write(folder.join("port"), port.to_string()).expect("written");
        other
    }

    #[track_caller]
    fn agent(&self, branch: &str) -> Value {
        let list: Value = self.fleet(&["list", "--all", "--json"]).output().success().json();
        let agents = list["agents"].as_array().expect("agents");
        let found = agents.iter().find(|agent| agent["branch"] == branch);
        found.expect("an agent of this branch").clone()
    }

    /// The facts of this kind in the agent's journal.
    #[track_caller]
    fn facts(&self, branch: &str, kind: &str) -> Vec<Value> {
        let entries = journal(&self.env, &text(&self.agent(branch)["id"]));
        entries.into_iter().filter(|entry| entry["fact"] == kind).collect()
    }

    /// The process of the meter.
    fn meter(&self) -> Option<u32> {
        let processes = self.env.own_processes().into_iter();
        let mut meters = processes.filter(|process| process.argv.iter().any(|arg| arg == "__meter"));
        meters.next().map(|process| process.pid)
    }

    fn port(&self) -> String {
        fs::read_to_string(self.env.fleet_home().join("meter/port")).expect("the meter has a port")
    }

    fn app(&self) -> App {
        App::new(Home::at(self.env.fleet_home()), self.env.home().to_owned(), None)
    }

    /// What the requests have used that the endpoint has answered in whole.
    fn told(&self) -> Vec<Usage> {
        let requests = self.endpoint.requests();
        requests
            .iter()
            .filter_map(|request: &Request| request.answer.usage)
            .collect()
    }

    /// Starts an agent whose first reply has begun and does not go on before a release.
    #[track_caller]
    fn hang_in(&self, branch: &str, prompt: &str) {
        self.hang(self.fleet(&["create", branch, "--headless", "-p", prompt]));
    }

    #[track_caller]
    fn hang_in_with_key(&self, branch: &str, prompt: &str) {
        let create = self.fleet(&["create", branch, "--headless", "-p", prompt]);
        self.hang(create.env("ANTHROPIC_API_KEY", "made-up"));
    }

    #[track_caller]
    fn hang(&self, create: Cmd) {
        let rule = FaultRule {
            when: When::default(),
            nth: Some(1),
            times: Some(1),
            side: false,
            fault: Fault::HangAfter(2),
        };
        let script = Script::of([Turn::say("an answer").with_usage(USAGE)]);
        self.endpoint.set_script(script.with_fault(rule));
        let _ = create.output().success();
        let begun = |request: &Request| request.format.is_some();
        let _ = self.endpoint.wait_for_request(LONG, "the first request", begun);
    }

    fn end(&self) {
        let _ = self.fleet(&["kill", "*", "--force", "--delete-branch"]).output();
        self.env.assert_nothing_left();
    }
}

#[test]
fn each_request_is_counted_once_and_exactly_and_what_the_program_tells_stands_beside() {
    let stage = Stage::new();
    let agent = stage.run("one", "ask for one\nask for two\nask for three");
    assert_eq!(agent["outcome"], "success", "{agent}");
    assert_eq!(stage.told().len(), 3);
    let used = stage.facts("one", "used");
    let (counted, beside): (Vec<_>, Vec<_>) = used.iter().partition(|fact| fact["request"].is_u64());
    assert_eq!(counted.len(), 3, "{used:?}");
    for fact in &counted {
        assert_eq!(fact["cost"], COST, "{fact}");
        assert_eq!(fact["certainty"], "measured", "{fact}");
        assert_eq!(fact["tokens"]["input"], 100_000, "{fact}");
        assert_eq!(fact["tokens"]["cached"], 20_000, "{fact}");
        assert!(fact["beside"].is_null(), "{fact}");
    }
    assert_eq!(beside.len(), 1, "{used:?}");
    assert_eq!(beside[0]["beside"], true, "{}", beside[0]);
    assert_eq!(beside[0]["tokens"], agent["usage"][0]["tokens"], "they agree");
    assert_eq!(
        agent["usage"].as_array().map(Vec::len),
        Some(1),
        "and it is shown once: {agent}"
    );
    let spent = stage.app().store().and_then(|store| store.spent(&Default::default()));
    let spent = spent.expect("the account");
    assert_eq!((Some(spent.cost), spent.unknown), (Usd::new(3.0 * COST), 0));
    stage.end();
    assert_eq!(stage.meter(), None, "it ends with the last agent");
}

#[test]
fn its_death_stops_spending_and_not_the_work_and_it_comes_back_on_its_port() {
    let stage = Stage::new();
    stage.hang_in("one", "ask for one\nask for two");
    let port = stage.port();
    let first = stage.meter().expect("the meter runs");
    kill_process(first);
    stage.endpoint.release();
    let _ = stage.fleet(&["wait", "one", "--until", "exited"]).output().success();
    let agent = stage.agent("one");
    assert_eq!(agent["outcome"], "success", "the work went on: {agent}");
    assert_eq!(stage.port(), port);
    let told = stage.facts("one", "meter");
    assert!(told.iter().any(|fact| fact["there"] == true), "{told:?}");
    let used = stage.facts("one", "used");
    let estimated = used
        .iter()
        .filter(|fact| fact["certainty"] == "estimated" && fact["beside"].is_null());
    assert_eq!(estimated.count(), 1, "what was open when it died: {used:?}");
    let measured = used
        .iter()
        .filter(|fact| fact["certainty"] == "measured" && fact["beside"].is_null());
    assert_eq!(measured.count(), 2, "{used:?}");
    assert!(
        stage.facts("one", "swept").is_empty(),
        "the next meter is nobody's leftover"
    );
    stage.end();
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_started() {
    let stage = Stage::new();
    let other = stage.take_port();
    let port = other.local_addr().expect("an address").port();
    let refused = stage
        .fleet(&["create", "one", "--headless", "-p", "ask for one"])
        .output();
    assert!(!refused.status.success());
    let wanted = format!("port {port} of the meter is taken by another process");
    assert!(refused.stderr.contains(&wanted), "{}", refused.stderr);
    assert!(stage.endpoint.requests().is_empty());
    assert_eq!(stage.meter(), None);
    drop(other);
    assert_eq!(
        stage.run("two", "ask for one")["outcome"],
        "success",
        "free again, it serves there"
    );
    assert_eq!(stage.port(), port.to_string());
    stage.end();
}

#[test]
fn a_port_that_is_taken_meanwhile_is_an_event_and_the_work_goes_on_when_it_is_free() {
    let stage = Stage::new();
    stage.hang_in("one", "ask for one\nask for two");
    let (port, meter) = (stage.port(), stage.meter().expect("the meter runs"));
    let owner = supervisor(&stage.env, &text(&stage.agent("one")["id"]));
    let owner = Pid::from_raw(i32::try_from(owner).expect("a process id"));
    // So that somebody else is faster.
    kill(owner, Signal::SIGSTOP).expect("it lives");
    kill_process(meter);
    let number: u16 = port.parse().expect("a port");
    let other = wait_until(LONG, "the port", || {
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()
    });
    kill(owner, Signal::SIGCONT).expect("it lives");
    let wanted = format!("port {port} of the meter is taken by another process");
    wait_until(LONG, "the event", || {
        let told = stage.facts("one", "meter");
        let gone = |fact: &Value| fact["there"] == false && fact["about"] == wanted.as_str();
        told.iter().any(gone).then_some(())
    });
    drop(other);
    stage.endpoint.release();
    let _ = stage.fleet(&["wait", "one", "--until", "exited"]).output().success();
    assert_eq!(stage.agent("one")["outcome"], "success");
    let told = stage.facts("one", "meter");
    assert_eq!(told.len(), 2, "gone once, back once: {told:?}");
    stage.end();
}

#[test]
fn at_the_hard_ceiling_of_the_day_the_next_request_is_refused_in_words_that_the_program_understands() {
    let stage = Stage::new();
    // Set while the agent works, so that nothing is reserved for it.
    stage.hang_in("one", "ask for one\nask for two\nask for three");
    let app = stage.app();
    let cap = Cap {
        ceiling: Usd::new(COST + 0.1).expect("an amount"),
        hard: true,
    };
    let store = app.store().expect("a store");
    store
        .set_cap("test.cap", &Scope::Day, Some(cap), app.now())
        .expect("set");
    stage.endpoint.release();
    let _ = stage.fleet(&["wait", "one", "--until", "exited"]).output();
    let agent = stage.agent("one");
    assert_ne!(agent["outcome"], "success", "{agent}");
    assert_eq!(
        stage.told().len(),
        2,
        "one within the ceiling, one that passes it, and no third"
    );
    let logs = stage.fleet(&["logs", "one", "-n", "50"]).output().success().stdout;
    assert!(logs.contains("fleet refuses another request"), "{logs}");
    stage.end();
}

#[test]
fn a_program_that_cannot_be_pointed_at_it_is_not_started_and_doctor_says_why() {
    let stage = Stage::new();
    let folder = stage.env.home().join(".claude");
    fs::create_dir_all(&folder).expect("HOME can be written");
    fs::write(
        folder.join("settings.json"),
        r#"{"env": {"ANTHROPIC_BASE_URL": "http://other"}}"#,
    )
    .expect("written");
    let refused = stage
        .fleet(&["create", "one", "--headless", "-p", "ask for one"])
        .output();
    assert!(!refused.status.success());
    for wanted in [
        "`claude` cannot be pointed at the meter",
        "settings.json sets",
        "export FLEET_METER=transcript",
    ] {
        assert!(refused.stderr.contains(wanted), "{wanted}: {}", refused.stderr);
    }
    let doctor = stage.fleet(&["doctor", "--harness", "claude"]).output();
    assert!(
        doctor.stdout.contains("it cannot be pointed at the meter"),
        "{}",
        doctor.stdout
    );
    stage.env.write_config("claude_flags = \"\"\n");
    assert_eq!(stage.run("two", "ask for one")["outcome"], "success");
    stage.end();
}

#[test]
fn unasked_the_proxy_counts_a_program_without_a_terminal_that_has_an_api_key() {
    let stage = Stage::with("");
    assert_eq!(
        stage.run_with_key("one", "ask for one\nask for two")["outcome"],
        "success"
    );
    assert_eq!(stage.counted("one"), 2);
    let doctor = stage.fleet(&["doctor", "--harness", "claude"]);
    let doctor = doctor.env("ANTHROPIC_API_KEY", "made-up").output().stdout;
    assert!(
        doctor.contains("without a terminal it is counted by the proxy"),
        "{doctor}"
    );
    stage.end();
}

#[test]
fn unasked_a_program_without_an_api_key_is_counted_by_what_it_tells_and_doctor_says_why() {
    let stage = Stage::with("");
    assert_eq!(stage.run("one", "ask for one\nask for two")["outcome"], "success");
    assert_eq!(stage.counted("one"), 0);
    let used = stage.facts("one", "used");
    assert_eq!(used.len(), 1, "{used:?}");
    assert_eq!(used[0]["cost"], 2.0 * COST, "{}", used[0]);
    assert_eq!(stage.meter(), None);
    let doctor = stage.fleet(&["doctor", "--harness", "claude"]).output().stdout;
    let wanted = "it is counted by what it tells, not by the proxy: it has no API key";
    assert!(doctor.contains(wanted), "{doctor}");
    stage.end();
}

#[test]
fn unasked_a_port_that_is_taken_is_an_event_and_the_work_is_done() {
    let stage = Stage::with("");
    let other = stage.take_port();
    assert_eq!(stage.run_with_key("one", "ask for one")["outcome"], "success");
    assert_eq!(stage.counted("one"), 0);
    let used = stage.facts("one", "used");
    assert_eq!(used[0]["cost"], COST, "{used:?}");
    let told = stage.facts("one", "meter");
    let port = other.local_addr().expect("an address").port();
    let wanted =
        format!("what it uses is counted by what it tells: port {port} of the meter is taken by another process");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["about"], wanted.as_str());
    let doctor = stage.fleet(&["doctor"]).output().stdout;
    assert!(
        doctor.contains(&format!("port {port} of the meter is taken")),
        "{doctor}"
    );
    stage.end();
}

#[test]
fn what_an_agent_starts_goes_to_the_service_by_an_address_of_its_own() {
    let stage = Stage::with("");
    stage.hang_in_with_key("one", "ask for one");
    let pid = stage.agent("one")["pid"].as_u64().expect("it runs");
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let environment: Vec<(String, String)> = environment
        .split(|byte| *byte == 0)
        .filter_map(|each| String::from_utf8(each.to_vec()).ok())
        .filter_map(|each| {
            each.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .filter(|(name, _)| name.starts_with("FLEET_") || name.starts_with("ANTHROPIC_"))
        .collect();
    let address = |name: &str| {
        environment
            .iter()
            .find(|(each, _)| each == name)
            .expect("set")
            .1
            .clone()
    };
    assert!(address("ANTHROPIC_BASE_URL").contains("/anthropic"), "{environment:?}");
    let create = ["create", "two", "--headless", "-p", "ask for two", "--wait", "exited"];
    let mut create = stage.fleet(&create);
    for (name, value) in &environment {
        create = create.env(name, value);
    }
    let _ = create.output().success();
    assert_eq!(stage.counted("two"), 1);
    stage.endpoint.release();
    wait_until(LONG, "the end of the first", || {
        (stage.agent("one")["outcome"] == "success").then_some(())
    });
    assert_eq!(stage.counted("one"), 1, "and none of the other's");
    stage.end();
}

/// Sets a hard ceiling of the day, of which nothing is used up.
fn set_hard_day(stage: &Stage) {
    let app = stage.app();
    let cap = Cap {
        ceiling: Usd::new(100.0).expect("an amount"),
        hard: true,
    };
    let store = app.store().expect("a store");
    store
        .set_cap("test.cap", &Scope::Day, Some(cap), app.now())
        .expect("set");
}

#[test]
fn under_a_hard_ceiling_of_the_day_a_model_without_a_price_gets_no_other_request() {
    let stage = Stage::with("meter = \"proxy\"\n");
    stage
        .env
        .write_config("claude_flags = \"--model no-such-model\"\nmeter = \"proxy\"\n");
    stage.hang_in("one", "ask for one\nask for two\nask for three");
    set_hard_day(&stage);
    stage.endpoint.release();
    let _ = stage.fleet(&["wait", "one", "--until", "exited"]).output();
    assert_ne!(stage.agent("one")["outcome"], "success");
    assert_eq!(stage.told().len(), 1, "what was on its way when the ceiling was set");
    let wanted = "nobody knows what `no-such-model` costs, so no hard ceiling can hold";
    let logs = stage.fleet(&["logs", "one", "-n", "50"]).output().success().stdout;
    assert!(
        logs.contains(wanted) && logs.contains("fleet budget prices --example"),
        "{logs}"
    );
    let told = stage.facts("one", "meter");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(text(&told[0]["about"]).contains(wanted), "{told:?}");

    // With a price it is counted.
    let prices = "version = 1\n[[price]]\nmodels = [\"no-such-model\"]\ninput = 5\noutput = 25\n";
    fs::write(stage.env.fleet_home().join("prices.toml"), prices).expect("the fleet home can be written");
    assert_eq!(stage.run("two", "ask for one")["outcome"], "success");
    assert_eq!(stage.counted("two"), 1);
    stage.end();
}

#[test]
fn an_agent_with_a_hard_ceiling_gets_no_request_for_a_model_without_a_price() {
    let stage = Stage::with("");
    stage
        .env
        .write_config("claude_flags = \"--model no-such-model\"\nmeter = \"proxy\"\n");
    let create = [
        "create",
        "one",
        "--headless",
        "-p",
        "ask for one",
        "--budget",
        "5",
        "--hard",
        "--wait",
        "exited",
    ];
    let _ = stage.fleet(&create).output();
    assert_ne!(stage.agent("one")["outcome"], "success");
    assert!(stage.endpoint.requests().is_empty());
    let logs = stage.fleet(&["logs", "one", "-n", "50"]).output().success().stdout;
    assert!(logs.contains("nobody knows what `no-such-model` costs"), "{logs}");
    stage.end();
}

#[test]
fn a_service_behind_tls_is_reached_where_its_certificate_is_trusted() {
    let stage = Stage::new();
    let front = TlsFront::before(stage.endpoint.address());
    let authority = stage.env.root().join("authority.pem");
    fs::write(&authority, AUTHORITY).expect("the root can be written");
    let create = [
        "create",
        "one",
        "--headless",
        "-p",
        "ask for one\nask for two",
        "--wait",
        "exited",
    ];
    let create = stage.fleet(&create).env("SSL_CERT_FILE", &authority);
    let _ = create.env("ANTHROPIC_BASE_URL", front.url()).output().success();
    assert_eq!(stage.agent("one")["outcome"], "success");
    assert_eq!((stage.told().len(), stage.counted("one")), (2, 2));
    assert!(stage.facts("one", "meter").is_empty());
    stage.end();
}

#[test]
fn a_service_whose_certificate_nobody_vouches_for_is_an_error_and_an_event_and_costs_nothing() {
    let stage = Stage::new();
    let front = TlsFront::before(stage.endpoint.address());
    let create = ["create", "one", "--headless", "-p", "ask for one", "--wait", "exited"];
    let _ = stage.fleet(&create).env("ANTHROPIC_BASE_URL", front.url()).output();
    assert_ne!(stage.agent("one")["outcome"], "success");
    assert!(stage.endpoint.requests().is_empty());
    let wanted = "fleet's meter does not trust the certificate of 127.0.0.1";
    let logs = stage.fleet(&["logs", "one", "-n", "50"]).output().success().stdout;
    assert!(logs.contains(wanted), "{logs}");
    let told = stage.facts("one", "meter");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(text(&told[0]["about"]).contains(wanted), "{told:?}");
    let spent = stage.app().store().and_then(|store| store.spent(&Default::default()));
    let spent = spent.expect("the account");
    assert_eq!(
        (spent.cost, spent.unknown, stage.counted("one")),
        (Usd::default(), 0, 0)
    );
    stage.end();
}
