//! The rules of a plan, each with its code, and what was found against them.
//!
//! The table is the only place that knows a code: the checks name the variant, the reference page prints the rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nearest::nearest;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing of the plan would be started.
    Error,
    /// It can run, but perhaps not as meant.
    Warning,
}

impl Level {
    /// As it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
        }
    }
}

/// One row of the table: what `check` and the reference page say of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Stable: programs branch on it. Never given to another rule.
    pub code: &'static str,
    /// How much a finding of it matters.
    pub level: Level,
    /// What is wrong.
    pub wrong: &'static str,
    /// What would be right.
    pub right: &'static str,
}

macro_rules! rules {
    (#[doc = $what:literal] enum $Rule:ident; $(#[doc = $wrong:literal] $name:ident = $code:literal, $level:ident, $right:literal;)*) => {
        #[doc = $what]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Rule {
            $(#[doc = $wrong] $name,)*
        }

        impl $Rule {
            /// Every rule, by code.
            pub const ALL: &[$Rule] = &[$($Rule::$name),*];

            /// Its row of the table.
            pub const fn row(self) -> $crate::plan::rule::Row {
                match self {
                    $($Rule::$name => $crate::plan::rule::Row {
                        code: $code,
                        level: $crate::plan::rule::Level::$level,
                        wrong: $wrong.trim_ascii(),
                        right: $right,
                    },)*
                }
            }
        }
    };
}

pub(crate) use rules;

rules! {
    /// A rule that a plan can break.
    enum Rule;
    /// The text is no JSON
    Syntax = "P001", Error, "one JSON object, its keys and texts between double quotes, a comma between two of them";
    /// The text begins with a byte order mark
    ByteOrderMark = "P002", Warning, "plain UTF-8 without a mark, which other readers of JSON refuse";
    /// There is a comment
    Comment = "P003", Error, "JSON has no comments: take it out, or put the text into `task`";
    /// A key stands twice in one object
    DuplicateKey = "P004", Error, "each key once";
    /// A number is none, such as `NaN`, `Infinity`, `+1` or `01`, or is too large
    NotANumber = "P005", Error, "a decimal number such as `1` or `0.5`";
    /// Objects and lists are nested too deep
    TooDeep = "P006", Error, "at most 32 levels; a plan needs 4";
    /// A key is not known
    UnknownKey = "P010", Error, "one of the known keys; the nearest one is named";
    /// A value is of the wrong type
    WrongType = "P011", Error, "the type that is named; an optional key without a value is left out";
    /// A key is missing
    Missing = "P012", Error, "the key that is named, with a value";
    /// A number is out of its range
    OutOfRange = "P013", Error, "a number in the range that is named; a budget is more than 0";
    /// A word is none of those that may stand there
    UnknownWord = "P014", Error, "one of the words that are named";
    /// A key belongs to another type of plan
    OtherType = "P015", Error, "leave it out, or choose the type it belongs to";
    /// A key has no effect here
    NoEffect = "P016", Warning, "leave it out; the hint names what has the effect";
    /// The id of a worker cannot be used: it names a folder
    BadId = "P020", Error, "1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and no `..`";
    /// Two workers have the same id
    DuplicateId = "P021", Error, "an id of its own for each";
    /// The name of the fleet cannot be used
    BadName = "P022", Error, "1 to 100 letters, digits, `.`, `_`, `-` and `/`, without an empty part or `..`";
    /// The branch is no valid branch name
    BadBranch = "P023", Error, "a name that git takes; a valid one is suggested";
    /// Two workers have the same branch, or one that git cannot have beside the other
    BranchTaken = "P024", Error, "a branch of its own for each; `a` and `a/b` cannot both exist";
    /// There are no workers
    NoWorkers = "P030", Error, "at least one worker; an iterative plan has a builder and a reviewer";
    /// A worker depends on one that is not there
    UnknownDependency = "P031", Error, "the id of a worker of this plan; the nearest one is named";
    /// A worker depends on itself
    SelfDependency = "P032", Error, "leave its own id out of `depends_on`";
    /// Workers wait for each other in a circle
    Cycle = "P033", Error, "take one dependency of the circle out; `a -> b` reads `a waits for b`";
    /// A dependency is named twice
    RepeatedDependency = "P034", Warning, "each id once";
    /// A worker has no prompt
    PromptMissing = "P040", Error, "a file workers/ID/prompt.md below the fleet root";
    /// A prompt cannot be read
    PromptUnreadable = "P041", Error, "a readable text file in UTF-8, at most 1 MiB";
    /// A prompt is empty
    PromptEmpty = "P042", Error, "what to do, and which files to touch and which not";
    /// A read-only worker is told to save a file
    CannotSave = "P043", Error, "type `write`, `research`, `code-run` or `reviewer`; read-only answers in messages only";
    /// A prompt names two destinations
    TwoDestinations = "P044", Error, "one: the worker's output folder, or exact paths in the repository";
    /// A worktree worker is told to save into an output folder
    OutputInWorktree = "P045", Error, "real paths of the repository: it works in a worktree of its own";
    /// A worktree worker is not told to commit
    NoCommit = "P046", Warning, "a last line such as `When you are done, commit your changes on the current branch with a descriptive message.`";
    /// The reviewer is not told how to write its verdict
    NoVerdictRecipe = "P047", Error, "name `iterations/<N>/review.md`, relative, and the lines `verdict: lgtm`, `verdict: iterate` and `verdict: escalate`";
    /// A prompt asks for what the worker's type does not have
    BeyondType = "P048", Warning, "a type with it: `research` has the web, `code-run` and `reviewer` have a shell";
    /// A prompt names a fleet root that is not this one
    OtherRoot = "P049", Warning, "`$FLEET_ROOT`, which stays right when the folder is moved";
    /// The target files of two workers overlap
    Overlap = "P050", Error, "files of its own for each worker, or type `dag` with `depends_on`";
    /// A pattern of target files cannot be read
    BadPattern = "P051", Error, "a path or glob of at most 500 bytes: `*`, `?`, `[ab]`, `{a,b}`, and `**` as a whole part";
    /// A pattern of target files leaves the repository
    OutsidePattern = "P052", Error, "a path relative to the repository's top, without `..` that leads out of it";
    /// There are too many patterns to compare each with each
    TooManyPatterns = "P053", Error, "patterns that begin with a folder, so that those of other folders need no comparison";
    /// A worktree worker cannot commit, because its type has no shell
    CannotCommit = "P054", Error, "type `code-run`, which is the default, or `reviewer`";
    /// An iterative plan does not have exactly one reviewer
    ReviewerCount = "P060", Error, "one worker of type `reviewer`";
    /// The reviewer does not wait for a builder
    ReviewerEarly = "P061", Warning, "name every builder in its `depends_on`; it runs after all of them in any case";
    /// A builder waits for the reviewer
    WaitsForReviewer = "P062", Error, "leave the reviewer out: its verdict ends the round, and the next one begins with it";
    /// `role` and `type` of a worker disagree
    RoleDisagrees = "P063", Error, "type `reviewer` alone makes a reviewer; leave `role` out";
    /// As many verdicts cannot be reached in the rounds there are
    UnreachableStop = "P065", Error, "`reviewer_lgtm_count` of at most `max_iterations`";
    /// The metric cannot be read
    BadMetric = "P066", Error, "a regular expression with a group around the number, such as `score: ([0-9.]+)`";
    /// A worker has `max_turns`
    MaxTurns = "P070", Error, "leave it out: the budget is the only limit of a worker";
    /// A worker of an iterative plan has `max_budget_usd`
    BudgetPerIteration = "P071", Error, "`max_budget_per_iter`, which holds for each round";
    /// The plan's budget is less than its workers may spend together
    Shortfall = "P072", Warning, "a larger plan budget or smaller ones of the workers; as it is, the last ones may not be started";
    /// The plan's budget is less than one step needs
    Unaffordable = "P073", Error, "a plan budget of at least the largest worker, or of one round";
    /// A budget is unusually high
    HighBudget = "P074", Warning, "0.25 to 0.50 USD for a simple edit, 1 to 2 for a moderate task, 3 to 5 for a feature, 5 to 10 for a module";
    /// A provider has no budget limit of its own
    SoftBudget = "P075", Warning, "count with spending past the budget by a turn, or give the worker to `claude`";
    /// The provider is not known
    UnknownProvider = "P080", Error, "`claude`, `codex`, `pi`, `opencode`, `gemini`, or a `[harness.NAME]` of the settings";
    /// The model is not known
    UnknownModel = "P081", Error, "a known model of the provider, or `--allow-unknown-model`";
    /// The model belongs to another provider
    ModelOfOther = "P082", Error, "a model of this provider, or the other provider";
    /// The provider has no fallback model
    NoFallback = "P083", Warning, "leave `fallback_model` out: only `claude` has one";
    /// The provider takes no reasoning effort
    NoEffort = "P084", Warning, "leave `reasoning_effort` out: only `codex` and `pi` take it";
    /// A model that is not known was allowed
    AllowedModel = "P085", Warning, "look that the name is right: a wrong one fails when the worker starts";
    /// The program cannot keep a worker to its type
    NotEnforced = "P090", Warning, "`claude`, which can, or `\"sandbox\": \"bwrap\"` for changed files";
    /// The program does not have what the type is for
    NotProvided = "P091", Warning, "a provider that has it";
    /// The fleet root cannot be written to
    RootReadOnly = "P095", Error, "a folder that you may write in: the run keeps its files there";
    /// A file or folder that the plan names is not there
    PathMissing = "P096", Error, "a path that exists, absolute or relative to the fleet root";
}

/// One thing that is wrong with a plan, a contract or a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The rule's code, such as `P033`.
    pub code: &'static str,
    /// Whether it keeps the plan from being started, or the contract or report from being taken.
    pub level: Level,
    /// Where in the text, such as `workers[2].depends_on[0]`; empty for the whole.
    pub path: String,
    /// The line of it in the text, from 1.
    pub line: Option<u32>,
    /// The character in that line, from 1.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// What has been found so far.
#[derive(Debug)]
pub(super) struct Findings {
    list: Vec<Found>,
    guesses: usize,
}

impl Default for Findings {
    fn default() -> Self {
        /// Comparisons of two words. A plan with more mistyped ones than this is none that a person mistyped.
        const GUESSES: usize = 200_000;
        Self {
            list: Vec::new(),
            guesses: GUESSES,
        }
    }
}

/// A finding, and the byte where it is once that is known.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) at: Option<usize>,
    pub(super) finding: Finding,
}

impl Findings {
    /// Notes that `path` breaks `rule`. The hint is the rule's own unless [`Note::hint`] gives a better one.
    pub(super) fn add(&mut self, rule: Rule, path: impl Into<String>, message: impl Into<String>) -> Note<'_> {
        let row = rule.row();
        self.list.push(Found {
            at: None,
            finding: Finding {
                code: row.code,
                level: row.level,
                path: path.into(),
                line: None,
                column: None,
                message: message.into(),
                hint: row.right.to_owned(),
            },
        });
        let last = self.list.len() - 1;
        Note {
            found: &mut self.list[last],
        }
    }

    /// The nearest of `known`, for a word that a person may have mistyped. None once guessing has cost enough.
    pub(super) fn guess<'a>(&mut self, wrong: &str, known: &[&'a str]) -> Option<&'a str> {
        self.guesses = self.guesses.checked_sub(known.len())?;
        near(wrong, known)
    }

    /// Whether one of them keeps the plan from being started.
    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|found| found.finding.level == Level::Error)
    }

    /// All of them, as they came.
    pub(super) fn into_list(self) -> Vec<Found> {
        self.list
    }
}

/// The finding that was just added.
pub(super) struct Note<'a> {
    found: &'a mut Found,
}

impl Note<'_> {
    /// Says at which byte of the text it is.
    pub(super) fn at(self, at: usize) -> Self {
        self.found.at = Some(at);
        self
    }

    /// Says what would be right here.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        self.found.finding.hint = hint.into();
        self
    }
}

/// The nearest of `known`, for a word that a person may have mistyped.
pub(crate) fn near<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    /// Nobody mistypes more than this, and the comparison costs the product of the lengths.
    const LONGEST: usize = 100;
    if wrong.len() > LONGEST {
        return None;
    }
    nearest(wrong, known.iter().copied(), 1).first().copied()
}

/// `text` as it is quoted in a message: on one line, and cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_code_of_its_own_in_order() {
        let codes: Vec<&str> = Rule::ALL.iter().map(|rule| rule.row().code).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
    }

    #[test]
    fn a_rule_says_both_sides_in_one_line_without_a_full_stop() {
        for rule in Rule::ALL {
            let row = rule.row();
            for text in [row.wrong, row.right] {
                assert!(
                    !text.is_empty() && !text.ends_with('.') && !text.contains('\n'),
                    "{}",
                    row.code
                );
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_and_stays_on_its_line() {
        assert_eq!(quoted("a\nb"), "`a b`");
        assert_eq!(quoted(&"é".repeat(300)).chars().count(), 83);
    }
}
