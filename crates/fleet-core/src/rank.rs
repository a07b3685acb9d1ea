//! Which of several answers to one task is the best, and what decided that.

use std::cmp::Ordering;

use crate::tally::Tally;

/// What is known of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name, which decides where nothing else does.
    pub name: String,
    /// Whether the check passed.
    pub passed: bool,
    /// Counts of tests, where the check printed some.
    pub tests: Option<Tally>,
    /// Lines added and removed.
    pub lines: u64,
    /// What it cost in US dollars, where that is known.
    pub cost_usd: Option<f64>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

/// What was compared, in the order of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The check passed.
    Check,
    /// It changed something.
    Change,
    /// Fewer failing tests.
    Failing,
    /// More passing tests.
    Passing,
    /// Fewer lines.
    Size,
    /// Less money.
    Cost,
    /// Less time.
    Time,
}

impl Measure {
    const ALL: [Measure; 7] = [
        Measure::Check,
        Measure::Change,
        Measure::Failing,
        Measure::Passing,
        Measure::Size,
        Measure::Cost,
        Measure::Time,
    ];

    /// What the better of two has, in words.
    pub fn words(self) -> &'static str {
        match self {
            Measure::Check => "it alone passed the check",
            Measure::Change => "it alone changed something",
            Measure::Failing => "fewer tests fail",
            Measure::Passing => "more tests pass",
            Measure::Size => "the smaller change",
            Measure::Cost => "the lower cost",
            Measure::Time => "the shorter time",
        }
    }

    /// `Less` when `a` is better. What is not known comes behind what is.
    fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        let tests = |entry: &Entry, count: fn(Tally) -> u64| entry.tests.map(count);
        match self {
            Measure::Check => b.passed.cmp(&a.passed),
            Measure::Change => (a.lines == 0).cmp(&(b.lines == 0)),
            Measure::Failing => known_first(tests(a, |tally| tally.failed), tests(b, |tally| tally.failed), Ord::cmp),
            Measure::Passing => known_first(
                tests(a, |tally| tally.passed),
                tests(b, |tally| tally.passed),
                |a, b| b.cmp(a),
            ),
            Measure::Size => a.lines.cmp(&b.lines),
            Measure::Cost => known_first(a.cost_usd, b.cost_usd, f64::total_cmp),
            Measure::Time => a.took_ms.cmp(&b.took_ms),
        }
    }
}

/// The places of `entries`, the best first.
pub fn order(entries: &[Entry]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..entries.len()).collect();
    places.sort_by(|a, b| {
        let (a, b) = (&entries[*a], &entries[*b]);
        let by_measure = Measure::ALL.iter().map(|measure| measure.compare(a, b));
        let first = by_measure.into_iter().find(|order| order.is_ne());
        first.unwrap_or_else(|| a.name.cmp(&b.name))
    });
    places
}

/// What `best` has before `next`; none where only their names differ.
pub fn decided_by(best: &Entry, next: &Entry) -> Option<Measure> {
    Measure::ALL
        .into_iter()
        .find(|measure| measure.compare(best, next).is_ne())
}

/// Whether an answer can be the best at all: it did something, and that passed.
pub fn can_win(entry: &Entry) -> bool {
    entry.passed && entry.lines > 0
}

fn known_first<T>(a: Option<T>, b: Option<T>, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(&a, &b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            passed: true,
            tests: None,
            lines: 10,
            cost_usd: None,
            took_ms: 1000,
        }
    }

    fn tests(passed: u64, failed: u64) -> Option<Tally> {
        Some(Tally {
            passed,
            failed,
            skipped: 0,
        })
    }

    #[test]
    fn each_measure_counts_only_where_those_before_it_are_equal() {
        let best_first = [
            Entry {
                tests: tests(9, 0),
                lines: 500,
                ..entry("more tests pass")
            },
            Entry {
                tests: tests(8, 0),
                lines: 4,
                cost_usd: Some(9.0),
                ..entry("the smaller change")
            },
            Entry {
                tests: tests(8, 0),
                cost_usd: Some(0.1),
                took_ms: 9000,
                ..entry("the lower cost")
            },
            Entry {
                tests: tests(8, 0),
                cost_usd: Some(0.2),
                took_ms: 1,
                ..entry("a known cost")
            },
            Entry {
                tests: tests(8, 0),
                took_ms: 1,
                ..entry("the shorter time")
            },
            Entry {
                tests: tests(8, 0),
                ..entry("a")
            },
            Entry {
                tests: tests(8, 0),
                ..entry("b")
            },
            Entry {
                tests: tests(90, 1),
                ..entry("one fails and the check passes")
            },
            Entry {
                lines: 1,
                ..entry("nothing is known of its tests")
            },
            Entry {
                tests: tests(99, 0),
                lines: 0,
                ..entry("nothing was done")
            },
            Entry {
                passed: false,
                tests: tests(99, 1),
                ..entry("one fails")
            },
            Entry {
                passed: false,
                tests: tests(99, 2),
                ..entry("two fail")
            },
        ];
        let mut shuffled = best_first.to_vec();
        shuffled.rotate_left(5);
        shuffled.swap(0, 3);
        let order: Vec<&str> = order(&shuffled)
            .into_iter()
            .map(|place| shuffled[place].name.as_str())
            .collect();
        let wanted: Vec<&str> = best_first.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(order, wanted);
        assert_eq!(decided_by(&best_first[0], &best_first[1]), Some(Measure::Passing));
        assert_eq!(decided_by(&best_first[5], &best_first[6]), None);
    }

    #[test]
    fn an_answer_that_changed_nothing_wins_nothing() {
        assert!(can_win(&entry("a")));
        assert!(!can_win(&Entry { lines: 0, ..entry("a") }));
        assert!(!can_win(&Entry {
            passed: false,
            ..entry("a")
        }));
    }
}
