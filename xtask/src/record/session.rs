//! One agent under fleet, led through the states that can be brought about, with a recording at each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_host::harness::sign::Look;
use fleet_host::supervise::client::Client;
use serde_json::{Value, json};

use super::traits::{self, Traits};
use crate::endpoint::{Edits, Endpoint};
use crate::run::{Run, io};
use crate::world::World;
use crate::{Failure, Result, failed, procs};

/// What everything may take.
const PATIENCE: Duration = Duration::from_secs(100);
/// A screen that has not changed for so long, with no request open, is at rest.
const STILL: Duration = Duration::from_millis(2500);
/// How often is looked.
const STEP: Duration = Duration::from_millis(100);

/// Where the programs are.
pub(super) struct Programs {
    pub(super) ours: PathBuf,
    pub(super) clis: PathBuf,
}

/// The session.
pub(super) struct Session {
    cli: &'static Traits,
    size: (u16, u16),
    repo: PathBuf,
    endpoint: Endpoint,
    view: Option<Client>,
    recordings: Vec<Value>,
    // Last, so that it is dropped when nothing needs it any more.
    world: World,
}

impl Session {
    /// Starts the endpoint and the agent. With `free` nothing is asked before a command is run.
    pub(super) fn start(programs: &Programs, cli: &'static Traits, size: (u16, u16), free: bool) -> Result<Session> {
        let mut world = World::new("record", programs.ours.clone())?;
        let edits = if free { Edits::Free } else { Edits::Asked };
        let script = traits::script(cli);
        let endpoint = Endpoint::start(&mut world, &programs.ours, &programs.clis, &script, edits)?;
        if !free {
            let variables = cli.asking_env.iter().map(|(name, value)| (name.into(), value.into()));
            world.add(variables.collect(), &programs.clis)?;
        }
        let repo = world.root().join("repo");
        fs::create_dir(&repo).map_err(io("make", &repo))?;
        fs::write(repo.join("a.txt"), "text\n").map_err(io("write", &repo))?;
        for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "first"]] {
            world.git(&repo, args)?;
        }
        let flags = if free { cli.free } else { cli.asking };
        world.configure(&format!("root_bypass = true\n{}_flags = {flags:?}\n", cli.name))?;
        let mut session = Session {
            cli,
            size,
            repo,
            endpoint,
            view: None,
            recordings: Vec::new(),
            world,
        };
        session.fleet(&["create", "a", "--agent", cli.name])?;
        session.look_on()?;
        Ok(session)
    }

    pub(super) fn recordings(&self) -> &[Value] {
        &self.recordings
    }

    /// With a program that runs commands unasked.
    pub(super) fn walk_free(&mut self) -> Result<()> {
        // Whether it is up can be told only as long as nothing is on its screen.
        if self.look()?.rows.is_empty() {
            self.record("coming up", "starting")?;
        }
        self.come_up()?;
        self.record("fresh", "ready")?;

        self.prompt("hang")?;
        self.wait("a request that hangs", |session| Ok(session.open_requests() > 0))?;
        self.pause(Duration::from_secs(1));
        self.record("the model thinks", "working")?;
        self.fleet(&["prompt", "a", "--interrupt"])?;
        self.settle()?;
        self.record("interrupted", "idle")?;

        self.prompt("run sleep 7\nsay it has slept")?;
        self.wait("the tool", |session| Ok(session.runs("sleep 7")))?;
        self.pause(Duration::from_secs(1));
        self.record("a tool runs", "working")?;
        self.wait("the last reply", |session| Ok(session.replies("run sleep 7") >= 2))?;
        self.settle()?;
        self.record("a turn is over", "idle")?;

        self.type_in(b"half a draft")?;
        self.settle()?;
        self.record("a person's draft", "idle")?;
        self.type_in(b"\x03")?;
        self.settle()?;

        for (trouble, state) in [
            ("bad_request", "idle"),
            ("no_credit", "waiting(limit)"),
            ("unauthorized", "waiting(login)"),
            ("rate_limit", "waiting(limit)"),
            ("server_error", "idle"),
            ("overloaded", "idle"),
        ] {
            self.prompt(&format!("fail {trouble}"))?;
            self.wait("its request", |session| {
                Ok(session.last_prompt_is(&format!("fail {trouble}")))
            })?;
            match self.settle() {
                Ok(()) => self.record(&format!("after {trouble}"), state)?,
                // It tries and tries.
                Err(_) => {
                    self.record(&format!("trying again after {trouble}"), "working")?;
                    self.fleet(&["prompt", "a", "--interrupt"])?;
                    self.settle()?;
                    self.record(&format!("interrupted after {trouble}"), "idle")?;
                }
            }
        }
        self.prompt("say better")?;
        self.settle()?;
        self.record("a turn after trouble", "idle")?;

        self.kill_program()?;
        self.wait("the end", |session| Ok(session.state()?.starts_with("exited")))?;
        self.record("crashed", "exited(137)")?;
        self.fleet(&["resume", "a"])?;
        self.look_on()?;
        self.come_up()?;
        self.record("resumed", "idle")?;
        self.type_in(self.cli.leave.as_bytes())?;
        self.pause(Duration::from_secs(1));
        self.type_in(b"\r")?;
        self.wait("its exit", |session| Ok(session.state()?.starts_with("exited")))?;
        self.record("left", "exited(0)")
    }

    /// With a program that asks before it runs commands.
    pub(super) fn walk_asking(&mut self) -> Result<()> {
        self.come_up()?;
        self.record("fresh, asking", "ready")?;
        if !self.cli.asks {
            self.prompt("wait 4000\nsay slowly")?;
            self.wait("its request", |session| Ok(session.open_requests() > 0))?;
            self.pause(Duration::from_secs(1));
            self.record("a slow answer", "working")?;
            self.settle()?;
            return self.record("a slow turn is over", "idle");
        }
        for (index, wish) in ["run touch made.txt", "write new.txt content", "run mkdir made"]
            .iter()
            .enumerate()
        {
            self.prompt(&format!("{wish}\nsay it is done"))?;
            self.wait("the call", |session| Ok(session.replies(wish) >= 1))?;
            // Some programs count the seconds while they ask, so their screens never stand still.
            self.pause(STILL);
            self.record(&format!("permission to {wish}"), "waiting(permission)")?;
            if index == 0 {
                self.type_in(b"\r")?;
                self.wait("the last reply", |session| Ok(session.replies(wish) >= 2))?;
                self.settle()?;
                self.record("allowed", "idle")?;
            } else {
                self.type_in(b"\x1b")?;
                self.settle()?;
                self.record("denied", "idle")?;
            }
        }
        if self.cli.question.is_some() {
            self.prompt("ask me")?;
            self.wait("the question", |session| Ok(session.replies("ask me") >= 1))?;
            self.pause(STILL);
            self.record("a question of the model", "waiting(question)")?;
            self.type_in(b"\x1b")?;
            self.settle()?;
            self.record("a question dismissed", "idle")?;
        }
        Ok(())
    }

    /// With a program whose model can have a sub-agent work in the background. Its own turn is over meanwhile, and it
    /// is not: it goes on by itself when the sub-agent has ended.
    pub(super) fn walk_delegating(&mut self) -> Result<()> {
        self.come_up()?;
        for moment in [
            "a sub-agent works in the background",
            "a second sub-agent works in the background",
        ] {
            self.prompt("delegate it")?;
            self.wait("the sub-agent's tool", |session| Ok(session.runs("sleep 9")))?;
            self.pause(Duration::from_secs(3));
            self.record(moment, "working")?;
            self.wait("the end of the tool", |session| Ok(!session.runs("sleep 9")))?;
            self.settle()?;
            self.settle()?;
        }
        self.record("the sub-agents have ended", "idle")
    }

    fn record(&mut self, moment: &str, label: &str) -> Result<()> {
        let look = match self.look() {
            Ok(look) => json!(look),
            Err(_) => Value::Null,
        };
        let explained = self.json(&["explain", "a", "--json"])?;
        let facts: Vec<Value> = explained["facts"]
            .as_array()
            .into_iter()
            .flatten()
            .cloned()
            .map(neutral)
            .collect();
        let said = explained["agent"]["state"].as_str().unwrap_or_default().to_owned();
        let root = self.world.root().display().to_string();
        let recording = json!({
            "cli": self.cli.name, "moment": moment, "label": label, "said": said,
            "rows": self.size.0, "cols": self.size.1, "look": look, "facts": facts,
        });
        let mark = if said == label { "  " } else { "! " };
        println!("  {mark}{moment}: {label}, fleet says {said}");
        let text = recording.to_string().replace(&root, "/world");
        self.recordings
            .push(serde_json::from_str(&text).map_err(|error| Failure::Failed(error.to_string()))?);
        Ok(())
    }

    /// Waits until something is on the screen, and then until it stands still for long.
    pub(super) fn come_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.look()?.rows.len() < 4 && begun.elapsed() < PATIENCE {
            self.pause(STEP);
        }
        self.settle()?;
        self.settle()
    }

    /// Waits until no request is open and the screen stands still.
    fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        let (mut last, mut since) = (None, Instant::now());
        while begun.elapsed() < PATIENCE / 2 {
            let now = self.look().ok();
            let busy = self.open_requests() > 0;
            if busy || now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() >= STILL {
                return Ok(());
            }
            self.pause(STEP);
        }
        failed("the screen does not come to rest")
    }

    fn wait(&mut self, what: &str, holds: impl Fn(&Session) -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if holds(self)? {
                return Ok(());
            }
            self.pause(STEP);
        }
        failed(format!("{what} never came"))
    }

    pub(super) fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
        // What the view is sent has to go somewhere.
        if let Some(view) = &mut self.view {
            let _ = view.arrived();
        }
    }

    /// Sends a prompt and gives what fleet says of it.
    pub(super) fn send(&self, text: &str) -> Result<String> {
        let ended = self.run(&["prompt", "a", "--json", "-m", text]).output()?;
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or(Value::Null);
        // An agent that cannot take anything is an error, and nothing was sent.
        Ok(answer["sent"][0]["outcome"].as_str().unwrap_or("refused").to_owned())
    }

    pub(super) fn send_both(&self, one: &str, two: &str) -> Result<(String, String)> {
        std::thread::scope(|scope| {
            let one = scope.spawn(|| self.send(one));
            let two = self.send(two)?;
            let one = one
                .join()
                .map_err(|_| Failure::Failed("a thread failed".to_owned()))??;
            Ok((one, two))
        })
    }

    /// How often the endpoint has `text` as a prompt of one conversation. Blanks at its ends do not count: most
    /// programs drop them, and one adds some.
    pub(super) fn arrivals(&self, text: &str) -> usize {
        let same = |prompt: &&Value| prompt.as_str().is_some_and(|prompt| prompt.trim() == text.trim());
        let count = |line: &Value| {
            line["prompts"]
                .as_array()
                .map_or(0, |all| all.iter().filter(same).count())
        };
        let log = self.endpoint.log();
        let of_conversation = log.iter().filter(|line| line["side"].is_null());
        of_conversation.map(count).max().unwrap_or(0)
    }

    /// Waits until fleet calls the agent idle, with nothing queued and no request open.
    pub(super) fn rest(&mut self) -> Result<()> {
        self.wait("rest", |session| {
            let explained = session.json(&["explain", "a", "--json"])?;
            let state = explained["agent"]["state"].as_str().unwrap_or_default().to_owned();
            let rests = ["idle", "ready"].contains(&state.as_str()) && explained["queued"] == 0;
            Ok(rests && session.open_requests() == 0)
        })?;
        self.pause(Duration::from_millis(500));
        Ok(())
    }

    pub(super) fn asked(&mut self) -> Result<()> {
        self.wait("a question", |session| Ok(session.state()?.starts_with("waiting")))
    }

    pub(super) fn revive(&mut self) -> Result<()> {
        self.wait("the end", |session| Ok(session.state()?.starts_with("exited")))?;
        self.fleet(&["resume", "a"])?;
        self.look_on()?;
        self.come_up()
    }

    /// Puts the agent's tmux pane into copy mode.
    pub(super) fn copy_mode(&self) -> Result<()> {
        let line = self.fleet(&["attach", "a", "--print"])?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let socket = words
            .windows(2)
            .find(|pair| pair[0] == "-S")
            .map(|pair| pair[1].trim_matches('\''));
        let Some(socket) = socket else {
            return failed(format!("no socket in `{line}`"));
        };
        let args = ["-S", socket, "copy-mode", "-t", "ai_a"];
        self.world.program("tmux", &self.repo, args).text().map(drop)
    }

    /// What fleet knows of the agent, for who wants to know why it said something.
    pub(super) fn story(&self) -> Result<String> {
        let facts = self.fleet(&["explain", "a", "-n", "30"])?;
        Ok(facts + &self.fleet(&["logs", "a", "-n", "30"])?)
    }

    fn prompt(&self, text: &str) -> Result<()> {
        self.fleet(&["prompt", "a", "--wait", "--timeout", "60", "-m", text])
            .map(drop)
    }

    fn fleet(&self, args: &[&str]) -> Result<String> {
        self.run(args).text()
    }

    fn run(&self, args: &[&str]) -> Run {
        self.world.fleet(&self.repo, args)
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.fleet(args)?;
        serde_json::from_str(&text).map_err(|error| Failure::Failed(format!("no JSON: {error}")))
    }

    fn state(&self) -> Result<String> {
        let explained = self.json(&["explain", "a", "--json"])?;
        Ok(explained["agent"]["state"].as_str().unwrap_or_default().to_owned())
    }

    fn id(&self) -> Result<String> {
        let explained = self.json(&["explain", "a", "--json"])?;
        Ok(explained["agent"]["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Becomes a view of the session's size, as the terminal of a person would be.
    fn look_on(&mut self) -> Result<()> {
        let socket = self.world.fleet_home().join("run").join(format!("{}.sock", self.id()?));
        let told = |error: fleet_core::Error| Failure::Failed(error.message);
        let mut view = Client::connect(&socket).map_err(told)?;
        view.view(self.size.0, self.size.1).map_err(told)?;
        // The size of a view counts from its first key on.
        view.resize(self.size.0, self.size.1).map_err(told)?;
        self.view = Some(view);
        Ok(())
    }

    fn look(&mut self) -> Result<Look> {
        let Some(view) = &mut self.view else {
            return failed("there is no view");
        };
        let _ = view.arrived();
        view.look().map_err(|error| Failure::Failed(error.message))
    }

    pub(super) fn type_in(&mut self, keys: &[u8]) -> Result<()> {
        let Some(view) = &mut self.view else {
            return failed("there is no view");
        };
        view.input(keys).map_err(|error| Failure::Failed(error.message))
    }

    pub(super) fn kill_program(&self) -> Result<()> {
        let explained = self.json(&["explain", "a", "--json"])?;
        let pid = explained["agent"]["pid"].to_string();
        Run::new("kill", Path::new("/")).args(["-9", &pid]).text().map(drop)
    }

    fn runs(&self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        !procs::all(|process| process.argv == words).is_empty()
    }

    fn open_requests(&self) -> usize {
        let log = self.endpoint.log();
        let count = |event: &str| log.iter().filter(|line| line["event"] == event).count();
        count("request").saturating_sub(count("end"))
    }

    fn last_prompt_is(&self, text: &str) -> bool {
        let is = |line: &Value| {
            line["side"].is_null() && line["prompts"].as_array().and_then(|all| all.last()) == Some(&json!(text))
        };
        self.endpoint.log().iter().any(is)
    }

    /// How many replies to the prompt that begins with `wish` were sent whole.
    fn replies(&self, wish: &str) -> usize {
        let log = self.endpoint.log();
        let to_it = |line: &&Value| {
            let prompts = line["prompts"].as_array();
            let last = prompts
                .and_then(|all| all.last())
                .and_then(Value::as_str)
                .unwrap_or_default();
            line["event"] == "request" && line["side"].is_null() && last.starts_with(wish)
        };
        let ended = |line: &&Value| {
            log.iter()
                .any(|other| other["event"] == "end" && other["n"] == line["n"])
        };
        log.iter().filter(to_it).filter(ended).count()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.view = None;
        let _ = self.fleet(&["kill", "a", "--force"]);
    }
}

/// A fact without what differs from run to run and means nothing.
fn neutral(mut fact: Value) -> Value {
    if let Some(fact) = fact.as_object_mut() {
        for name in ["at", "boot", "pid", "start", "supervisor", "state"] {
            fact.remove(name);
        }
    }
    fact
}
