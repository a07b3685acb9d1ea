//! The command line.
//!
//! ```text
//! scripted-agent [FLAGS] [--prompt-arg [WORD...]]
//!   --stdin                 headless: all of standard input is the one prompt
//!   --cooked                line mode: `> `, then a line as the terminal gives it
//!   --full-screen           alternate screen with a header, a transcript and an input row; mouse on
//!   --prompt-arg [WORD...]  everything after it is the first prompt
//!   --receive-log FILE      where each prompt is logged (or SCRIPTED_RECEIVE_LOG)
//!   --script FILE           directives to carry out before the first prompt
//!   --turn-ms A[..B]        how long a turn thinks, in milliseconds
//!   --boot-ms A[..B]        how long it takes until the first prompt
//!   --seed N                for the two ranges
//!   --busy keep|drop        what happens to keys during a turn
//!   --die-after N           exits with 1 after N turns
//!   --no-echo               never shows the draft
//!   --no-bracketed          does not ask for bracketed paste
//!   --fix FILE=TEXT         what the directive `fix` writes (`\n` is a new line)
//!   --env-report FILE       writes the environment's names, and the values of FLEET_*, as JSON
//!   --ignore-term           ignores SIGTERM, SIGINT, SIGHUP and the loss of its terminal
//!   --helper MS KIND        is the helper that the directive `spawn` starts
//!   --version
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::detached::{Detach, Helper};
use crate::directive::unescape;

/// Everything that the command line can say.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) version: bool,
    pub(crate) helper: Option<Helper>,
    pub(crate) prompt: Option<String>,
    pub(crate) receive_log: Option<PathBuf>,
    pub(crate) script: Option<PathBuf>,
    pub(crate) turn: Span,
    pub(crate) boot: Span,
    pub(crate) seed: Option<u64>,
    pub(crate) busy: Busy,
    pub(crate) die_after: Option<u64>,
    pub(crate) no_echo: bool,
    pub(crate) no_bracketed: bool,
    pub(crate) fix: Option<(PathBuf, String)>,
    pub(crate) env_report: Option<PathBuf>,
    pub(crate) ignore_term: bool,
}

/// How prompts come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Keys; the prompt follows the output. Headless when standard input is no terminal.
    #[default]
    Inline,
    /// Keys; a layout on the alternate screen.
    FullScreen,
    Cooked,
    Stdin,
}

/// What happens to keys during a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Busy {
    /// They go into the next draft.
    #[default]
    Keep,
    /// They are lost.
    Drop,
}

/// A range of milliseconds, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    from: u64,
    to: u64,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
        let mut options = Self {
            receive_log: std::env::var_os("SCRIPTED_RECEIVE_LOG").map(PathBuf::from),
            ..Self::default()
        };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{flag}` needs a value"));
            match flag.as_str() {
                "--stdin" => options.mode = Mode::Stdin,
                "--cooked" => options.mode = Mode::Cooked,
                "--full-screen" => options.mode = Mode::FullScreen,
                "--no-echo" => options.no_echo = true,
                "--no-bracketed" => options.no_bracketed = true,
                "--ignore-term" => options.ignore_term = true,
                "--version" => options.version = true,
                "--receive-log" => options.receive_log = Some(value()?.into()),
                "--script" => options.script = Some(value()?.into()),
                "--env-report" => options.env_report = Some(value()?.into()),
                "--turn-ms" => options.turn = Span::parse(&value()?)?,
                "--boot-ms" => options.boot = Span::parse(&value()?)?,
                "--seed" => options.seed = Some(number(&value()?)?),
                "--die-after" => options.die_after = Some(number(&value()?)?),
                "--busy" => options.busy = Busy::parse(&value()?)?,
                "--fix" => options.fix = Some(fix(&value()?)?),
                "--helper" => {
                    let lives = Duration::from_millis(number(&value()?)?);
                    let kind = value()?;
                    let detach = Detach::parse(&kind).ok_or_else(|| format!("no way to detach: `{kind}`"))?;
                    options.helper = Some(Helper { lives, detach });
                }
                "--prompt-arg" => {
                    let words: Vec<String> = args.by_ref().collect();
                    options.prompt = (!words.is_empty()).then(|| words.join(" "));
                }
                _ => return Err(format!("unknown flag `{flag}`")),
            }
        }
        Ok(options)
    }
}

impl Busy {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            _ => Err(format!("`--busy` is keep or drop, not `{text}`")),
        }
    }
}

impl Span {
    fn parse(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let span = Self {
            from: number(from)?,
            to: number(to)?,
        };
        if span.from > span.to {
            return Err(format!("`{text}` ends before it begins"));
        }
        Ok(span)
    }

    /// A duration in the range, chosen by `random`.
    pub(crate) fn pick(self, random: u64) -> Duration {
        let width = (self.to - self.from).saturating_add(1);
        Duration::from_millis(self.from + random % width)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn fix(text: &str) -> Result<(PathBuf, String), String> {
    let (path, content) = text
        .split_once('=')
        .ok_or_else(|| format!("`--fix` is FILE=TEXT, not `{text}`"))?;
    Ok((path.into(), unescape(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn everything_after_prompt_arg_is_the_prompt_even_what_looks_like_a_flag() {
        let options = parse(&["--cooked", "--prompt-arg", "hello", "--stdin"]).unwrap();
        assert_eq!(options.mode, Mode::Cooked);
        assert_eq!(options.prompt.as_deref(), Some("hello --stdin"));
        assert_eq!(parse(&["--prompt-arg"]).unwrap().prompt, None);
    }

    #[test]
    fn a_span_is_one_number_or_two() {
        assert_eq!(Span::parse("7").unwrap().pick(123), Duration::from_millis(7));
        let picks: Vec<_> = (0..4)
            .map(|random| Span::parse("1..3").unwrap().pick(random).as_millis())
            .collect();
        assert_eq!(picks, [1, 2, 3, 1]);
        assert!(Span::parse("3..1").is_err());
    }

    #[test]
    fn bad_flags_are_named() {
        assert_eq!(parse(&["--frob"]).unwrap_err(), "unknown flag `--frob`");
        assert_eq!(parse(&["--seed"]).unwrap_err(), "`--seed` needs a value");
        assert_eq!(
            parse(&["--busy", "x"]).unwrap_err(),
            "`--busy` is keep or drop, not `x`"
        );
    }
}
