//! One terminal: the scanner, the screen, and what each feed gives to the program and to the views.

use std::fmt;

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Line;

use crate::cells::{row_text, row_text_without_faint, visible_text, wraps};
use crate::modes::Modes;
use crate::query::{Verdict, answer};
use crate::scan::Scanner;
use crate::screen::{Effects, Screen, Size};
use crate::snapshot;

/// A terminal of record: it answers the program, whether or not anybody looks on.
///
/// Sizes are held to 1..=1000 rows and 2..=2000 columns.
pub struct Terminal {
    scanner: Scanner,
    screen: Screen,
}

/// What a feed gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Bytes to write back to the program: the answers to its questions.
    pub answers: Vec<u8>,
    /// Bytes that views may pass to their real terminals: the output without those questions, complete up to here.
    /// All else is as it came, except: requests to repeat a character (REP) are written out, a control inside a
    /// sequence comes before it, and a sequence that was cut short is left out (a string: ended).
    pub show: Vec<u8>,
    /// The bell rang.
    pub bell: bool,
    /// The title may be another one now.
    pub title_changed: bool,
}

impl Terminal {
    /// A blank terminal without history: memory for its two screens only, the second while it is shown.
    pub fn new(rows: u16, cols: u16) -> Self {
        Terminal::with_history(rows, cols, 0)
    }

    /// A blank terminal that keeps up to `lines` lines which scrolled off the top of its main screen.
    pub fn with_history(rows: u16, cols: u16, lines: usize) -> Self {
        Terminal {
            scanner: Scanner::default(),
            screen: Screen::new(Size::new(rows, cols), lines),
        }
    }

    /// Takes in output of the program. An incomplete sequence or character at the end waits for its rest: it is in
    /// neither the screen nor `show` until then.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed {
        let Terminal { scanner, screen } = self;
        let mut fed = Fed::default();
        let mut effects = Effects::default();
        scanner.feed(bytes, &mut |piece| {
            match answer(screen, &piece.token, &mut fed.answers) {
                Verdict::Show => fed.show.extend_from_slice(piece.raw),
                Verdict::Hide => {}
                Verdict::Instead(bytes) => fed.show.extend_from_slice(&bytes),
            }
            screen.apply(&piece.token, &mut effects);
        });
        fed.bell = effects.bell;
        fed.title_changed = effects.title;
        fed
    }

    /// Changes the size. The main screen's text flows anew; margins are reset.
    pub fn resize(&mut self, rows: u16, cols: u16) {
        self.screen.resize(Size::new(rows, cols));
    }

    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        let size = self.screen.size();
        (size.rows as u16, size.cols as u16)
    }

    /// Output that brings another terminal of the same size, whatever its state, to what this one shows and has set.
    /// What is fed after it continues with `show`.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = snapshot::snapshot(&self.screen);
        out.extend_from_slice(self.scanner.reentry());
        out
    }

    /// The modes the program has set.
    pub fn modes(&self) -> Modes {
        self.screen.modes
    }

    /// The visible rows, right-trimmed.
    pub fn text(&self) -> Vec<String> {
        visible_text(self.screen.grid())
    }

    /// The logical line the cursor is in, joined over soft wraps and right-trimmed.
    pub fn cursor_line(&self) -> String {
        let grid = self.screen.grid();
        let mut text = self.before_cursor_row();
        let mut line = grid.cursor.point.line;
        loop {
            text.push_str(&row_text(&grid[line], grid.columns()));
            if !wraps(&grid[line]) || line >= grid.bottommost_line() {
                break;
            }
            line += 1;
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The part of the cursor's logical line before the cursor, not trimmed.
    pub fn before_cursor(&self) -> String {
        let grid = self.screen.grid();
        let cursor = &grid.cursor;
        // A wrap that waits: the cursor stands behind the last column.
        let end = cursor.point.column.0 + usize::from(cursor.input_needs_wrap);
        self.before_cursor_row() + &row_text(&grid[cursor.point.line], end)
    }

    /// The cursor's row without what is drawn faint, right-trimmed: programs draw so what they suggest, as opposed to
    /// what was typed.
    pub fn typed_row(&self) -> String {
        let grid = self.screen.grid();
        let mut text = row_text_without_faint(&grid[grid.cursor.point.line]);
        text.truncate(text.trim_end().len());
        text
    }

    /// The cursor's row and column, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        let point = self.screen.grid().cursor.point;
        (point.line.0 as u16, point.column.0 as u16)
    }

    /// The title the program has set.
    pub fn title(&self) -> Option<&str> {
        self.screen.title.as_deref()
    }

    /// A full redraw for a terminal of another size: the left part, scrolled so that the cursor's row is visible, with
    /// the cursor's position and visibility. It changes no mode, and wants none of origin, insert and margins set.
    pub fn render(&self, rows: u16, cols: u16) -> Vec<u8> {
        snapshot::render(&self.screen, usize::from(rows.max(1)), usize::from(cols.max(1)))
    }

    /// The rows above the cursor's that belong to its logical line.
    fn before_cursor_row(&self) -> String {
        let grid = self.screen.grid();
        let cursor = grid.cursor.point.line;
        let mut first = cursor;
        while first > grid.topmost_line() && wraps(&grid[first - 1_i32]) {
            first -= 1;
        }
        (first.0..cursor.0)
            .map(|line| row_text(&grid[Line(line)], grid.columns()))
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("size", &self.size())
            .field("modes", &self.modes())
            .finish_non_exhaustive()
    }
}
