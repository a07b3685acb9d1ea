//! Colours and attributes: SGR read and written, colour specifications, the palette a program has set.

use std::collections::BTreeMap;
use std::fmt::Write;

use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::{Attr, Color, NamedColor, Rgb};

use crate::scan::{Csi, Param};

/// The palette's number of the default foreground; background and cursor follow.
pub(crate) const FOREGROUND: u16 = 256;

/// Flags that an SGR sequence sets.
const STYLE: Flags = Flags::INVERSE
    .union(Flags::BOLD)
    .union(Flags::ITALIC)
    .union(Flags::DIM)
    .union(Flags::HIDDEN)
    .union(Flags::STRIKEOUT)
    .union(Flags::ALL_UNDERLINES);

/// The colours a program has changed, by palette number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Palette(BTreeMap<u16, Rgb>);

impl Palette {
    pub(crate) fn set(&mut self, index: u16, color: Rgb) {
        self.0.insert(index, color);
    }

    pub(crate) fn reset(&mut self, index: u16) {
        self.0.remove(&index);
    }

    /// Forgets the 256 indexed colours, not the default ones.
    pub(crate) fn reset_indexed(&mut self) {
        self.0.retain(|index, _| *index >= FOREGROUND);
    }

    /// The colour a program is told: what was set, or that of a common dark theme.
    pub(crate) fn get(&self, index: u16) -> Rgb {
        self.0.get(&index).copied().unwrap_or_else(|| standard(index))
    }

    /// The sequences that set the changed colours.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (index, color) in &self.0 {
            let number = if *index < FOREGROUND {
                format!("4;{index}")
            } else {
                format!("{}", index - FOREGROUND + 10)
            };
            out.extend_from_slice(format!("\x1b]{number};{}\x1b\\", specification(*color)).as_bytes());
        }
    }
}

/// A colour in the form of an answer: `rgb:rrrr/gggg/bbbb`.
pub(crate) fn specification(color: Rgb) -> String {
    let Rgb { r, g, b } = color;
    format!("rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}")
}

/// Reads `rgb:r/g/b` or `#rgb`, each with one to four hex digits per channel.
pub(crate) fn parse_specification(text: &[u8]) -> Option<Rgb> {
    let text = std::str::from_utf8(text).ok()?;
    let channels: Vec<&str> = if let Some(list) = text.strip_prefix("rgb:") {
        list.split('/').collect()
    } else {
        let digits = text.strip_prefix('#').filter(|digits| digits.is_ascii())?;
        let width = digits.len() / 3;
        if width == 0 || digits.len() % 3 != 0 {
            return None;
        }
        vec![&digits[..width], &digits[width..2 * width], &digits[2 * width..]]
    };
    let channel = |digits: &str| {
        if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let value = u32::from_str_radix(digits, 16).ok()?;
        let most = (1_u32 << (4 * digits.len())) - 1;
        u8::try_from(value * 255 / most).ok()
    };
    match channels[..] {
        [r, g, b] => Some(Rgb {
            r: channel(r)?,
            g: channel(g)?,
            b: channel(b)?,
        }),
        _ => None,
    }
}

/// The attributes an SGR sequence sets, in order.
pub(crate) fn attributes(csi: &Csi) -> Vec<Attr> {
    if csi.params.is_empty() {
        return vec![Attr::Reset];
    }
    let mut found = Vec::new();
    let mut rest = &csi.params[..];
    while let Some((param, after)) = rest.split_first() {
        rest = after;
        let attribute = match param.value {
            38 => extended(param, &mut rest).map(Attr::Foreground),
            48 => extended(param, &mut rest).map(Attr::Background),
            58 => extended(param, &mut rest).map(|color| Attr::UnderlineColor(Some(color))),
            _ => simple(param),
        };
        found.extend(attribute);
    }
    found
}

/// The SGR parameters that give a cell's attributes to the pen, from any state.
pub(crate) fn sgr(cell: &Cell) -> String {
    let mut text = String::from("0");
    let flags = cell.flags;
    for (flag, code) in [
        (Flags::BOLD, "1"),
        (Flags::DIM, "2"),
        (Flags::ITALIC, "3"),
        (Flags::UNDERLINE, "4"),
        (Flags::DOUBLE_UNDERLINE, "4:2"),
        (Flags::UNDERCURL, "4:3"),
        (Flags::DOTTED_UNDERLINE, "4:4"),
        (Flags::DASHED_UNDERLINE, "4:5"),
        (Flags::INVERSE, "7"),
        (Flags::HIDDEN, "8"),
        (Flags::STRIKEOUT, "9"),
    ] {
        if flags.contains(flag) {
            text.push(';');
            text.push_str(code);
        }
    }
    push_color(&mut text, cell.fg, 30);
    push_color(&mut text, cell.bg, 40);
    match cell.underline_color() {
        // With colons, so that a terminal which does not know it skips it whole.
        Some(Color::Spec(Rgb { r, g, b })) => push(&mut text, format_args!(";58:2::{r}:{g}:{b}")),
        Some(Color::Indexed(index)) => push(&mut text, format_args!(";58:5:{index}")),
        _ => {}
    }
    text
}

/// Whether two cells look the same but for their characters.
pub(crate) fn same_pen(one: &Cell, other: &Cell) -> bool {
    one.fg == other.fg
        && one.bg == other.bg
        && one.flags & STYLE == other.flags & STYLE
        && one.underline_color() == other.underline_color()
        && one.hyperlink() == other.hyperlink()
}

fn simple(param: &Param) -> Option<Attr> {
    Some(match param.value {
        0 => Attr::Reset,
        1 => Attr::Bold,
        2 => Attr::Dim,
        3 => Attr::Italic,
        4 => match param.parts.first() {
            Some(0) => Attr::CancelUnderline,
            Some(2) => Attr::DoubleUnderline,
            Some(3) => Attr::Undercurl,
            Some(4) => Attr::DottedUnderline,
            Some(5) => Attr::DashedUnderline,
            _ => Attr::Underline,
        },
        7 => Attr::Reverse,
        8 => Attr::Hidden,
        9 => Attr::Strike,
        21 => Attr::DoubleUnderline,
        22 => Attr::CancelBoldDim,
        23 => Attr::CancelItalic,
        24 => Attr::CancelUnderline,
        27 => Attr::CancelReverse,
        28 => Attr::CancelHidden,
        29 => Attr::CancelStrike,
        code @ 30..=37 => Attr::Foreground(named(code - 30)),
        39 => Attr::Foreground(Color::Named(NamedColor::Foreground)),
        code @ 40..=47 => Attr::Background(named(code - 40)),
        49 => Attr::Background(Color::Named(NamedColor::Background)),
        59 => Attr::UnderlineColor(None),
        code @ 90..=97 => Attr::Foreground(named(code - 90 + 8)),
        code @ 100..=107 => Attr::Background(named(code - 100 + 8)),
        _ => return None,
    })
}

/// The colour after 38, 48 or 58: in the parts of that parameter, or in the parameters that follow.
fn extended(param: &Param, rest: &mut &[Param]) -> Option<Color> {
    if !param.parts.is_empty() {
        return match param.parts[..] {
            [5, index, ..] => Some(Color::Indexed(u8::try_from(index).ok()?)),
            [2, r, g, b] | [2, _, r, g, b, ..] => rgb(r, g, b),
            _ => None,
        };
    }
    let take = |rest: &mut &[Param]| {
        let (first, after) = rest.split_first()?;
        *rest = after;
        Some(first.value)
    };
    match take(rest)? {
        5 => Some(Color::Indexed(u8::try_from(take(rest)?).ok()?)),
        2 => rgb(take(rest)?, take(rest)?, take(rest)?),
        _ => None,
    }
}

fn rgb(r: u16, g: u16, b: u16) -> Option<Color> {
    Some(Color::Spec(Rgb {
        r: u8::try_from(r).ok()?,
        g: u8::try_from(g).ok()?,
        b: u8::try_from(b).ok()?,
    }))
}

const NAMED: [NamedColor; 16] = [
    NamedColor::Black,
    NamedColor::Red,
    NamedColor::Green,
    NamedColor::Yellow,
    NamedColor::Blue,
    NamedColor::Magenta,
    NamedColor::Cyan,
    NamedColor::White,
    NamedColor::BrightBlack,
    NamedColor::BrightRed,
    NamedColor::BrightGreen,
    NamedColor::BrightYellow,
    NamedColor::BrightBlue,
    NamedColor::BrightMagenta,
    NamedColor::BrightCyan,
    NamedColor::BrightWhite,
];

fn named(index: u16) -> Color {
    Color::Named(NAMED[usize::from(index) % NAMED.len()])
}

/// Appends a colour; `base` is 30 for the foreground, 40 for the background.
fn push_color(text: &mut String, color: Color, base: u16) {
    match color {
        Color::Named(name) => {
            if let Some(index) = NAMED.iter().position(|known| *known == name) {
                let code = if index < 8 {
                    base + index as u16
                } else {
                    base + 60 + index as u16 - 8
                };
                push(text, format_args!(";{code}"));
            }
        }
        Color::Indexed(index) => push(text, format_args!(";{};5;{index}", base + 8)),
        Color::Spec(Rgb { r, g, b }) => push(text, format_args!(";{};2;{r};{g};{b}", base + 8)),
    }
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string cannot fail");
}

fn standard(index: u16) -> Rgb {
    const BASIC: [u32; 16] = [
        0x1e1e1e, 0xcd3131, 0x0dbc79, 0xe5e510, 0x2472c8, 0xbc3fbc, 0x11a8cd, 0xe5e5e5, 0x666666, 0xf14c4c, 0x23d18b,
        0xf5f543, 0x3b8eea, 0xd670d6, 0x29b8db, 0xffffff,
    ];
    let hex = |value: u32| Rgb {
        r: (value >> 16) as u8,
        g: (value >> 8) as u8,
        b: value as u8,
    };
    match index {
        0..=15 => hex(BASIC[usize::from(index)]),
        16..=231 => {
            let level = |step: u16| if step == 0 { 0 } else { (55 + 40 * step) as u8 };
            let cube = index - 16;
            Rgb {
                r: level(cube / 36),
                g: level(cube / 6 % 6),
                b: level(cube % 6),
            }
        }
        232..=255 => {
            let gray = (8 + 10 * (index - 232)) as u8;
            Rgb {
                r: gray,
                g: gray,
                b: gray,
            }
        }
        257 => hex(0x1e1e1e),
        _ => hex(0xe5e5e5),
    }
}
