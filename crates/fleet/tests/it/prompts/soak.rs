//! Many prompts with random delays and, in a second run, random kills; the agents' receive log decides.
//!
//! `FLEET_TEST_FULL=1` sends ten thousand, `FLEET_TEST_SEED` repeats a run (as far as a machine repeats itself).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use fleet_core::fact::Fact;
use fleet_host::supervise::client::Client;
use fleet_host::supervise::journal;
use fleet_host::supervise::wire::Outcome;
use serde_json::Value;

use super::stage::{LONG, Stage, kill_hard, parent};

const AGENTS: [&str; 4] = ["a", "b", "c", "d"];
/// Every so many prompts one goes through a process of the command line instead of a connection.
const THROUGH_CLI: usize = 12;

/// The numbers of a splitmix64 sequence.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Delivered,
    Queued,
    /// Any outcome with another exit code than 0.
    Failed,
    /// The sender was killed and told nothing.
    Nothing,
}

#[test]
fn seeded_prompts_with_random_delays_arrive_once() {
    let tally = run("prompts", false);
    assert_eq!(
        (tally.doubled, tally.mixed, tally.false_successes),
        (0, 0, 0),
        "{tally:?}"
    );
    assert_eq!(tally.queued_lost, 0, "{tally:?}");
    assert!(tally.arrived_as_told * 100 >= tally.sent * 99, "{tally:?}");
}

#[test]
fn seeded_prompts_with_random_kills_are_never_doubled_nor_falsely_reported() {
    let tally = run("prompts and kills", true);
    assert_eq!(
        (tally.doubled, tally.mixed, tally.false_successes),
        (0, 0, 0),
        "{tally:?}"
    );
    assert!(tally.kills > 0 && tally.arrived_as_told * 4 >= tally.sent, "{tally:?}");
    assert_eq!(
        tally.queued_lost, tally.cut_off,
        "every queued prompt that did not arrive was cut off by a kill: {tally:?}"
    );
}

/// What became of all prompts.
#[derive(Debug, Default)]
struct Tally {
    sent: usize,
    /// Told `delivered` or `queued`, and received.
    arrived_as_told: usize,
    doubled: usize,
    /// Received texts that nobody sent.
    mixed: usize,
    /// Told `delivered`, and not received.
    false_successes: usize,
    /// Told `queued`, and not received.
    queued_lost: usize,
    /// Of those, the ones whose journal says that they were being typed when a kill came.
    cut_off: usize,
    kills: usize,
}

fn run(name: &str, with_kills: bool) -> Tally {
    let seed = number("FLEET_TEST_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let full = number("FLEET_TEST_FULL").is_some_and(|full| full > 0);
    let count = if full { 10_000 } else { 300 };
    say(&format!("soak: {name}: {count} prompts, FLEET_TEST_SEED={seed}"));
    let agent_seed = (seed >> 32).to_string();
    let stage = Stage::scripted(&["--turn-ms", "0..40", "--boot-ms", "0..120", "--seed", &agent_seed]);
    for agent in AGENTS {
        stage.create(agent);
    }
    let sockets: Vec<_> = AGENTS.iter().map(|agent| stage.socket(agent)).collect();
    let texts: Vec<String> = {
        let mut random = Random(seed);
        (0..count).map(|index| text(index, &mut random)).collect()
    };
    let (next, done, kills) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let told: Vec<(usize, Told)> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..2 * AGENTS.len())
            .map(|sender| {
                let (stage, sockets, texts, next) = (&stage, &sockets, &texts, &next);
                scope.spawn(move || {
                    let mut random = Random(seed ^ (sender as u64 + 1));
                    let mut told = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(text) = texts.get(index) else { return told };
                        pause(random.below(25));
                        let agent = random.below(AGENTS.len() as u64) as usize;
                        let answer = if index.is_multiple_of(THROUGH_CLI) {
                            through_cli(
                                stage,
                                AGENTS[agent],
                                text,
                                with_kills && random.below(3) == 0,
                                &mut random,
                            )
                        } else {
                            through_socket(&sockets[agent], index, text, random.below(2) == 0)
                        };
                        if with_kills && answer == Told::Failed {
                            // It was cut off, or there is nobody: until it is revived the rest would fail as well.
                            pause(100);
                        }
                        told.push((index, answer));
                    }
                })
            })
            .collect();
        if with_kills {
            scope.spawn(|| kill_at_random(&stage, seed, &done, &kills));
        }
        let told = senders
            .into_iter()
            .flat_map(|sender| sender.join().expect("a sender ends"))
            .collect();
        done.store(true, Ordering::Relaxed);
        told
    });
    settle(&stage);
    let tally = judge(&stage, &texts, &told, kills.into_inner());
    say(&format!(
        "| {name} | seed {seed} | {} sent | {} arrived as told | {} doubled | {} mixed | {} false successes | {} queued and cut off | {} kills |",
        tally.sent,
        tally.arrived_as_told,
        tally.doubled,
        tally.mixed,
        tally.false_successes,
        tally.queued_lost,
        tally.kills
    ));
    stage.end();
    tally
}

/// A text that no other one is, of one line, several, or many bytes.
fn text(index: usize, random: &mut Random) -> String {
    match random.below(6) {
        0 => format!("#{index}# first\nsecond line of {index}\n\nlast of {index}"),
        1 => format!(
            "#{index}# {}",
            "many words ".repeat(40 + random.below(200) as usize).trim_end()
        ),
        2 => format!("#{index}# 日本 $(id) 'q' \"{index}\" ✨"),
        3 => (0..20)
            .map(|line| format!("#{index}# line {line}\n"))
            .collect::<String>()
            .trim_end()
            .to_owned(),
        _ => format!("#{index}# please"),
    }
}

fn through_socket(socket: &Path, index: usize, text: &str, past_queue: bool) -> Told {
    let prompted = Client::connect(socket)
        .and_then(|mut client| client.prompt(&format!("p{index}"), text, past_queue, Some(LONG)));
    match prompted.map(|prompted| prompted.outcome) {
        Ok(Outcome::Delivered) => Told::Delivered,
        Ok(Outcome::Queued) => Told::Queued,
        Ok(Outcome::Refused | Outcome::Unverified) | Err(_) => Told::Failed,
    }
}

fn through_cli(stage: &Stage, agent: &str, text: &str, killed: bool, random: &mut Random) -> Told {
    let mut running = stage.fleet(&["prompt", agent, "--json", "-m", text]).spawn();
    if killed {
        pause(random.below(80));
        running.kill();
        return Told::Nothing;
    }
    let finished = running.wait(LONG);
    if !finished.status.success() {
        return Told::Failed;
    }
    let answer: Value = finished.json();
    match answer["sent"][0]["outcome"].as_str() {
        Some("delivered") => Told::Delivered,
        Some("queued") => Told::Queued,
        other => panic!("success with the outcome {other:?}"),
    }
}

/// Kills supervisors and programs with SIGKILL, one after the other, and revives their agents.
fn kill_at_random(stage: &Stage, seed: u64, done: &AtomicBool, kills: &AtomicUsize) {
    let mut random = Random(!seed);
    while !done.load(Ordering::Relaxed) {
        pause(20 + random.below(250));
        let agent = AGENTS[random.below(AGENTS.len() as u64) as usize];
        let Some(program) = program_of(stage, agent) else {
            continue;
        };
        let victim = if random.below(2) == 0 {
            Some(program)
        } else {
            parent(program)
        };
        // Only what is still a supervisor's child: ids are used again.
        if let Some(victim) = victim.filter(|victim| *victim > 1) {
            kill_hard(victim);
            kills.fetch_add(1, Ordering::Relaxed);
        }
        revive(stage, agent);
    }
}

fn program_of(stage: &Stage, agent: &str) -> Option<u32> {
    let seen = stage.explain(agent);
    let alive = seen["alive"] == true && !seen["agent"]["state"].as_str()?.starts_with("exited");
    let pid = u32::try_from(seen["agent"]["pid"].as_u64()?).ok()?;
    let process = fleet_testkit::scan::Process::read(pid)?;
    (alive && process.argv.first()?.ends_with("scripted-agent")).then_some(pid)
}

/// Resumes `agent` as often as it takes: right after a kill it may not be seen as ended yet.
fn revive(stage: &Stage, agent: &str) {
    fleet_testkit::wait_until(LONG, "a revived agent", || {
        pause(50);
        let _ = stage.fleet(&["resume", agent]).output();
        let seen = stage.explain(agent);
        let state = seen["agent"]["state"].as_str()?.to_owned();
        (seen["alive"] == true && !state.starts_with("exited")).then_some(())
    });
}

/// Waits until nothing is queued and every agent is at its prompt.
fn settle(stage: &Stage) {
    for agent in AGENTS {
        fleet_testkit::wait_until(Duration::from_secs(300), "an empty queue", || {
            let seen = stage.explain(agent);
            let state = seen["agent"]["state"].as_str()?.to_owned();
            if seen["alive"] != true || state.starts_with("exited") {
                revive(stage, agent);
                return None;
            }
            (seen["queued"] == 0 && (state == "idle" || state == "ready")).then_some(())
        });
    }
}

fn judge(stage: &Stage, texts: &[String], told: &[(usize, Told)], kills: usize) -> Tally {
    let mut received: HashMap<String, usize> = HashMap::new();
    for text in stage.received() {
        *received.entry(text).or_default() += 1;
    }
    let mut tally = Tally {
        sent: texts.len(),
        kills,
        ..Tally::default()
    };
    assert_eq!(told.len(), texts.len(), "every prompt has an answer");
    let mut lost = Vec::new();
    for (index, told) in told {
        let times = received.remove(&texts[*index]).unwrap_or(0);
        tally.doubled += usize::from(times > 1);
        match (told, times) {
            (Told::Delivered | Told::Queued, 1..) => tally.arrived_as_told += 1,
            (Told::Delivered, 0) => {
                say(&format!("false success: {:?}", texts[*index]));
                tally.false_successes += 1;
            }
            (Told::Queued, 0) => lost.push(&texts[*index]),
            (Told::Failed | Told::Nothing, _) => {}
        }
    }
    tally.mixed = received.len();
    for text in received.keys() {
        say(&format!("nobody sent: {text:?}"));
    }
    let typed = typed_texts(stage);
    tally.queued_lost = lost.len();
    tally.cut_off = lost.iter().filter(|text| typed.contains(text)).count();
    tally
}

/// The texts of queued prompts that were begun and have no receipt.
fn typed_texts(stage: &Stage) -> Vec<String> {
    let mut begun: HashMap<String, (String, bool)> = HashMap::new();
    for agent in AGENTS {
        for entry in journal::read(&stage.folder(agent)).expect("a journal") {
            match entry.fact {
                Fact::PromptQueued { id, text } => drop(begun.insert(id, (text, false))),
                Fact::PromptTyped { id } => drop(begun.get_mut(&id).map(|(_, typed)| *typed = true)),
                Fact::PromptDelivered { id, .. } => drop(begun.remove(&id)),
                _ => {}
            }
        }
    }
    begun
        .into_values()
        .filter(|(_, typed)| *typed)
        .map(|(text, _)| text)
        .collect()
}

/// Lets time pass: a channel on which nothing comes is the event with a deadline.
fn pause(millis: u64) {
    let (_keep, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(Duration::from_millis(millis));
}

/// Past the capture of the test harness: the table is for whoever reads the log of a green run.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[expect(clippy::disallowed_methods, reason = "a test's own settings")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
