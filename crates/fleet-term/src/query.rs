//! The questions a program asks its terminal, and our answers.
//!
//! Every question is taken out of what views see, also those we leave unanswered: a view's terminal would answer too,
//! each view once more.

use alacritty_terminal::vte::ansi::Rgb;

use crate::colors::{FOREGROUND, parse_specification, sgr, specification};
use crate::scan::{Csi, Kind, Token};
use crate::screen::Screen;

/// Pixels of a cell, for programs that ask; no view's real size is known here.
const CELL: (usize, usize) = (16, 8);

/// What is to be done with a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No question: views get it as it is.
    Show,
    /// A question: views do not see it.
    Hide,
    /// Views get these bytes: the commands out of a mixture with questions, or characters to repeat, which a view that
    /// has just read a snapshot does not know.
    Instead(Vec<u8>),
}

/// Answers the questions in a piece.
pub(crate) fn answer(screen: &Screen, token: &Token<'_>, answers: &mut Vec<u8>) -> Verdict {
    let hidden = match token {
        // ENQ: some terminals send their name.
        Token::Control(5) => true,
        Token::Escape {
            intermediate: None,
            last: b'Z',
        } => {
            answers.extend_from_slice(b"\x1b[?62;22c");
            true
        }
        Token::Csi(Csi {
            private: 0,
            intermediate: 0,
            last: b'b',
            params,
        }) => {
            let count = params.first().map_or(1, |param| param.value.max(1));
            return Verdict::Instead(screen.repeated(count).into_bytes());
        }
        Token::Csi(csi) => match csi_answer(screen, csi) {
            Some(answer) => {
                answers.extend_from_slice(answer.as_bytes());
                true
            }
            None => false,
        },
        Token::Str {
            kind: Kind::Osc,
            body,
            bell,
        } => return osc(screen, body, *bell, answers),
        Token::Str {
            kind: Kind::Dcs, body, ..
        } => match dcs_answer(screen, body) {
            Some(answer) => {
                answers.extend_from_slice(answer.as_bytes());
                true
            }
            None => false,
        },
        // A kitty graphics query; no answer means that there are no graphics.
        Token::Str {
            kind: Kind::Apc, body, ..
        } => body.strip_prefix(b"G").is_some_and(|rest| {
            let keys = rest.split(|&byte| byte == b';').next().unwrap_or_default();
            keys.split(|&byte| byte == b',').any(|key| key == b"a=q")
        }),
        _ => false,
    };
    if hidden { Verdict::Hide } else { Verdict::Show }
}

/// The answer to a control sequence, empty for a question we leave open, `None` for what is no question.
fn csi_answer(screen: &Screen, csi: &Csi) -> Option<String> {
    let size = screen.size();
    let first = csi.get(0, 0);
    let position = || {
        let point = screen.grid().cursor.point;
        let top = if screen.modes.origin { screen.region.0 as i32 } else { 0 };
        (point.line.0 - top + 1, point.column.0 + 1)
    };
    Some(match (csi.private, csi.intermediate, csi.last) {
        (0, 0, b'c') if first == 0 => "\x1b[?62;22c".to_owned(),
        (b'>', 0, b'c') if first == 0 => "\x1b[>1;10;0c".to_owned(),
        (b'=', 0, b'c') if first == 0 => "\x1bP!|00000000\x1b\\".to_owned(),
        (0, 0, b'n') => match first {
            5 => "\x1b[0n".to_owned(),
            6 => {
                let (line, column) = position();
                format!("\x1b[{line};{column}R")
            }
            _ => String::new(),
        },
        (b'?', 0, b'n') => match first {
            6 => {
                let (line, column) = position();
                format!("\x1b[?{line};{column}R")
            }
            996 => "\x1b[?997;1n".to_owned(),
            _ => String::new(),
        },
        (0, b'$', b'p') => {
            let state = match first {
                4 => set_or_reset(screen.modes.insert),
                20 => set_or_reset(screen.modes.newline),
                _ => 0,
            };
            format!("\x1b[{first};{state}$y")
        }
        (b'?', b'$', b'p') => {
            let state = screen.modes.private(first).map_or(0, set_or_reset);
            format!("\x1b[?{first};{state}$y")
        }
        (b'?', 0, b'u') => format!("\x1b[?{}u", screen.modes.kitty_keyboard),
        (b'>', 0, b'q') if first == 0 => "\x1bP>|fleet\x1b\\".to_owned(),
        (b'?', 0, b'm') => match first {
            4 => format!("\x1b[>4;{}m", screen.modes.modify_other_keys),
            _ => String::new(),
        },
        (0, 0, b't') => match first {
            11 => "\x1b[1t".to_owned(),
            13 => "\x1b[3;0;0t".to_owned(),
            14 => format!("\x1b[4;{};{}t", size.rows * CELL.0, size.cols * CELL.1),
            15 => format!("\x1b[5;{};{}t", size.rows * CELL.0, size.cols * CELL.1),
            16 => format!("\x1b[6;{};{}t", CELL.0, CELL.1),
            18 => format!("\x1b[8;{};{}t", size.rows, size.cols),
            19 => format!("\x1b[9;{};{}t", size.rows, size.cols),
            // Never the title itself: it would let output type into the program.
            20 => "\x1b]L\x1b\\".to_owned(),
            21 => "\x1b]l\x1b\\".to_owned(),
            _ => return None,
        },
        (0, 0, b'x') if first <= 1 => format!("\x1b[{};1;1;128;128;1;0x", first + 2),
        (b'?', 0, b'S') => format!("\x1b[?{first};1S"),
        (0, b'$', b'w' | b'u')
        | (0, b'*', b'y')
        | (0, b'&', b'u')
        | (0, b'\'' | b'#', b'|')
        | (0, b'#', b'R')
        | (0, b'"', b'v') => String::new(),
        _ => return None,
    })
}

fn set_or_reset(on: bool) -> u8 {
    if on { 1 } else { 2 }
}

fn dcs_answer(screen: &Screen, body: &[u8]) -> Option<String> {
    if let Some(setting) = body.strip_prefix(b"$q") {
        return Some(match setting {
            b"m" => format!("\x1bP1$r{}m\x1b\\", sgr(&screen.grid().cursor.template)),
            b"r" => format!("\x1bP1$r{};{}r\x1b\\", screen.region.0 + 1, screen.region.1),
            b" q" => format!("\x1bP1$r{} q\x1b\\", screen.modes.cursor_style),
            _ => "\x1bP0$r\x1b\\".to_owned(),
        });
    }
    body.starts_with(b"+q").then(|| "\x1bP0+r\x1b\\".to_owned())
}

fn osc(screen: &Screen, body: &[u8], bell: bool, answers: &mut Vec<u8>) -> Verdict {
    let fields: Vec<&[u8]> = body.split(|&byte| byte == b';').collect();
    let end = if bell { "\x07" } else { "\x1b\\" };
    let number = std::str::from_utf8(fields[0])
        .ok()
        .and_then(|number| number.parse::<u16>().ok());
    let asks = fields[1..].contains(&&b"?"[..]);
    match number {
        Some(4 | 5) if asks => {
            let mut others = Vec::new();
            for pair in fields[1..].chunks(2) {
                match pair {
                    [index, b"?"] => {
                        let index = std::str::from_utf8(index)
                            .ok()
                            .and_then(|index| index.parse::<u16>().ok());
                        if let (Some(4), Some(index)) = (number, index.filter(|index| *index < FOREGROUND)) {
                            put_color(answers, &format!("4;{index}"), screen.palette.get(index), end);
                        }
                    }
                    _ => put_osc(&mut others, fields[0], &pair.join(&b';'), end),
                }
            }
            instead(others)
        }
        Some(number @ 10..=19) if asks => {
            // One field each for this number and those that follow it.
            let mut others = Vec::new();
            for (number, field) in (number..=19).zip(&fields[1..]) {
                if *field == b"?" {
                    // 13 to 19 are colours of the pointer and of selections: left open.
                    if number <= 12 {
                        put_color(
                            answers,
                            &number.to_string(),
                            screen.palette.get(FOREGROUND + number - 10),
                            end,
                        );
                    }
                } else if parse_specification(field).is_some() {
                    put_osc(&mut others, number.to_string().as_bytes(), field, end);
                }
            }
            instead(others)
        }
        // What is read back from the clipboard, fonts, pointer shapes and notifications is nobody's business here.
        Some(22 | 50 | 52 | 60 | 61 | 99 | 176 | 702 | 5522) if asks => Verdict::Hide,
        Some(22 | 50) if fields.get(1).is_some_and(|field| field.starts_with(b"?")) => Verdict::Hide,
        Some(99)
            if fields
                .get(1)
                .is_some_and(|keys| keys.split(|&byte| byte == b':').any(|key| key == b"p=?")) =>
        {
            Verdict::Hide
        }
        Some(21) if fields[1..].iter().any(|field| field.ends_with(b"=?")) => Verdict::Hide,
        Some(1337) if fields.get(1).is_some_and(|field| reports(field)) => Verdict::Hide,
        _ => Verdict::Show,
    }
}

/// iTerm2's questions.
fn reports(field: &[u8]) -> bool {
    [
        &b"ReportCellSize"[..],
        b"ReportVariable",
        b"Capabilities",
        b"RequestUpload",
    ]
    .iter()
    .any(|name| field.starts_with(name))
}

fn instead(others: Vec<u8>) -> Verdict {
    if others.is_empty() {
        Verdict::Hide
    } else {
        Verdict::Instead(others)
    }
}

fn put_color(out: &mut Vec<u8>, number: &str, color: Rgb, end: &str) {
    put_osc(out, number.as_bytes(), specification(color).as_bytes(), end);
}

fn put_osc(out: &mut Vec<u8>, number: &[u8], text: &[u8], end: &str) {
    for part in [b"\x1b]", number, b";", text, end.as_bytes()] {
        out.extend_from_slice(part);
    }
}
