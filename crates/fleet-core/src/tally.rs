//! How many tests passed, read from what a test program printed.
//!
//! Known are cargo test and nextest, pytest, jest and vitest, `go test -v`, and TAP as node's own runner prints it. Of
//! anything else nothing is known, which is not the same as none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed, and those that could not be run at all.
    pub failed: u64,
    /// Those that were left out.
    pub skipped: u64,
}

/// The counts in `output`; none when it is of no kind that is known. Several summaries are added up.
pub fn read(output: &str) -> Option<Tally> {
    let plain = without_colours(output);
    let lines: Vec<&str> = plain.lines().map(str::trim).collect();
    [cargo, nextest, pytest, jest, go, tap]
        .into_iter()
        .find_map(|kind| kind(&lines))
}

fn cargo(lines: &[&str]) -> Option<Tally> {
    sum(lines.iter().filter_map(|line| line.strip_prefix("test result: ")))
}

fn nextest(lines: &[&str]) -> Option<Tally> {
    let summaries = lines.iter().filter(|line| line.starts_with("Summary ["));
    sum(summaries
        .filter_map(|line| line.split_once(" run: "))
        .map(|(_, counts)| counts))
}

/// `==== 1 failed, 2 passed in 0.12s ====`, without the signs when it is quiet.
fn pytest(lines: &[&str]) -> Option<Tally> {
    let summary = |line: &&str| -> Option<String> {
        let (counts, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
        let seconds = time.split_whitespace().next()?.strip_suffix('s')?;
        let ends = seconds.parse::<f64>().is_ok() && counts.starts_with(|c: char| c.is_ascii_digit());
        ends.then(|| counts.to_owned())
    };
    let found: Vec<String> = lines.iter().filter_map(summary).collect();
    sum(found.iter().map(String::as_str))
}

/// `Tests:       1 failed, 9 passed, 10 total`; vitest has no colon.
fn jest(lines: &[&str]) -> Option<Tally> {
    let counts = |line: &&str| {
        let rest = line.strip_prefix("Tests")?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        rest.starts_with(' ').then(|| rest.trim().to_owned())
    };
    let found: Vec<String> = lines.iter().filter_map(counts).collect();
    sum(found.iter().map(String::as_str))
}

/// `go test -v` names each test; without that flag nobody knows how many passed.
fn go(lines: &[&str]) -> Option<Tally> {
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count() as u64;
    let tally = Tally {
        passed: count("--- PASS: "),
        failed: count("--- FAIL: "),
        skipped: count("--- SKIP: "),
    };
    let is_verbose = lines.iter().any(|line| line.starts_with("=== RUN "));
    is_verbose.then_some(tally)
}

fn tap(lines: &[&str]) -> Option<Tally> {
    let count = |name: &str| {
        let found = lines.iter().rev().find_map(|line| line.strip_prefix(name));
        found.and_then(|rest| rest.trim().parse().ok())
    };
    let passed = count("# pass ").or_else(|| count("ℹ pass "))?;
    let failed = count("# fail ").or_else(|| count("ℹ fail "))?;
    let skipped = count("# skipped ").or_else(|| count("ℹ skipped ")).unwrap_or(0);
    Some(Tally {
        passed,
        failed,
        skipped,
    })
}

/// Adds up texts such as `ok. 3 passed; 1 failed; 0 ignored`. None when no text counts anything.
fn sum<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut known = false;
    for text in texts {
        let words: Vec<&str> = text
            .split([' ', ',', ';', '|'])
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            let into = match pair[1] {
                "passed" | "xpassed" => &mut tally.passed,
                "failed" | "error" | "errors" => &mut tally.failed,
                "skipped" | "ignored" | "todo" | "xfailed" | "deselected" => &mut tally.skipped,
                _ => continue,
            };
            *into = into.saturating_add(count);
            known = true;
        }
    }
    known.then_some(tally)
}

/// `text` without the escape sequences of colours.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Option<Tally> {
        Some(Tally {
            passed,
            failed,
            skipped,
        })
    }

    #[test]
    fn the_summaries_of_common_test_programs_are_read() {
        let cargo = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let nextest = "     Summary [   0.021s] 5 tests run: 4 passed, 1 failed, 2 skipped\n";
        let pytest = "FAILED t.py::test_a - assert 0\n==== 1 failed, 2 passed, 1 skipped, 1 error in 0.12s ====\n";
        let quiet = "..\n2 passed in 0.01s\n";
        let long = "=== 700 passed in 75.10s (0:01:15) ===\n";
        let jest = "Test Suites: 1 failed, 1 passed, 2 total\nTests:       1 failed, 2 skipped, 9 passed, 12 total\n";
        let vitest = " Test Files  1 passed (1)\n      Tests  1 failed | 9 passed (10)\n";
        let go = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n    b_test.go:9: no\n--- FAIL: TestB (0.00s)\nFAIL\n";
        let node = "# tests 3\n# pass 2\n# fail 1\n# skipped 0\n";
        for (text, wanted) in [
            (cargo, tally(3, 1, 1)),
            (nextest, tally(4, 1, 2)),
            (pytest, tally(2, 2, 1)),
            (quiet, tally(2, 0, 0)),
            (long, tally(700, 0, 0)),
            (jest, tally(9, 1, 2)),
            (vitest, tally(9, 1, 0)),
            (go, tally(1, 1, 0)),
            (node, tally(2, 1, 0)),
            (
                "\x1b[32mTests:\x1b[0m \x1b[1m3 passed\x1b[0m, 3 total\n",
                tally(3, 0, 0),
            ),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }

    #[test]
    fn of_what_is_not_known_nothing_is_counted() {
        for text in [
            "",
            "all good\n",
            "ok  \tpkg\t0.01s\n",
            "12 apples in 3s\n",
            "Tests are fine\n",
            "\x1b[",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
