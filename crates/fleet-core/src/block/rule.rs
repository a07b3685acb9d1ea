//! The rules of contracts and reports, each with its code, and what was found against them.

use crate::plan::positions;
use crate::plan::rule::rules;
pub use crate::plan::rule::{Finding, Level, Row};

rules! {
    /// A rule that a contract, a report or a `vibe.yaml` can break.
    enum Rule;
    /// There is no block
    Missing = "C001", Error, "one block: `<!-- VIBE_SESSION_CONTRACT` or `<!-- FLEET_SESSION_REPORT`, YAML, and `-->`";
    /// The block has no end
    CutOff = "C002", Error, "a `-->` behind the YAML; what was cut off is not guessed";
    /// The same block stands there twice
    Doubled = "C003", Warning, "one block; two that are the same count once";
    /// Two blocks differ
    Differ = "C004", Error, "one block; of two that differ none is taken";
    /// A block begins within a block
    Nested = "C005", Error, "blocks behind each other; within a text write `<` as `\\x3C`";
    /// The block is too large
    TooLarge = "C006", Error, "at most 64 KiB, 10,000 values and 32 levels";
    /// The block stands in a code fence
    Fenced = "C007", Warning, "a block outside of code fences; where there is one, those within fences are text";
    /// A contract stands where only a report is looked for
    NotObeyed = "C008", Warning, "no contract here: what a session answers is data, and nothing in it is obeyed";
    /// The block is no YAML
    Syntax = "C010", Error, "a YAML map, as in the example of docs/contracts.md";
    /// A tab stands where YAML has none
    Tab = "C011", Error, "spaces: YAML is never indented with tabs";
    /// There is an anchor, an alias, a tag or a directive
    Reference = "C012", Error, "the value itself, written out";
    /// A key stands twice in one map
    DuplicateKey = "C013", Error, "each key once";
    /// The version is newer than what fleet reads
    NewerVersion = "C020", Error, "`version: 1`, or a newer fleet; nothing of it is half read";
    /// A key is not known
    UnknownKey = "C021", Warning, "one of the known keys; it is read as if it were not there";
    /// A key is missing
    MissingKey = "C022", Error, "the key that is named, with a value";
    /// A value is of the wrong type
    WrongType = "C023", Error, "the type that is named; an optional key without a value is left out";
    /// A number is out of its range
    OutOfRange = "C024", Error, "a number in the range that is named";
    /// A word is none of those that may stand there
    UnknownWord = "C025", Error, "one of the words that are named";
    /// A number stands between quotes
    QuotedNumber = "C026", Warning, "the number without quotes; it is read as one";
    /// A text cannot be used
    BadText = "C027", Error, "1 to 128 characters without blanks or control characters";
    /// The contract has no ceiling
    NoCeiling = "C030", Warning, "`budget.ceiling_usd`; without it nothing limits what the session may spend";
    /// `hard_ceiling` has nothing to be hard about
    NoEffect = "C031", Warning, "`budget.ceiling_usd` beside it";
    /// The report is of another job
    OtherJob = "C040", Error, "the `job_id` of the contract";
    /// More tasks are completed or listed than were created
    TooManyTasks = "C041", Error, "`tasks_completed` and the tasks of the list are at most `tasks_created`";
    /// A task is listed twice
    DuplicateTask = "C042", Error, "an id of its own for each task";
    /// The tasks cost more than the whole
    TasksExceed = "C043", Error, "`total_cost_usd` of at least the sum of the tasks";
    /// The tasks cost less than the whole
    TasksFallShort = "C044", Warning, "a task for everything that costs: all tasks together are the whole";
    /// `cost_pct` does not fit
    WrongShare = "C045", Error, "100 times `total_cost_usd` divided by `ceiling_usd`, to a tenth";
    /// `recommendation` does not fit
    WrongAdvice = "C046", Warning, "`within_budget` below 80 %, `near_ceiling` from 80 %, `over_budget` above 100 %, `raise_ceiling` where stages are undone";
    /// A cost is not known
    UnknownCost = "C047", Warning, "`total_cost_usd` where it is known; it is never taken to be 0";
    /// Two stages or checks of a pipeline have the same name
    DoubledName = "C050", Error, "a name of its own for each stage and each check";
    /// A stage or check is named that is none
    UnknownName = "C051", Error, "the name of one of `checks.steps`, or of a stage before it";
    /// A pipeline has no stages, or too many
    BadStages = "C052", Error, "1 to 100 stages";
}

/// A contract or report after the check.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<T> {
    /// It, where there is no error.
    pub value: Option<T>,
    /// What was found, in the order of the text.
    pub findings: Vec<Finding>,
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<(usize, Finding)>,
}

impl Findings {
    /// Notes that what is at byte `at`, called `path`, breaks `rule`. The hint may be replaced by a better one.
    pub(crate) fn add(
        &mut self,
        rule: Rule,
        at: usize,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Finding {
        let row = rule.row();
        let finding = Finding {
            code: row.code,
            level: row.level,
            path: path.into(),
            line: None,
            column: None,
            message: message.into(),
            hint: row.right.to_owned(),
        };
        let place = self.list.len();
        self.list.push((at, finding));
        &mut self.list[place].1
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of them is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|(_, finding)| finding.level == Level::Error)
    }

    /// What was read of `text`, if nothing in it is an error, and everything that was found.
    pub(crate) fn close<T>(mut self, text: &str, value: Option<T>) -> Checked<T> {
        let value = value.filter(|_| !self.has_errors());
        self.list.sort_by_key(|(at, _)| *at);
        let places = positions(text, self.list.iter().map(|(at, _)| *at));
        let placed = |((_, finding), (line, column))| Finding {
            line: Some(line),
            column: Some(column),
            ..finding
        };
        let findings = self.list.into_iter().zip(places).map(placed).collect();
        Checked { value, findings }
    }
}

impl<T> Checked<T> {
    /// How many findings are errors, and how many are not.
    pub fn count(&self) -> (usize, usize) {
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error);
        let errors = errors.count();
        (errors, self.findings.len() - errors)
    }

    /// The first error as one sentence with its place; none where there is no error.
    pub fn fault(&self) -> Option<String> {
        let first = self.findings.iter().find(|finding| finding.level == Level::Error)?;
        let path = if first.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", first.path)
        };
        Some(format!("{path}{} ({})", first.message, first.code))
    }
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
}
