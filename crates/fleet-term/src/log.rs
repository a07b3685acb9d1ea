//! Recorded output as plain text.

use std::fmt;

use crate::cells::{all_text, visible_text};
use crate::scan::{Scanner, Token};
use crate::screen::{Effects, Screen, Size};

/// A reader of recorded output that shows what a person would have seen last.
///
/// That is the history and screen of the main screen, or, for a full-screen program, its last screen that was not
/// blank: a program that clears its screen on its way out must not leave an empty log.
pub struct LogText {
    scanner: Scanner,
    screen: Screen,
    /// The last alternate screen that was not blank, as it was before it was cleared or left.
    remembered: Option<Vec<String>>,
    /// Something was printed on the main screen after the alternate one was left.
    printed: bool,
}

impl LogText {
    /// A reader for a terminal of this size that keeps up to `history` lines above the screen.
    pub fn new(rows: u16, cols: u16, history: usize) -> Self {
        LogText {
            scanner: Scanner::default(),
            screen: Screen::new(Size::new(rows, cols), history),
            remembered: None,
            printed: false,
        }
    }

    /// Takes in the next part of the output.
    pub fn feed(&mut self, output: &[u8]) {
        let LogText {
            scanner,
            screen,
            remembered,
            printed,
        } = self;
        scanner.feed(output, &mut |piece| {
            if screen.modes.alt_screen {
                if clears(&piece.token) {
                    remember(screen, remembered);
                    *printed = false;
                }
            } else if let Token::Text(text) = piece.token {
                *printed |= !text.trim().is_empty();
            }
            screen.apply(&piece.token, &mut Effects::default());
        });
    }

    /// Takes in a change of the terminal's size.
    pub fn resize(&mut self, rows: u16, cols: u16) {
        if self.screen.modes.alt_screen {
            remember(&self.screen, &mut self.remembered);
        }
        self.screen.resize(Size::new(rows, cols));
    }

    /// The last `count` lines, right-trimmed, without blank ones at the end.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = self.all();
        lines.drain(..lines.len().saturating_sub(count));
        lines
    }

    fn all(&self) -> Vec<String> {
        let alternate = self.screen.modes.alt_screen;
        let shown = trimmed(if alternate {
            visible_text(self.screen.grid())
        } else {
            all_text(self.screen.grid())
        });
        match &self.remembered {
            Some(remembered) if shown.is_empty() || (!alternate && !self.printed) => remembered.clone(),
            // A full-screen program that has shown nothing yet: what came before it.
            None if alternate && shown.is_empty() => trimmed(all_text(self.screen.main_grid())),
            _ => shown,
        }
    }
}

impl fmt::Debug for LogText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogText")
            .field("size", &self.screen.size())
            .finish_non_exhaustive()
    }
}

/// Whether a piece may blank the alternate screen or leave it.
fn clears(token: &Token<'_>) -> bool {
    match token {
        Token::Escape {
            intermediate: None,
            last: b'c',
        } => true,
        Token::Csi(csi) => match (csi.private, csi.last) {
            (0 | b'?', b'J') => true,
            (b'?', b'l') => csi.params.iter().any(|param| matches!(param.value, 47 | 1047 | 1049)),
            _ => false,
        },
        _ => false,
    }
}

fn remember(screen: &Screen, remembered: &mut Option<Vec<String>>) {
    let text = trimmed(visible_text(screen.grid()));
    if !text.is_empty() {
        *remembered = Some(text);
    }
}

fn trimmed(mut lines: Vec<String>) -> Vec<String> {
    let end = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    lines.truncate(end);
    lines
}
