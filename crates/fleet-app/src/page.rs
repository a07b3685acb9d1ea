//! Output for people, as labelled text. A surface decides what a label looks like; the words read the same
//! without any colour.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Label {
    /// Ordinary text.
    #[default]
    Plain,
    /// A title or table head.
    Heading,
    /// A name that can be typed.
    Name,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Bad,
    /// Of minor interest.
    Dim,
}

/// A piece of text with its label.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// What it is.
    pub label: Label,
    /// The text, without line breaks or escape sequences.
    pub text: String,
}

/// A span.
pub fn span(label: Label, text: impl Into<String>) -> Span {
    let text: String = text.into();
    Span {
        label,
        text: text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

/// A span of ordinary text.
pub fn plain(text: impl Into<String>) -> Span {
    span(Label::Plain, text)
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// One line.
    Line(Vec<Span>),
    /// Columns; the first row is the head.
    Table(Vec<Vec<Span>>),
    /// Text of another program, shown as it is.
    Raw(String),
    /// What to do next: narration, not answer.
    Hint(String),
    /// Something the user should know: narration, not answer.
    Warning(String),
}

/// What one operation has to say to a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its parts, in order.
    pub blocks: Vec<Block>,
}

impl Page {
    /// Adds a line of ordinary text.
    pub fn line(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Line(vec![plain(text)]));
    }

    /// Adds a line of labelled pieces.
    pub fn spans(&mut self, spans: Vec<Span>) {
        self.blocks.push(Block::Line(spans));
    }

    /// Adds a table; `head` names its columns.
    pub fn table(&mut self, head: &[&str], rows: Vec<Vec<Span>>) {
        let head = head.iter().map(|name| span(Label::Heading, *name)).collect();
        self.blocks
            .push(Block::Table(std::iter::once(head).chain(rows).collect()));
    }

    /// Adds text of another program.
    pub fn raw(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Raw(text.into()));
    }

    /// Adds what to do next.
    pub fn hint(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Hint(text.into()));
    }

    /// Adds a warning.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Warning(text.into()));
    }
}

/// Outputs know how to show themselves.
pub trait Show {
    /// Writes itself onto `page`.
    fn show(&self, page: &mut Page);

    /// The kind of error that this output amounts to, when a part of what was asked for failed.
    fn failed(&self) -> Option<fleet_core::Kind> {
        None
    }
}

/// `1.5 GB`, `12 MB`, `3 kB`: sizes for people, in steps of 1000.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", count / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{}.{} GB", count / 1_000_000_000, count / 100_000_000 % 10),
    }
}
