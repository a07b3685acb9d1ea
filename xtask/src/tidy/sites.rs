//! The fault points: each act has a name of its own, and the crash table knows them all.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::source::{Source, has_word};
use super::tree::{File, Tree};

/// Made by the crash tests: of the verbs, and of runs of plans. Not there before they have run once.
const TABLES: [&str; 2] = [TABLE, "docs/crash-points-plans.md"];
const TABLE: &str = "docs/crash-points.md";

/// A literal handed to a door.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    name: String,
    door: String,
    file: String,
    line: usize,
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let sites = sites(tree);
    let mut findings = Vec::new();
    let mut first: BTreeMap<&str, &Site> = BTreeMap::new();
    for site in &sites {
        if !is_well_formed(&site.name) {
            let what = format!("`{}` is no name of a fault point", site.name);
            findings.push(Finding::new(
                &site.file,
                site.line,
                what,
                "write `verb.act` in lower case, words joined by `-`",
            ));
        }
        // The same act may be written twice, as in the two branches of a condition; another act needs another name.
        let known = *first.entry(&site.name).or_insert(site);
        if (&known.file, &known.door) != (&site.file, &site.door) {
            let what = format!(
                "the fault point `{}` is also in {}:{}",
                site.name, known.file, known.line
            );
            findings.push(Finding::new(
                &site.file,
                site.line,
                what,
                "give each act a name of its own",
            ));
        }
    }
    for (file, source) in product(tree) {
        for line in unguarded(source.product_text()) {
            let hint = "wrap it in `fault::guard(site, ..)`, so that the crash tests can stop there";
            findings.push(Finding::new(
                &file.path,
                line,
                "a program is started beside no fault point",
                hint,
            ));
        }
    }
    let tables: Vec<&str> = TABLES
        .iter()
        .filter_map(|table| tree.file(table))
        .map(|table| table.text.as_str())
        .collect();
    if !tables.is_empty() {
        for (name, site) in first {
            let walked = [format!("`{name}`"), format!("`{name}:")]
                .iter()
                .any(|each| tables.iter().any(|table| table.contains(each.as_str())));
            if !walked && !is_elsewhere(name) {
                let what = format!("the fault point `{name}` is not in {TABLE}");
                findings.push(Finding::new(
                    &site.file,
                    site.line,
                    what,
                    "run the crash tests in full: `cargo xtask test --full crash`",
                ));
            }
        }
    }
    findings
}

/// Fault points that no scene of the crash tests can pass, and why. A name that ends with a dot stands for all acts of
/// a verb that the scenes do not run.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "clean.",
        "another verb: shows first, and what is cut off is shown again",
    ),
    ("config.", "another verb: the settings file"),
    (
        "doctor.",
        "another verb: it only looks, or works in a folder of its own",
    ),
    ("list.", "a cache"),
    (
        "meter.",
        "the proxy: crates/fleet/tests/it/meter.rs ends it at any time, and the next one goes on at the same port",
    ),
    (
        "plan.",
        "another verb: a folder that is made whole under another name, and then named",
    ),
    (
        "integrate.",
        "another verb: each file is written whole, and what is missing the next call writes",
    ),
    ("usage.", "a cache"),
    (
        "report.",
        "what a program is given so that it tells of itself: the scripted agent is given nothing, and it is written anew \
         at each start",
    ),
    (
        "merge.",
        "another verb: crates/fleet/tests/it/merge/gates.rs kills at its steps and asks again",
    ),
    (
        "budget.",
        "ceilings: crates/fleet/tests/it/budgets/kills.rs kills at each of them and asks again",
    ),
    ("check.", "the log of a check, which the next one writes anew"),
    (
        "git.commits",
        "it only reads: which commits a stage of a pipeline has made",
    ),
    (
        "run.",
        "another verb: crates/fleet/tests/it/pipelines.rs kills at its steps and asks again",
    ),
    ("rank.", "another verb: after a crash it is asked for again"),
    (
        "pr.",
        "another verb: asked for again it finds what is pushed, opened and commented",
    ),
    ("push.", "another verb: `pr`"),
    (
        "git.detached-add",
        "another verb: crates/fleet/tests/it/merge/gates.rs kills there",
    ),
    (
        "git.detached-checkout",
        "another verb: crates/fleet/tests/it/merge/gates.rs kills there",
    ),
    (
        "git.detached-clean",
        "another verb: `merge`; made anew before each gate",
    ),
    (
        "git.detached-clear",
        "another verb: `merge`; made anew before each gate",
    ),
    (
        "task.",
        "another verb: crates/fleet/tests/it/tasks/crashes.rs kills at its steps and asks again",
    ),
    ("git.blame", "a question, by another verb: `task blame`"),
    (
        "record.",
        "the recorder of a task: what it misses, whoever folds the journal or looks at the worktree next makes good",
    ),
    (
        "grant.",
        "a share of a contract: noted before anything is started, and one that nothing came of stays with its contract",
    ),
    ("git.made-log", "a question, for an agent that works for a task"),
    ("git.made", "a question, for an agent that works for a task"),
    ("git.patches", "a question, for an agent that works for a task"),
    ("git.patch", "a question, for an agent that works for a task"),
    ("git.patch-id", "a question, for an agent that works for a task"),
    ("git.hooks", "a question, for an agent that works for a task"),
    ("git.is-committed", "a question, by another verb: `task blame`"),
    ("git.trailers", "a question, by another verb: `task blame`"),
    ("git.known-commits", "a question, by another verb: `task report`"),
    ("prune.", "another verb: deletes what may go, and may be repeated"),
    ("restore.", "another verb: after a crash the saved work is where it was"),
    ("store.", "migrations and damage, which the store's own tests walk"),
    (
        "drive.worktree-root",
        "made where the settings name a folder that is not there; `create.worktree-root` is walked",
    ),
    (
        "drive.old-review",
        "a review that lay in the folder before the round is set aside; a test of `it` has one",
    ),
    (
        "drive.terms",
        "what a worker's program is given to hold it to its type: written anew at each start",
    ),
    (
        "drive.state-dir",
        "folders that a program keeps its own things in, made before a boundary is drawn around it",
    ),
    ("kept.", "what rebuilds a lost database; never read otherwise"),
    ("git.author", "a question"),
    ("git.branches", "a question, where refs are in no files"),
    ("git.changed", "a question, asked beside a start"),
    ("git.changed-files", "a question, by another verb: `salvage show`"),
    ("git.count", "a question"),
    ("git.diff", "another verb: `diff` only looks"),
    (
        "git.diff-add",
        "another verb: `diff`, into an index and objects of its own",
    ),
    ("git.head", "a question, where refs are in no files"),
    ("git.is-merged", "a question, by another verb: `clean`"),
    ("git.ref", "a question, where refs are in no files"),
    ("git.resolve", "a question, when a base is named"),
    (
        "git.root",
        "a question, about a main checkout outside of its repository",
    ),
    ("git.scratch-objects", "another verb: `diff`"),
    (
        "git.stale-lock",
        "only after a git that was killed; the next call removes it again",
    ),
    ("git.status", "a question"),
    ("git.version", "a question"),
    ("repair.cap", "the next repair removes it again"),
    (
        "repair.folder",
        "only a minute after a start that was cut off; the next repair removes it again",
    ),
    ("repair.pipeline", "the next repair removes it again"),
    (
        "repair.sessions",
        "tmux is a view; what is left open the next repair closes",
    ),
    ("repair.start-over", "damage, which the store's own tests walk"),
    (
        "repair.started",
        "between the start of a supervisor and its record; the next repair records it again",
    ),
    ("repair.trash", "the next repair removes it again"),
    ("salvage.credential-clear", "an edited credential that is a link"),
    ("salvage.credential-link", "an edited credential that is a link"),
    (
        "salvage.empty",
        "a workspace that somebody removed; in a scratch folder",
    ),
    ("salvage.read-tree", "a worktree without an index; into a scratch index"),
    ("salvage.reflog", "a question, where refs are in no files"),
    ("salvage.tree", "a question"),
    (
        "salvage.unstage",
        "a conflict in what is not to be added; in a scratch index",
    ),
    ("tmux.", "a question"),
    (
        "trust.",
        "for `claude` alone: crates/fleet/tests/it/trust.rs walks them with a script of that name",
    ),
    ("create.unreserve", "two requests that want one name"),
    ("create.worktree-root", "the folder is there already"),
    ("dispatch.take-over", "two requests of one id"),
    ("end.agent-dir", "the folder is there already"),
    ("end.session", "tmux is a view"),
    ("resume.conversation", "harnesses with a conversation of their own"),
    ("resume.conversations", "a question"),
    (
        "notify.",
        "notifiers are no part of an agent's life: crates/fleet/tests/it/budgets/told.rs walks them",
    ),
    ("supervisor.notifier", "notifiers are no part of an agent's life"),
];

fn is_elsewhere(name: &str) -> bool {
    ELSEWHERE
        .iter()
        .any(|(each, _)| name == *each || (each.ends_with('.') && name.starts_with(each)))
}

/// The Rust files of the product.
fn product(tree: &Tree) -> impl Iterator<Item = (&File, &Source)> {
    tree.rust()
        .filter(|(file, _)| file.path.starts_with("crates/") && !file.path.starts_with("crates/fleet-testkit/"))
}

/// The lines that start a program with no guard in the statement or the few lines before.
fn unguarded(text: &str) -> Vec<usize> {
    const NEAR: usize = 14;
    let lines: Vec<&str> = text.lines().collect();
    let near = |at: usize| &lines[at.saturating_sub(NEAR)..=at];
    let starts = |at: usize| lines[at].contains(".spawn()") && !near(at).iter().any(|line| has_word(line, "guard"));
    (0..lines.len()).filter(|at| starts(*at)).map(|at| at + 1).collect()
}

/// Every site of the product, sorted.
fn sites(tree: &Tree) -> Vec<Site> {
    let doors: BTreeSet<String> = product(tree)
        .flat_map(|(_, source)| doors(source.product_text()))
        .collect();
    let mut sites = Vec::new();
    for (file, source) in product(tree) {
        for (door, name, line) in calls(source.product_text(), &doors) {
            sites.push(Site {
                name,
                door,
                file: file.path.clone(),
                line,
            });
        }
    }
    sites.sort();
    sites
}

/// The functions of `text` whose first argument is a site.
fn doors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn ") {
        let rest = &text[at + 3..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some((_, parameters)) = rest.split_once('(') else {
            continue;
        };
        let mut parameters = parameters.trim_start();
        for own in ["&mut self,", "&self,", "mut self,", "self,"] {
            parameters = parameters.strip_prefix(own).unwrap_or(parameters).trim_start();
        }
        if parameters.starts_with("site: &") {
            found.push(name);
        }
    }
    found
}

/// Door, site and line of every call of one of `doors` whose first argument is a literal.
fn calls(text: &str, doors: &BTreeSet<String>) -> Vec<(String, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('(') {
        let Some(rest) = text[at + 1..].trim_start().strip_prefix('"') else {
            continue;
        };
        let Some((literal, after)) = rest.split_once('"') else {
            continue;
        };
        let before = text[..at].trim_end();
        let start = before
            .rfind(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(0, |at| at + 1);
        let name = &before[start..];
        let is_argument = after.trim_start().starts_with([',', ')']);
        // A door's name may be an everyday one, such as `new`.
        if is_argument && doors.contains(name) && (could_be_site(literal) || name == "guard") {
            found.push((
                name.to_owned(),
                literal.to_owned(),
                text[..at].matches('\n').count() + 1,
            ));
        }
    }
    found
}

/// Words with dots between them; a file name such as `.git` is none.
fn could_be_site(literal: &str) -> bool {
    literal.contains('.')
        && literal
            .split('.')
            .all(|word| !word.is_empty() && !word.contains(['/', ' ']))
}

fn is_well_formed(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.split('.').count() == 2 && name.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOORS: &str = "pub fn guard<T>(site: &str, act: impl FnOnce() -> T) -> T {}\n\
        impl Cmd { pub fn new(\n    site: &'static str, program: &str) -> Self {} fn named(&self, site: &'static str) {} }\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![("crates/fleet-core/src/fault.rs", DOORS)];
        all.extend_from_slice(files);
        check(&Tree::of(&all))
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn doors_are_known_by_their_first_argument() {
        assert_eq!(doors(DOORS), ["guard", "new", "named"]);
    }

    #[test]
    fn one_name_for_two_acts_is_found_and_the_same_act_twice_is_not() {
        let a = "fn a() {\n    guard(\"a.b\", || ());\n    guard(\"a.b\", || ());\n}\n";
        assert_eq!(found(&[("crates/x/src/a.rs", a)]), [""; 0]);
        let b = "fn b() {\n    Cmd::new(\n        \"a.b\", \"git\");\n}\n";
        let findings = found(&[("crates/x/src/a.rs", a), ("crates/x/src/b.rs", b)]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("crates/x/src/b.rs:2: the fault point `a.b` is also in crates/x/src/a.rs:2"));
    }

    #[test]
    fn names_have_a_form_and_everyday_literals_are_none() {
        let text = "fn a() {\n    guard(\"Nonsense\", || ());\n    String::new(\"x y\");\n    OsStr::new(\".git\");\n    self.named(\"a.b.c\");\n}\n";
        let findings = found(&[("crates/x/src/a.rs", text)]);
        assert_eq!(findings.len(), 2, "{findings:?}");
    }

    #[test]
    fn a_program_started_beside_no_fault_point_is_found() {
        let text = "fn a() {\n    guard(\"a.b\", || {\n        c.spawn()\n    });\n}\n";
        assert_eq!(found(&[("crates/x/src/a.rs", text)]), [""; 0]);
        let findings = found(&[("crates/x/src/a.rs", "fn a() {\n    c.spawn()\n}\n")]);
        assert!(
            findings[0].starts_with("crates/x/src/a.rs:2: a program is started"),
            "{findings:?}"
        );
    }

    #[test]
    fn the_crash_table_knows_every_site() {
        let text = "fn a() {\n    guard(\"a.b\", || ());\n    guard(\"a.c\", || ());\n}\n";
        let findings = found(&[("crates/x/src/a.rs", text), (TABLE, "| `a.b` | 1 |")]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("`a.c` is not in"), "{findings:?}");
    }

    #[test]
    fn acts_of_the_verbs_that_the_scenes_run_are_exempt_by_name_only() {
        for verb in [
            "create",
            "end",
            "git",
            "kill",
            "remove",
            "repair",
            "resume",
            "salvage",
            "supervisor",
        ] {
            assert!(!is_elsewhere(&format!("{verb}.something-new")), "{verb}");
        }
        assert!(is_elsewhere("git.version") && is_elsewhere("clean.something-new"));
    }
}
