//! Views: what a user sees and types passes through unharmed, however many look on and whenever they come.

mod keys;
mod logs;
mod seam;

use fleet_testkit::{Pty, binary, wait_until};

use crate::prompts::stage::{LONG, Stage, session, tmux};

/// A shell as harness; its prompt is `$ ` whoever runs it.
const SHELL: [&str; 4] = ["/usr/bin/env", "PS1=$ ", "/bin/bash", "--norc"];
const SHELL_READY: &str = r"\$ ?$";

/// How a view is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `fleet attach --direct`.
    Direct,
    /// `fleet attach`, which becomes a client of tmux; the last row is the status line.
    Tmux,
}

/// Opens a view on a terminal of its own.
fn open(stage: &Stage, way: Way, branch: &str, rows: u16, cols: u16) -> Pty {
    let fleet = binary("fleet");
    let mut argv = vec![fleet.to_str().expect("a path"), "attach", branch];
    if way == Way::Direct {
        argv.push("--direct");
    }
    Pty::spawn(&stage.env, &stage.repo, &argv, rows, cols)
}

/// Waits until the view shows `text` at the end of what the shell has printed, on a line of its own.
fn wait_line(view: &Pty, text: &str) {
    view.wait_for(&format!("a line `{text}`"), LONG, |terminal| {
        terminal.text().iter().any(|line| line.trim_end() == text).then_some(())
    });
}

/// Waits until both show the same; they then have the same modes too.
fn wait_same(early: &Pty, late: &Pty) {
    wait_until(LONG, "two views that show the same", || {
        (early.screen() == late.screen()).then_some(())
    });
    let modes = |view: &Pty| view.with_terminal(|terminal| (terminal.modes(), terminal.cursor()));
    assert_eq!(modes(early), modes(late));
}

#[test]
fn the_most_recently_active_view_decides_the_size_and_a_tiny_one_never() {
    let stage = Stage::scripted(&["--full-screen"]);
    stage.create("a");
    let mut wide = open(&stage, Way::Direct, "a", 30, 100);
    wide.wait_for_text("scripted-agent 100x30", LONG);
    let mut small = open(&stage, Way::Direct, "a", 20, 70);
    small.wait_for_text("scripted-agent 70x20", LONG);
    // The other draws what fits, from the same screen.
    wide.wait_for_text("scripted-agent 70x20", LONG);
    wide.send("w");
    wide.wait_for_text("scripted-agent 100x30 | key w", LONG);
    // Of the larger screen the part with the cursor.
    small.wait_for("the lower left part", LONG, |terminal| {
        let text = terminal.text();
        let rule = "─".repeat(70);
        (text.last()? == "> w" && text[text.len() - 2] == rule).then_some(())
    });
    let mut tiny = open(&stage, Way::Direct, "a", 2, 8);
    tiny.send("t");
    wide.wait_for_text("scripted-agent 100x30 | key t", LONG);
    wide.resize(25, 90);
    wide.wait_for_text("scripted-agent 90x25 | key t", LONG);
    wide.send("\x1c\x1c");
    assert_eq!(wide.wait_exit(LONG), 0);
    small.wait_for_text("scripted-agent 70x20", LONG);
    small.resize(2, 5);
    small.resize(20, 70);
    small.wait_for_text("scripted-agent 70x20 | key t", LONG);
    stage.end();
}

#[test]
fn a_view_that_shrinks_and_grows_again_shows_everything_again() {
    let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
    stage.create("a");
    let mut view = open(&stage, Way::Direct, "a", 24, 80);
    view.send("echo still-$((40+2))\r");
    wait_line(&view, "still-42");
    view.resize(2, 5);
    view.resize(24, 80);
    wait_line(&view, "still-42");
    stage.end();
}

#[test]
fn two_views_show_the_same_and_both_type() {
    let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
    stage.create("a");
    let mut one = open(&stage, Way::Direct, "a", 24, 80);
    let mut other = open(&stage, Way::Direct, "a", 24, 80);
    one.send("echo from-one-$((1+1))\r");
    wait_line(&other, "from-one-2");
    other.send("echo from-other-$((1+2))\r");
    wait_line(&one, "from-other-3");
    wait_same(&one, &other);
    stage.end();
}

#[test]
fn the_end_of_tmux_ends_no_agent_and_attach_works_again() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    stage.create("b");
    let programs = (stage.program("a"), stage.supervisor("b"));
    let mut client = open(&stage, Way::Tmux, "a", 24, 80);
    let _ = stage.prompt("a", "print still-here").success();
    client.wait_for_text("still-here", LONG);
    let _ = tmux(&stage, "a", &["kill-server"]).success();
    client.wait_exit(LONG);
    assert_eq!((stage.program("a"), stage.supervisor("b")), programs);
    assert_eq!(stage.explain("b")["alive"], true);
    let again = open(&stage, Way::Tmux, "a", 24, 80);
    again.wait_for_text("still-here", LONG);
    let other = open(&stage, Way::Tmux, "b", 24, 80);
    other.wait_for_text(">", LONG);
    let _ = stage.fleet(&["prompt", "*", "-m", "print more"]).output().success();
    again.wait_for_text("more", LONG);
    other.wait_for_text("more", LONG);
    stage.end();
}

#[test]
fn a_view_gives_the_terminal_back_as_it_was() {
    let stage = Stage::scripted(&["--full-screen"]);
    stage.create("a");
    let fleet = binary("fleet");
    let mut shell = Pty::spawn_with(&stage.env, &stage.repo, &["/bin/sh"], &[("PS1", "outer$ ")], 24, 80);
    shell.wait_for_text("outer$", LONG);
    shell.send("stty -g; echo mark-$((1+1))\r");
    wait_line(&shell, "mark-2");
    let before = shell.with_terminal(fleet_term::Terminal::modes);
    let settings = settings_of(&shell);
    for (round, leave) in ["keys", "signal", "end"].into_iter().enumerate() {
        shell.send(format!(
            "clear; {} attach --direct a; echo left-$(({round}+10))\r",
            fleet.display()
        ));
        shell.wait_for_text("scripted-agent 80x24", LONG);
        assert!(shell.with_terminal(fleet_term::Terminal::modes).alt_screen);
        match leave {
            "keys" => shell.send("\x1c\x1c"),
            "signal" => {
                let view = fleet_testkit::scan::processes(|process| {
                    process.argv.iter().any(|arg| arg == "--direct") && process.has_env("HOME", stage.env.home())
                });
                let [view] = view.as_slice() else {
                    panic!("one view: {view:?}")
                };
                let pid = nix::unistd::Pid::from_raw(view.pid.cast_signed());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("the view lives");
            }
            _ => drop(stage.fleet(&["kill", "a", "--force"]).output().success()),
        }
        wait_line(&shell, &format!("left-{}", round + 10));
        assert_eq!(
            shell.with_terminal(fleet_term::Terminal::modes),
            before,
            "after {leave}"
        );
        shell.send(format!("clear; stty -g; echo mark-$((1+{round}))\r"));
        wait_line(&shell, &format!("mark-{}", round + 1));
        assert_eq!(settings_of(&shell), settings, "after {leave}");
    }
    shell.send("exit\r");
    shell.wait_exit(LONG);
    stage.end();
}

/// The last line that `stty -g` has printed.
fn settings_of(shell: &Pty) -> String {
    let screen = shell.screen();
    screen
        .iter()
        .rev()
        .find(|line| line.matches(':').count() > 20)
        .expect("the settings")
        .clone()
}

#[test]
fn attach_works_inside_another_tmux() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let _ = stage.prompt("a", "print inside-out").success();
    let own = stage.env.root().join("own.sock");
    let argv = [
        "tmux",
        "-f",
        "/dev/null",
        "-S",
        own.to_str().expect("a path"),
        "new-session",
        "/bin/sh",
    ];
    let mut outer = Pty::spawn_with(&stage.env, &stage.repo, &argv, &[("PS1", "outer$ ")], 40, 120);
    outer.wait_for_text("[0]", LONG);
    outer.send(format!("{} attach a\r", binary("fleet").display()));
    outer.wait_for_text("inside-out", LONG);
    outer.wait_for_text(session(&stage, "a").1.trim_start_matches('='), LONG);
    outer.send("typed inside\r");
    outer.wait_for_text("done: typed inside", LONG);
    outer.kill();
    let _ = stage
        .env
        .program("tmux", ["-S", own.to_str().expect("a path"), "kill-server"])
        .output();
    stage.end();
}

#[test]
fn a_question_to_the_terminal_is_answered_once_whoever_looks_on() {
    let stage = Stage::with_harness(&["/bin/bash", "ask.sh"], Some("^> ?$"));
    let answers = stage.env.root().join("answers");
    // Without a byte for 0.8 s a read ends, and with it `cat`.
    let script = format!(
        "while IFS= read -r -p '> ' line; do\n\
           saved=$(stty -g); stty raw -echo min 0 time 8\n\
           printf '\\033[6n\\033[c\\033[>q'\n\
           got=$(cat | tr -cd 'Rc|'); stty \"$saved\"\n\
           echo \"$line $got\" >> {}\n\
         done\n",
        answers.display()
    );
    std::fs::write(stage.repo.join("ask.sh"), script).expect("written");
    stage.env.commit_all(&stage.repo, "ask");
    stage.create("a");
    let asked = |round: usize| {
        // The program changes its terminal at once, so there may be no receipt; the answers are what counts here.
        let _ = stage.prompt("a", &format!("round{round}"));
        wait_until(LONG, "the answers", || {
            let text = std::fs::read_to_string(&answers).unwrap_or_default();
            text.lines().nth(round).map(str::to_owned)
        })
    };
    assert_eq!(asked(0), "round0 Rc|", "the pane of tmux alone");
    let one = open(&stage, Way::Direct, "a", 24, 80);
    let two = open(&stage, Way::Tmux, "a", 24, 80);
    one.wait_for_text(">", LONG);
    two.wait_for_text(">", LONG);
    assert_eq!(asked(1), "round1 Rc|", "with two more views");
    drop((one, two));
    let _ = tmux(&stage, "a", &["kill-server"]).success();
    assert_eq!(asked(2), "round2 Rc|", "without any view");
    stage.end();
}
