//! The usual layout: output scrolls by, the draft follows it.

use std::io;

use crate::view::{Size, View, draft_rows, emit};

/// A draft no longer than this fits any terminal, and asking for the size costs a process.
const FITS_ANYWHERE: usize = 24;

/// Output in the normal screen, below it the draft or `working…`.
pub(crate) struct Inline {
    bracketed: bool,
    size: Option<Size>,
    /// How many rows below its first row the cursor is in the area that is redrawn.
    below: usize,
}

impl Inline {
    pub(crate) fn new(bracketed: bool) -> Self {
        Self {
            bracketed,
            size: None,
            below: 0,
        }
    }

    /// The sequence that erases the area and leaves the cursor at its beginning.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.below) {
            0 => "\r\x1b[J".into(),
            below => format!("\r\x1b[{below}A\x1b[J"),
        }
    }
}

impl View for Inline {
    fn start(&mut self) -> io::Result<()> {
        if self.bracketed { emit("\x1b[?2004h") } else { Ok(()) }
    }

    fn prompt(&mut self, draft: &str) -> io::Result<()> {
        let size = if draft.len() > FITS_ANYWHERE {
            *self.size.get_or_insert_with(Size::ask)
        } else {
            Size {
                rows: FITS_ANYWHERE + 2,
                columns: FITS_ANYWHERE + 4,
            }
        };
        let rows = draft_rows(draft, size.columns, size.rows.saturating_sub(1));
        let erase = self.erase();
        self.below = rows.len() - 1;
        emit(&format!("{erase}{}", rows.join("\r\n")))
    }

    fn busy(&mut self) -> io::Result<()> {
        let erase = self.erase();
        emit(&format!("{erase}working…"))
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        let erase = self.erase();
        emit(&format!("{erase}{}\r\nworking…", text.replace('\n', "\r\n")))
    }

    fn make_room(&mut self) -> io::Result<bool> {
        let erase = self.erase();
        emit(&erase)?;
        Ok(true)
    }

    fn resized(&mut self) -> io::Result<()> {
        self.size = None;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let erase = self.erase();
        emit(&format!("{erase}{}", if self.bracketed { "\x1b[?2004l" } else { "" }))
    }
}
