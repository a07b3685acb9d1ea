//! What Pi, OpenCode and Gemini CLI told of themselves against the scripted endpoint, heard again.
//!
//! `fixtures/extensions/NAME.jsonl` has the events as they came, with neutral paths: a prompt, one whose turn runs a tool,
//! and one that is interrupted. Gemini CLI's question is from a run with another command: it did not ask about this one.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::agent::Reason;
use fleet_core::usage::{Basis, Tokens, Usage};
use fleet_host::harness::heard::{Heard, Written};
use fleet_host::harness::reporting::{Reporting, Surroundings};
use fleet_host::harness::{heard, reporting, written};
use serde_json::{Value, json};

/// What the endpoint said that the three replies used, for a program that tells the thinking apart.
const USED: [Tokens; 3] = [
    tokens(1500, 300, 40, 10),
    tokens(900, 300, 40, 10),
    tokens(100, 1200, 20, 5),
];

const fn tokens(input: u64, cached: u64, output: u64, reasoning: u64) -> Tokens {
    Tokens {
        input,
        cached,
        cache_write: 0,
        output,
        reasoning,
    }
}

fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/extensions/{name}.jsonl"));
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn all_heard(name: &str) -> Vec<Heard> {
    let events = lines(name).into_iter().map(|line| serde_json::from_str(&line).unwrap());
    events
        .flat_map(|event: Value| heard(name, &event))
        .map(rounded)
        .collect()
}

/// Costs to the millionth of a dollar, for they are products.
fn rounded(heard: Heard) -> Heard {
    let Heard::Used(usage) = heard else { return heard };
    let cost_usd = usage.cost_usd.map(|cost| (cost * 1e6).round() / 1e6);
    Heard::Used(Usage { cost_usd, ..usage })
}

fn turn(text: &str, by: &'static str) -> Heard {
    Heard::TurnBegan {
        text: Some(text.to_owned()),
        by,
    }
}

fn used(tokens: Tokens, cost: f64, source: &str) -> Heard {
    Heard::Used(Usage {
        model: Some("scripted".to_owned()),
        tokens,
        cost_usd: Some(cost),
        source: source.to_owned(),
        basis: Basis::Reported,
    })
}

/// The files and folders of a machine, as far as a harness looks at them.
#[derive(Default)]
struct Machine {
    files: BTreeMap<PathBuf, String>,
    vars: BTreeMap<&'static str, String>,
    roots_alone: bool,
}

impl Machine {
    fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    fn var(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.vars.insert(name, value.into());
        self
    }

    fn reporting(&self, name: &str) -> Reporting {
        reporting(
            name,
            &Surroundings {
                executable: Path::new("/opt/it's fleet"),
                cwd: Path::new("/home/me/trees/fix"),
                home: Path::new("/home/me"),
                folder: Path::new("/home/me/fleet/a b"),
                command: &[name.to_owned()],
                var: &|name| self.vars.get(name).cloned(),
                read: &|path| self.files.get(path).cloned(),
                exists: &|path| self.files.keys().any(|each| each.starts_with(path)),
                only_root_writes: &|_| self.roots_alone,
            },
        )
    }
}

#[test]
fn pi_tells_of_its_conversation_its_turns_and_what_they_used() {
    let begins = |text| turn(text, "extension turn");
    let source = "message.usage";
    // It does not tell the thinking apart from the output.
    let [first, second, third] = USED.map(|used| Tokens { reasoning: 0, ..used });
    let expected = [
        Heard::Conversation {
            id: "01a1fd84-0b8e-705a-8b70-8e556f13c22d".to_owned(),
        },
        begins("say hello"),
        used(first, 0.008_65, source),
        Heard::TurnEnded,
        begins("use a tool"),
        used(second, 0.005_65, source),
        used(third, 0.001_6, source),
        Heard::TurnEnded,
        begins("hang"),
        Heard::TurnEnded,
    ];
    assert_eq!(all_heard("pi"), expected);
}

#[test]
fn opencode_tells_of_its_conversation_its_turns_its_questions_and_what_they_used() {
    let conversation = || Heard::Conversation {
        id: "ses_e027b9107ffeDdOkfqWTLPTcWD".to_owned(),
    };
    let begins = |text| turn(text, "plugin chat.message");
    let source = "message.tokens";
    let expected = [
        conversation(),
        begins("say hello"),
        used(USED[0], 0.008_65, source),
        conversation(),
        Heard::TurnEnded,
        conversation(),
        begins("use a tool"),
        Heard::Asked {
            reason: Reason::Permission,
            by: "plugin permission.asked",
        },
        Heard::Answered {
            by: "plugin permission.replied",
        },
        used(USED[1], 0.005_65, source),
        used(USED[2], 0.001_6, source),
        conversation(),
        Heard::TurnEnded,
        conversation(),
        begins("hang"),
        conversation(),
        Heard::TurnEnded,
        conversation(),
        Heard::TurnEnded,
    ];
    assert_eq!(all_heard("opencode"), expected);
}

#[test]
fn opencode_tells_of_its_sub_agents_of_replies_that_broke_off_and_of_titles() {
    let tokens = json!({"input": 1, "output": 2, "cache": {"read": 3, "write": 4}});
    let reply = |child| {
        heard(
            "opencode",
            &json!({"type": "reply", "model": "m", "tokens": tokens, "child": child}),
        )
    };
    assert!(matches!(reply(true)[..], [Heard::UsedBelow(_)]));
    assert!(matches!(reply(false)[..], [Heard::Used(_)]));
    let retry = |message: &str| heard("opencode", &json!({"type": "retry", "message": message}));
    for closed in [
        "Cannot connect to API: The socket connection was closed unexpectedly.",
        "Connection reset by server",
    ] {
        assert_eq!(retry(closed), [Heard::BrokeOff], "{closed}");
    }
    assert_eq!(retry("Rate limited"), [], "a refusal costs nothing");
    assert_eq!(heard("opencode", &json!({"type": "title"})), [Heard::Untold]);
}

#[test]
fn gemini_tells_of_its_conversation_its_turns_and_its_questions() {
    let all = all_heard("gemini");
    let transcript = "/home/me/.gemini/tmp/repo/chats/session-2026-11-21T09-52-a810d561.jsonl";
    let same = [
        Heard::Conversation {
            id: "a810d561-9bf6-492b-b354-94a286a393ba".to_owned(),
        },
        Heard::Transcript {
            path: transcript.into(),
        },
    ];
    assert!(all.starts_with(&same));
    let rest: Vec<Heard> = all.into_iter().filter(|each| !same.contains(each)).collect();
    let begins = |text| turn(text, "hook BeforeAgent");
    let expected = [
        begins("say hello"),
        Heard::TurnEnded,
        begins("use a tool"),
        Heard::Asked {
            reason: Reason::Permission,
            by: "hook Notification",
        },
        Heard::TurnEnded,
        begins("hang"),
        Heard::TurnEnded,
    ];
    assert_eq!(rest, expected);
}

#[test]
fn the_file_of_a_gemini_conversation_has_what_each_reply_used() {
    let mut replies: Vec<(String, Usage)> = Vec::new();
    for line in lines("gemini-transcript") {
        let Some(reply) = written("gemini", line.as_bytes()) else {
            continue;
        };
        let Written::Reply { id, at, usage } = reply else {
            panic!("{reply:?}")
        };
        assert!(at.unwrap().to_string().starts_with("2026-11-21T09:52:"));
        let id = id.unwrap();
        // The reply with a tool is there twice, the same each time.
        match replies.iter().find(|(each, _)| *each == id) {
            Some((_, earlier)) => assert_eq!(*earlier, usage),
            None => replies.push((id, usage)),
        }
    }
    let counted: Vec<Tokens> = replies.iter().map(|(_, usage)| usage.tokens).collect();
    assert_eq!(counted, USED);
    assert_eq!(replies[0].1.model.as_deref(), Some("gemini-3.8-flash"));
}

#[test]
fn an_event_that_nobody_knows_tells_nothing() {
    let long = "x".repeat(10_000);
    for event in [
        json!(null),
        json!([]),
        json!("message_end"),
        json!({"type": 7}),
        json!({"type": "dreamt"}),
        json!({"type": "message_end", "usage": {"input": -1, "output": "many"}}),
        json!({"type": "reply", "tokens": [1, 2]}),
        json!({"type": "session_start"}),
        json!({"hook_event_name": long}),
    ] {
        for name in ["pi", "opencode", "gemini"] {
            assert_eq!(heard(name, &event), [], "{name}: {event}");
        }
    }
    for line in [
        &b""[..],
        b"{",
        b"\xff\xfe",
        br#"{"type":"gemini""#,
        br#"{"x":{"type":"gemini"}}"#,
    ] {
        assert_eq!(written("gemini", line), None);
    }
}

#[test]
fn pi_gets_one_more_extension_and_a_place_for_its_heartbeat() {
    let pi = Machine::default().reporting("pi");
    assert_eq!(pi.args, ["--extension", "/home/me/fleet/a b/fleet.ts"]);
    assert_eq!(pi.files[0].0, Path::new("/home/me/fleet/a b/fleet.ts"));
    let heartbeat = ("FLEET_HEARTBEAT".to_owned(), "/home/me/fleet/heartbeat".to_owned());
    assert_eq!((pi.env, pi.notes), (vec![heartbeat], Vec::new()));
}

/// A machine on which OpenCode has installed its package in these folders.
fn settled(folders: &[&str]) -> Machine {
    let lock = json!({"packages": {"": {"dependencies": {"@opencode-ai/plugin": "1.0.0"}}}}).to_string();
    folders.iter().fold(Machine::default(), |machine, folder| {
        machine
            .file(&format!("{folder}/package-lock.json"), &*lock)
            .file(&format!("{folder}/node_modules/x"), "")
    })
}

const CONFIG: &str = "/home/me/.config/opencode";

#[test]
fn opencode_gets_one_more_plugin_in_a_layer_of_its_own() {
    let opencode = settled(&[CONFIG]).reporting("opencode");
    let path = "/home/me/fleet/a b/fleet-opencode.js";
    let layer = json!({"plugin": [path]}).to_string();
    assert_eq!(opencode.env, [("OPENCODE_CONFIG_CONTENT".to_owned(), layer.clone())]);
    assert_eq!(opencode.files[0].0, Path::new(path));
    assert_eq!((opencode.args, opencode.notes), (Vec::new(), Vec::new()));

    // An agent's OpenCode that starts another agent hands its layer on.
    let others = layer.replace("a b", "other");
    let nested = settled(&[CONFIG]).var("OPENCODE_CONFIG_CONTENT", others);
    assert_eq!(nested.reporting("opencode").env, opencode.env);
}

#[test]
fn opencode_keeps_the_layer_that_its_user_has_set() {
    for layer in [
        "",
        "{}",
        r#"{"plugin":["mine.js"]}"#,
        r#"{"plugin":["/a/fleet-opencode.js"],"model":"x"}"#,
    ] {
        let own = settled(&[CONFIG]).var("OPENCODE_CONFIG_CONTENT", layer);
        let told = own.reporting("opencode");
        assert_eq!((told.env, told.files), (Vec::new(), Vec::new()), "{layer}");
        assert!(
            told.notes[0].contains("OPENCODE_CONFIG_CONTENT is set"),
            "{:?}",
            told.notes
        );
    }
}

#[test]
fn opencode_is_not_made_to_wait_for_an_installation() {
    let without = |machine: Machine, folder: &str| {
        let told = machine.reporting("opencode");
        assert_eq!((told.env, told.files), (Vec::new(), Vec::new()));
        assert!(told.notes[0].contains(folder), "{:?}", told.notes);
    };
    without(Machine::default(), CONFIG);
    without(
        settled(&[CONFIG]).file("/home/me/.opencode/bin/opencode", ""),
        "/home/me/.opencode",
    );
    without(settled(&[CONFIG]).var("XDG_CONFIG_HOME", "/etc/me"), "/etc/me/opencode");
    without(settled(&[CONFIG]).var("OPENCODE_CONFIG_DIR", "/etc/team"), "/etc/team");
    let project = || settled(&[CONFIG]).file("/home/me/trees/fix/.git", "");
    without(
        project().file("/home/me/trees/fix/.opencode/x", ""),
        "/home/me/trees/fix/.opencode",
    );
    // Above the checkout it reads nothing.
    let above = project().file("/home/me/trees/.opencode/x", "");
    assert!(above.reporting("opencode").notes.is_empty());
}

#[test]
fn gemini_gets_hooks_where_it_believes_them() {
    let machine = Machine {
        roots_alone: true,
        ..Machine::default()
    };
    let gemini = machine.reporting("gemini");
    let path = "/home/me/fleet/a b/fleet-gemini.json";
    assert_eq!(
        gemini.env,
        [("GEMINI_CLI_SYSTEM_DEFAULTS_PATH".to_owned(), path.to_owned())]
    );
    assert_eq!((gemini.args, gemini.notes), (Vec::new(), Vec::new()));
    let settings: Value = serde_json::from_str(&gemini.files[0].1).unwrap();
    assert_eq!(settings.as_object().unwrap().len(), 1);
    let hook = &settings["hooks"]["BeforeAgent"][0]["hooks"][0];
    assert_eq!(
        hook["command"],
        r#"test -n "$GEMINI_CLI" || '/opt/it'\''s fleet' '__report' 'gemini'"#
    );

    // An agent's Gemini CLI that starts another agent hands both on.
    let nested = machine
        .var("GEMINI_CLI", "1")
        .var("GEMINI_CLI_SYSTEM_DEFAULTS_PATH", "/opt/other/fleet-gemini.json");
    let env = nested.reporting("gemini").env;
    assert_eq!(env[0], gemini.env[0]);
    assert_eq!(env[1], ("GEMINI_CLI".to_owned(), String::new()));
}

#[test]
fn gemini_keeps_the_defaults_of_its_system() {
    let machine = || Machine {
        roots_alone: true,
        ..Machine::default()
    };
    for machine in [
        Machine::default(),
        machine().file("/etc/gemini-cli/system-defaults.json", "{}"),
        machine()
            .file("/opt/g/system-defaults.json", "{}")
            .var("GEMINI_CLI_SYSTEM_SETTINGS_PATH", "/opt/g/settings.json"),
        machine()
            .file("/opt/mine.json", "{}")
            .var("GEMINI_CLI_SYSTEM_DEFAULTS_PATH", "/opt/mine.json"),
    ] {
        let told = machine.reporting("gemini");
        assert_eq!((told.env, told.files), (Vec::new(), Vec::new()));
        assert_eq!(told.notes.len(), 1);
    }
}
