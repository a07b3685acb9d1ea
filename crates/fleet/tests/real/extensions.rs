//! Pi, OpenCode and Gemini CLI tell of themselves, beside what their user has added to them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use fleet_core::usage::Tokens;
use fleet_host::harness::reporting::Surroundings;
use fleet_host::supervise::wire;
use fleet_testkit::clis::Cli;
use fleet_testkit::model::{Script, Turn};
use fleet_testkit::poll_until;
use serde_json::{Value, json};

use crate::world::{LONG, World};

const AGENT: &str = "one";
const PROMPT: &str = "look around";

/// A world whose model runs a tool and then answers, with numbers that no default has.
fn world(cli: Cli) -> World {
    let script: Script = serde_json::from_value(json!({"turns": [
        {"calls": [{"shell": "echo seen"}], "usage": {"input": 900, "cached": 300, "output": 40, "reasoning": 10}},
        {"text": "looked", "usage": {"input": 100, "cached": 1200, "output": 20, "reasoning": 5}},
    ]}))
    .expect("a script");
    World::with_script(cli, script)
}

/// A file below HOME.
fn put(world: &World, path: &str, text: &str) {
    let path = world.home().join(path);
    fs::create_dir_all(path.parent().expect("it is below HOME")).expect("HOME can be written");
    fs::write(path, text).expect("HOME can be written");
}

/// Source of what a user has added: at the end of a turn it writes into HOME that it ran.
fn own(head: &str, hook: &str) -> String {
    format!(
        "import fs from \"node:fs\";\nconst ran = () => fs.appendFileSync(process.env.HOME + \"/own\", \"ran\\n\");\n\
         {head} {{ {hook} }}\n"
    )
}

/// What the endpoint said that its replies used. The thinking counts where the program tells it apart.
fn answered(world: &World, thinking: bool) -> Tokens {
    let mut sum = Tokens::default();
    for request in world.endpoint().conversation() {
        let usage = request.answer.usage.unwrap_or_default();
        sum += Tokens {
            input: usage.input,
            cached: usage.cached,
            cache_write: usage.cache_write,
            output: usage.output,
            reasoning: if thinking { usage.reasoning } else { 0 },
        };
    }
    sum
}

/// What the agent has used, as fleet shows it.
fn used(agent: &Value) -> Tokens {
    let mut sum = Tokens::default();
    for usage in agent["usage"].as_array().into_iter().flatten() {
        sum += serde_json::from_value::<Tokens>(usage["tokens"].clone()).expect("tokens");
    }
    sum
}

/// The facts of one kind.
fn facts(world: &World, kind: &str) -> Vec<Value> {
    let answer = world.answer(["explain", AGENT, "-n", "1000"]);
    let facts = answer["facts"].as_array().expect("facts").iter();
    facts.filter(|fact| fact["fact"] == kind).cloned().collect()
}

/// Gives the prompt and waits until the turn is over and what it used is known.
#[track_caller]
fn one_turn(world: &World, thinking: bool) -> Value {
    let _ = world.fleet(["prompt", AGENT, PROMPT]).output().success();
    world.wait_request("the answer", |request| request.prompt() == PROMPT && request.turn == 1);
    world.wait_state(AGENT, "idle");
    let expected = answered(world, thinking);
    assert_eq!(expected.cached, 1500);
    let mut agent = Value::Null;
    let counted = poll_until(LONG, || {
        agent = world.agent(AGENT);
        (used(&agent) == expected).then_some(())
    });
    assert!(counted.is_some(), "{expected:?}: {agent:#}\n{}", world.screen(AGENT));
    agent
}

/// Gives a command of the user's own, which the program makes another text of. On the screen it leaves the draft, as one
/// does that begins no turn: only the program can tell.
#[track_caller]
fn command_is_told(world: &World) {
    let sent = world.answer(["prompt", AGENT, "/greeting of mine", "--wait"]);
    assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
    world.wait_request("the command", |request| request.prompt().trim() == "greet of mine");
    let receipts = facts(world, "prompt_delivered");
    assert_eq!(receipts.last().expect("a receipt")["by"], "program", "{receipts:#?}");
}

#[track_caller]
fn own_ran(world: &World) {
    let ran = poll_until(LONG, || world.home().join("own").exists().then_some(()));
    assert!(
        ran.is_some(),
        "what the user has added did not run\n{}",
        world.screen(AGENT)
    );
}

/// The names of the files below `folder`.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            names.extend(self::names(&entry.path()));
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names
}

#[test]
fn pi_tells_of_itself_beside_its_users_own_extension() {
    let world = world(Cli::Pi);
    let source = own("export default function (pi)", "pi.on(\"agent_end\", ran);");
    put(&world, ".pi/agent/extensions/own.ts", &source);
    put(&world, ".pi/agent/prompts/greeting.md", "greet $@\n");
    world.start(AGENT);
    let agent = one_turn(&world, false);
    let id = agent["conversation"].as_str().expect("a conversation");
    let sessions = names(&world.home().join(".pi/agent/sessions"));
    assert!(sessions.iter().any(|name| name.contains(id)), "{id}: {sessions:?}");
    assert_eq!(agent["usage"][0]["model"], "scripted");
    let heartbeat = world.answer(["explain", AGENT])["heartbeat"].clone();
    assert_eq!(heartbeat["model"], "scripted/scripted", "{heartbeat}");
    assert_eq!(heartbeat["stale"], false, "{heartbeat}");
    command_is_told(&world);
    own_ran(&world);
    world.end();
}

#[test]
fn opencode_tells_of_itself_beside_its_users_own_plugins() {
    let world = world(Cli::OpenCode);
    world.settle_opencode();
    let hook = "return { event: async ({ event }) => { if (event.type === \"session.idle\") ran(); } };";
    let source = own("export const Own = async () =>", hook);
    put(&world, ".config/opencode/plugins/own.js", &source);
    put(&world, ".config/opencode/commands/greeting.md", "greet $ARGUMENTS\n");
    world.start(AGENT);
    let agent = one_turn(&world, true);
    let id = agent["conversation"].as_str().expect("a conversation");
    assert!(id.starts_with("ses_"), "{id}");
    assert_eq!(agent["usage"][0]["model"], "scripted");
    command_is_told(&world);
    own_ran(&world);
    world.end();
}

/// A folder for fleet in which Gemini CLI believes hooks: only root has one.
fn believed() -> Option<tempfile::TempDir> {
    let roots_alone = |path: &str| fs::metadata(path).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o022 == 0);
    let folder = tempfile::Builder::new().prefix("flt").tempdir_in("/run");
    folder.ok().filter(|_| roots_alone("/") && roots_alone("/run"))
}

#[test]
fn gemini_tells_of_itself_beside_its_users_own_hooks_where_it_believes_ours() {
    let mut world = world(Cli::Gemini);
    let settings = world.home().join(".gemini/settings.json");
    let mut own: Value = serde_json::from_slice(&fs::read(&settings).expect("settings")).expect("JSON");
    let hook = json!({"type": "command", "command": format!("echo ran >> '{}/own'", world.home().display())});
    own["hooks"] = json!({"AfterAgent": [{"hooks": [hook]}]});
    fs::write(&settings, own.to_string()).expect("HOME can be written");
    let folder = believed();
    if let Some(folder) = &folder {
        world.keep_fleet_in(folder.path());
    }
    world.start(AGENT);
    if folder.is_some() {
        let agent = one_turn(&world, true);
        let id = agent["conversation"].as_str().expect("a conversation");
        let chats = names(&world.home().join(".gemini/tmp"));
        let begin = id.split('-').next().expect("an id");
        assert!(
            chats.iter().any(|name| name.ends_with(&format!("{begin}.jsonl"))),
            "{id}: {chats:?}"
        );
    } else {
        let _ = world.fleet(["prompt", AGENT, PROMPT]).output().success();
        world.wait_state(AGENT, "idle");
        assert_eq!(facts(&world, "prompt_delivered")[0]["by"], "screen");
    }
    assert!(
        !world.screen(AGENT).contains("Security Warning"),
        "{}",
        world.screen(AGENT)
    );
    own_ran(&world);
    world.end();
}

/// The extension as fleet gives it to Pi, in `folder`.
fn extension(folder: &Path) -> PathBuf {
    let reporting = fleet_host::harness::reporting(
        "pi",
        &Surroundings {
            executable: Path::new("/fleet"),
            cwd: folder,
            home: folder,
            folder,
            command: &["pi".to_owned()],
            var: &|_| None,
            read: &|_| None,
            exists: &|_| false,
            only_root_writes: &|_| false,
        },
    );
    let (path, text) = &reporting.files[0];
    fs::write(path, text).expect("HOME can be written");
    path.clone()
}

/// Reads the requests of one client and answers each report of a tool by what `says` has against it.
fn supervise(mut stream: UnixStream, says: &str, tools: &mpsc::Sender<Value>) {
    let mut decoder = wire::Decoder::default();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => decoder.push(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        while let Ok(Some(frame)) = decoder.next_frame() {
            let request: Value = serde_json::from_slice(&frame.body).expect("JSON");
            let is_tool = request["event"]["type"] == "tool_call";
            let answer = if is_tool { json!({"block": says}) } else { json!({}) };
            if is_tool {
                let _ = tools.send(request["event"].clone());
            }
            let _ = stream.write_all(&wire::encode_json(&json!({"id": request["id"], "ok": answer})));
        }
    }
}

#[test]
fn pi_runs_no_tool_that_the_supervisor_has_something_against() {
    let world = World::with_script(
        Cli::Pi,
        Script::of([Turn::shell("touch touched"), Turn::say("did not")]),
    );
    let path = extension(world.home()).display().to_string();
    let socket = world.home().join("s");
    let listener = UnixListener::bind(&socket).expect("HOME can hold a socket");
    let (tools, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            supervise(stream, "not on my watch", &tools);
        }
    });
    let pi = world.program(Cli::Pi, ["-p", "--extension", &path, PROMPT]);
    let _ = pi.env("FLEET_SOCKET", &socket).output().success();
    assert_eq!(asked.recv().expect("a tool")["tool"], "bash");
    assert!(!world.repo().join("touched").exists());
    let told = world.wait_request("the refusal", |request| request.turn == 1);
    assert!(told.body.to_string().contains("not on my watch"), "{:#}", told.body);
}

#[test]
fn pi_does_not_notice_that_nobody_listens() {
    let world = World::with_script(Cli::Pi, Script::of([Turn::shell("touch touched"), Turn::say("did")]));
    let path = extension(world.home()).display().to_string();
    let pi = world.program(Cli::Pi, ["-p", "--extension", &path, PROMPT]);
    let run = pi.env("FLEET_SOCKET", world.home().join("nobody")).output().success();
    assert_eq!((run.stdout.trim(), run.stderr.as_str()), ("did", ""));
    assert!(world.repo().join("touched").exists());
}
