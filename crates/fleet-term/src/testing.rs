//! What the tests of this crate share: random output, and the comparison of two terminals.

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::Cell;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::terminal::Terminal;

/// Output of the kinds that programs write, one entry a sequence or a few characters.
const CORPUS: &[&str] = &[
    "hello",
    "x",
    " ",
    "a long line that wraps on a narrow screen ",
    "\r",
    "\n",
    "\r\n",
    "\t",
    "\x08",
    "\x07",
    "日本",
    "é",
    "e\u{301}",
    "👩\u{200d}🚀",
    "❤\u{fe0f}",
    "\u{301}",
    "─│┌",
    "\u{9b}31m",
    "\u{85}",
    "\x1b[H",
    "\x1b[2J",
    "\x1b[J",
    "\x1b[1J",
    "\x1b[K",
    "\x1b[1K",
    "\x1b[2K",
    "\x1b[3;4H",
    "\x1b[99;99H",
    "\x1b[5G",
    "\x1b[A",
    "\x1b[2B",
    "\x1b[3C",
    "\x1b[2D",
    "\x1b[2E",
    "\x1b[F",
    "\x1b[3d",
    "\x1b[2I",
    "\x1b[Z",
    "\x1b[2@",
    "\x1b[2P",
    "\x1b[3X",
    "\x1b[2L",
    "\x1b[M",
    "\x1b[S",
    "\x1b[T",
    "\x1b[4b",
    "\x1bM",
    "\x1bD",
    "\x1bE",
    "\x1b[m",
    "\x1b[1;31m",
    "\x1b[2;3;4m",
    "\x1b[4:3;58:2::1:2:3m",
    "\x1b[7;9;8m",
    "\x1b[38;5;200;48;2;1;2;3m",
    "\x1b[95;104m",
    "\x1b[21m",
    "\x1b[22;24;27m",
    "\x1b[39;49m",
    "\x1b[58;5;9m",
    "\x1b[4:0m",
    "\x1b]8;id=a;http://x/\x1b\\",
    "\x1b]8;;http://y/\x07",
    "\x1b]8;;\x1b\\",
    "\x1b7",
    "\x1b8",
    "\x1b[s",
    "\x1b[u",
    "\x1b[2;4r",
    "\x1b[r",
    "\x1b[3;99r",
    "\x1b[?6h",
    "\x1b[?6l",
    "\x1b[?7l",
    "\x1b[?7h",
    "\x1b[4h",
    "\x1b[4l",
    "\x1b[20h",
    "\x1b[20l",
    "\x1b(0",
    "\x1b(B",
    "\x1b)0",
    "\x1b)B",
    "\x0e",
    "\x0f",
    "lqqk",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?47h",
    "\x1b[?47l",
    "\x1b[?1047h",
    "\x1b[?1047l",
    "\x1b[?1h",
    "\x1b[?1l",
    "\x1b=",
    "\x1b>",
    "\x1b[?2004h",
    "\x1b[?2004l",
    "\x1b[?1000h",
    "\x1b[?1002h",
    "\x1b[?1003h",
    "\x1b[?1003l",
    "\x1b[?1006h",
    "\x1b[?1006l",
    "\x1b[?1004h",
    "\x1b[?1007l",
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[?12h",
    "\x1b[4 q",
    "\x1b[5 q",
    "\x1b[?2026h",
    "\x1b[?2026l",
    "\x1b[?5h",
    "\x1b[>1u",
    "\x1b[>5u",
    "\x1b[<u",
    "\x1b[=3;2u",
    "\x1b[>4;2m",
    "\x1b[>4m",
    "\x1bH",
    "\x1b[g",
    "\x1b[3g",
    "\x1b[!p",
    "\x1b#8",
    "\x1b]2;a title\x07",
    "\x1b[22;0t",
    "\x1b[23;0t",
    "\x1b]4;3;#102030\x1b\\",
    "\x1b]10;rgb:ff/00/ff\x1b\\",
    "\x1b]104\x07",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[5n",
    "\x1b[6n",
    "\x1b[?2026$p",
    "\x1b[4$p",
    "\x1b[?u",
    "\x1b[>q",
    "\x1b]11;?\x07",
    "\x1b]10;?;#ffffff\x1b\\",
    "\x1b]4;1;?\x1b\\",
    "\x1b]4;1;?;2;#fff\x1b\\",
    "\x1bP$qm\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x1b[18t",
    "\x1b[14t",
    "\x1b]52;c;aGk=\x07",
    "\x1b]52;c;?\x07",
    "\x1b_Gi=1,a=q;AAAA\x1b\\",
    "\x1b_other\x1b\\",
    "\x1b^pm\x1b\\",
    "\x1bXsos\x1b\\",
    "\x1bPq#0~\x1b\\",
    "\x1b]2;t\u{9c}",
    "\u{9d}2;u\x07",
    "\x1b]2;cut\x1b[31m",
    "\x1b[12\x18",
    "\x1b[1\n2m",
    "\x1b[31",
    "\x1b",
];

/// Output made of the corpus, now and then with arbitrary parameters or bytes.
pub(crate) fn output() -> impl Strategy<Value = Vec<u8>> {
    let known = (0..CORPUS.len()).prop_map(|at| CORPUS[at].as_bytes().to_vec());
    let moves = (1..12_u16, 1..14_u16).prop_map(|(line, column)| format!("\x1b[{line};{column}H").into_bytes());
    let edits = (
        0..12_u16,
        proptest::sample::select(b"@ABCDEFGHIJKLMPSTXZ`abdefgr".to_vec()),
    )
        .prop_map(|(count, last)| format!("\x1b[{count}{}", last as char).into_bytes());
    let text = "[a-z日é]{1,16}".prop_map(String::into_bytes);
    let piece = prop_oneof![6 => known, 2 => moves, 2 => edits, 3 => text];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// The first difference between two terminals, if there is one.
pub(crate) fn difference(one: &Terminal, other: &Terminal) -> Option<String> {
    let (a, b) = (one.screen(), other.screen());
    let state = |s: &crate::screen::Screen| {
        let main = s.main.as_ref().map(|main| (main.keyboard.clone(), main.keeps_cursor));
        let charset = s.charset as usize;
        format!(
            "{:?} {main:?} {:?} {charset} {:?} {:?} {:?} {:?}",
            s.modes, s.region, s.tabs, s.title, s.keyboard, s.palette
        )
    };
    if state(a) != state(b) {
        return Some(format!("state\n{}\n{}", state(a), state(b)));
    }
    grids(a.grid(), b.grid())
        .map(|what| format!("shown: {what}"))
        .or_else(|| {
            let main = grids(a.main_grid(), b.main_grid())?;
            Some(format!("main: {main}"))
        })
}

fn grids(a: &Grid<Cell>, b: &Grid<Cell>) -> Option<String> {
    for line in 0..a.screen_lines() {
        for column in 0..a.columns() {
            let (left, right) = (
                &a[Line(line as i32)][Column(column)],
                &b[Line(line as i32)][Column(column)],
            );
            if cell(left) != cell(right) {
                return Some(format!("cell {line},{column}\n{}\n{}", cell(left), cell(right)));
            }
        }
    }
    let (left, right) = (cursor(&a.cursor), cursor(&b.cursor));
    if left != right {
        return Some(format!("cursor\n{left}\n{right}"));
    }
    let (left, right) = (cursor(&a.saved_cursor), cursor(&b.saved_cursor));
    (left != right).then(|| format!("saved cursor\n{left}\n{right}"))
}

fn cell(cell: &Cell) -> String {
    let marks = cell.zerowidth().unwrap_or_default();
    let (line, link) = (cell.underline_color(), cell.hyperlink());
    format!(
        "{:?} {marks:?} {:?} {:?} {:?} {line:?} {link:?}",
        cell.c, cell.fg, cell.bg, cell.flags
    )
}

fn cursor(it: &Cursor<Cell>) -> String {
    format!(
        "{:?} {} {:?} {}",
        it.point,
        it.input_needs_wrap,
        it.charsets,
        cell(&it.template)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_terminal_that_reads_a_snapshot_goes_on_as_the_first_one(before in output(), stale in output(), after in output()) {
        let mut first = Terminal::new(6, 11);
        first.feed(&before);
        let mut late = Terminal::new(6, 11);
        // A view's terminal has a state of its own, but for what no output resets.
        late.feed(&stale);
        late.feed(b"\x1b\\\x1bc");
        late.feed(&first.snapshot());
        prop_assert_eq!(difference(&first, &late), None);
        let show = first.feed(&after).show;
        late.feed(&show);
        // What is held at the end waits in the first one only.
        prop_assert_eq!(difference(&first, &late), None);
        prop_assert_eq!(first.text(), late.text());
        prop_assert_eq!(first.cursor_line(), late.cursor_line());
    }

    #[test]
    fn a_snapshot_cleans_a_terminal_of_any_state(before in output(), stale in output()) {
        let mut first = Terminal::new(6, 11);
        first.feed(&before);
        first.feed(b"\x1b\\\x1b]2;t\x07\x1b]104\x07");
        let mut late = Terminal::new(6, 11);
        late.feed(&stale);
        late.feed(b"\x1b\\\x1b]104\x07\x1b]110\x07\x1b]8;;\x07");
        late.feed(&first.snapshot());
        prop_assert_eq!(first.text(), late.text());
        prop_assert_eq!(first.modes(), late.modes());
        prop_assert_eq!(first.cursor(), late.cursor());
    }

    #[test]
    fn chunks_do_not_matter(output in output(), cuts in vec(1..9_usize, 1..200)) {
        let mut whole = Terminal::new(6, 11);
        let all = whole.feed(&output);
        let mut pieces = Terminal::new(6, 11);
        let (mut show, mut answers) = (Vec::new(), Vec::new());
        let mut rest = &output[..];
        for cut in cuts.into_iter().cycle() {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            let fed = pieces.feed(chunk);
            show.extend(fed.show);
            answers.extend(fed.answers);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&all.show, &show);
        prop_assert_eq!(&all.answers, &answers);
        prop_assert_eq!(difference(&whole, &pieces), None);
    }

    #[test]
    fn what_views_see_asks_nothing_and_shows_the_same(output in output()) {
        let mut first = Terminal::new(6, 11);
        let show = first.feed(&output).show;
        let mut view = Terminal::new(6, 11);
        let again = view.feed(&show);
        prop_assert_eq!(again.answers, b"".to_vec());
        prop_assert_eq!(again.show, show);
        prop_assert_eq!(difference(&first, &view), None);
    }

    #[test]
    fn random_bytes_and_sizes_never_panic(parts in vec((vec(any::<u8>(), 0..300), 0..20_u16, 0..30_u16), 1..6)) {
        let mut terminal = Terminal::with_history(3, 5, 20);
        let mut bare = Terminal::new(3, 5);
        for (bytes, rows, cols) in parts {
            for terminal in [&mut terminal, &mut bare] {
                terminal.feed(&bytes);
                terminal.resize(rows, cols);
                terminal.feed(&terminal.snapshot());
                terminal.render(cols, rows);
                terminal.cursor_line();
                terminal.before_cursor();
            }
        }
    }

    #[test]
    fn resizing_any_screen_never_panics(parts in vec((output(), 1..20_u16, 1..30_u16), 1..6)) {
        let mut terminal = Terminal::with_history(6, 11, 20);
        let mut bare = Terminal::new(6, 11);
        for (bytes, rows, cols) in parts {
            for terminal in [&mut terminal, &mut bare] {
                terminal.resize(rows, cols);
                terminal.feed(&bytes);
                terminal.render(cols, rows);
                terminal.cursor_line();
            }
            // In ten columns and more: in two or three the mark of a wrap and its first character share a cell.
            let (rows, cols) = (bare.size().0, bare.size().1);
            if cols > 9 && rows > 2 {
                let mut late = Terminal::new(rows, cols);
                late.feed(&bare.snapshot());
                prop_assert_eq!(difference(&bare, &late), None);
            }
        }
    }
}

#[test]
fn every_cut_of_the_corpus_shows_the_same() {
    for entry in CORPUS {
        let bytes = [b"a", entry.as_bytes(), b"b"].concat();
        let all = Terminal::new(6, 11).feed(&bytes);
        for cut in 0..=bytes.len() {
            let mut terminal = Terminal::new(6, 11);
            let mut first = terminal.feed(&bytes[..cut]);
            let second = terminal.feed(&bytes[cut..]);
            first.show.extend(second.show);
            first.answers.extend(second.answers);
            assert_eq!(first.show, all.show, "{entry:?} cut at {cut}");
            assert_eq!(first.answers, all.answers, "{entry:?} cut at {cut}");
        }
    }
}
