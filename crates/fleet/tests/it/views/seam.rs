//! A view that comes late sees what an early one sees, and from there on the same.

use fleet_testkit::Pty;

use super::{SHELL, SHELL_READY, Way, open, wait_line, wait_same};
use crate::prompts::stage::{LONG, Stage};

#[test]
fn a_view_that_attaches_in_the_middle_of_output_loses_and_doubles_nothing() {
    let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
    stage.create("a");
    let mut early = open(&stage, Way::Direct, "a", 40, 100);
    early.wait_for_text("$", LONG);
    // Colours and wide characters, so that chunks end within sequences and characters.
    early.send("clear; for n in $(seq 20000); do printf \"\\e[3$((n%8))mline $n 日本 \\e[0m%$((n%60))s|\\n\"; done; echo end-$((40+2))\r");
    early.wait_for_text("line 1", LONG);
    let late: Vec<Pty> = (0..6).map(|_| open(&stage, Way::Direct, "a", 40, 100)).collect();
    wait_line(&early, "end-42");
    for view in &late {
        wait_line(view, "end-42");
        wait_same(&early, view);
    }
    let shown = early.screen();
    assert!(
        shown.iter().any(|line| line.starts_with("line 20000 日本")),
        "{shown:?}"
    );
    stage.end();
}

#[test]
fn a_slow_view_is_brought_up_to_date() {
    let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
    stage.create("a");
    let mut early = open(&stage, Way::Direct, "a", 24, 80);
    let slow = open(&stage, Way::Direct, "a", 24, 80);
    early.wait_for_text("$", LONG);
    slow.wait_for_text("$", LONG);
    let pid = nix::unistd::Pid::from_raw(slow.pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("the view lives");
    early.send("clear; seq 600000; echo end-$((40+2))\r");
    wait_line(&early, "end-42");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("the view lives");
    wait_line(&slow, "end-42");
    wait_same(&early, &slow);
    stage.end();
}

#[test]
fn a_late_view_of_an_editor_and_a_pager_has_screen_modes_and_the_screen_behind() {
    for (program, shown, quit) in [("vim -u NONE -N", "file 1", ":q!\r"), ("less", "file 1", "q")] {
        let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
        stage.create("a");
        let mut early = open(&stage, Way::Direct, "a", 24, 80);
        early.wait_for_text("$", LONG);
        early.send("clear; echo behind-$((40+2))\r");
        wait_line(&early, "behind-42");
        early.send(format!("{program} dir0/file1.txt\r"));
        early.wait_for(&format!("{program} on the alternate screen"), LONG, |terminal| {
            let drawn = terminal.text().iter().any(|line| line.contains(shown));
            (drawn && terminal.modes().alt_screen).then_some(())
        });
        let mut late = open(&stage, Way::Direct, "a", 24, 80);
        late.wait_for_text(shown, LONG);
        wait_same(&early, &late);
        late.send(quit);
        wait_line(&late, "behind-42");
        late.send("echo after-$((40+3))\r");
        wait_line(&early, "after-43");
        wait_line(&late, "after-43");
        wait_same(&early, &late);
        let screen = late.screen();
        assert!(screen.iter().any(|line| line == "behind-42"), "{program}: {screen:?}");
        assert!(!late.with_terminal(fleet_term::Terminal::modes).alt_screen);
        stage.end();
    }
}

#[test]
fn a_late_view_of_a_full_screen_program_has_its_modes() {
    let stage = Stage::scripted(&["--full-screen"]);
    stage.create("a");
    let mut early = open(&stage, Way::Direct, "a", 24, 80);
    early.wait_for_text("scripted-agent 80x24", LONG);
    early.send("half a draft");
    early.wait_for_text("> half a draft", LONG);
    let mut late = open(&stage, Way::Direct, "a", 24, 80);
    late.wait_for_text("> half a draft", LONG);
    wait_same(&early, &late);
    let modes = late.with_terminal(fleet_term::Terminal::modes);
    assert!(
        modes.alt_screen && modes.bracketed_paste && modes.focus_events,
        "{modes:?}"
    );
    assert_eq!(modes.mouse, fleet_term::Mouse::Click);
    late.send(", and the rest\r");
    stage.wait_received(&["half a draft, and the rest"]);
    early.wait_for_text("done: half a draft, and the rest", LONG);
    wait_same(&early, &late);
    stage.end();
}

#[test]
fn a_late_client_of_tmux_sees_the_program_too() {
    let stage = Stage::scripted(&["--full-screen"]);
    stage.create("a");
    let _ = stage.prompt("a", "print early-bird").success();
    let one = open(&stage, Way::Tmux, "a", 25, 80);
    one.wait_for_text("early-bird", LONG);
    let two = open(&stage, Way::Tmux, "a", 25, 80);
    two.wait_for_text("early-bird", LONG);
    two.wait_for_text("scripted-agent 80x24", LONG);
    stage.end();
}
