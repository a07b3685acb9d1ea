//! The terminal as its users see it: answers, views, snapshots, text.

use fleet_term::{Modes, Mouse, MouseEncoding, Terminal};

fn answers(output: &str) -> String {
    let fed = Terminal::new(24, 80).feed(output.as_bytes());
    assert_eq!(String::from_utf8_lossy(&fed.show), "", "views see no question");
    String::from_utf8_lossy(&fed.answers).into_owned()
}

fn show(output: &[u8]) -> Vec<u8> {
    Terminal::new(24, 80).feed(output).show
}

#[test]
fn questions_are_answered_and_hidden_from_views() {
    assert_eq!(answers("\x1b[c"), "\x1b[?62;22c");
    assert_eq!(answers("\x1b[0c"), "\x1b[?62;22c");
    assert_eq!(answers("\x1b[>c"), "\x1b[>1;10;0c");
    assert_eq!(answers("\x1b[5n\x1b[6n"), "\x1b[0n\x1b[1;1R");
    assert_eq!(answers("\x1b[?6n"), "\x1b[?1;1R");
    assert_eq!(
        answers("\x1b[?2026$p\x1b[?25$p\x1b[?4242$p"),
        "\x1b[?2026;2$y\x1b[?25;1$y\x1b[?4242;0$y"
    );
    assert_eq!(answers("\x1b[4$p"), "\x1b[4;2$y");
    assert_eq!(answers("\x1b[?u"), "\x1b[?0u");
    assert_eq!(answers("\x1b[>q\x1b[>0q"), "\x1bP>|fleet\x1b\\\x1bP>|fleet\x1b\\");
    assert_eq!(answers("\x1b]10;?\x07"), "\x1b]10;rgb:e5e5/e5e5/e5e5\x07");
    assert_eq!(answers("\x1b]11;?\x1b\\"), "\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\");
    assert_eq!(answers("\x1b]12;?\x07"), "\x1b]12;rgb:e5e5/e5e5/e5e5\x07");
    assert_eq!(answers("\x1b]4;255;?\x07"), "\x1b]4;255;rgb:eeee/eeee/eeee\x07");
    assert_eq!(answers("\x1bP$qz\x1b\\"), "\x1bP0$r\x1b\\");
    assert_eq!(answers("\x1bP$qr\x1b\\"), "\x1bP1$r1;24r\x1b\\");
    assert_eq!(answers("\x1bP+q544e\x1b\\"), "\x1bP0+r\x1b\\");
    assert_eq!(
        answers("\x1b[14t\x1b[16t\x1b[18t"),
        "\x1b[4;384;640t\x1b[6;16;8t\x1b[8;24;80t"
    );
}

#[test]
fn questions_without_an_answer_are_hidden_too() {
    for question in [
        "\x1b]52;c;?\x07",
        "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\",
        "\x05",
        "\x1b[?15n",
        "\x1b]50;?\x07",
    ] {
        assert_eq!(answers(question), "", "{question:?}");
    }
}

#[test]
fn the_cursor_is_reported_where_it_is_when_the_question_comes() {
    let fed = Terminal::new(24, 80).feed(b"\x1b[3;5H\x1b[6n\x1b[7;9Hx\x1b[6n");
    assert_eq!(fed.answers, b"\x1b[3;5R\x1b[7;10R");
    assert_eq!(fed.show, b"\x1b[3;5H\x1b[7;9Hx");
}

#[test]
fn commands_among_questions_still_reach_views() {
    assert_eq!(show(b"\x1b]4;1;?;2;#ffffff\x07"), b"\x1b]4;2;#ffffff\x07");
    assert_eq!(show(b"\x1b]10;?;#1e1e1e\x07"), b"\x1b]11;#1e1e1e\x07");
}

#[test]
fn what_is_no_question_passes_unchanged() {
    for output in [
        "plain \u{1f680} text\r\n",
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
        "\x1b[>4;2m\x1b[>1u\x1b[<u\x1b[?1049h",
        "\x1b]2;\u{271c} title\x07",
        "\x1bPtmux;data\x1b\\\x1b^private\x1b\\\x1b_app\x1b\\",
        "\x1b[8;30;100t\x1b[22;0t",
        "\x1b[2 q\x1b[?25l\x1b#8\x1b(0",
    ] {
        assert_eq!(String::from_utf8_lossy(&show(output.as_bytes())), output);
    }
    assert_eq!(
        show(b"broken \xff\xc3 bytes\xe2\x82"),
        b"broken \xff\xc3 bytes",
        "a cut character waits"
    );
}

#[test]
fn a_question_after_a_sequence_cut_short_leaves_nothing_open() {
    assert_eq!(show(b"\x1b[31\x1b[cx"), b"x");
    assert_eq!(show(b"\x1b]2;t\x1b[cx"), b"\x1b]2;t\x1b\\x");
}

#[test]
fn an_endless_string_passes_through_and_costs_no_memory() {
    let mut terminal = Terminal::new(24, 80);
    let mut seen = terminal.feed(b"\x1b]52;c;").show;
    let mut sent = b"\x1b]52;c;".to_vec();
    for _ in 0..40 {
        sent.extend_from_slice(&[b'A'; 4096]);
        seen.extend(terminal.feed(&[b'A'; 4096]).show);
    }
    assert!(sent.len() - seen.len() <= 64 * 1024, "no more than the bound is held");
    // A late view joins inside the string and does not print it.
    let mut late = Terminal::new(24, 80);
    late.feed(&terminal.snapshot());
    sent.extend_from_slice(b"AAA\x07ok\x1b[c");
    let fed = terminal.feed(b"AAA\x07ok\x1b[c");
    late.feed(&fed.show);
    seen.extend(&fed.show);
    assert_eq!(seen, sent[..sent.len() - 3]);
    assert_eq!(terminal.text()[0], "ok");
    assert_eq!(late.text()[0], "ok");
    assert_eq!(fed.answers, b"\x1b[?62;22c");
}

#[test]
fn leaving_the_editor_after_a_snapshot_shows_the_main_screen() {
    let mut first = Terminal::new(5, 20);
    first.feed(b"$ vi file\r\n\x1b[?1049h\x1b[H\x1b[2J\x1b[44mtext\x1b[m\r\n~\r\n~");
    let mut late = Terminal::new(5, 20);
    late.feed(b"old junk\x1b[?1003h\x1b[2;3r\x1b(0\x1b[4h");
    late.feed(&first.snapshot());
    assert_eq!(late.text(), ["text", "~", "~", "", ""]);
    late.feed(&first.feed(b"\x1b[?1049l$ ").show);
    assert_eq!(late.text(), ["$ vi file", "$", "", "", ""]);
    assert_eq!(late.text(), first.text());
    assert_eq!(late.modes(), Modes::default());
}

#[test]
fn modes_are_told() {
    let mut terminal = Terminal::new(24, 80);
    terminal.feed(b"\x1b[?1;1002;1006;1004;2004h\x1b[?25l\x1b=\x1b[>5u\x1b[?1049h\x1b[>3u");
    let modes = terminal.modes();
    assert!(modes.app_cursor && modes.app_keypad && modes.focus_events && modes.bracketed_paste && modes.alt_screen);
    assert!(!modes.cursor_visible);
    assert_eq!((modes.mouse, modes.mouse_encoding), (Mouse::Drag, MouseEncoding::Sgr));
    assert_eq!(modes.kitty_keyboard, 3);
    terminal.feed(b"\x1b[?1049l");
    assert_eq!(terminal.modes().kitty_keyboard, 5);
}

#[test]
fn the_cursors_logical_line_is_joined_over_soft_wraps() {
    let mut terminal = Terminal::new(4, 10);
    terminal.feed("first\r\nname@host:/a/long/path> input".as_bytes());
    assert_eq!(terminal.cursor_line(), "name@host:/a/long/path> input");
    terminal.feed(b"\x1b[5D");
    assert_eq!(terminal.before_cursor(), "name@host:/a/long/path> ");
    terminal.feed(b"\r\n> ");
    assert_eq!(
        (terminal.cursor_line().as_str(), terminal.before_cursor().as_str()),
        (">", "> ")
    );
}

#[test]
fn bell_and_title_are_reported() {
    let mut terminal = Terminal::new(4, 10);
    let fed = terminal.feed(b"\x1b]2;hello\x07\x07");
    assert!(fed.bell && fed.title_changed);
    assert_eq!(terminal.title(), Some("hello"));
    assert!(!terminal.feed(b"\x1b]2;no bell\x07").bell);
}

#[test]
fn a_synchronized_update_delays_nothing() {
    let mut terminal = Terminal::new(4, 10);
    let fed = terminal.feed(b"\x1b[?2026hnow");
    assert_eq!(fed.show, b"\x1b[?2026hnow");
    assert_eq!(terminal.text()[0], "now");
}

#[test]
fn a_small_view_sees_the_part_with_the_cursor() {
    let mut terminal = Terminal::new(6, 20);
    terminal.feed("one\r\ntwo 日本語\r\nthree\r\n\x1b[31mfour, a long one\x1b[m".as_bytes());
    let mut view = Terminal::new(2, 6);
    view.feed(&terminal.render(2, 6));
    assert_eq!(view.text(), ["three", "four,"]);
    assert_eq!(view.cursor(), (1, 5));
    let mut large = Terminal::new(9, 30);
    large.feed(b"junk\x1b[9;1Hjunk\x1b[H");
    large.feed(&terminal.render(9, 30));
    assert_eq!(large.text()[..6], terminal.text());
    assert_eq!(large.text()[8], "");
    assert_eq!(large.cursor(), terminal.cursor());
}

#[test]
fn growing_and_shrinking_flows_the_text_anew() {
    let mut terminal = Terminal::new(3, 20);
    terminal.feed(b"a line of some words\r\n> ");
    terminal.resize(5, 10);
    assert_eq!(terminal.text()[..3], ["a line of", "some words", ">"]);
    terminal.resize(3, 20);
    assert_eq!(terminal.text()[..2], ["a line of some words", ">"]);
    assert_eq!(terminal.size(), (3, 20));
    terminal.resize(0, 0);
    assert_eq!(terminal.size(), (1, 2));
}

/// Output recorded from real programs in a terminal of 24 rows and 80 columns.
const RECORDED: [(&str, &[u8]); 2] = [
    ("vim", include_bytes!("recorded/vim.out")),
    ("less", include_bytes!("recorded/less.out")),
];

#[test]
fn a_view_that_joins_a_real_program_late_sees_what_the_others_see() {
    for (name, output) in RECORDED {
        let whole = Terminal::new(24, 80).feed(output);
        let mut first = Terminal::new(24, 80);
        let mut show = Vec::new();
        for (at, chunk) in output.chunks(61).enumerate() {
            show.extend(first.feed(chunk).show);
            let mut late = Terminal::new(24, 80);
            late.feed(&first.snapshot());
            assert_eq!(late.text(), first.text(), "{name} at chunk {at}");
            // The rest of the recording, up to the end or half a screen further.
            let rest = &output[(61 * (at + 1)).min(output.len())..];
            let rest = &rest[..rest.len().min(2000)];
            let mut ahead = Terminal::new(24, 80);
            ahead.feed(&output[..61 * at + chunk.len()]);
            late.feed(&ahead.feed(rest).show);
            assert_eq!(late.text(), ahead.text(), "{name} after chunk {at}");
            assert_eq!(late.modes(), ahead.modes(), "{name} after chunk {at}");
            assert_eq!(late.cursor(), ahead.cursor(), "{name} after chunk {at}");
        }
        assert_eq!(show, whole.show, "{name}");
    }
}

#[test]
fn a_real_program_in_the_alternate_screen_leaves_its_last_page_in_the_log() {
    for (name, output) in RECORDED {
        let mut log = fleet_term::LogText::new(24, 80, 1000);
        log.feed(output);
        let lines = log.lines(24);
        assert!(
            lines.iter().any(|line| line.contains("a line of text ✓ with 日本語")),
            "{name}: {lines:#?}"
        );
    }
}

#[test]
fn what_is_drawn_faint_is_not_typed() {
    let mut terminal = Terminal::new(3, 40);
    terminal.feed(b"> \x1b[2msay something\x1b[0m\x1b[1;3H");
    assert_eq!(
        (terminal.cursor_line().as_str(), terminal.typed_row().as_str()),
        ("> say something", ">")
    );
    terminal.feed(b"\x1b[1;3Htyped\x1b[K\x1b[1;3H");
    assert_eq!(
        (terminal.before_cursor().as_str(), terminal.typed_row().as_str()),
        ("> ", "> typed")
    );
}
