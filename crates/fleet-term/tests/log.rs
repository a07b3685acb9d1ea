//! Recorded output as text: what a person would have seen last, never a blank page.

use fleet_term::LogText;

fn log(output: &str) -> Vec<String> {
    let mut log = LogText::new(4, 20, 100);
    log.feed(output.as_bytes());
    log.lines(100)
}

#[test]
fn the_main_screen_is_shown_with_its_history() {
    let output: String = (1..=10).map(|n| format!("line {n}  \r\n")).collect();
    let lines = log(&output);
    assert_eq!(lines.len(), 10);
    assert_eq!((lines[0].as_str(), lines[9].as_str()), ("line 1", "line 10"));
    let mut log = LogText::new(4, 20, 100);
    log.feed(output.as_bytes());
    assert_eq!(log.lines(2), ["line 9", "line 10"]);
}

#[test]
fn history_is_bounded() {
    let mut log = LogText::new(4, 20, 10);
    for n in 0..10_000 {
        log.feed(format!("line {n}\r\n").as_bytes());
    }
    assert!(log.lines(usize::MAX).len() <= 14);
    assert_eq!(log.lines(1), ["line 9999"]);
}

#[test]
fn a_full_screen_program_shows_its_screen() {
    assert_eq!(log("$ run\r\n\x1b[?1049h\x1b[Hhello\r\nthere"), ["hello", "there"]);
}

#[test]
fn a_screen_just_cleared_shows_what_was_there() {
    assert_eq!(log("\x1b[?1049h\x1b[Hhello\x1b[2J"), ["hello"]);
    assert_eq!(log("\x1b[?1049h\x1b[Hhello\x1b[H\x1b[J"), ["hello"]);
    assert_eq!(log("\x1b[?1049h\x1b[Hone\x1b[2J\x1b[Htwo\x1b[2J\x1b[2J"), ["two"]);
}

#[test]
fn a_program_that_left_shows_its_last_screen_until_something_is_printed() {
    assert_eq!(log("\x1b[?1049h\x1b[Hlast\x1b[2J\x1b[?1049l"), ["last"]);
    assert_eq!(log("warning\r\n\x1b[?1049h\x1b[Hlast\x1b[?1049l\r\n"), ["last"]);
    assert_eq!(log("\x1b[?1049hlast\x1b[?1049l\x1b[Hbye"), ["bye"]);
    assert_eq!(log("\x1b[?1049hlast\x1bc"), ["last"]);
}

#[test]
fn an_alternate_screen_never_written_shows_the_main_one() {
    assert_eq!(log("before\r\n\x1b[?1049h"), ["before"]);
    assert_eq!(log(""), Vec::<String>::new());
}

#[test]
fn resizing_keeps_the_text() {
    let mut log = LogText::new(4, 10, 100);
    log.feed(b"0123456789abcdef\r\nend");
    log.resize(10, 20);
    assert_eq!(log.lines(9), ["0123456789abcdef", "end"]);
    log.feed(b"\x1b[?1049h\x1b[Hscreen");
    log.resize(2, 5);
    assert_eq!(log.lines(9), ["scree"]);
}
