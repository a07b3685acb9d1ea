//! Keys, mouse, pastes, colours and sizes on their way through a view.

use super::{SHELL, SHELL_READY, Way, open, wait_line};
use crate::prompts::stage::{LONG, Stage};

/// Rows that tmux takes for its status line.
fn status_rows(way: Way) -> u16 {
    u16::from(way == Way::Tmux)
}

#[test]
fn a_change_of_size_reaches_the_program() {
    for way in [Way::Direct, Way::Tmux] {
        let stage = Stage::scripted(&["--full-screen"]);
        stage.create("a");
        let mut view = open(&stage, way, "a", 30, 100);
        for (rows, cols) in [(30, 100), (20, 70), (45, 132), (24, 80)] {
            view.resize(rows, cols);
            view.wait_for_text(&format!("scripted-agent {cols}x{}", rows - status_rows(way)), LONG);
        }
        stage.end();
    }
}

#[test]
fn ctrl_c_and_ctrl_z_reach_the_program_in_the_foreground() {
    for way in [Way::Direct, Way::Tmux] {
        let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
        stage.create("a");
        let mut view = open(&stage, way, "a", 24, 80);
        view.wait_for_text("$", LONG);
        view.send("echo begun-$((1+1)); sleep 1000\r");
        wait_line(&view, "begun-2");
        wait_for_sleep(&stage);
        view.send("\x03");
        view.send("echo code-$?\r");
        wait_line(&view, "code-130");
        view.send("echo begun-$((1+2)); sleep 1000\r");
        wait_line(&view, "begun-3");
        wait_for_sleep(&stage);
        view.send("\x1a");
        view.wait_for_text("Stopped", LONG);
        view.send("clear; jobs | grep -c Stopped\r");
        wait_line(&view, "1");
        view.send("kill %1; echo end-$((1+3))\r");
        wait_line(&view, "end-4");
        stage.end();
    }
}

/// Keys that come before the shell has started the program would be the shell's.
fn wait_for_sleep(stage: &Stage) {
    fleet_testkit::wait_until(LONG, "sleep runs", || {
        let sleeps = |argv: &[String]| argv == ["sleep", "1000"];
        stage
            .env
            .own_processes()
            .iter()
            .any(|each| sleeps(&each.argv))
            .then_some(())
    });
}

#[test]
fn the_mouse_reaches_a_program_that_wants_it() {
    for way in [Way::Direct, Way::Tmux] {
        let stage = Stage::scripted(&["--full-screen"]);
        stage.create("a");
        let mut view = open(&stage, way, "a", 30, 100);
        view.wait_for_text(&format!("scripted-agent 100x{}", 30 - status_rows(way)), LONG);
        view.wait_for("mouse reports", LONG, |terminal| {
            (terminal.modes().mouse != fleet_term::Mouse::Off).then_some(())
        });
        view.send("\x1b[<0;10;5M");
        view.wait_for_text("mouse press 0 at 10,5", LONG);
        view.send("\x1b[<0;10;5m");
        view.wait_for_text("mouse release 0 at 10,5", LONG);
        view.send("\x1b[<64;11;6M");
        view.wait_for_text("mouse wheel up at 11,6", LONG);
        stage.end();
    }
}

#[test]
fn a_paste_of_several_lines_stays_one_paste() {
    for way in [Way::Direct, Way::Tmux] {
        let stage = Stage::scripted(&[]);
        stage.create("a");
        let mut view = open(&stage, way, "a", 24, 80);
        view.wait_for("bracketed paste", LONG, |terminal| {
            terminal.modes().bracketed_paste.then_some(())
        });
        view.paste("one\ntwo 日本\n  three");
        view.wait_for_text("three", LONG);
        view.send("\r");
        stage.wait_received(&["one\ntwo 日本\n  three"]);
        stage.end();
    }
}

#[test]
fn a_paste_into_a_view_of_another_size_stays_one_paste_too() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let mut small = open(&stage, Way::Direct, "a", 20, 60);
    small.wait_for_text(">", LONG);
    let mut wide = open(&stage, Way::Direct, "a", 30, 100);
    wide.send("x\x7f");
    wide.wait_for_text(">", LONG);
    small.wait_for("bracketed paste", LONG, |terminal| {
        terminal.modes().bracketed_paste.then_some(())
    });
    small.paste("one\ntwo");
    small.wait_for_text("two", LONG);
    small.send("\r");
    stage.wait_received(&["one\ntwo"]);
    stage.end();
}

#[test]
fn colours_and_every_script_pass() {
    for way in [Way::Direct, Way::Tmux] {
        let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
        stage.create("a");
        let mut view = open(&stage, way, "a", 24, 80);
        view.wait_for_text("$", LONG);
        view.send(
            "clear; n=196; printf \"\\e[38;5;${n}mred\\e[48;5;${n}mback\\e[0m \\e[1;4mbold\\e[0m\\n日本 é ✨ ñ\\n\"\r",
        );
        wait_line(&view, "redback bold");
        wait_line(&view, "日本 é ✨ ñ");
        let raw = String::from_utf8_lossy(&view.raw_output()).into_owned();
        for sequence in ["38;5;196m", "48;5;196m"] {
            assert!(raw.contains(sequence), "{way:?}: {sequence} in {raw:?}");
        }
        view.send("clear; echo 'été 日本' | od -An -tx1\r");
        wait_line(&view, " c3 a9 74 c3 a9 20 e6 97 a5 e6 9c ac 0a");
        stage.end();
    }
}
