//! What is measured with the real agent programs, against the scripted model endpoint.
//!
//! A world of its own: a HOME that leads them to the endpoint, and a fleet. The floor is the same program, bare in a
//! tmux session on a worktree that git made. Where a start is measured the model answers at once, so that the time of a
//! reply is the program's own and ours; where turns are, after 0.8 s.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleet_core::fact::Fact;
use fleet_core::{Error, Kind};
use fleet_host::supervise::client::{Client, Event};
use serde_json::{Value, json};

use super::page;
use super::page::{Bound, Row, Unit};
use super::rows::in_turns;
use super::sample::Sample;
use super::stage::{Stage, millis};
use crate::alone;
use crate::clis::CLIS;
use crate::endpoint::{Edits, Endpoint};
use crate::procs::Process;
use crate::run::io;
use crate::world::World;
use crate::{Failure, Result, failed};

/// The rows of [`starts`].
pub(super) const START_ROWS: &[&str] = &[
    "real-create-claude",
    "real-create-claude-own",
    "real-create-codex",
    "real-create-codex-own",
    "real-fanout-5-claude",
    "real-fanout-5-claude-own",
    "real-fanout-5-codex",
    "real-fanout-5-codex-own",
    "real-resident",
    "real-orphans",
];
/// The rows of [`idle`].
pub(super) const IDLE_ROWS: &[&str] = &[
    "real-idle-claude",
    "real-idle-codex",
    "real-idle-pi",
    "real-idle-opencode",
    "real-idle-gemini",
];
/// The rows of [`turns`].
pub(super) const TURN_ROWS: &[&str] = &[
    "real-work-claude",
    "real-rest-claude",
    "real-work-codex",
    "real-rest-codex",
    "real-work-pi",
    "real-rest-pi",
    "real-work-opencode",
    "real-rest-opencode",
    "real-work-gemini",
    "real-rest-gemini",
];

/// Everything that a program may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(5);
/// What a program does of itself at its start is over after so long.
const STARTS: Duration = Duration::from_secs(10);
/// Everything that a turn may take.
const TURN: Duration = Duration::from_secs(30);
/// A program that has rested for so long rests.
const STAYS: Duration = Duration::from_secs(1);
/// How often is looked whether enough was heard, while nothing comes.
const LISTEN: Duration = Duration::from_millis(100);

/// All of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [START_ROWS, IDLE_ROWS, TURN_ROWS].concat().into_iter()
}

/// A fleet of real programs.
struct Scene {
    endpoint: Endpoint,
    repo: PathBuf,
    /// Worktrees of the floor.
    bare: PathBuf,
    // Last, so that it is dropped when nothing needs it any more.
    world: World,
}

/// From nothing to the first replies, and what stays when it is over.
pub(super) fn starts(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut scene = Scene::set(stage, &json!({}))?;
    let mut rows = Vec::new();
    let (mut resident, mut orphans) = (0, 0);
    for (cli, create, create_own, fanout, fanout_own) in [
        ("claude", START_ROWS[0], START_ROWS[1], START_ROWS[4], START_ROWS[5]),
        ("codex", START_ROWS[2], START_ROWS[3], START_ROWS[6], START_ROWS[7]),
    ] {
        for (agents, name, own, bar) in [(1, create, create_own, 10_000.0), (5, fanout, fanout_own, 20_000.0)] {
            let (mut ours, mut floor) = (Sample::default(), Sample::default());
            for round in 0..stage.rounds(7) {
                let (batch, plain) = (format!("{cli}-{agents}-b{round}"), format!("{cli}-{agents}-f{round}"));
                let (took, bare) = in_turns(
                    round,
                    || scene.first_replies(cli, agents, &batch),
                    || scene.bare_replies(cli, agents, &plain),
                )?;
                ours.push(took);
                floor.push(bare);
                let left = scene.end(&batch)?;
                resident += left.resident;
                orphans += left.orphans;
            }
            let verb = match agents {
                1 => "`create --prompt`, to the last byte of the first reply".to_owned(),
                _ => format!("`fanout {agents} --prompt`, to the last byte of the last first reply"),
            };
            let own_share = "the same, less the floor of the same round: fleet's own share";
            rows.push(
                Row::times(name, &format!("{verb}, {cli}"), &ours)
                    .floor(
                        "`git worktree add -b` + `tmux new-session -d`, the same program",
                        &floor,
                    )
                    .bound(Bound::absolute(bar, bar / 2.0)),
            );
            rows.push(Row::times(own, own_share, &ours.less(&floor)));
        }
    }
    let count = |name, what: &str, count: usize| {
        Row::new(name, what, Unit::Count, &Sample::of([count as f64])).bound(Bound::absolute(0.0, 0.0))
    };
    rows.push(count(
        "real-resident",
        "processes of fleet in all these rounds, after the command returned, but supervisors and views in tmux",
        resident,
    ));
    rows.push(count(
        "real-orphans",
        "processes of an agent in all these rounds, after its `kill`",
        orphans,
    ));
    // In the order in which they are named.
    rows.sort_by_key(|row: &page::Row| START_ROWS.iter().position(|name| *name == row.name()));
    Ok(rows)
}

/// The processor time of a supervisor whose program is at its prompt.
pub(super) fn idle(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut scene = Scene::set(stage, &json!({}))?;
    for cli in &CLIS {
        scene.create(cli.name)?;
    }
    thread::sleep(STARTS);
    let agents = scene.world.agents(&scene.repo)?;
    let all = scene.world.processes();
    let supervisors: Vec<&Process> = CLIS
        .iter()
        .filter_map(|cli| {
            let agent = agents.iter().find(|agent| agent["branch"] == cli.name)?;
            all.iter().find(|process| is_supervisor_of(process, agent))
        })
        .collect();
    if supervisors.len() != CLIS.len() {
        return failed("a supervisor is not to be seen");
    }
    let seconds = if stage.quick { 5 } else { 20 };
    let before: Vec<u64> = supervisors.iter().map(|process| process.processor_time()).collect();
    thread::sleep(Duration::from_secs(seconds));
    let rows = CLIS.iter().zip(&supervisors).zip(&before).zip(IDLE_ROWS);
    let rows = rows.map(|(((cli, process), before), name)| {
        let used = process.processor_time().saturating_sub(*before) as f64 / 1e6;
        let what = format!(
            "processor time of the supervisor of {}, idle at its prompt, in {seconds} s",
            cli.name
        );
        // One tick of the kernel's clock.
        Row::times(name, &what, &Sample::of([used])).bound(Bound::absolute(10.0, 0.1))
    });
    Ok(rows.collect())
}

/// How soon a turn is known to have begun and to be over.
pub(super) fn turns(stage: &mut Stage) -> Result<Vec<Row>> {
    // A turn of which nobody has seen work is believed to be over only after a while, and no model is that fast.
    let mut scene = Scene::set(stage, &json!({ "pace": { "first_byte_ms": 800, "chunk_ms": 20 } }))?;
    let mut rows = Vec::new();
    for (cli, names) in CLIS.iter().zip(TURN_ROWS.chunks(2)) {
        scene.create(cli.name)?;
        let mut watched = scene.watch(cli.name)?;
        thread::sleep(STARTS);
        let (mut work, mut rest, mut own) = (Sample::default(), Sample::default(), Sample::default());
        for round in 0..stage.rounds(15) {
            let prompt = format!("say turn {round} of {}", cli.name);
            // A program may lose what a person types while it still comes up: such a turn is left out, and said.
            let Some(turn) = scene.turn(&mut watched, &prompt)? else {
                continue;
            };
            work.push(turn.to_work);
            rest.push(turn.to_rest);
            own.push(turn.programs_own);
        }
        let bound = Bound::absolute(200.0, 100.0);
        let what = format!("{}: from Enter in a view to `working` in the journal", cli.name);
        rows.push(Row::times(names[0], &what, &work));
        let what = format!(
            "{}: from the last that it draws of a turn to `idle` in the journal, with a model that takes 0.8 s",
            cli.name
        );
        rows.push(
            Row::times(names[1], &what, &rest)
                .floor("from the endpoint's last byte to there: the program's own share", &own)
                .bound(bound),
        );
        scene.fleet(&["kill", cli.name, "--force", "--delete-branch"])?;
    }
    Ok(rows)
}

/// What is left.
#[derive(Default)]
struct Left {
    resident: usize,
    orphans: usize,
}

/// An agent that is looked at and listened to.
struct Watched {
    client: Client,
}

/// Milliseconds of one turn.
struct Turn {
    to_work: f64,
    to_rest: f64,
    programs_own: f64,
}

impl Scene {
    fn set(stage: &Stage, script: &Value) -> Result<Scene> {
        let Some(clis) = alone::inside() else {
            return failed("the real programs run in a namespace of their own only");
        };
        let mut world = World::new("bench-real", stage.programs.clone())?;
        let folder = world.root().to_owned();
        let (repo, bare) = (folder.join("repo"), folder.join("bare"));
        for each in [&repo, &bare] {
            fs::create_dir(each).map_err(io("make", each))?;
        }
        let endpoint = Endpoint::start(&mut world, &stage.programs, &clis, script, Edits::Free)?;
        world.configure("claude_flags = \"\"\n")?;
        for n in 0..20 {
            let file = repo.join(format!("file{n}.txt"));
            fs::write(&file, format!("file {n}\n")).map_err(io("write", &file))?;
        }
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["add", "."],
            &["commit", "-qm", "first"],
        ] {
            world.git(&repo, args)?;
        }
        trust(&folder.join("home"), &bare, &repo)?;
        Ok(Scene {
            endpoint,
            repo,
            bare,
            world,
        })
    }

    fn fleet(&self, args: &[&str]) -> Result<String> {
        self.world.fleet(&self.repo, args).text()
    }

    /// An agent of the program's name that has come up.
    fn create(&mut self, cli: &str) -> Result<()> {
        let args = ["create", cli, "--agent", cli, "--wait", "ready", "--timeout", "120"];
        self.fleet(&args).map(drop)
    }

    /// Milliseconds from the command to the end of every agent's first reply.
    fn first_replies(&self, cli: &str, agents: usize, batch: &str) -> Result<f64> {
        let prompt = format!("say first of {batch}");
        let start = now_ms();
        let count = agents.to_string();
        let args = match agents {
            1 => vec!["create", batch],
            _ => vec!["fanout", &count, batch],
        };
        self.fleet(&[&args[..], &["--agent", cli, "--prompt", &prompt]].concat())?;
        self.replies(&prompt, agents, start)
    }

    /// The same without fleet.
    fn bare_replies(&self, cli: &str, agents: usize, name: &str) -> Result<f64> {
        let prompt = format!("say first of {name}");
        let socket = self.world.root().join("bare.sock").display().to_string();
        let command: &[&str] = match cli {
            "codex" => &["codex", "--no-daemon", "-c", "check_for_update_on_startup=false", "--"],
            _ => &["claude", "--"],
        };
        let start = now_ms();
        for n in 0..agents {
            let branch = format!("{name}-{n}");
            let worktree = self.bare.join(&branch).display().to_string();
            self.world
                .git(&self.repo, ["worktree", "add", "--quiet", "-b", &branch, &worktree])?;
            let fixed = ["-f", "/dev/null", "-S", &socket, "new-session", "-d", "-c", &worktree];
            let run = self.world.program("tmux", &self.repo, fixed);
            run.args(command).args([&prompt]).text()?;
        }
        let took = self.replies(&prompt, agents, start)?;
        // Each program ends with its terminal.
        let kill = ["-f", "/dev/null", "-S", &socket, "kill-server"];
        self.world.program("tmux", &self.repo, kill).text()?;
        for n in 0..agents {
            let worktree = self.bare.join(format!("{name}-{n}")).display().to_string();
            self.world
                .git(&self.repo, ["worktree", "remove", "--force", &worktree])?;
        }
        Ok(took)
    }

    /// Waits until so many agents have had their reply; milliseconds since `start`, a time of day.
    fn replies(&self, prompt: &str, agents: usize, start: u64) -> Result<f64> {
        let begun = Instant::now();
        loop {
            if let Some(last) = self.endpoint.replied(prompt).get(agents - 1) {
                return Ok(last.saturating_sub(start) as f64);
            }
            if begun.elapsed() > PATIENCE {
                return failed(format!("not all of {agents} have had a reply to `{prompt}`"));
            }
            thread::sleep(STEP);
        }
    }

    /// Counts what runs beside supervisors, programs and views, kills the agents of a round, and counts again.
    fn end(&mut self, batch: &str) -> Result<Left> {
        let agents = self.world.agents(&self.repo)?;
        let of_round = |agent: &&Value| {
            let branch = agent["branch"].as_str().unwrap_or_default();
            branch.starts_with(batch)
        };
        let agents: Vec<&Value> = agents.iter().filter(of_round).collect();
        let ids: Vec<&str> = agents.iter().filter_map(|agent| agent["id"].as_str()).collect();
        let all = self.world.processes();
        // What a program has just told of itself is on its way for a moment.
        thread::sleep(STAYS);
        let later = self.world.processes();
        let stays = |process: &&Process| later.iter().any(|other| other.pid == process.pid);
        let ours = all.iter().filter(stays).filter(|process| {
            let program = process.argv.first().map(String::as_str).unwrap_or_default();
            program.rsplit('/').next() == Some("fleet")
        });
        let is_known = |process: &&Process| {
            let word = process.argv.get(1).map(String::as_str).unwrap_or_default();
            ["__supervise", "__view"].contains(&word)
        };
        let resident: Vec<&Process> = ours.filter(|process| !is_known(process)).collect();
        for process in &resident {
            eprintln!("  still there: {process}");
        }
        let branches: Vec<&str> = agents.iter().filter_map(|agent| agent["branch"].as_str()).collect();
        self.fleet(&[&["kill"], &branches[..], &["--force", "--delete-branch"]].concat())?;
        let left = self.world.processes();
        let orphan = |process: &&Process| {
            ids.iter()
                .any(|id| process.has_env("FLEET_AGENT", id) || process.argv.iter().any(|arg| arg == id))
        };
        let orphans: Vec<&Process> = left.iter().filter(orphan).collect();
        for process in &orphans {
            eprintln!("  an orphan: {process}");
        }
        Ok(Left {
            resident: resident.len(),
            orphans: orphans.len(),
        })
    }

    /// A view on the agent of this program, which hears its facts as well.
    fn watch(&mut self, cli: &str) -> Result<Watched> {
        let agents = self.world.agents(&self.repo)?;
        let agent = agents.iter().find(|agent| agent["branch"] == cli);
        let id = agent.and_then(|agent| agent["id"].as_str()).unwrap_or_default();
        let socket = self.world.fleet_home().join(format!("run/{id}.sock"));
        let mut client = Client::connect(&socket).map_err(told)?;
        client.watch().map_err(told)?;
        client.view(40, 120).map_err(told)?;
        Ok(Watched { client })
    }

    /// Types a prompt, and follows what becomes of it.
    fn turn(&self, watched: &mut Watched, prompt: &str) -> Result<Option<Turn>> {
        let typed = |keys: &[u8], watched: &mut Watched| watched.client.input(keys).map_err(told);
        typed(prompt.as_bytes(), watched)?;
        // An Enter that follows too soon is a line break to some of them.
        watched.hear(|heard| heard.begun.elapsed() > Duration::from_millis(600))?;
        typed(b"\r", watched)?;
        let heard = watched.hear(|heard| {
            let rests = heard.rested.is_some_and(|(at, _)| at.elapsed() > STAYS);
            rests && !self.endpoint.replied(prompt).is_empty()
        })?;
        let sent = self.endpoint.replied(prompt).first().copied();
        let (Some(worked), Some((rested, drawn)), Some(sent)) = (heard.worked, heard.rested, sent) else {
            eprintln!(
                "  `{prompt}` was not seen to its end: worked {}, rested {}, replied {}",
                heard.worked.is_some(),
                heard.rested.is_some(),
                sent.is_some()
            );
            return Ok(None);
        };
        let drawn_ms = now_ms() as f64 - millis(drawn.elapsed());
        Ok(Some(Turn {
            to_work: millis(worked.saturating_duration_since(heard.begun)),
            to_rest: millis(rested.saturating_duration_since(drawn)),
            programs_own: drawn_ms - sent as f64,
        }))
    }
}

/// What came while one listened.
struct Heard {
    begun: Instant,
    /// When it was first known to work.
    worked: Option<Instant>,
    /// When it was known to rest, unless it worked again, and when it had last written before.
    rested: Option<(Instant, Instant)>,
}

impl Watched {
    /// Listens until `enough`, or until patience is at an end.
    fn hear(&mut self, enough: impl Fn(&Heard) -> bool) -> Result<Heard> {
        let begun = Instant::now();
        let mut heard = Heard {
            begun,
            worked: None,
            rested: None,
        };
        let mut drawn = begun;
        while !enough(&heard) && begun.elapsed() < TURN {
            let event = self.client.event(Some(Instant::now() + LISTEN));
            let now = Instant::now();
            match event {
                Ok(Some(Event::Output(_))) => drawn = now,
                Ok(Some(Event::Entry(entry))) => match entry.fact {
                    Fact::Busy { .. } => {
                        heard.worked.get_or_insert(now);
                        heard.rested = None;
                    }
                    Fact::Ready { .. } => heard.rested = Some((now, drawn)),
                    _ => {}
                },
                Ok(Some(_)) => {}
                Ok(None) => return failed("the supervisor has gone"),
                Err(error) if error.kind == Kind::Timeout => {}
                Err(error) => return Err(told(error)),
            }
        }
        Ok(heard)
    }
}

/// What a person would have said to the bare programs: fleet answers for its own agents only.
fn trust(home: &Path, bare: &Path, repo: &Path) -> Result<()> {
    let path = home.join(".claude.json");
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    let mut state: Value = serde_json::from_str(&text).unwrap_or_default();
    for folder in [bare, repo] {
        state["projects"][folder.display().to_string()] = json!({ "hasTrustDialogAccepted": true });
    }
    fs::write(&path, state.to_string()).map_err(io("write", &path))?;
    let path = home.join(".codex/config.toml");
    let mut text = fs::read_to_string(&path).map_err(io("read", &path))?;
    for folder in [bare, repo] {
        let folder = Value::from(folder.display().to_string());
        text += &format!("\n[projects.{folder}]\ntrust_level = \"trusted\"\n");
    }
    fs::write(&path, text).map_err(io("write", &path))
}

fn is_supervisor_of(process: &Process, agent: &Value) -> bool {
    let id = agent["id"].as_str();
    process.argv.get(1).is_some_and(|word| word == "__supervise") && process.argv.get(2).map(String::as_str) == id
}

/// The time of day, as the endpoint's log has it.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn told(error: Error) -> Failure {
    Failure::Failed(error.message)
}
