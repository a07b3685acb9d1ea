//! The socket: what an old client says to a new supervisor, and an old or newer supervisor to a new client.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fleet_host::lock::Lock;
use fleet_testkit::scan::Process;
use fleet_testkit::{Pty, TestEnv, binary, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Frame, JSON, OUTPUT, frames, recorded};
use crate::drive::{LONG, agent, answer, create, fleet, listed, supervisor, text, wait_for_prompt, worktree};

/// An environment whose agents tell their socket.
fn environment() -> (TestEnv, PathBuf) {
    let env = TestEnv::new();
    env.config_with_scripted_args("", &["--env-report", "env.json"]);
    let repo = env.repo("repo", 3);
    std::fs::write(repo.join(".gitignore"), "env.json\n").expect("written");
    env.commit_all(&repo, "ignore the report");
    (env, repo)
}

fn socket_of(record: &Value) -> PathBuf {
    let report = std::fs::read(worktree(record).join("env.json")).expect("its report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    text(&report["fleet"]["FLEET_SOCKET"]).into()
}

/// A stream of frames with a deadline.
struct Wire {
    stream: UnixStream,
    bytes: Vec<u8>,
    /// Read and not looked at yet.
    unread: VecDeque<Frame>,
}

impl Wire {
    fn new(stream: UnixStream) -> Wire {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        Wire {
            stream,
            bytes: Vec::new(),
            unread: VecDeque::new(),
        }
    }

    /// The frames that come next; none at the end of the stream.
    fn read(&mut self) -> Option<Vec<Frame>> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => return None,
        }
        Some(frames(&mut self.bytes))
    }

    fn send(&mut self, frame: &Frame) {
        // A client may be gone as soon as it has what it wants.
        let _ = self.stream.write_all(&frame.bytes());
    }

    /// Reads up to the frame that is `wanted`, keeping all that came before it.
    #[track_caller]
    fn read_until(&mut self, what: &str, into: &mut Vec<Frame>, wanted: impl Fn(&Frame) -> bool) {
        let deadline = Instant::now() + LONG;
        while Instant::now() < deadline {
            while let Some(frame) = self.unread.pop_front() {
                let found = wanted(&frame);
                into.push(frame);
                if found {
                    return;
                }
            }
            let Some(new) = self.read() else { break };
            self.unread.extend(new);
        }
        panic!(
            "{what} never came; what did is {:?}",
            into.iter().map(Frame::json).collect::<Vec<_>>()
        );
    }
}

/// Expects every field of `old` in `new` with the same type, and with the same value where the value is its meaning.
fn assert_understood(old: &Value, new: &Value, path: &str) {
    // What differs from run to run, and texts for people.
    const FREE: [&str; 9] = [
        "agent", "version", "at", "pid", "start", "message", "hint", "why", "seq",
    ];
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                let path = format!("{path}.{name}");
                let now = new.get(name).unwrap_or_else(|| panic!("{path} is missing in {new:?}"));
                if FREE.contains(&name.as_str()) {
                    let same = std::mem::discriminant(value) == std::mem::discriminant(now);
                    assert!(same || value.is_null(), "{path}: {value} became {now}");
                } else {
                    assert_understood(value, now, &path);
                }
            }
        }
        _ => assert_eq!(old, new, "{path}"),
    }
}

/// Whether `frame` answers the request `sent`.
fn answers(frame: &Frame, sent: &Frame) -> bool {
    let (frame, sent) = (frame.json(), sent.json());
    if sent.get("hello").is_some() {
        return frame.get("hello").is_some();
    }
    match sent.get("id") {
        Some(id) => frame.get("id") == Some(id),
        // A frame of an unknown kind and one that is no JSON have no id to answer to.
        None => frame.get("error").is_some() && frame.get("id").is_none(),
    }
}

#[test]
fn a_new_supervisor_understands_an_old_client() {
    let (env, repo) = environment();
    let record = create(&env, &repo, "talk");
    let (client, server) = (recorded("client.bin"), recorded("server.bin"));
    let mut wire = Wire::new(UnixStream::connect(socket_of(&record)).expect("it listens"));
    let mut said: Vec<Frame> = Vec::new();
    let mut errors_without_id = 0;
    for sent in &client {
        if sent.json()["op"] == "prompt" {
            wait_for_prompt(&env, "talk");
        }
        if sent.json()["op"] == "stop" {
            // What was typed by hand has left the draft again.
            wait_for_prompt(&env, "talk");
        }
        let before = said.len();
        wire.send(sent);
        if sent.kind == 3 {
            wire.read_until("an echo", &mut said, |frame| frame.kind == OUTPUT);
            continue;
        }
        wire.read_until("an answer", &mut said, |frame| answers(frame, sent));
        let new = said[before..]
            .iter()
            .find(|frame| answers(frame, sent))
            .expect("just read")
            .json();
        let mut of_old = server.iter().filter(|frame| answers(frame, sent));
        let old = match sent.json().get("id").or(sent.json().get("hello")) {
            Some(_) => of_old.next(),
            None => {
                errors_without_id += 1;
                of_old.nth(errors_without_id - 1)
            }
        };
        let mut old = old.expect("the recording has an answer").json();
        if sent.json()["op"] == "status" || sent.json()["op"] == "watch" {
            // The very moment within a turn is chance: both are valid states of one who has just been prompted.
            for free in ["state", "rule", "cursor_line", "views"] {
                old["ok"].as_object_mut().expect("an answer").remove(free);
            }
            assert!(new["ok"]["state"].is_string(), "{new}");
        }
        assert_understood(&old, &new, "answer");
    }
    // What came unasked: output, sizes, entries and the end, each in the recorded form.
    wire.read_until("the end", &mut said, |frame| frame.json().get("ended").is_some());
    assert!(said.iter().any(|frame| frame.kind == OUTPUT));
    assert!(
        said.iter().all(|frame| frame.kind == OUTPUT || frame.kind == JSON),
        "no kind that the old client lacks"
    );
    for old in server.iter().map(Frame::json) {
        if let Some(entry) = old.get("entry") {
            let same = |new: &Frame| new.json()["entry"]["fact"] == entry["fact"];
            let new = said.iter().find(|new| same(new));
            // The notifier of the recording's config has no counterpart here.
            let Some(new) = new.filter(|_| entry["fact"] != "notified") else {
                assert!(entry["fact"] == "notified", "no entry like {entry}");
                continue;
            };
            let mut entry = entry.clone();
            entry.as_object_mut().expect("an object").remove("id");
            entry.as_object_mut().expect("an object").remove("state");
            assert_understood(&entry, &new.json()["entry"], "entry");
            assert!(new.json()["entry"]["state"].is_string());
        } else if old.get("size").is_some() {
            assert!(said.iter().any(|new| new.json()["size"] == old["size"]), "{old}");
        }
    }
    let texts: Vec<String> = env.received().into_iter().map(|each| each.text).collect();
    assert_eq!(
        texts,
        ["print hello", "print again"],
        "a prompt of a known id is not typed again"
    );
    drop(wire);
    let _ = answer(&env, &repo, ["kill", "talk", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_client_of_the_next_version_is_answered_with_ours() {
    let (env, repo) = environment();
    let record = create(&env, &repo, "next");
    let mut wire = Wire::new(UnixStream::connect(socket_of(&record)).expect("it listens"));
    let mut said = Vec::new();
    wire.send(&Frame::of(
        &json!({"hello": 7, "wants": ["everything"], "name": "of the future"}),
    ));
    wire.read_until("a hello", &mut said, |frame| frame.json().get("hello").is_some());
    assert_eq!(said[0].json()["hello"], 1);
    wire.send(&Frame {
        kind: 200,
        body: vec![0, 159, 146, 150],
    });
    wire.send(&Frame::of(&json!(["no object"])));
    wire.send(&Frame::of(&json!({"id": {"of": "any type"}, "op": "status"})));
    wire.read_until("an answer", &mut said, |frame| frame.json()["id"]["of"] == "any type");
    // A length that no sane peer sends ends this connection, and no other.
    wire.send(&Frame {
        kind: JSON,
        body: Vec::new(),
    });
    let _ = wire.stream.write_all(&[255; 16]);
    wait_until(LONG, "the end of the connection", || {
        wire.read().is_none().then_some(())
    });
    let _ = answer(&env, &repo, ["prompt", "next", "print alive", "--wait=idle"]);
    let _ = answer(&env, &repo, ["kill", "next"]);
    env.assert_nothing_left();
}

/// How the stand-in differs from the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// It says exactly what was recorded.
    Old,
    /// It says more: fields, objects and frames that this version does not know.
    Newer,
}

/// A supervisor that answers from the recording. It holds the agent's lock, as a real one does.
struct StandIn {
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
    quit: mpsc::Sender<()>,
}

impl StandIn {
    /// Ends the real supervisor of `record` without a word and takes its place.
    fn replace(env: &TestEnv, record: &Value, age: Age) -> StandIn {
        let (id, socket) = (text(&record["id"]), socket_of(record));
        let program = u32::try_from(record["pid"].as_u64().expect("it runs")).expect("a process id");
        for pid in [supervisor(env, &id), program] {
            // The program may have ended by the loss of its terminal already.
            let _ = kill(
                Pid::from_raw(i32::try_from(pid).expect("a process id")),
                Signal::SIGKILL,
            );
            wait_until(LONG, "its end", || Process::read(pid).is_none().then_some(()));
        }
        let lock = env.fleet_home().join("agents").join(&id).join("lock");
        let lock = Lock::try_take(&lock).expect("a lock file").expect("nobody holds it");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("its place is free");
        listener.set_nonblocking(true).expect("set");
        let (quit, told) = mpsc::channel();
        let thread = std::thread::spawn(move || serve(&listener, lock, age, &told));
        StandIn {
            socket,
            thread: Some(thread),
            quit,
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.quit.send(());
        let ended = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.socket);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// Serves connections until it is told to quit or an agent's end was asked for.
fn serve(listener: &UnixListener, lock: Lock, age: Age, quit: &mpsc::Receiver<()>) {
    let mut connections: Vec<Wire> = Vec::new();
    // The pace of the loop is that of this wait: there is nothing to wait on for all of them together.
    while quit.recv_timeout(Duration::from_millis(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).expect("set");
            connections.push(Wire {
                stream,
                bytes: Vec::new(),
                unread: VecDeque::new(),
            });
        }
        let mut stopped = false;
        connections.retain_mut(|wire| {
            let Some(requests) = wire.read() else { return false };
            for request in requests {
                stopped |= reply(wire, &request, age);
            }
            true
        });
        if stopped {
            break;
        }
    }
    drop(lock);
}

/// Answers one request from the recording; true when it was the last.
fn reply(wire: &mut Wire, request: &Frame, age: Age) -> bool {
    let server = recorded("server.bin");
    let client = recorded("client.bin");
    let body = request.json();
    if age == Age::Newer {
        wire.send(&Frame {
            kind: 77,
            body: b"a frame of tomorrow".to_vec(),
        });
        wire.send(&Frame::of(&json!({"mood": "splendid", "since": {"for": "ever"}})));
        wire.send(&Frame::of(&json!(["an", "array"])));
        wire.send(&Frame::of(
            &json!({"entry": {"v": 1, "seq": 1, "at": "2026-01-01T00:00:00Z", "src": "oracle",
            "fact": "dreamt", "of": "sheep", "state": "dreaming"}}),
        ));
    }
    let asked = match body["op"].as_str() {
        _ if body.get("hello").is_some() => client.iter().find(|frame| frame.json().get("hello").is_some()),
        Some(op) => client
            .iter()
            .find(|frame| frame.json()["op"] == op)
            .or_else(|| client.iter().find(|frame| frame.json()["op"] == "dance")),
        // Keys and the like have no answer.
        None => return false,
    };
    let asked = asked.expect("the recording has an unknown operation at least");
    let answer = server
        .iter()
        .find(|frame| answers(frame, asked))
        .expect("and an answer to all");
    let mut answer = answer.json();
    if let Some(id) = body.get("id") {
        answer["id"] = id.clone();
    }
    if age == Age::Newer {
        answer["took_us"] = json!(12);
        match answer.get_mut("ok").and_then(Value::as_object_mut) {
            Some(ok) => drop(ok.insert("novelty".to_owned(), json!({"nested": [1, 2]}))),
            None => answer["more"] = json!(true),
        }
        if answer.get("hello").is_some() {
            answer["hello"] = json!(2);
        }
    }
    wire.send(&Frame::of(&answer));
    match body["op"].as_str() {
        Some("view") => server
            .iter()
            .filter(|frame| frame.kind == OUTPUT)
            .for_each(|frame| wire.send(frame)),
        Some("watch") => {
            let entries = server.iter().filter(|frame| frame.json().get("entry").is_some());
            // The recording goes on to the end of the agent; here it ends at the last idle state.
            let alive = entries.filter(|frame| frame.json()["entry"]["fact"] != "stopping");
            alive
                .filter(|frame| frame.json()["entry"]["fact"] != "exited")
                .for_each(|frame| wire.send(frame));
        }
        Some("stop") => {
            server
                .iter()
                .filter(|frame| frame.json().get("ended").is_some())
                .for_each(|frame| wire.send(frame));
            return true;
        }
        _ => {}
    }
    false
}

/// Every verb that talks to a supervisor, with one of this `age`.
fn every_verb_works_with(age: Age) {
    let (env, repo) = environment();
    let record = create(&env, &repo, "old");
    let stand_in = StandIn::replace(&env, &record, age);
    assert_eq!(
        agent(&env, "old")["state"],
        "ready",
        "the lock is held and the journal is as it was"
    );

    let sent = answer(&env, &repo, ["prompt", "old", "print hello"]);
    assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
    let sent = answer(
        &env,
        &repo,
        ["prompt", "old", "print hello", "--wait=idle", "--timeout", "30"],
    );
    assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
    let _ = answer(&env, &repo, ["wait", "old", "--until", "idle", "--timeout", "30"]);
    let explained = answer(&env, &repo, ["explain", "old"]);
    assert_eq!(explained["alive"], true, "{explained}");
    assert_eq!(explained["cursor_line"], ">", "{explained}");

    let fleet_path = binary("fleet").display().to_string();
    let mut view = Pty::spawn(&env, &repo, &[&fleet_path, "attach", "--direct", "old"], 50, 160);
    view.wait_for_text("done: print again", LONG);
    view.kill();
    let _ = fleet(&env, &repo, ["attach", "--print", "old"]).output().success();
    let _ = fleet(&env, &repo, ["logs", "old"]).output().success();
    let _ = answer(&env, &repo, ["list", "--repair"]);

    // Its place is taken by a real one of today.
    let restarted = answer(&env, &repo, ["restart", "old"]);
    assert_eq!(restarted["agents"][0]["branch"], "old", "{restarted}");
    drop(stand_in);
    wait_for_prompt(&env, "old");
    let record = agent(&env, "old");
    let stand_in = StandIn::replace(&env, &record, age);
    let killed = answer(&env, &repo, ["kill", "old"]);
    assert_eq!(
        killed["agents"][0]["ended"]["exit_code"], 137,
        "as the recording has it: {killed}"
    );
    drop(stand_in);
    assert!(listed(&env).is_empty());
    env.assert_nothing_left();
}

#[test]
fn every_verb_works_with_an_old_supervisor() {
    every_verb_works_with(Age::Old);
}

#[test]
fn every_verb_works_with_a_supervisor_that_says_more_than_we_know() {
    every_verb_works_with(Age::Newer);
}

/// A supervisor may hang or say nonsense; a verb that talks to it ends all the same, and says so.
#[test]
fn a_supervisor_that_does_not_speak_is_no_reason_to_hang() {
    let (env, repo) = environment();
    let record = create(&env, &repo, "mute");
    let socket = socket_of(&record);
    let stand_in = StandIn::replace(&env, &record, Age::Old);
    let held: &Path = &socket;
    std::fs::remove_file(held).expect("it is there");
    let mute = UnixListener::bind(held).expect("its place is free");
    let said = fleet(&env, &repo, ["prompt", "mute", "hello", "--json"]).output();
    assert!(!said.status.success(), "{said}");
    let error = said.json::<Value>();
    assert!(error.to_string().contains("did not answer in time"), "{said}");
    drop(mute);
    drop(stand_in);
    let _ = answer(&env, &repo, ["kill", "mute", "--force"]);
    env.assert_nothing_left();
}
