//! What each program lets a worker of each type do: the scripted model tries everything, and what came of it is looked
//! up in files, in the repository, in the endpoint's log, and at servers that count who comes.
//!
//! What is found must be what is written down in `tests/fixtures/restrictions`. `cargo xtask record --restrictions`
//! writes it anew, with every type; a quick run tries two.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fleet_core::plan::word::WorkerType;
use fleet_host::boundary;
use fleet_host::harness::stream::Cli as Stream;
use fleet_host::harness::worker::{self, WorkerTerms};
use fleet_host::harness::{Launch, builtin};
use fleet_testkit::clis::{self, Cli};
use fleet_testkit::model::{Request, Script, ToolCall, Turn};
use fleet_testkit::{raw_command, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{LONG, World};

/// What a command prints; its text does not have it.
const PRINTED: &str = "ran-42";

/// For each try by its name, whether it came to anything.
type Outcomes = BTreeMap<String, bool>;

/// What is tried, in this order. The names are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// To write a file into the worktree, with the tool for it.
    Write,
    /// To write a file into a folder that belongs to the workspace.
    WriteAdded,
    /// To write a file into another folder.
    WriteOutside,
    /// To print something with a command.
    Shell,
    /// To write a file into another folder with a command.
    ShellOutside,
    /// To fetch from a server with a command.
    ShellFetch,
    /// To commit with a command.
    ShellCommit,
    /// To fetch or search with the tool for it.
    Fetch,
}

const TRIES: [(Try, &str); 8] = [
    (Try::Write, "write"),
    (Try::WriteAdded, "write added"),
    (Try::WriteOutside, "write outside"),
    (Try::Shell, "shell"),
    (Try::ShellOutside, "shell outside"),
    (Try::ShellFetch, "shell fetch"),
    (Try::ShellCommit, "shell commit"),
    (Try::Fetch, "fetch"),
];

/// Counts who comes.
struct Server {
    page: String,
    visits: Arc<AtomicUsize>,
}

/// A world with a worktree, a folder of the workspace and one that is none, and two servers.
struct Stage {
    world: World,
    cli: Cli,
    /// Codex lets every worker write temporary files, and the world is among those.
    outside: TempDir,
    for_shell: Server,
    for_tool: Server,
}

impl Stage {
    #[track_caller]
    fn new(cli: Cli) -> Stage {
        let world = World::new(cli);
        for folder in ["added", "agent"] {
            fs::create_dir(world.root().join(folder)).expect("a fresh folder");
        }
        // Claude Code asks its vendor about every page, and here is none.
        let settings = world.home().join(".claude/settings.json");
        fs::write(settings, json!({ "skipWebFetchPreflight": true }).to_string()).expect("a HOME");
        Stage {
            world,
            cli,
            outside: tempfile::tempdir_in("/var/tmp").expect("a place for temporary files"),
            for_shell: Server::start(),
            for_tool: Server::start(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.world.root().join(path)
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.outside.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    /// Lets a worker of this type try everything, in a boundary of this bubblewrap if there is one.
    #[track_caller]
    fn outcomes(&self, worker_type: WorkerType, bwrap: Option<&Path>) -> Outcomes {
        let prompt = format!("{}{}", worker_type.as_str(), if bwrap.is_some() { "-in" } else { "" });
        let worktree = self.text("worktree");
        let _ = self.world.git(["worktree", "add", "-b", &prompt, &worktree]);
        self.world
            .endpoint()
            .set_script(Script::of(TRIES.map(|(what, _)| Turn::call(self.call(what)))));
        let earlier = self.world.endpoint().requests().len();
        self.run(worker_type, bwrap, &prompt);

        let requests = self.world.endpoint().requests().split_off(earlier);
        let commits = self
            .world
            .git(["log", "--format=%h", &format!("main..{prompt}")])
            .stdout;
        let visited = [self.for_shell.was_visited(), self.for_tool.was_visited()];
        let found = TRIES.map(|(what, name)| {
            let done = match what {
                Try::Write => self.at("worktree/written").exists(),
                Try::WriteAdded => self.at("added/written").exists(),
                Try::WriteOutside => self.outside("written").exists(),
                Try::Shell => requests
                    .iter()
                    .any(|request| request.body.to_string().contains(PRINTED)),
                Try::ShellOutside => self.outside("echoed").exists(),
                Try::ShellFetch => visited[0],
                Try::ShellCommit => !commits.is_empty(),
                Try::Fetch => visited[1] || requests.iter().any(|request| self.lets_vendor_search(request)),
            };
            (name.to_owned(), done)
        });
        let _ = self.world.git(["worktree", "remove", "--force", &worktree]);
        for file in [
            self.at("added/written"),
            self.outside("written"),
            self.outside("echoed"),
        ] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{}: {error}", file.display()),
                _ => {}
            }
        }
        found.into()
    }

    /// Whether the vendor's service is asked to search, or may do so by itself.
    fn lets_vendor_search(&self, request: &Request) -> bool {
        match self.cli {
            Cli::Codex => request.tools.iter().any(|tool| tool == "web_search"),
            Cli::Gemini => request.body["tools"].to_string().contains("googleSearch"),
            _ => false,
        }
    }

    /// Runs the program as fleet runs a headless worker, until it has been answered its last turn and has ended.
    #[track_caller]
    fn run(&self, worker_type: WorkerType, bwrap: Option<&Path>, prompt: &str) {
        let git = [
            self.world.repo().join(".git"),
            self.world.repo().join(".git/worktrees/worktree"),
        ];
        let worker = WorkerTerms {
            worker_type,
            cwd: &self.at("worktree"),
            added: &[self.at("added")],
            git: &git,
            folder: &self.at("agent"),
            author: Some(("Test", "test@example.invalid")),
            effort: None,
            fallback: None,
            budget_usd: None,
            max_turns: None,
            sandbox: None,
        };
        let name = self.cli.name();
        let mut harness = builtin(name, &undoing(self.cli)).expect("built in");
        let terms = worker::terms(name, &worker);
        harness.command = terms.command(&harness.command);
        for (path, text) in &terms.files {
            fs::write(path, text).expect("the agent's folder");
        }
        let launch = Launch {
            prompt: Some(prompt),
            ..Launch::default()
        };
        let stream = Stream::named(name).expect("a program with a stream");
        let (program, flags) = harness.command.split_at(1);
        let line = stream.headless(program, flags, &launch).expect("a command line");
        let mut env = self.world.environment();
        // What fleet answers for the folder when it starts an agent.
        env.insert("GEMINI_CLI_TRUST_WORKSPACE".into(), "true".into());
        env.extend(terms.env.iter().map(|(name, value)| (name.into(), value.into())));
        let argv = match bwrap {
            None => line.argv,
            Some(bwrap) => {
                let var = |name: &str| {
                    env.get(name.as_ref() as &std::ffi::OsStr)
                        .map(|value| value.to_string_lossy().into_owned())
                };
                let mut boundary = worker::boundary(name, &worker, self.world.home(), &var);
                for folder in &boundary.state {
                    fs::create_dir_all(folder).expect("a HOME");
                }
                let programs = clis::folder().join(name).canonicalize().expect("it is installed");
                let programs = programs.ancestors().find(|path| path.ends_with("node_modules"));
                let programs = programs.map(Path::to_owned);
                boundary.shown = [self.world.root().to_owned(), clis::folder()]
                    .into_iter()
                    .chain(programs)
                    .collect();
                boundary.argv(bwrap, &line.argv)
            }
        };
        let output = self.at("output");
        let file = File::create(&output).expect("a fresh file");
        let mut child = raw_command(&argv[0])
            .args(&argv[1..])
            .env_clear()
            .envs(env)
            .current_dir(self.at("worktree"))
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take();
        let commands = stream.commands();
        let given = commands
            .as_ref()
            .map_or(prompt.to_owned(), |commands| (commands.prompt)(1, prompt));
        stdin
            .as_mut()
            .map(|pipe| pipe.write_all(given.as_bytes()))
            .expect("a pipe")
            .expect("it reads");
        // One that takes commands goes on until its input ends.
        if commands.is_none() {
            drop(stdin.take());
        }
        let said = || fs::read_to_string(&output).unwrap_or_default();
        let answered = || {
            let conversation = self.world.endpoint().conversation();
            let ours = conversation.iter().filter(|request| request.prompt() == prompt);
            ours.filter(|request| request.end.is_some())
                .map(|request| request.turn)
                .max()
        };
        let status = wait_until(LONG, &format!("the end of {name}"), || {
            if answered() == Some(TRIES.len()) {
                drop(stdin.take());
            }
            child.try_wait().expect("a child")
        });
        assert_eq!(
            answered(),
            Some(TRIES.len()),
            "{name} as {prompt} ended early ({status}): {}",
            said()
        );
    }

    /// The call with which the model of this program tries it. A tool that is not on offer is called all the same.
    fn call(&self, what: Try) -> ToolCall {
        let file = match what {
            Try::Write => self.at("worktree/written"),
            Try::WriteAdded => self.at("added/written"),
            _ => self.outside("written"),
        };
        let file = file.display().to_string();
        let shell = match what {
            Try::Shell => "printf 'ran-%s' 42".to_owned(),
            Try::ShellOutside => format!("echo out > {}", self.outside("echoed").display()),
            Try::ShellFetch => format!("git ls-remote {}", self.for_shell.page),
            Try::ShellCommit => "git commit --allow-empty -m tried".to_owned(),
            _ => format!("echo in > {file}"),
        };
        let page = &self.for_tool.page;
        let is_write = matches!(what, Try::Write | Try::WriteAdded | Try::WriteOutside);
        let (name, input) = match (self.cli, what) {
            (Cli::Claude, Try::Fetch) => ("WebFetch", json!({ "url": page, "prompt": "what is it" })),
            (Cli::Claude, _) if is_write => ("Write", json!({ "file_path": file, "content": "in" })),
            (Cli::Claude, _) => ("Bash", json!({ "command": shell, "description": "a try" })),
            // It has neither a tool that writes nor one that fetches; what its service may do by itself is seen in what it
            // offers.
            (Cli::Codex, Try::Fetch) => ("exec_command", json!({ "cmd": "true" })),
            (Cli::Codex, _) => ("exec_command", json!({ "cmd": shell })),
            (Cli::Pi, Try::Fetch) => ("fetch_content", json!({ "url": page })),
            (Cli::Pi, _) if is_write => ("write", json!({ "path": file, "content": "in" })),
            (Cli::Pi, _) => ("bash", json!({ "command": shell })),
            (Cli::OpenCode, Try::Fetch) => ("webfetch", json!({ "url": page, "format": "text" })),
            (Cli::OpenCode, _) if is_write => ("write", json!({ "filePath": file, "content": "in" })),
            (Cli::OpenCode, _) => ("bash", json!({ "command": shell, "description": "a try" })),
            // What it fetches it has to find in the network first; what it searches, its service does.
            (Cli::Gemini, Try::Fetch) => ("google_web_search", json!({ "query": "anything" })),
            (Cli::Gemini, _) if is_write => ("write_file", json!({ "file_path": file, "content": "in" })),
            (Cli::Gemini, _) => ("run_shell_command", json!({ "command": shell, "description": "a try" })),
        };
        ToolCall::Tool {
            name: name.to_owned(),
            input,
        }
    }
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let server = Server {
            page: format!("http://{}/page", listener.local_addr().expect("bound")),
            visits: Arc::default(),
        };
        let visits = Arc::clone(&server.visits);
        thread::spawn(move || {
            for mut visitor in listener.incoming().flatten() {
                visits.fetch_add(1, Ordering::SeqCst);
                // Who wants another protocol goes away by itself.
                let _ = visitor.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        server
    }

    /// Whether somebody came since this was asked.
    fn was_visited(&self) -> bool {
        self.visits.swap(0, Ordering::SeqCst) > 0
    }
}

/// Arguments of a user's that would take every restriction away.
fn undoing(cli: Cli) -> Vec<String> {
    let flag = match cli {
        Cli::Claude => "--dangerously-skip-permissions",
        Cli::Codex => "--dangerously-bypass-approvals-and-sandbox",
        Cli::Pi => "--tools=bash,write",
        Cli::OpenCode => "--auto",
        Cli::Gemini => "--yolo",
    };
    vec![flag.to_owned()]
}

/// Bubblewrap: the machine's, or the one that Codex brings along.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test looks for the machine's own")]
pub(crate) fn bubblewrap() -> PathBuf {
    if let Ok(found) = boundary::find(&std::env::var("PATH").unwrap_or_default()) {
        return found;
    }
    let codex = clis::folder().join("codex").canonicalize().expect("codex is installed");
    let packages = codex
        .ancestors()
        .find(|path| path.ends_with("@openai"))
        .expect("its package");
    let inside = |folder: &Path| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let vendors = inside(packages).flat_map(|package| inside(&package.join("vendor")).collect::<Vec<_>>());
    let mut found = vendors.map(|vendor| vendor.join("codex-resources/bwrap"));
    found
        .find(|path| path.exists())
        .expect("bubblewrap, on PATH or in Codex's package")
}

/// The file with what is known of a program.
fn written_down(cli: Cli) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/restrictions");
    folder.join(format!("{}.json", cli.name()))
}

#[track_caller]
fn keeps_to_the_types(cli: Cli) {
    let stage = Stage::new(cli);
    let tried = |kinds: &[WorkerType], bwrap: Option<&Path>| -> BTreeMap<String, Outcomes> {
        let outcomes = |kind: &WorkerType| (kind.as_str().to_owned(), stage.outcomes(*kind, bwrap));
        kinds.iter().map(outcomes).collect()
    };
    if std::env::var_os("FLEET_TEST_FULL").is_some() {
        let found = json!({
            "version": builtin(cli.name(), &[]).expect("built in").tested,
            "alone": tried(WorkerType::ALL, None),
            "boundary": tried(WorkerType::ALL, Some(&bubblewrap())),
        });
        let path = written_down(cli);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the tree can be written");
        fs::write(path, format!("{found:#}\n")).expect("the tree can be written");
        return;
    }
    let known = fs::read_to_string(written_down(cli)).expect("`cargo xtask record --restrictions` writes it");
    let known: Value = serde_json::from_str(&known).expect("JSON");
    let in_boundary = tried(&[WorkerType::CodeRun], Some(&bubblewrap()));
    let alone = tried(&[WorkerType::ReadOnly, WorkerType::CodeRun], None);
    for (how, found) in [("alone", alone), ("boundary", in_boundary)] {
        for (kind, found) in found {
            assert_eq!(json!(found), known[how][&kind], "{} as {kind}, {how}", cli.name());
        }
    }
}

#[test]
fn claude_keeps_a_worker_to_its_type() {
    keeps_to_the_types(Cli::Claude);
}

#[test]
fn codex_keeps_a_worker_to_its_type() {
    keeps_to_the_types(Cli::Codex);
}

#[test]
fn pi_keeps_a_worker_to_its_type() {
    keeps_to_the_types(Cli::Pi);
}

#[test]
fn opencode_keeps_a_worker_to_its_type() {
    keeps_to_the_types(Cli::OpenCode);
}

#[test]
fn gemini_keeps_a_worker_to_its_type() {
    keeps_to_the_types(Cli::Gemini);
}
