//! What the terminal of an agent program says about it: rules, as data, and how one look is read by them.
//!
//! A rule is a regular expression for one place of the screen and the sign that it means. The first that matches
//! wins. A harness that knows how its program looks at work leaves a screen that no rule matches undecided; one that
//! knows only the prompt takes everything else for work.

use std::time::Duration;

use fleet_core::agent::Reason;
use fleet_core::{Error, Kind, Result};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It takes a prompt.
    Prompt,
    /// It works.
    Works,
    /// It takes no prompt yet, and works on none: it comes up, or loads its conversation.
    Loads,
    /// A person is being asked, or has to do something before it goes on.
    Asks(Reason),
}

/// Where a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The logical line of the cursor.
    Cursor,
    /// The part of it before the cursor.
    BeforeCursor,
    /// The title.
    Title,
    /// The last rows, so many that are not blank, joined by line breaks; blank rows between them are one blank row.
    Bottom(u16),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What `explain` calls it.
    pub name: String,
    /// What it means.
    pub sign: Sign,
    /// Where it looks.
    pub place: Place,
    /// What it looks for, in the syntax of the crate `regex-lite`: classes such as `\s` are ASCII.
    pub pattern: String,
}

/// Where the program shows what is typed and not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its first group is the draft, in the rows of the screen joined by line breaks; none: the text before the cursor.
    pub region: Option<String>,
    /// Matches what ends where the box of the region ends, in one of its rows: what is drawn to the right of that is no
    /// draft. None: nothing is.
    #[serde(default)]
    pub edge: Option<String>,
    /// Matches a draft in which nothing is typed.
    pub empty: String,
    /// Matches what stands for a long text that was pasted.
    pub folded: Option<String>,
}

/// How a harness's terminal is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// The rules, in their order; none: nothing can be told.
    pub rules: Vec<Rule>,
    /// How its draft is read; none: the text before the cursor, and nothing tells whether it is empty.
    pub draft: Option<Draft>,
    /// How long after Enter it may take until its work is seen, in milliseconds; a turn of which nothing is seen by
    /// then is over.
    pub shows_work_in_ms: u32,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            draft: None,
            shows_work_in_ms: 1500,
        }
    }
}

/// One look at a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The logical line of the cursor, right-trimmed.
    pub cursor_line: String,
    /// The part of it before the cursor.
    pub before_cursor: String,
    /// The row of the cursor without what is drawn faint: suggestions are, what was typed is not.
    #[serde(default)]
    pub typed_row: String,
    /// The title.
    pub title: Option<String>,
    /// The visible rows, right-trimmed.
    pub rows: Vec<String>,
}

impl Rule {
    /// A rule.
    pub fn new(name: &str, sign: Sign, place: Place, pattern: &str) -> Rule {
        Rule {
            name: name.to_owned(),
            sign,
            place,
            pattern: pattern.to_owned(),
        }
    }
}

impl Signs {
    /// Those of a harness of which only the prompt is known: it is the line of the cursor.
    pub fn prompt_only(pattern: &str) -> Signs {
        Signs {
            rules: vec![Rule::new("ready", Sign::Prompt, Place::Cursor, pattern)],
            ..Signs::default()
        }
    }
}

/// [`Signs`] made ready for use.
#[derive(Debug, Default)]
pub struct SignReader {
    rules: Vec<(Rule, Regex)>,
    draft: Option<DraftReader>,
    shows_work_in: Option<Duration>,
}

#[derive(Debug)]
struct DraftReader {
    region: Option<Regex>,
    edge: Option<Regex>,
    empty: Regex,
    folded: Option<Regex>,
}

impl SignReader {
    /// Error: a pattern is no regular expression.
    pub fn new(signs: &Signs) -> Result<SignReader> {
        let regex = |name: &str, pattern: &str| {
            Regex::new(pattern).map_err(|error| Error::new(Kind::Config, format!("the `{name}` rule: {error}")))
        };
        let compiled = |rule: &Rule| Ok((rule.clone(), regex(&rule.name, &rule.pattern)?));
        let rules: Vec<(Rule, Regex)> = signs.rules.iter().map(compiled).collect::<Result<_>>()?;
        let maybe = |name: &str, pattern: &Option<String>| pattern.as_deref().map(|each| regex(name, each)).transpose();
        let draft = match &signs.draft {
            None => None,
            Some(draft) => Some(DraftReader {
                region: maybe("draft", &draft.region)?,
                edge: maybe("edge of the draft", &draft.edge)?,
                empty: regex("empty draft", &draft.empty)?,
                folded: maybe("folded", &draft.folded)?,
            }),
        };
        let knows_work = rules.iter().any(|(rule, _)| rule.sign == Sign::Works);
        let shows_work_in = knows_work.then(|| Duration::from_millis(signs.shows_work_in_ms.into()));
        Ok(SignReader {
            rules,
            draft,
            shows_work_in,
        })
    }

    /// Whether there is nothing to tell by.
    pub fn is_blind(&self) -> bool {
        self.rules.is_empty()
    }

    /// How long after Enter the program's work is seen at the latest; none when nobody knows how that looks.
    pub fn shows_work_in(&self) -> Option<Duration> {
        self.shows_work_in
    }

    /// The first rule that matches, and its name; none leaves it undecided.
    pub fn read(&self, look: &Look) -> Option<(Sign, &str)> {
        let matches = |(rule, regex): &&(Rule, Regex)| match rule.place {
            Place::Cursor => regex.is_match(&look.cursor_line),
            Place::BeforeCursor => regex.is_match(&look.before_cursor),
            Place::Title => look.title.as_deref().is_some_and(|title| regex.is_match(title)),
            Place::Bottom(rows) => regex.is_match(&look.bottom(usize::from(rows))),
        };
        let (rule, _) = self.rules.iter().find(matches)?;
        Some((rule.sign, rule.name.as_str()))
    }

    /// What is typed and not sent, as far as it can be seen; none when the program shows no draft now.
    pub fn draft(&self, look: &Look) -> Option<String> {
        match &self.draft {
            Some(DraftReader {
                region: Some(region),
                edge,
                ..
            }) => {
                let rows = look.rows.join("\n");
                let found = region.captures(&rows)?;
                let (all, draft) = (found.get(0)?.as_str(), found.get(1)?.as_str());
                let end = edge.as_ref().and_then(|edge| edge.find_iter(all).last());
                Some(match end {
                    None => draft.to_owned(),
                    Some(end) => {
                        let row = all[..end.end()].rsplit('\n').next().unwrap_or_default();
                        cut(draft, row.width())
                    }
                })
            }
            _ => Some(look.before_cursor.clone()),
        }
    }

    /// Whether nothing is typed: a prompt that is pasted now is not appended to somebody's draft.
    pub fn is_empty(&self, look: &Look) -> bool {
        match &self.draft {
            None => true,
            // The cursor may stand before what is typed.
            Some(DraftReader {
                region: None, empty, ..
            }) => empty.is_match(&look.typed_row),
            Some(DraftReader { empty, .. }) => self.draft(look).is_some_and(|draft| empty.is_match(&draft)),
        }
    }

    /// Whether `draft` shows a long text only by its size.
    pub fn is_folded(&self, draft: &str) -> bool {
        let folded = self.draft.as_ref().and_then(|draft| draft.folded.as_ref());
        folded.is_some_and(|folded| folded.is_match(draft))
    }
}

impl Look {
    /// The last `count` rows that are not blank; blank ones between them are one blank row.
    fn bottom(&self, count: usize) -> String {
        let (mut rows, mut found) = (Vec::new(), 0);
        for row in self.rows.iter().rev().skip_while(|row| row.is_empty()) {
            if found == count {
                break;
            }
            if !row.is_empty() {
                found += 1;
            } else if rows.last() == Some(&"") {
                continue;
            }
            rows.push(row.as_str());
        }
        rows.reverse();
        rows.join("\n")
    }
}

/// The first `columns` of each row.
fn cut(rows: &str, columns: usize) -> String {
    let cut_row = |row: &str| -> String {
        let mut width = 0;
        let fits = |c: &char| {
            width += c.width().unwrap_or(0);
            width <= columns
        };
        row.chars().take_while(fits).collect()
    };
    rows.split('\n').map(cut_row).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rows: &[&str]) -> Look {
        Look {
            rows: rows.iter().map(|row| (*row).to_owned()).collect(),
            ..Look::default()
        }
    }

    #[test]
    fn the_first_rule_that_matches_wins_and_blank_rows_do_not_count() {
        let signs = Signs {
            rules: vec![
                Rule::new("asked", Sign::Asks(Reason::Permission), Place::Bottom(2), r"^\? allow"),
                Rule::new("busy", Sign::Works, Place::Title, "^busy"),
                Rule::new("prompt", Sign::Prompt, Place::BeforeCursor, "^> "),
            ],
            ..Signs::default()
        };
        let reader = SignReader::new(&signs).expect("patterns");
        assert_eq!(reader.shows_work_in(), Some(Duration::from_millis(1500)));
        let mut look = look(&["? allow", "", "1. yes", "", ""]);
        look.before_cursor = "> x".to_owned();
        assert_eq!(reader.read(&look), Some((Sign::Asks(Reason::Permission), "asked")));
        look.rows.insert(3, "another row".to_owned());
        assert_eq!(reader.read(&look), Some((Sign::Prompt, "prompt")));
        look.title = Some("busy now".to_owned());
        assert_eq!(reader.read(&look), Some((Sign::Works, "busy")));
        look.title = None;
        look.before_cursor.clear();
        assert_eq!(reader.read(&look), None);
    }

    #[test]
    fn a_draft_is_read_where_the_program_shows_it() {
        let signs = Signs {
            draft: Some(Draft {
                region: Some(r"(?s).*--\n(.*?)\n--".to_owned()),
                edge: None,
                empty: r"^\s*> *$".to_owned(),
                folded: Some(r"\[\d+ lines\]$".to_owned()),
            }),
            ..Signs::default()
        };
        let reader = SignReader::new(&signs).expect("patterns");
        let box_of = |draft: &str| look(&["--", "> sent before", "--", "", "--", draft, "--", "status"]);
        assert!(reader.is_empty(&box_of(">")));
        assert!(!reader.is_empty(&box_of("> half")) && !reader.is_empty(&look(&["no box"])));
        assert_eq!(reader.draft(&box_of("> half")).as_deref(), Some("> half"));
        assert!(reader.is_folded("> [12 lines]") && !reader.is_folded("> 12 lines"));
    }

    #[test]
    fn what_is_drawn_beside_the_box_is_no_draft() {
        let signs = Signs {
            draft: Some(Draft {
                region: Some(r"((?:\|[^\n]*\n)+)=+".to_owned()),
                edge: Some("=+".to_owned()),
                empty: r"^[\s|]*$".to_owned(),
                ..Draft::default()
            }),
            ..Signs::default()
        };
        let reader = SignReader::new(&signs).expect("patterns");
        let screen = |draft: &str| look(&["|", draft, "======    /a/long/path"]);
        assert!(reader.is_empty(&screen("|         /of/a/worktree")));
        assert_eq!(reader.draft(&screen("| 日本 x  /w")).as_deref(), Some("|\n| 日本\n"));
        assert!(!reader.is_empty(&screen("| fix     /of/a/worktree")));
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error_that_names_its_rule() {
        let error = SignReader::new(&Signs::prompt_only("(")).expect_err("no expression");
        assert!(error.message.contains("`ready`"), "{error:?}");
    }
}
