//! A screen written as the output that brings a terminal there.

use alacritty_terminal::grid::{Cursor, Dimensions, Grid, Row};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::{CharsetIndex, StandardCharset};

use crate::cells::{Painter, wraps};
use crate::screen::{Screen, standard_tabs};

/// Leaves a terminal of any state blank, with all that painting depends on as it was at its start.
///
/// In order: end of any string, of an update, of the alternate screen; keyboard; insert, newline, origin, wrap; margins;
/// character sets; tab stops. The screen is cleared from the top down, which does not push it into a scrollback.
const CLEAN: &[u8] = b"\x1b\\\x1b[?2026l\x1b[?1049l\x1b[<99u\
    \x1b[4l\x1b[20l\x1b[?6l\x1b[?7h\x1b[?69l\x1b[r\
    \x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[?5W\x1b[?25l";

/// Writes `screen` for a terminal of the same size.
pub(crate) fn snapshot(screen: &Screen) -> Vec<u8> {
    let mut out = CLEAN.to_vec();
    tabs(&mut out, screen);
    paint(&mut out, screen.main_grid());
    match &screen.main {
        None => keyboard(&mut out, screen.modes.kitty_keyboard, &screen.keyboard),
        Some(main) => {
            keyboard(&mut out, main.keyboard.0, &main.keyboard.1);
            place_in(&mut out, &main.grid, 0);
            out.extend_from_slice(if main.keeps_cursor {
                b"\x1b[?1049h"
            } else {
                b"\x1b[?1047h"
            });
            out.extend_from_slice(b"\x1b[<99u\x1b[0m\x1b(B\x1b)B\x1b*B\x1b+B");
            paint(&mut out, screen.grid());
            keyboard(&mut out, screen.modes.kitty_keyboard, &screen.keyboard);
        }
    }
    screen.palette.write(&mut out);
    titles(&mut out, screen);
    let (top, bottom) = screen.region;
    if (top, bottom) != (0, screen.size().rows) {
        out.extend_from_slice(format!("\x1b[{};{}r", top + 1, bottom).as_bytes());
    }
    if screen.modes.origin {
        out.extend_from_slice(b"\x1b[?6h");
    }
    place_in(&mut out, screen.grid(), if screen.modes.origin { top } else { 0 });
    if screen.charset == CharsetIndex::G1 {
        out.push(0x0e);
    }
    for (on, sequence) in [
        (screen.modes.insert, &b"\x1b[4h"[..]),
        (screen.modes.newline, b"\x1b[20h"),
        (!screen.modes.autowrap, b"\x1b[?7l"),
    ] {
        if on {
            out.extend_from_slice(sequence);
        }
    }
    screen.modes.write(&mut out);
    out
}

/// Writes the top left part of `screen` for a smaller or larger terminal, without modes.
pub(crate) fn render(screen: &Screen, rows: usize, cols: usize) -> Vec<u8> {
    let grid = screen.grid();
    let point = grid.cursor.point;
    let line = point.line.0 as usize;
    let top = (line + 1).saturating_sub(rows);
    let shown = rows.min(grid.screen_lines() - top);
    let mut out = b"\x1b[?25l".to_vec();
    let mut painter = Painter::new(&mut out);
    for row in 0..shown {
        painter.go(row, 0);
        let reached = painter.row(&grid[Line((top + row) as i32)], cols);
        painter.pen(&Cell::default());
        if reached < cols {
            painter.put(b"\x1b[K");
        }
    }
    if shown < rows {
        painter.go(shown, 0);
        painter.put(b"\x1b[J");
    }
    painter.go(line - top, point.column.0.min(cols.saturating_sub(1)));
    if screen.modes.cursor_visible {
        painter.put(b"\x1b[?25h");
    }
    out
}

/// Paints a grid and its saved cursor on a terminal without margins; leaves the cursor anywhere.
fn paint(out: &mut Vec<u8>, grid: &Grid<Cell>) {
    let (rows, cols) = (grid.screen_lines(), grid.columns());
    // First, because a saved wrap that waits needs a character printed, which the clearing removes.
    place(out, &grid.saved_cursor, None, cols, 0);
    out.extend_from_slice(b"\x1b7\x1b(B\x1b)B\x1b*B\x1b+B");
    let mut painter = Painter::new(out);
    painter.put(b"\x1b[H\x1b[J");
    let last = rows - 1;
    let bottom = &grid[Line(last as i32)];
    let bottom_wraps = last > 0 && wraps(bottom);
    if bottom_wraps {
        // The last line wraps into nothing: painted one line higher, wrapped, then moved down.
        painter.go(last - 1, 0);
        painter.row(bottom, cols);
        wrap(&mut painter, bottom, last);
        painter.put(b"\x1b[T");
    }
    for line in 0..if bottom_wraps { last } else { rows } {
        let row = &grid[Line(line as i32)];
        let onto_bottom = bottom_wraps && line + 1 == last && wraps(row);
        if onto_bottom {
            // Half of a wide character must not be what the wrap prints over.
            painter.go(last, 0);
            painter.put(b"\x1b[2X");
        }
        painter.go(line, 0);
        painter.row(row, cols);
        if line < last && wraps(row) {
            wrap(&mut painter, row, line + 1);
            if onto_bottom {
                painter.cells(&bottom[..], 2);
            }
        }
    }
    painter.pen(&Cell::default());
}

/// Wraps the line above `next`, whose last column was just painted, and blanks what the wrap printed.
fn wrap(painter: &mut Painter<'_>, row: &Row<Cell>, next: usize) {
    let last = row.len() - 1;
    let edge = &row[Column(last)];
    if edge.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER) {
        // A wide character did not fit: so it was that made the line wrap.
        painter.go(next - 1, last);
        painter.pen(edge);
        painter.put("\u{4e00}");
    } else {
        painter.pen(&Cell::default());
        painter.put(b" ");
    }
    painter.go(next, 0);
    painter.pen(&Cell::default());
    painter.put(b"\x1b[2X");
}

/// Gives the terminal a cursor with its pen and character sets. `under` is the row it is in; without it a blank is
/// printed for a wrap that waits. `top` is where lines are counted from.
fn place(out: &mut Vec<u8>, cursor: &Cursor<Cell>, under: Option<&Row<Cell>>, cols: usize, top: usize) {
    let mut painter = Painter::new(out);
    let (line, column) = (
        (cursor.point.line.0 as usize).saturating_sub(top),
        cursor.point.column.0,
    );
    if cursor.input_needs_wrap && column + 1 == cols {
        match under {
            Some(row) => {
                let wide = row[Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER);
                let start = column - usize::from(wide);
                painter.go(line, start);
                painter.cell(&row[Column(start)]);
            }
            None => {
                painter.go(line, column);
                painter.put(b" ");
            }
        }
    } else {
        painter.go(line, column);
    }
    painter.pen(&cursor.template);
    for (index, slot) in [
        (CharsetIndex::G0, '('),
        (CharsetIndex::G1, ')'),
        (CharsetIndex::G2, '*'),
        (CharsetIndex::G3, '+'),
    ] {
        if cursor.charsets[index] == StandardCharset::SpecialCharacterAndLineDrawing {
            painter.put(format!("\x1b{slot}0"));
        }
    }
}

fn place_in(out: &mut Vec<u8>, grid: &Grid<Cell>, top: usize) {
    place(
        out,
        &grid.cursor,
        Some(&grid[grid.cursor.point.line]),
        grid.columns(),
        top,
    );
}

fn keyboard(out: &mut Vec<u8>, current: u8, below: &[u8]) {
    // The first flags are those under the stack.
    let mut flags = below.iter().copied().chain([current]);
    if let Some(first) = flags.next() {
        out.extend_from_slice(format!("\x1b[={first};1u").as_bytes());
    }
    for pushed in flags {
        out.extend_from_slice(format!("\x1b[>{pushed}u").as_bytes());
    }
}

fn titles(out: &mut Vec<u8>, screen: &Screen) {
    let mut put = |title: &Option<String>, after: &str| {
        let title = title.as_deref().unwrap_or_default();
        out.extend_from_slice(format!("\x1b]2;{title}\x1b\\{after}").as_bytes());
    };
    for title in &screen.titles {
        put(title, "\x1b[22;0t");
    }
    if screen.title.is_some() || !screen.titles.is_empty() {
        put(&screen.title, "");
    }
}

fn tabs(out: &mut Vec<u8>, screen: &Screen) {
    if screen.tabs == standard_tabs(screen.tabs.len()) {
        return;
    }
    out.extend_from_slice(b"\x1b[3g");
    for (column, _) in screen.tabs.iter().enumerate().filter(|(_, stop)| **stop) {
        out.extend_from_slice(format!("\x1b[1;{}H\x1bH", column + 1).as_bytes());
    }
}
