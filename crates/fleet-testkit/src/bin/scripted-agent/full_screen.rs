//! The layout of a full-screen program: header, transcript, input row, drawn anew for every size.

use std::io;

use crate::keys::Key;
use crate::view::{Size, View, draft_rows, emit};

/// How much of the transcript is kept.
const KEPT: usize = 500;

/// The alternate screen with mouse and focus reports on.
pub(crate) struct FullScreen {
    bracketed: bool,
    size: Size,
    transcript: Vec<String>,
    /// What the input rows show: the draft, or none during a turn.
    draft: Option<String>,
    last_key: String,
    last_mouse: String,
}

impl FullScreen {
    pub(crate) fn new(bracketed: bool) -> Self {
        Self {
            bracketed,
            size: Size { rows: 24, columns: 80 },
            transcript: Vec::new(),
            draft: Some(String::new()),
            last_key: "none".into(),
            last_mouse: "none".into(),
        }
    }

    fn draw(&self) -> io::Result<()> {
        let Size { rows, columns } = self.size;
        let fit = |text: &str| text.chars().take(columns).collect::<String>();
        let input = match &self.draft {
            Some(draft) => draft_rows(draft, columns, (rows / 2).max(1)),
            None => vec!["working…".into()],
        };
        let header = format!(
            "scripted-agent {columns}x{rows} | key {} | mouse {}",
            self.last_key, self.last_mouse
        );
        let rule = "─".repeat(columns);
        // Header, rule, transcript, rule, input; the transcript gives way first.
        let room = rows.saturating_sub(input.len() + 3);
        let shown = self.transcript.len().min(room);
        let mut lines = vec![fit(&header), rule.clone()];
        lines.extend(
            self.transcript[self.transcript.len() - shown..]
                .iter()
                .map(|line| fit(line)),
        );
        lines.resize(room + 2, String::new());
        lines.push(rule);
        lines.extend(input);
        let surplus = lines.len().saturating_sub(rows);
        lines.drain(..surplus);
        // Without a new line at the end the cursor is left where the draft ends.
        let rows: Vec<String> = lines.iter().map(|line| format!("\x1b[K{line}")).collect();
        emit(&format!("\x1b[?25l\x1b[H{}\x1b[?25h", rows.join("\r\n")))
    }
}

impl View for FullScreen {
    fn start(&mut self) -> io::Result<()> {
        self.size = Size::ask();
        emit("\x1b[?1049h\x1b[2J\x1b[?1000h\x1b[?1006h\x1b[?1004h")?;
        if self.bracketed { emit("\x1b[?2004h") } else { Ok(()) }
    }

    fn prompt(&mut self, draft: &str) -> io::Result<()> {
        self.draft = Some(draft.to_owned());
        self.draw()
    }

    fn busy(&mut self) -> io::Result<()> {
        self.draft = None;
        self.draw()
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.transcript.extend(text.lines().map(str::to_owned));
        let surplus = self.transcript.len().saturating_sub(KEPT);
        self.transcript.drain(..surplus);
        self.draw()
    }

    fn make_room(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn key(&mut self, key: &Key) {
        match key {
            Key::Mouse(event) => self.last_mouse.clone_from(event),
            key => self.last_key = key.name(),
        }
    }

    fn resized(&mut self) -> io::Result<()> {
        self.size = Size::ask();
        emit("\x1b[2J")?;
        self.draw()
    }

    fn finish(&mut self) -> io::Result<()> {
        emit("\x1b[?2004l\x1b[?1004l\x1b[?1006l\x1b[?1000l\x1b[?1049l")
    }
}
