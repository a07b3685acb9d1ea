//! Words, links, sizes and names: what is about text rather than about code.

use std::collections::BTreeSet;

use super::Finding;
use super::source::has_word;
use super::tree::{File, Tree};

/// A file with more lines of code than this needs a reason.
const LARGE: usize = 600;

/// Files that may be larger, each with its reason.
const LARGE_FILES: &[(&str, &str)] = &[];

/// File names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "mod.rs",
    "imp.rs",
    "util.rs",
    "utils.rs",
    "common.rs",
    "helper.rs",
    "helpers.rs",
    "manager.rs",
    "misc.rs",
];

/// Words that stand for work not done.
const UNDONE: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// Phrases that have no business in a tracked file, in lower case, each with its reason.
const PHRASES: &[(&str, &str)] = &[
    ("/work/", "a path of one machine"),
    ("/root/", "a path of one machine"),
    ("co-authored-by:", "it says how the text came about, not what holds"),
    ("generated with [", "it says how the text came about, not what holds"),
    ("as an ai", "it says how the text came about, not what holds"),
    ("ai assistant", "it says how the text came about, not what holds"),
    ("ai session", "it says how the text came about, not what holds"),
    ("previous session", "it says how the text came about, not what holds"),
];

/// Hosts of package registries: where a package comes from is the user's own setting.
const REGISTRIES: &[&str] = &["crates.io", "npmjs", "pypi", "pythonhosted", "rubygems", "proxy.golang"];

/// Files that name what is forbidden, or that cargo writes.
const EXEMPT: &[&str] = &["xtask/src/tidy/prose.rs", "Cargo.lock"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let paths = paths(tree);
    for file in &tree.files {
        if !EXEMPT.contains(&file.path.as_str()) {
            words(file, &mut findings);
        }
        if file.path.ends_with(".md") {
            links(file, &paths, &mut findings);
        }
        if let Some(source) = &file.source {
            let exempt = LARGE_FILES.iter().any(|(path, _)| *path == file.path);
            let size = source.size();
            if size > LARGE && !exempt {
                let what = format!("{size} lines of code");
                findings.push(Finding::new(
                    &file.path,
                    0,
                    what,
                    "split it, or give a reason in xtask/src/tidy/prose.rs",
                ));
            } else if size <= LARGE && exempt {
                let what = format!("{size} lines of code need no exception");
                findings.push(Finding::new(
                    &file.path,
                    0,
                    what,
                    "take it out of the table in xtask/src/tidy/prose.rs",
                ));
            }
            if EMPTY_NAMES.contains(&file.name()) {
                let what = format!("`{}` says nothing", file.name());
                findings.push(Finding::new(
                    &file.path,
                    0,
                    what,
                    "name the file after what it holds; `foo.rs` stands beside `foo/`",
                ));
            }
        }
    }
    findings
}

/// What other programs have written on their screens is theirs.
const RECORDED: &str = "crates/fleet-host/tests/fixtures/states/";

fn words(file: &File, findings: &mut Vec<Finding>) {
    if file.path.starts_with(RECORDED) {
        return;
    }
    for (line, text) in file.lines() {
        if let Some(word) = UNDONE.iter().find(|word| has_word(text, word)) {
            findings.push(Finding::new(
                &file.path,
                line,
                format!("`{word}`"),
                "do it, or open an issue",
            ));
        }
        for (what, hint) in phrases(text) {
            findings.push(Finding::new(&file.path, line, what, hint));
        }
    }
}

/// What a line says that has no business in a repository, each with what to do instead.
pub(super) fn phrases(line: &str) -> Vec<(String, String)> {
    let lower = line.to_lowercase();
    let mut found = Vec::new();
    for (phrase, why) in PHRASES.iter().filter(|(phrase, _)| lower.contains(phrase)) {
        found.push((format!("`{phrase}`"), format!("{why}: write it without")));
    }
    for address in lower.split("://").skip(1) {
        let end = address
            .find(|c: char| c == '/' || c.is_whitespace() || "\"'`)>".contains(c))
            .unwrap_or(address.len());
        if let Some(host) = REGISTRIES.iter().find(|host| address[..end].contains(*host)) {
            let what = format!("the address of a registry (`{host}`)");
            found.push((what, "name the package alone".to_owned()));
        }
    }
    found
}

/// Every link of a page to a file leads to one.
fn links(page: &File, paths: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    let mut in_block = false;
    for (line, text) in page.lines() {
        if text.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for target in targets(&without_code(text)) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let there = resolve(&page.path, target).is_some_and(|path| paths.contains(&path));
            if !there {
                findings.push(Finding::new(
                    &page.path,
                    line,
                    format!("the link `{target}` leads nowhere"),
                    "links are relative to their page",
                ));
            }
        }
    }
}

/// All files and their folders.
fn paths(tree: &Tree) -> BTreeSet<String> {
    let mut all = BTreeSet::from([String::new()]);
    for file in &tree.files {
        all.insert(file.path.clone());
        all.extend(file.path.match_indices('/').map(|(at, _)| file.path[..at].to_owned()));
    }
    all
}

/// A line of a page with its `code` taken out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

/// What the links of a line point to.
fn targets(line: &str) -> Vec<String> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    // `[name]: target` on a line of its own.
    let reference = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .map(|(_, target)| target.trim());
    inline
        .chain(reference)
        .map(|target| target.trim_matches(['<', '>']).to_owned())
        .collect()
}

/// `target` seen from the folder of `page`, from the root; none if that leads out of it.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!target.starts_with('/')).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files))
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn undone_work_and_paths_of_a_machine_are_found() {
        let findings = found(&[(
            "docs/a.md",
            "fine\nTODO: this\nsee /work/x\nTODOS, XXXXXX and hack are fine\n",
        )]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("docs/a.md:2: `TODO`") && findings[1].starts_with("docs/a.md:3: `/work/`"));
    }

    #[test]
    fn a_registry_is_found_as_an_address_only() {
        let findings = found(&[(
            "a.md",
            "crates.io is a word\n<https://static.crates.io/x>\nhttps://example.org/npmjs\n",
        )]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("a.md:2:"));
    }

    #[test]
    fn links_lead_to_files_and_folders() {
        let page = "[a](b.md) [b](../README.md#part) [c](https://x.y) [d](#e) [f](none.md) `[g](h)`\n```\n[i](j)\n```\n\
            [k]: missing/\n[l](../docs/)\n";
        let findings = found(&[("docs/a.md", page), ("docs/b.md", ""), ("README.md", "")]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("`none.md`") && findings[1].contains("`missing/`"));
    }

    #[test]
    fn large_files_and_empty_names_are_found() {
        let text = "fn a() {}\n".repeat(LARGE + 1);
        let findings = found(&[("crates/x/src/a.rs", &text), ("crates/x/src/utils.rs", "")]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("crates/x/src/a.rs: 601 lines of code"));
    }
}
