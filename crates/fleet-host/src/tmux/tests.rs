use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleet_core::Kind;

use super::*;
use crate::process::tests::wait_for_end;
use crate::process::{self, Identity};

/// A private server, ended with its folder.
struct Server {
    dir: tempfile::TempDir,
    tmux: Tmux,
}

impl Server {
    fn new() -> Server {
        let dir = tempfile::tempdir().expect("dir");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let home = dir.path().display().to_string();
        let env = [
            pair("PATH", "/usr/local/bin:/usr/bin:/bin"),
            pair("HOME", &home),
            pair("LANG", "C.UTF-8"),
            pair("API_KEY", "top-secret"),
            pair("FLEET_AGENT", "0123456789"),
        ];
        let tmux = Tmux::new(dir.path().join("s"), dir.path().join("tmux.conf"), &env);
        Server { dir, tmux }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn session(&self, name: &str, argv: &[&str]) -> NewSession {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        NewSession {
            name: name.to_owned(),
            cwd: self.path().to_owned(),
            argv,
            rows: 24,
            cols: 80,
        }
    }

    fn open(&self, names: &[&str]) -> Vec<Opened> {
        let sessions: Vec<NewSession> = names
            .iter()
            .map(|name| self.session(name, &["sleep", "1000"]))
            .collect();
        self.tmux.new_sessions("test.new", &sessions).expect("tmux")
    }

    fn names(&self) -> Vec<String> {
        self.tmux
            .sessions()
            .expect("tmux")
            .into_iter()
            .map(|session| session.name)
            .collect()
    }

    /// The value of a setting of the running server.
    fn setting(&self, args: &[&str]) -> String {
        let output = self.tmux.call("test.show", args, "").expect("tmux");
        assert!(output.status.success(), "{}", output.error_text());
        output.text().trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.tmux.kill_server("test.kill-server");
    }
}

fn is_created(outcome: &Opened) -> bool {
    matches!(outcome, Opened::Created { .. })
}

#[test]
fn sessions_are_made_listed_and_ended_in_one_call_each() {
    let server = Server::new();
    assert_eq!(server.names(), Vec::<String>::new());
    assert_eq!(server.tmux.server_pid().expect("tmux"), None);
    server
        .tmux
        .kill_sessions("test.kill", &["nobody"])
        .expect("no server is fine");

    let outcomes = server.open(&["fix", "fix-42", "other"]);
    assert!(outcomes.iter().all(is_created), "{outcomes:?}");
    let sessions = server.tmux.sessions().expect("tmux");
    let pids: Vec<Opened> = ["fix", "fix-42", "other"]
        .iter()
        .map(|name| {
            sessions
                .iter()
                .find(|session| session.name == *name)
                .expect("listed")
                .pane_pid
        })
        .map(|pane_pid| Opened::Created { pane_pid })
        .collect();
    assert_eq!(pids, outcomes);
    assert!(
        sessions
            .iter()
            .all(|session| session.attached == 0 && session.created.0 > 0)
    );

    server
        .tmux
        .kill_sessions("test.kill", &["missing", "fix", "gone"])
        .expect("missing ones are fine");
    assert!(!server.tmux.has_session("fix").expect("tmux"));
    assert!(server.tmux.has_session("fix-42").expect("tmux"));
    assert!(
        !server.tmux.has_session("fix-4").expect("tmux"),
        "a prefix is another name"
    );
    server.tmux.kill_sessions("test.kill", &["oth"]).expect("tmux");
    assert!(
        server.tmux.has_session("other").expect("tmux"),
        "a prefix kills nothing"
    );
}

#[test]
fn the_server_ends_with_its_last_session() {
    let server = Server::new();
    server.open(&["only"]);
    let pid = server.tmux.server_pid().expect("tmux").expect("runs");
    let identity = Identity::of(pid).expect("runs");
    server.tmux.kill_sessions("test.kill", &["only"]).expect("killed");
    wait_for_end(&identity);
    assert_eq!(server.names(), Vec::<String>::new());
    assert!(server.open(&["again"]).iter().all(is_created));
}

#[test]
fn a_session_that_exists_or_is_refused_does_not_disturb_the_others() {
    let server = Server::new();
    server.open(&["b"]);
    let outcomes = server.open(&["a", "b", "c.d", "e", "e"]);
    assert!(is_created(&outcomes[0]));
    assert_eq!(outcomes[1], Opened::Existed);
    assert!(
        matches!(&outcomes[2], Opened::Failed(error) if error.kind == Kind::Usage),
        "{outcomes:?}"
    );
    assert!(is_created(&outcomes[3]));
    let mut names = server.names();
    names.sort();
    assert_eq!(names, ["a", "b", "e"]);
}

#[test]
fn a_hundred_sessions_with_long_arguments_fit_into_one_call() {
    let server = Server::new();
    let long = "x".repeat(2000);
    let session = |index: usize| server.session(&format!("s{index}"), &["sh", "-c", "read x", &long]);
    let sessions: Vec<NewSession> = (0..100).map(session).collect();
    let outcomes = server.tmux.new_sessions("test.new", &sessions).expect("tmux");
    assert!(outcomes.iter().all(is_created));
    assert_eq!(server.names().len(), 100);
}

#[test]
fn arguments_names_and_directories_pass_through_verbatim() {
    let server = Server::new();
    let cwd = server.path().join("d #(touch pwned) #[b ##{pid}# é;");
    std::fs::create_dir(&cwd).expect("made");
    let fifo = server.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let print = r#"for each in "$PWD" "$@"; do printf '%s\0' "$each"; done >"$0"; exec sleep 1000"#;
    let odd = [
        "it's \"quoted\"",
        ";",
        "a;",
        "a\\;",
        "\\",
        "two\nlines\n",
        "\n  # no comment",
        "#{pid} #(touch pwned)",
        "$HOME `id` $(id)",
        "~",
        "",
        " ",
        "%H:%M",
        "{",
        "}",
        "-t",
        "é \u{1f680}",
        "\t\u{1b}[31m",
        "#",
        "##[x",
        "--",
    ];
    let fifo_text = fifo.display().to_string();
    let mut argv = vec!["sh", "-c", print, &fifo_text];
    argv.extend(odd);
    let name = "o'dd \"n\" #{pid} #[x] ü;a% *";
    let session = NewSession {
        cwd: cwd.clone(),
        ..server.session(name, &argv)
    };
    let outcomes = server.tmux.new_sessions("test.new", &[session]).expect("tmux");
    assert!(is_created(&outcomes[0]), "{outcomes:?}");

    let reader = BufReader::new(std::fs::File::open(&fifo).expect("fifo"));
    let printed: Vec<String> = reader
        .split(0)
        .map(|word| String::from_utf8(word.expect("read")).expect("UTF-8"))
        .collect();
    assert_eq!(printed[0], cwd.display().to_string());
    assert_eq!(printed[1..], odd);
    assert!(!cwd.join("pwned").exists() && !server.path().join("pwned").exists());

    assert_eq!(server.names(), [name]);
    assert!(server.tmux.has_session(name).expect("tmux"));
    server.tmux.kill_sessions("test.kill", &[name]).expect("killed");
    assert!(!server.tmux.has_session(name).expect("tmux"));
}

#[test]
fn a_single_word_is_a_program_and_no_shell_line() {
    let server = Server::new();
    let program = server.path().join("my program; touch pwned");
    let fifo = server.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    std::fs::write(&program, format!("#!/bin/sh\necho ran >'{}'\n", fifo.display())).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("executable");
    let session = server.session("one", &[&program.display().to_string()]);
    server.tmux.new_sessions("test.new", &[session]).expect("tmux");
    assert_eq!(std::fs::read_to_string(&fifo).expect("read"), "ran\n");
    assert!(!server.path().join("pwned").exists());
}

#[test]
fn no_secret_of_the_first_caller_reaches_the_server_or_a_session() {
    let server = Server::new();
    let outcomes = server.open(&["a"]);
    let Opened::Created { pane_pid } = outcomes[0] else {
        panic!("{outcomes:?}")
    };
    let server_pid = server.tmux.server_pid().expect("tmux").expect("runs");
    for pid in [server_pid, pane_pid] {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("environ");
        let environment = String::from_utf8_lossy(&environment);
        assert!(
            !environment.contains("top-secret") && !environment.contains("FLEET_AGENT"),
            "{environment}"
        );
        assert_eq!(environment.contains("FLEET_ROLE=tmux"), pid == server_pid);
    }
    assert_eq!(
        std::fs::read_link(format!("/proc/{server_pid}/cwd")).expect("cwd"),
        Path::new("/")
    );
}

#[test]
fn tmux_takes_every_line_of_our_settings() {
    let server = Server::new();
    server.open(&["a"]);
    let conf = server.tmux.conf.display().to_string();
    assert_eq!(server.setting(&["source-file", &conf]), "");
    assert_eq!(server.setting(&["show-options", "-sv", "escape-time"]), "0");
    assert_eq!(server.setting(&["show-options", "-gv", "history-limit"]), "20000");
    assert_eq!(server.setting(&["show-options", "-gv", "update-environment"]), "");
    assert_eq!(server.setting(&["show-options", "-gwv", "remain-on-exit"]), "off");
    assert!(
        server
            .setting(&["show-options", "-sv", "terminal-features"])
            .contains("xterm*:RGB")
    );
    assert!(
        server
            .setting(&["show-options", "-sv", "default-terminal"])
            .ends_with("-256color")
    );
    let before = std::fs::metadata(&conf).expect("conf").modified().expect("time");
    server.tmux.ensure_conf().expect("ensured");
    assert_eq!(
        std::fs::metadata(&conf).expect("conf").modified().expect("time"),
        before,
        "not written again"
    );
}

#[test]
fn many_callers_may_start_the_server_at_once() {
    for _ in 0..5 {
        let server = Server::new();
        server.tmux.ensure_conf().expect("written");
        let open = |index: usize| server.open(&[&format!("s{index}")]);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|index| scope.spawn(move || open(index))).collect();
            for thread in threads {
                let outcomes = thread.join().expect("no panic");
                assert!(outcomes.iter().all(is_created), "{outcomes:?}");
            }
        });
        assert_eq!(server.names().len(), 8);
    }
}

#[test]
fn a_killed_server_is_started_again() {
    let server = Server::new();
    server.open(&["a"]);
    let pid = server.tmux.server_pid().expect("tmux").expect("runs");
    let identity = Identity::of(pid).expect("runs");
    assert!(process::signal(&identity, nix::sys::signal::Signal::SIGKILL));
    wait_for_end(&identity);
    assert_eq!(server.names(), Vec::<String>::new());
    server.tmux.kill_sessions("test.kill", &["a"]).expect("fine");
    assert!(server.open(&["a"]).iter().all(is_created));
}

#[test]
fn a_session_can_be_attached_from_inside_another_tmux() {
    let server = Server::new();
    server.open(&["a"]);
    let users = Server::new();
    let command = server.tmux.attach_command("a");
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    server.setting(&["set-hook", "-g", "client-attached", "wait-for -S attached"]);
    users
        .tmux
        .new_sessions("test.new", &[users.session("outer", &words)])
        .expect("tmux");
    server.setting(&["wait-for", "attached"]);
    assert_eq!(server.tmux.sessions().expect("tmux")[0].attached, 1);
}

#[test]
fn attaching_without_a_server_starts_none() {
    let server = Server::new();
    let command = server.tmux.attach_command("a");
    let attach = Cmd::new("test.attach", &command[0], server.path())
        .args(&command[1..])
        .output()
        .expect("ran");
    assert!(!attach.status.success());
    assert!(!server.tmux.socket.exists());
}

#[test]
fn the_attach_line_is_quoted_for_a_shell() {
    let tmux = Tmux::new("/run/my fleet/tmux.sock", "/conf", &[]);
    let line = tmux.attach_line("it's");
    assert_eq!(
        line,
        r"env -u TMUX tmux -N -S '/run/my fleet/tmux.sock' attach-session -t '=it'\''s'"
    );
}

#[test]
fn versions_are_read_and_old_ones_refused() {
    assert_eq!(parse_version("tmux 3.3a\n"), Some((3, 3)));
    assert_eq!(parse_version("tmux next-3.10"), Some((3, 10)));
    assert_eq!(parse_version("tmux master"), None);
    assert!(Server::new().tmux.version().expect("installed") >= OLDEST);

    let dir = tempfile::tempdir().expect("dir");
    let path = vec![("PATH".to_owned(), dir.path().display().to_string())];
    let missing = Tmux::new("/nowhere/s", dir.path().join("conf"), &path);
    let error = missing.version().expect_err("missing");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.hint.expect("hint").contains("install tmux"));
    assert!(
        missing
            .sessions()
            .expect_err("missing")
            .hint
            .expect("hint")
            .contains("install tmux")
    );

    let old = dir.path().join("tmux");
    std::fs::write(&old, "#!/bin/sh\necho tmux 2.8\n").expect("written");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o700)).expect("executable");
    let error = missing.version().expect_err("too old");
    assert!(
        error.message.contains("2.8") && error.message.contains("3.2"),
        "{}",
        error.message
    );
}
