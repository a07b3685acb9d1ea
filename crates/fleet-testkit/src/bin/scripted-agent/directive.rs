//! What a prompt can ask for, one line each. A line that fits none of these is plain text.

use std::path::PathBuf;
use std::time::Duration;

use crate::detached::Detach;

/// One thing to do in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    /// `write PATH TEXT`: makes the file (and its directories) with this one line; `\n` in TEXT is a new line.
    Write(PathBuf, String),
    /// `append PATH TEXT`
    Append(PathBuf, String),
    /// `commit MSG`: everything, as a fixed author.
    Commit(String),
    /// `stage PATH`
    Stage(PathBuf),
    /// `run ARGV...`, split at spaces.
    Run(Vec<String>),
    /// `sleep MS`
    Sleep(Duration),
    /// `spawn setsid|nohup|double MS`: a detached helper that sleeps; its pid is printed.
    Spawn(Detach, Duration),
    /// `exit N`
    Exit(u8),
    /// `crash`: SIGKILL to itself.
    Crash,
    /// `print TEXT`
    Print(String),
    /// `title TEXT`: the window's title.
    Title(String),
    /// `alt on|off`: the alternate screen.
    Alt(bool),
    /// `spam N`: N lines.
    Spam(u64),
    /// `fix`: writes the file of `--fix`. The rest of the line is ignored, so that it reads like a wish.
    Fix,
}

impl Directive {
    /// The directive in `line`, if it is one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let file = || {
            rest.split_once(' ')
                .map(|(path, text)| (PathBuf::from(path), unescape(text) + "\n"))
        };
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match word {
            "write" => file().map(|(path, text)| Self::Write(path, text)),
            "append" => file().map(|(path, text)| Self::Append(path, text)),
            "commit" => some(rest).map(Self::Commit),
            "stage" => some(rest).map(|path| Self::Stage(path.into())),
            "run" => some(rest).map(|argv| Self::Run(argv.split_whitespace().map(str::to_owned).collect())),
            "sleep" => rest.parse().ok().map(|ms| Self::Sleep(Duration::from_millis(ms))),
            "spawn" => {
                let (kind, ms) = rest.split_once(' ')?;
                Some(Self::Spawn(
                    Detach::parse(kind)?,
                    Duration::from_millis(ms.parse().ok()?),
                ))
            }
            "exit" => rest.parse().ok().map(Self::Exit),
            "crash" => rest.is_empty().then_some(Self::Crash),
            "print" => Some(Self::Print(rest.to_owned())),
            "title" => Some(Self::Title(rest.to_owned())),
            "alt" if rest == "on" => Some(Self::Alt(true)),
            "alt" if rest == "off" => Some(Self::Alt(false)),
            "spam" => rest.parse().ok().map(Self::Spam),
            "fix" => Some(Self::Fix),
            _ => None,
        }
    }
}

/// `text` with `\n`, `\t` and `\\` as what they stand for.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_directive_only_when_it_fits_one() {
        let ms = Duration::from_millis;
        let cases = [
            (
                "write a/b.txt one two",
                Some(Directive::Write("a/b.txt".into(), "one two\n".into())),
            ),
            (r"append f a\nb", Some(Directive::Append("f".into(), "a\nb\n".into()))),
            ("commit all of it", Some(Directive::Commit("all of it".into()))),
            (
                "run git  status",
                Some(Directive::Run(vec!["git".into(), "status".into()])),
            ),
            ("  sleep 20", Some(Directive::Sleep(ms(20)))),
            ("spawn double 100", Some(Directive::Spawn(Detach::Double, ms(100)))),
            ("exit 3", Some(Directive::Exit(3))),
            ("alt on", Some(Directive::Alt(true))),
            ("fix the failing test", Some(Directive::Fix)),
            ("print", Some(Directive::Print(String::new()))),
            ("sleep well", None),
            ("exit the editor", None),
            ("crash course", None),
            ("alt text", None),
            ("write", None),
            ("hello", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Directive::parse(line), expected, "{line}");
        }
    }
}
