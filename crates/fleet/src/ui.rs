//! The only place that prints. Answers go to standard output, narration to standard error.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_app::page::{Block, Label, Page, Span};
use fleet_core::Error;
use unicode_width::UnicodeWidthStr;

static BROKEN: AtomicBool = AtomicBool::new(false);

/// Prints a page: what it answers to standard output, hints and warnings to standard error.
pub(crate) fn page(page: &Page) {
    let color = colored(&std::io::stdout());
    let mut answer = String::new();
    for block in &page.blocks {
        match block {
            Block::Line(spans) => {
                answer.extend(spans.iter().map(|span| paint(span, color)));
                answer.push('\n');
            }
            Block::Table(rows) => answer.push_str(&table(rows, color)),
            Block::Raw(text) if text.is_empty() => {}
            Block::Raw(text) => {
                answer.push_str(text);
                if !text.ends_with('\n') {
                    answer.push('\n');
                }
            }
            Block::Hint(_) | Block::Warning(_) => {}
        }
    }
    out(&answer);
    for block in &page.blocks {
        match block {
            Block::Hint(text) => narrate("hint", Label::Name, text),
            Block::Warning(text) => narrate("warning", Label::Warn, text),
            _ => {}
        }
    }
}

/// Prints to standard output. A closed pipe is the reader's good right.
pub(crate) fn out(text: &str) {
    raw(text.as_bytes());
}

/// Writes bytes to standard output as they are.
pub(crate) fn raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        BROKEN.store(true, Ordering::Relaxed);
    }
}

/// Whether the reader of standard output has gone.
pub(crate) fn is_closed() -> bool {
    BROKEN.load(Ordering::Relaxed)
}

/// Prints an error with its detail and hint.
pub(crate) fn error(error: &Error) {
    narrate("error", Label::Bad, &error.message);
    let mut stderr = std::io::stderr().lock();
    if let Some(detail) = &error.detail {
        for line in detail.lines() {
            let _ = writeln!(stderr, "  | {line}");
        }
    }
    drop(stderr);
    if let Some(hint) = &error.hint {
        narrate("hint", Label::Name, hint);
    }
}

/// Says what is going on, on a terminal only; warnings and forecasts of money everywhere.
pub(crate) fn progress(text: &str) {
    if std::io::stderr().is_terminal() || ["warning:", "forecast:"].iter().any(|always| text.starts_with(always)) {
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "{text}");
    }
}

/// A short remark on standard error.
pub(crate) fn remark(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Asks a person on the terminal: the question on standard error, the answer a line without its end. None: there is no
/// more input.
pub(crate) fn ask(question: &str) -> std::io::Result<Option<String>> {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        // The next line begins where the person left off.
        let _ = writeln!(stderr);
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Whether there is a person to ask.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn narrate(word: &str, label: Label, text: &str) {
    let color = colored(&std::io::stderr());
    let head = paint(
        &Span {
            label,
            text: word.to_owned(),
        },
        color,
    );
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{head}: {text}");
}

/// Colours: on a terminal, unless `NO_COLOR` is set (see no-color.org) or the terminal is `dumb`.
#[expect(clippy::disallowed_methods, reason = "the printer decides on colour alone")]
pub(crate) fn colored(stream: &impl IsTerminal) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_color && std::env::var("TERM").as_deref() != Ok("dumb")
}

fn paint(span: &Span, color: bool) -> String {
    use owo_colors::OwoColorize;
    let text = span.text.as_str();
    if !color {
        return text.to_owned();
    }
    match span.label {
        Label::Plain => text.to_owned(),
        Label::Heading => text.bold().to_string(),
        Label::Name => text.cyan().to_string(),
        Label::Good => text.green().to_string(),
        Label::Warn => text.yellow().to_string(),
        Label::Bad => text.red().to_string(),
        Label::Dim => text.dimmed().to_string(),
    }
}

fn table(rows: &[Vec<Span>], color: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|span| span.text.width())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, span) in row.iter().enumerate() {
            text.push_str(&paint(span, color));
            if column + 1 < row.len() {
                let gap = widths[column] - span.text.width() + 2;
                text.extend(std::iter::repeat_n(' ', gap));
            }
        }
        while text.ends_with(' ') {
            text.pop();
        }
        text.push('\n');
    }
    text
}
