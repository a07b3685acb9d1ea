//! A worker on one line: `ID [KEY=VALUE]…: TASK`, as flags give it.

use std::str::FromStr;

use super::super::rule::near;
use super::super::word::Word;
use super::WorkerSpec;
use crate::money::Usd;

/// The keys before the colon.
const KEYS: [&str; 9] = [
    "type", "files", "after", "branch", "size", "budget", "provider", "model", "effort",
];

impl FromStr for WorkerSpec {
    type Err = String;

    /// Reads `parser type=code-run files=src/parser/**,src/lib.rs size=feature: Teach the parser tabs`.
    fn from_str(line: &str) -> Result<Self, String> {
        let (head, task) = line
            .split_once(": ")
            .ok_or("write it as `ID: TASK`, or as `ID KEY=VALUE: TASK`")?;
        let mut words = head.split_whitespace();
        let mut worker = WorkerSpec {
            id: words.next().unwrap_or_default().to_owned(),
            task: task.trim().to_owned(),
            ..WorkerSpec::default()
        };
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is no `KEY=VALUE`; the id is one word"))?;
            match key {
                "type" => worker.worker_type = Some(choice(key, value)?),
                "files" => worker.files = list(value),
                "after" => worker.after = list(value),
                "branch" => worker.branch = Some(value.to_owned()),
                "size" => worker.size = Some(choice(key, value)?),
                "budget" => {
                    let amount = value.parse().ok().filter(|amount| Usd::new(*amount).is_some());
                    worker.budget =
                        Some(amount.ok_or_else(|| format!("`{value}` is no amount in USD, such as `1.50`"))?);
                }
                "provider" => worker.provider = Some(value.to_owned()),
                "model" => worker.model = Some(value.to_owned()),
                "effort" => worker.reasoning_effort = Some(choice(key, value)?),
                _ => {
                    let known = KEYS.map(|known| format!("`{known}`")).join(", ");
                    return Err(match near(key, &KEYS) {
                        Some(near) => format!("`{key}` is not known, did you mean `{near}`? Known are {known}"),
                        None => format!("`{key}` is not known; known are {known}"),
                    });
                }
            }
        }
        Ok(worker)
    }
}

fn choice<W: Word>(key: &str, value: &str) -> Result<W, String> {
    let found = W::WORDS.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = W::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("`{key}` is one of {}, not `{value}`", words.join(", "))
    })
}

/// Words with commas between them; a comma within braces is a part of a glob.
fn list(value: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0_u32;
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, words.last_mut()) {
            (',', _) if depth == 0 => words.push(String::new()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::super::super::word::{Size, WorkerType};
    use super::*;

    #[test]
    fn a_line_says_all_of_a_worker() {
        let line = "parser type=code-run files=src/{a,b}.rs,docs/** after=x,y size=feature budget=4.5 model=opus: Fix it: all of it";
        let worker: WorkerSpec = line.parse().expect("a worker");
        let wanted = WorkerSpec {
            id: "parser".to_owned(),
            task: "Fix it: all of it".to_owned(),
            worker_type: Some(WorkerType::CodeRun),
            files: vec!["src/{a,b}.rs".to_owned(), "docs/**".to_owned()],
            after: vec!["x".to_owned(), "y".to_owned()],
            size: Some(Size::Feature),
            budget: Some(4.5),
            model: Some("opus".to_owned()),
            ..WorkerSpec::default()
        };
        assert_eq!(worker, wanted);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, says) in [
            ("parser", "`ID: TASK`"),
            ("parser fix: it", "`fix` is no `KEY=VALUE`"),
            ("parser fils=a: it", "did you mean `files`?"),
            ("parser zzz=a: it", "known are `type`"),
            ("parser type=reader: it", "`read-only`"),
            ("parser size=huge: it", "`module`, not `huge`"),
            ("parser budget=much: it", "`much` is no amount"),
            ("parser budget=NaN: it", "`NaN` is no amount"),
        ] {
            let error = line.parse::<WorkerSpec>().expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
