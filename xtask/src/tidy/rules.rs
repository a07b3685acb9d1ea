//! What code may stand where.

use super::Finding;
use super::source::has_word;
use super::tree::{File, Tree};

/// Words of code that only some files may have.
struct Rule {
    words: &'static [&'static str],
    /// Which files the rule is about: they begin with one of these.
    within: &'static [&'static str],
    part: Part,
    /// Files (or, ending in `/`, folders) that may, each with its reason.
    allowed: &'static [(&'static str, &'static str)],
    /// Whether it is right beside a fault point.
    may_be_guarded: bool,
    what: &'static str,
    hint: &'static str,
}

/// How many lines before an act its fault point may stand.
const GUARD_IS_NEAR: usize = 3;

/// Which lines of a file a rule looks at.
#[derive(Clone, Copy)]
enum Part {
    All,
    Product,
    Tests,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["unsafe"],
        within: &[""],
        part: Part::All,
        allowed: &[(
            "crates/fleet-host/src/sys.rs",
            "the one file that speaks to the kernel directly",
        )],
        may_be_guarded: false,
        what: "`unsafe` code",
        hint: "put a safe function into crates/fleet-host/src/sys.rs",
    },
    Rule {
        words: &[
            "std::fs",
            "std::process",
            "std::env",
            "std::net",
            "std::os",
            "SystemTime",
            "Instant",
            "rand",
            "getrandom",
            "tokio",
        ],
        within: &["crates/fleet-core/", "crates/fleet-term/src/"],
        part: Part::All,
        allowed: &[],
        may_be_guarded: false,
        what: "a pure crate reaches for the world",
        hint: "take the value as an argument",
    },
    Rule {
        words: &["println!", "eprintln!", "print!", "eprint!"],
        within: &[""],
        part: Part::All,
        allowed: &[
            ("crates/fleet/src/ui.rs", "the one printer"),
            (
                "crates/fleet-testkit/src/bin/",
                "programs that stand outside the product",
            ),
            ("xtask/", "a tool for those who work on fleet"),
        ],
        may_be_guarded: false,
        what: "printing",
        hint: "return it; crates/fleet/src/ui.rs prints",
    },
    Rule {
        words: &["Command::new"],
        within: &["crates/"],
        part: Part::All,
        allowed: &[
            ("crates/fleet-host/src/exec.rs", "the one door for programs"),
            ("crates/fleet-testkit/src/cmd.rs", "the same for tests"),
            (
                "crates/fleet-store/tests/",
                "a test starts itself again, as other processes on one database",
            ),
        ],
        may_be_guarded: false,
        what: "a program is started past the door",
        hint: "use `fleet_host::exec::Cmd`, in tests `fleet_testkit::Cmd`",
    },
    Rule {
        words: &["fleet_testkit"],
        within: &["crates/"],
        part: Part::Product,
        allowed: &[("crates/fleet-testkit/", "itself")],
        may_be_guarded: false,
        what: "the product uses the test kit",
        hint: "use it in tests only",
    },
    Rule {
        words: &["raw_command"],
        within: &["crates/fleet-host/"],
        part: Part::Product,
        allowed: &[
            ("crates/fleet-host/src/exec.rs", "its owner"),
            (
                "crates/fleet-host/src/supervise/",
                "supervisors and their children outlive the caller",
            ),
        ],
        may_be_guarded: false,
        what: "a bare command",
        hint: "use `exec::Cmd`",
    },
    Rule {
        words: &["rusqlite"],
        within: &["crates/", "xtask/"],
        part: Part::Product,
        allowed: &[("crates/fleet-store/", "the one owner of the database")],
        may_be_guarded: false,
        what: "SQL past the store",
        hint: "add a method to fleet-store",
    },
    Rule {
        words: &[
            "fs::rename",
            "fs::remove_file",
            "fs::remove_dir_all",
            "fs::write",
            "fs::create_dir",
            "fs::create_dir_all",
            "fs::copy",
            "fs::hard_link",
            "fs::set_permissions",
            "File::create",
            "File::create_new",
            "DirBuilder::new",
            "symlink",
        ],
        within: &["crates/"],
        part: Part::Product,
        allowed: &[
            (
                "crates/fleet-host/src/files.rs",
                "the one door for changes of the file system",
            ),
            (
                "crates/fleet-host/src/supervise/",
                "the supervisor's own journal, output and socket",
            ),
            (
                "crates/fleet-host/src/git.rs",
                "a scratch folder is removed when dropped, and holds copies only",
            ),
            (
                "crates/fleet-host/src/salvage/restore.rs",
                "a copy is one guarded act, made of many files in a fresh worktree",
            ),
            (
                "crates/fleet-store/src/",
                "the database's own files, each act in `fault::guard`",
            ),
            ("crates/fleet-testkit/", "no product"),
        ],
        may_be_guarded: true,
        what: "the file system is changed past the door",
        hint: "use `fleet_host::files`, which passes the fault points, or pass one yourself with `fault::guard`",
    },
    Rule {
        words: &["thread::sleep"],
        within: &["crates/", "xtask/"],
        part: Part::Tests,
        allowed: &[],
        may_be_guarded: false,
        what: "a test sleeps",
        hint: "wait for an event with `fleet_testkit::wait_until`",
    },
    Rule {
        words: &["thread::sleep"],
        within: &["crates/"],
        part: Part::Product,
        allowed: &[
            ("crates/fleet-testkit/src/wait.rs", "the one bounded poll of the tests"),
            ("crates/fleet-testkit/src/bin/", "a scripted program takes its time"),
            (
                "crates/fleet/src/follow.rs",
                "`list --watch` is drawn anew every two seconds",
            ),
            (
                "crates/fleet/src/view.rs",
                "a socket that is not there tells nobody of its coming",
            ),
        ],
        may_be_guarded: false,
        what: "a sleep",
        hint: "wait for the event itself: poll(2) with a deadline",
    },
    Rule {
        words: &["#[ignore"],
        within: &[""],
        part: Part::All,
        allowed: &[],
        may_be_guarded: false,
        what: "a test that never runs",
        hint: "let the test command install what it needs, or let it run fewer rounds",
    },
];

/// Every rule in every Rust file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        let clap = source
            .lines()
            .any(|(_, code)| has_word(code, "clap") && has_word(code, "Command"));
        for rule in RULES.iter().filter(|rule| rule.is_about(&file.path)) {
            if clap && rule.words == ["Command::new"] {
                // clap has a `Command` of its own, which starts nothing; of the other one clippy knows.
                continue;
            }
            let fault_point = |line: usize| rule.may_be_guarded && source.names_before(line, GUARD_IS_NEAR, "guard");
            let lines: Box<dyn Iterator<Item = (usize, &str)>> = match rule.part {
                Part::All => Box::new(source.lines()),
                Part::Product => Box::new(source.product_lines()),
                Part::Tests => Box::new(source.test_lines()),
            };
            for (line, code) in lines {
                if let Some(word) = rule.words.iter().find(|word| has_word(code, word))
                    && !fault_point(line)
                {
                    findings.push(Finding::new(
                        &file.path,
                        line,
                        format!("{} (`{word}`)", rule.what),
                        rule.hint,
                    ));
                }
            }
        }
    }
    findings
}

/// Every operation that is written is on the list, and every group of them has its file.
pub(crate) fn operations(tree: &Tree) -> Vec<Finding> {
    const LIST: &str = "crates/fleet-app/src/op.rs";
    let Some(list) = tree.file(LIST).and_then(|file| file.source.as_ref()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (file, source) in tree
        .rust()
        .filter(|(file, _)| file.path.starts_with("crates/fleet-app/src/ops/"))
    {
        for (line, code) in source.product_lines() {
            let Some((_, rest)) = code.split_once("impl Operation for ") else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let listed = format!("{}::{name}", group(file));
            if !list.product_lines().any(|(_, code)| has_word(code, &listed)) {
                let what = format!("the operation `{listed}` is not on the list");
                findings.push(Finding::new(
                    &file.path,
                    line,
                    what,
                    format!("add `Op::of::<ops::{listed}>()` to {LIST}"),
                ));
            }
        }
    }
    findings
}

impl Rule {
    fn is_about(&self, path: &str) -> bool {
        let allowed = |place: &str| {
            if place.ends_with('/') {
                path.starts_with(place)
            } else {
                path == place
            }
        };
        self.within.iter().any(|start| path.starts_with(start)) && !self.allowed.iter().any(|(place, _)| allowed(place))
    }
}

/// The module of an operations file: its name, or its folder's for one below.
fn group(file: &File) -> &str {
    let below = file
        .path
        .trim_start_matches("crates/fleet-app/src/ops/")
        .trim_end_matches(".rs");
    below.split('/').next().unwrap_or(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Tree::of(&[(path, text)]))
            .into_iter()
            .map(|finding| (finding.line, finding.what))
            .collect()
    }

    #[test]
    fn each_door_has_one_owner() {
        let spawn = "fn f() {\n    Command::new(\"x\");\n}\n";
        assert_eq!(
            found("crates/fleet-app/src/a.rs", spawn),
            [(2, "a program is started past the door (`Command::new`)".into())]
        );
        assert!(found("crates/fleet-host/src/exec.rs", spawn).is_empty());
        assert_eq!(
            found("crates/fleet-host/src/tmux.rs", "fn f() { std::fs::rename(a, b) }").len(),
            1
        );
        assert!(found("crates/fleet-host/src/files.rs", "fn f() { std::fs::rename(a, b) }").is_empty());
        assert_eq!(
            found("crates/fleet-host/src/git.rs", "fn f() { unsafe { g() } }").len(),
            1
        );
        assert!(found("crates/fleet-host/src/git.rs", "// unsafe\nfn f() { g(\"unsafe\") }").is_empty());
    }

    #[test]
    fn core_knows_no_clock_and_no_files() {
        assert_eq!(found("crates/fleet-core/src/a.rs", "use std::time::Instant;").len(), 1);
        assert_eq!(
            found("crates/fleet-core/src/a.rs", "fn f() { std::fs::read(p) }").len(),
            1
        );
        assert!(
            found(
                "crates/fleet-core/src/a.rs",
                "/// An Instant of `std::fs`.\nfn f(random: u8) {}"
            )
            .is_empty()
        );
    }

    #[test]
    fn tests_may_write_files_but_not_sleep() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn t() {\n        fs::write(p, b);\n        thread::sleep(d);\n    }\n}\n";
        let found = found("crates/fleet-host/src/git.rs", text);
        assert_eq!(found, [(6, "a test sleeps (`thread::sleep`)".into())]);
    }

    #[test]
    fn an_operation_that_is_not_listed_is_found() {
        let op = "pub const ALL: &[Op] = &[\n    Op::of::<ops::salvage::List>(),\n];\n";
        let ops = "impl Operation for List {}\nimpl Operation for Lists {}\n";
        let tree = Tree::of(&[
            ("crates/fleet-app/src/op.rs", op),
            ("crates/fleet-app/src/ops/salvage.rs", ops),
        ]);
        let findings = operations(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].line, findings[0].what.as_str()),
            (2, "the operation `salvage::Lists` is not on the list")
        );
    }
}
