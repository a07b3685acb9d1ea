//! What a prompt tells a worker to do, as far as words can tell: where to save, to commit, to give a verdict.
//!
//! This reads prose, so it only knows plain orders in English ("Save the report to docs/report.md") and stays silent
//! about the rest. A sentence with a "not" or "never" in it orders nothing.

use std::collections::BTreeSet;

use super::rule::quoted;

/// The longest prompt that is read, in bytes.
pub const LONGEST: usize = 1024 * 1024;

/// A worker's prompt, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// There is no such file.
    Missing,
    /// It cannot be read; why.
    Unreadable(String),
    /// Nothing but blanks.
    Empty,
    /// There is text.
    Says(Box<Orders>),
}

/// What a prompt orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The first order to save something, as it was written.
    saves: Option<String>,
    /// Where to: the worker's own output folder or another one, as they were written.
    outputs: Vec<String>,
    /// Where to: other files.
    files: Vec<String>,
    /// Whether it says to commit.
    commits: bool,
    /// The first order to run a command.
    runs: Option<String>,
    /// The first order to look into the web.
    searches: Option<String>,
    /// The words of a verdict that it names, each as `verdict: WORD`.
    verdicts: BTreeSet<&'static str>,
    /// Where the verdict goes, as it was written.
    verdict_file: Option<String>,
    /// Absolute folders before `/workers/`: fleet roots, as they were written.
    roots: BTreeSet<String>,
}

/// The words a verdict may be.
pub(super) const VERDICTS: [&str; 3] = ["lgtm", "iterate", "escalate"];

impl Prompt {
    /// What `text` says.
    pub fn read(text: &str) -> Prompt {
        if text.len() > LONGEST {
            return Prompt::Unreadable(format!("it is longer than {LONGEST} bytes"));
        }
        if text.trim().is_empty() {
            return Prompt::Empty;
        }
        Prompt::Says(Box::new(Orders::read(text)))
    }
}

impl Orders {
    fn read(text: &str) -> Orders {
        let mut orders = Orders::default();
        let lower = text.to_lowercase();
        for word in VERDICTS {
            let named = |verdict: &str| lower.contains(verdict);
            if named(&format!("verdict: {word}")) || named(&format!("verdict:{word}")) {
                orders.verdicts.insert(word);
            }
        }
        for line in text.lines() {
            for sentence in sentences(line) {
                orders.sentence(sentence);
            }
        }
        orders
    }

    fn sentence(&mut self, sentence: &str) {
        const NEGATIONS: [&str; 7] = ["not", "never", "don't", "without", "no", "cannot", "avoid"];
        const SAVING: [&str; 14] = [
            "save", "saved", "write", "written", "store", "stored", "create", "put", "export", "append", "output",
            "record", "dump", "place",
        ];
        const WEB: [&str; 3] = ["web", "internet", "online"];
        let words: Vec<Word<'_>> = sentence.split_whitespace().map(Word::new).collect();
        for path in words.iter().filter_map(Word::path) {
            self.name(path);
        }
        if words.iter().any(|word| NEGATIONS.contains(&word.plain.as_str())) {
            return;
        }
        let said = || sentence.trim().trim_start_matches(['-', '*', '#', ' ']).to_owned();
        let has = |plain: &str| words.iter().any(|word| word.plain == plain);
        self.commits |= words.iter().any(|word| word.plain.starts_with("commit"));
        let looks = words.windows(3).any(|three| {
            let is = |at: usize, known: &[&str]| known.contains(&three[at].plain.as_str());
            is(0, &["search", "fetch", "browse"]) && (is(1, &WEB) || is(2, &WEB))
        });
        if self.searches.is_none() && (looks || has("websearch") || has("webfetch")) {
            self.searches = Some(said());
        }
        let runs = matches!(words.first().map(|word| word.plain.as_str()), Some("run" | "execute"))
            || words
                .windows(2)
                .any(|pair| ["run", "execute"].contains(&pair[0].plain.as_str()) && pair[1].is_code);
        if runs && self.runs.is_none() {
            self.runs = Some(said());
        }
        let Some(verb) = words
            .iter()
            .position(|word| !word.is_code && SAVING.contains(&word.plain.as_str()))
        else {
            return;
        };
        let mut saves = words[verb..]
            .iter()
            .any(|word| ["file", "files"].contains(&word.plain.as_str()));
        for (index, word) in words.iter().enumerate().skip(verb + 1) {
            let Some(path) = word
                .path()
                .filter(|_| leads_to(&words[index - 1].plain, index - 1 == verb))
            else {
                continue;
            };
            saves = true;
            let own = path.trim_end_matches('/');
            let is_output =
                own == "output" || own.ends_with("/output") || own.contains("/output/") || own.starts_with("output/");
            if is_output {
                self.outputs.push(path.to_owned());
            } else if !is_verdict(path) {
                self.files.push(path.to_owned());
            }
        }
        if saves && self.saves.is_none() {
            self.saves = Some(said());
        }
    }

    /// Takes note of a path, whatever is to be done with it.
    fn name(&mut self, path: &str) {
        if is_verdict(path) && self.verdict_file.is_none() {
            self.verdict_file = Some(path.to_owned());
        }
        if path.starts_with('/')
            && let Some((root, rest)) = path.rsplit_once("/workers/")
            && (rest.contains("/output") || rest.ends_with("/prompt.md"))
        {
            self.roots.insert(root.to_owned());
        }
    }

    /// The order to save something, if there is one.
    pub(super) fn saves(&self) -> Option<&str> {
        self.saves.as_deref()
    }

    /// Whether it orders to commit.
    pub(super) fn commits(&self) -> bool {
        self.commits
    }

    /// The order to run a command, if there is one.
    pub(super) fn runs(&self) -> Option<&str> {
        self.runs.as_deref()
    }

    /// The order to use the web, if there is one.
    pub(super) fn searches(&self) -> Option<&str> {
        self.searches.as_deref()
    }

    /// The first output folder that something is to be saved in.
    pub(super) fn output(&self) -> Option<&str> {
        self.outputs.first().map(String::as_str)
    }

    /// Two destinations that are not one, as they were written.
    pub(super) fn two_destinations(&self) -> Option<(&str, &str)> {
        let output = self.output()?;
        let folder = |path: &str| {
            let end = path.find("/output").map_or(0, |at| at + "/output".len());
            path[..end].to_owned()
        };
        let other = self.outputs.iter().find(|path| folder(path) != folder(output));
        other.or(self.files.first()).map(|other| (output, other.as_str()))
    }

    /// What is missing of the way to give a verdict; none if it is whole.
    pub(super) fn verdict_gap(&self) -> Option<String> {
        let Some(file) = &self.verdict_file else {
            return Some("it does not name iterations/<N>/review.md".to_owned());
        };
        if file.starts_with('/') {
            return Some(format!(
                "it names the verdict's file by an absolute path, {}",
                quoted(file)
            ));
        }
        let missing = VERDICTS.iter().find(|word| !self.verdicts.contains(*word));
        missing.map(|word| format!("it does not name the line `verdict: {word}`"))
    }

    /// The fleet roots that it names and that are none of `roots`.
    pub(super) fn other_roots<'a>(&'a self, roots: &'a [String]) -> impl Iterator<Item = &'a str> {
        self.roots
            .iter()
            .filter(|each| !roots.contains(each))
            .map(String::as_str)
    }
}

/// A word of a sentence.
struct Word<'a> {
    /// Without quotes and punctuation around it.
    bare: &'a str,
    /// The same in lower case.
    plain: String,
    /// Whether it begins with a backtick.
    is_code: bool,
}

impl<'a> Word<'a> {
    fn new(word: &'a str) -> Self {
        let open = |c: char| "\"'`(<*[".contains(c);
        let close = |c: char| "\"'`)>*].,:;!?".contains(c);
        // A placeholder such as `<N>` is part of its path.
        let bare = match word.contains('/') {
            true => word.trim_start_matches(['"', '\'', '`', '(', '*']),
            false => word.trim_start_matches(open),
        };
        let bare = bare.trim_end_matches(close);
        Self {
            bare,
            plain: bare.to_lowercase(),
            is_code: word.trim_start_matches(['"', '\'', '(']).starts_with('`'),
        }
    }

    /// The path it looks like: with a slash, or with an extension.
    fn path(&self) -> Option<&'a str> {
        let path = self.bare;
        let has_letter = path.chars().any(char::is_alphanumeric);
        let is_address = path.contains("://");
        let has_slash = path.contains('/') && !path.starts_with("//") && path.len() > 2;
        let extension = path.rsplit_once('.').filter(|(stem, end)| {
            let letters =
                end.chars().all(|c| c.is_ascii_alphanumeric()) && end.starts_with(|c: char| c.is_ascii_alphabetic());
            !stem.is_empty() && (1..=5).contains(&end.len()) && letters
        });
        (has_letter && !is_address && (has_slash && looks_rooted(path) || extension.is_some())).then_some(path)
    }
}

/// Whether a word with a slash is a path rather than two words, such as `and/or`.
fn looks_rooted(path: &str) -> bool {
    let known = [
        "/",
        "./",
        "../",
        "$",
        "~",
        "output/",
        "src/",
        "docs/",
        "tests/",
        "workers/",
        "iterations/",
        "{",
    ];
    known.iter().any(|start| path.starts_with(start)) || path.ends_with('/') || path.matches('/').count() > 1
}

fn leads_to(word: &str, is_verb: bool) -> bool {
    const LEADING: [&str; 12] = [
        "to", "at", "into", "in", "as", "file", "files", "named", "called", "path", "under", "folder",
    ];
    is_verb || LEADING.contains(&word)
}

fn is_verdict(path: &str) -> bool {
    path == "review.md" || path.ends_with("/review.md")
}

/// The sentences of a line. A full stop within a name ends none.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    line.split_inclusive(". ")
        .flat_map(|part| part.split("; "))
        .filter(|part| !part.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(text: &str) -> Orders {
        match Prompt::read(text) {
            Prompt::Says(orders) => *orders,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_order_to_save_is_seen_and_talk_of_files_is_not() {
        for text in [
            "Save ALL output files to $FLEET_ROOT/workers/a/output/ — use absolute paths.",
            "Write your findings to `findings.md`.",
            "Look at the code. Then create docs/report.md with a table.",
            "Results should be saved in a file.",
            "Write pytest tests at test_all.py that: test greet()",
            "- Store the list as output/list.json",
        ] {
            assert!(orders(text).saves().is_some(), "{text}");
        }
        for text in [
            "Read src/main.rs and docs/report.md, and answer in your last message.",
            "Do not write any files.",
            "Never save anything to output/.",
            "Write a summary in your final message.",
            "List what it would take and/or cost to write it.",
            "Say which functions of hello.py create a socket.",
            "- `write`: `$FLEET_ROOT/workers/write/output/`",
        ] {
            assert_eq!(orders(text).saves(), None, "{text}");
        }
    }

    #[test]
    fn two_destinations_are_an_output_folder_and_anything_else() {
        for text in [
            "Save ALL output files to $FLEET_ROOT/workers/a/output/.\nWrite the guide to docs/guide.md.",
            "Create docs/guide.md. Save it to output/ as well.",
            "Save the list to workers/a/output/list.md; save the table to workers/b/output/table.md",
        ] {
            assert!(orders(text).two_destinations().is_some(), "{text}");
        }
        for text in [
            "Save ALL output files to $FLEET_ROOT/workers/a/output/ — use absolute paths.",
            "Write src/a.rs and create src/b.rs.",
            "Read docs/guide.md. Write the result to output/result.md and output/table.md.",
            "Read $FLEET_ROOT/workers/r1/output/notes.md. Write the synthesis to $FLEET_ROOT/workers/s/output/synthesis.md.",
            "Save the report to output/report.md. Do not write to docs/report.md.",
        ] {
            assert_eq!(orders(text).two_destinations(), None, "{text}");
        }
    }

    #[test]
    fn commands_and_the_web_are_seen() {
        assert!(orders("Run the tests and report.").runs().is_some());
        assert!(orders("When it compiles, run `cargo test`.").runs().is_some());
        assert_eq!(orders("Describe what happens at run time.").runs(), None);
        assert!(orders("Search the web for prior art.").searches().is_some());
        assert!(orders("Use WebSearch.").searches().is_some());
        assert_eq!(
            orders("Search the code for the web server.\nDo not search the web.").searches(),
            None
        );
        assert!(orders("commit your changes on the current branch").commits());
        assert!(!orders("Do not commit.").commits());
    }

    #[test]
    fn a_verdict_needs_its_file_and_its_three_words() {
        let whole = "Write your verdict to `iterations/<N>/review.md`:\n- `verdict: lgtm`\n- `verdict: iterate`\n- `verdict: escalate`\n";
        assert_eq!(orders(whole).verdict_gap(), None);
        assert_eq!(orders(whole).two_destinations(), None);
        for (from, to, says) in [
            ("iterations/<N>/review.md", "the file", "review.md"),
            ("iterations/<N>", "/tmp/x/iterations/1", "absolute"),
            ("verdict: iterate", "iterate", "`verdict: iterate`"),
        ] {
            let gap = orders(&whole.replace(from, to)).verdict_gap().expect("a gap");
            assert!(gap.contains(says), "{gap}");
        }
    }

    #[test]
    fn other_fleet_roots_are_seen() {
        let said =
            orders("Save it to /a/old/workers/x/output/. Read /a/new/workers/y/output/z.md and /usr/workers/list.");
        assert_eq!(said.other_roots(&["/a/new".to_owned()]).collect::<Vec<_>>(), ["/a/old"]);
    }

    #[test]
    fn nothing_is_told_from_too_much() {
        assert_eq!(Prompt::read(" \n"), Prompt::Empty);
        assert!(matches!(Prompt::read(&"x".repeat(LONGEST + 1)), Prompt::Unreadable(_)));
    }
}
