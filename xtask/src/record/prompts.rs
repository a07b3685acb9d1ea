//! Every kind of prompt, so many times, into every program; the endpoint's log decides what arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::session::{Programs, Session};
use super::traits::Traits;
use crate::Result;

/// What became of the tries of one kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By what fleet said, and `once` or `never` or `twice` for what the log has.
    pub(super) counts: BTreeMap<String, usize>,
    /// What fleet said that was not so.
    pub(super) lies: Vec<String>,
}

/// The kinds that need an agent at rest.
const PLAIN: [&str; 9] = [
    "one line",
    "three lines",
    "5 kB",
    "100 lines",
    "metacharacters and quotes",
    "a leading dash",
    "a leading slash",
    "the text C-c",
    "emoji and CJK",
];

fn text(kind: &str, tag: &str) -> String {
    match kind {
        "three lines" => format!("say {tag}\nsecond line\n  third line"),
        "5 kB" => {
            let words: Vec<String> = (0..720).map(|word| format!("w{word:05}")).collect();
            format!("of {tag} {}", words.join(" "))
        }
        "100 lines" => {
            let lines: Vec<String> = (2..=100).map(|line| format!("line {line} of {tag}")).collect();
            format!("say {tag}\n{}", lines.join("\n"))
        }
        "metacharacters and quotes" => {
            format!("say {tag} $(touch x) `id` \"two\" 'one' \\ | & ; > < * ? ~ ! # % {{}} []")
        }
        "a leading dash" => format!("-x say {tag}"),
        "a leading slash" => format!("/no{} say {tag}", tag.replace('-', "")),
        "the text C-c" => format!("C-c {tag}"),
        "emoji and CJK" => format!("say {tag} 🦀👩‍👩‍👧 日本語 中文 한국어 é"),
        _ => format!("say {tag}"),
    }
}

/// Those that come after them in the same session.
const MIXED: [&str; 4] = ["the view in copy mode", "while it works", "two at once", "just died"];
const BOOT: &str = "during boot";
const QUESTION: &str = "into a permission question";

/// Whether there is such a kind.
pub(super) fn is_kind(name: &str) -> bool {
    PLAIN.contains(&name) || MIXED.contains(&name) || [BOOT, QUESTION].contains(&name)
}

/// All kinds, or `only` that one, `tries` times each. One object: kind to outcome to count.
pub(super) fn walk(programs: &Programs, cli: &'static Traits, tries: usize, only: Option<&str>) -> Result<Value> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let asked = |kind: &&str| only.is_none_or(|only| only == *kind);
    let mut session = Session::start(programs, cli, (50, 160), true)?;
    session.come_up()?;
    for kind in PLAIN.into_iter().filter(asked) {
        let tally = tallies.entry(kind).or_default();
        for turn in 0..tries {
            let text = text(kind, &format!("{}-{turn}", kind.len()));
            let said = session.send(&text)?;
            session.rest()?;
            tally.note(&session, kind, &text, &said)?;
        }
        report(cli, kind, tally);
    }
    for kind in MIXED.into_iter().filter(asked) {
        let tally = tallies.entry(kind).or_default();
        for turn in 0..tries {
            let text = format!("say {}-{turn}", kind.replace(' ', "-"));
            match kind {
                "the view in copy mode" => {
                    session.copy_mode()?;
                    let said = session.send(&text)?;
                    session.rest()?;
                    tally.note(&session, kind, &text, &said)?;
                }
                "while it works" => {
                    let _ = session.send(&format!("wait 2500\nsay first-{turn}"))?;
                    let said = session.send(&text)?;
                    session.rest()?;
                    tally.note(&session, kind, &text, &said)?;
                }
                "two at once" => {
                    let other = format!("{text}-other");
                    let (one, two) = session.send_both(&text, &other)?;
                    session.rest()?;
                    tally.note(&session, kind, &text, &one)?;
                    tally.note(&session, kind, &other, &two)?;
                }
                _ => {
                    session.kill_program()?;
                    let said = session.send(&text)?;
                    session.revive()?;
                    session.rest()?;
                    tally.note(&session, kind, &text, &said)?;
                }
            }
        }
        report(cli, kind, tally);
    }
    drop(session);
    if asked(&BOOT) {
        let kind = BOOT;
        let tally = tallies.entry(kind).or_default();
        for turn in 0..tries {
            let mut session = Session::start(programs, cli, (50, 160), true)?;
            let text = format!("say boot-{turn}");
            let said = session.send(&text)?;
            session.come_up()?;
            session.rest()?;
            tally.note(&session, kind, &text, &said)?;
        }
        report(cli, kind, tally);
    }
    if cli.asks && asked(&QUESTION) {
        let kind = QUESTION;
        let tally = tallies.entry(kind).or_default();
        let mut session = Session::start(programs, cli, (50, 160), false)?;
        session.come_up()?;
        for turn in 0..tries {
            let text = format!("say question-{turn}");
            let wish = format!("run touch made{turn}.txt");
            let _ = session.send(&wish)?;
            session.asked()?;
            let said = session.send(&text)?;
            session.pause(Duration::from_secs(2));
            if session.arrivals(&text) > 0 {
                tally.lies.push(format!("{kind}: {text} was typed into the question"));
            }
            session.type_in(b"\x1b")?;
            session.rest()?;
            tally.note(&session, kind, &text, &said)?;
        }
        report(cli, kind, tally);
    }
    let lies: Vec<&String> = tallies.values().flat_map(|tally| &tally.lies).collect();
    let counts: BTreeMap<&str, &BTreeMap<String, usize>> =
        tallies.iter().map(|(kind, tally)| (*kind, &tally.counts)).collect();
    Ok(json!({ "cli": cli.name, "tries": tries, "kinds": counts, "lies": lies }))
}

fn report(cli: &Traits, kind: &str, tally: &Tally) {
    println!("{}: {kind}: {:?} {:?}", cli.name, tally.counts, tally.lies);
}

impl Tally {
    fn note(&mut self, session: &Session, kind: &str, text: &str, said: &str) -> Result<()> {
        let arrived = match session.arrivals(text) {
            0 => "never",
            1 => "once",
            _ => "twice",
        };
        *self.counts.entry(format!("{said}, arrived {arrived}")).or_default() += 1;
        let honest = match said {
            "delivered" | "queued" => arrived == "once",
            "refused" => arrived == "never",
            _ => arrived != "twice",
        };
        if !honest {
            let start: String = text.chars().take(40).collect();
            self.lies
                .push(format!("{kind}: said {said}, arrived {arrived}: {start}"));
            println!("{}", session.story()?);
        }
        Ok(())
    }
}
