//! How a program is led to tell of itself: arguments, variables and files of fleet's own that are added to a launch.
//!
//! The user's own hooks, status line and notifier go before ours: where there can be only one, theirs stays, and
//! [`Reporting::notes`] says what fleet does not hear therefore.

use std::path::{Path, PathBuf};

use super::own_arguments;

/// The first argument by which the executable knows that it is to hand on a report: then follows the harness's name, and
/// the event as the last argument or on standard input.
pub const ARGUMENT: &str = "__report";

/// What a harness looks at to decide.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The executable of fleet, by a path that lasts.
    pub executable: &'a Path,
    /// Where the program will run.
    pub cwd: &'a Path,
    /// The user's home folder.
    pub home: &'a Path,
    /// A folder of the agent's own for [`Reporting::files`].
    pub folder: &'a Path,
    /// The arguments of the harness, the user's among them.
    pub command: &'a [String],
    /// A variable of the program's environment.
    pub var: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file; none when there is no such file.
    pub read: &'a dyn Fn(&Path) -> Option<String>,
    /// Whether there is such a file or folder.
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// Whether nobody but root can write this file, be it there or not, or put another in its place.
    pub only_root_writes: &'a dyn Fn(&Path) -> bool,
}

/// What is added to a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporting {
    /// Arguments behind the program.
    pub args: Vec<String>,
    /// An option of which only the last one counts: `args` has it, with all that it says elsewhere in it.
    pub replaces: Option<&'static str>,
    /// Variables of the program, beside those that it has.
    pub env: Vec<(String, String)>,
    /// Files to be there before the program starts: path and text. All are below [`Surroundings::folder`].
    pub files: Vec<(PathBuf, String)>,
    /// What is not heard, and why, for people: a sentence each.
    pub notes: Vec<String>,
}

impl Reporting {
    /// `argv`, a command line of the program, with its arguments.
    pub fn argv(&self, argv: &[String]) -> Vec<String> {
        let (own, prompt) = own_arguments(argv);
        let mut out: Vec<String> = own.iter().take(1).chain(&self.args).cloned().collect();
        let mut own = own.iter().skip(1);
        while let Some(arg) = own.next() {
            match self.replaces {
                Some(option) if arg == option => drop(own.next()),
                Some(option) if arg.strip_prefix(option).is_some_and(|rest| rest.starts_with('=')) => {}
                _ => out.push(arg.clone()),
            }
        }
        out.extend(prompt.iter().cloned());
        out
    }
}

impl Surroundings<'_> {
    /// The command that hands on a report of `name`, for programs that run an argv.
    pub fn argv(&self, name: &str) -> [String; 3] {
        [
            self.executable.display().to_string(),
            ARGUMENT.to_owned(),
            name.to_owned(),
        ]
    }

    /// The same as a line for a shell. Its words are from fleet itself, and quoted.
    pub fn shell_line(&self, name: &str) -> String {
        let words = self.argv(name);
        words.map(|word| quoted(&word)).join(" ")
    }
}

/// `word` as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::words;

    #[test]
    fn an_option_that_counts_once_is_there_once_and_a_prompt_is_left_alone() {
        let reporting = Reporting {
            args: words(&["--settings", "ours"]),
            replaces: Some("--settings"),
            ..Reporting::default()
        };
        let given = [
            "claude",
            "--settings",
            "a",
            "-c",
            "--settings=b",
            "--settingsfile",
            "--",
            "--settings=c",
        ];
        assert_eq!(
            reporting.argv(&words(&given)),
            words(&[
                "claude",
                "--settings",
                "ours",
                "-c",
                "--settingsfile",
                "--",
                "--settings=c"
            ])
        );
        assert_eq!(Reporting::default().argv(&words(&given)), words(&given));
    }
}
