//! Who may depend on whom, and what else the manifests promise.

use super::Finding;
use super::tree::{File, Tree};

/// One crate's place in the picture: what it may know of the others.
struct Place {
    name: &'static str,
    may_use: &'static [&'static str],
    may_test_with: &'static [&'static str],
}

const KIT: &[&str] = &["fleet-testkit"];

/// `fleet → fleet-app → {fleet-store, fleet-host, fleet-net} → fleet-core`; the adapters do not know each other.
const PLACES: &[Place] = &[
    Place {
        name: "fleet-core",
        may_use: &[],
        may_test_with: &[],
    },
    Place {
        name: "fleet-term",
        may_use: &[],
        may_test_with: &[],
    },
    Place {
        name: "fleet-store",
        may_use: &["fleet-core"],
        may_test_with: KIT,
    },
    Place {
        name: "fleet-host",
        may_use: &["fleet-core", "fleet-term"],
        may_test_with: KIT,
    },
    Place {
        name: "fleet-net",
        may_use: &["fleet-core"],
        may_test_with: KIT,
    },
    Place {
        name: "fleet-app",
        may_use: &["fleet-core", "fleet-host", "fleet-net", "fleet-store", "fleet-term"],
        may_test_with: KIT,
    },
    Place {
        name: "fleet",
        may_use: &["fleet-app", "fleet-core", "fleet-host", "fleet-term"],
        // Its tests look into the database of the program that they have run.
        may_test_with: &["fleet-testkit", "fleet-store"],
    },
    Place {
        name: "fleet-testkit",
        may_use: &["fleet-core", "fleet-term"],
        may_test_with: &[],
    },
    Place {
        name: "xtask",
        // It records and judges what the rules of the harnesses make of real screens.
        may_use: &["fleet-core", "fleet-host"],
        may_test_with: &[],
    },
];

/// What only some crates may depend on.
const OWNED: &[(&str, &[&str])] = &[
    ("rusqlite", &["fleet-store"]),
    ("rmcp", &["fleet"]),
    // `fleet mcp`, the meter, and the model endpoint for tests: operations are plain blocking code.
    ("tokio", &["fleet", "fleet-net", "fleet-testkit"]),
    ("hyper", &["fleet-net", "fleet-testkit"]),
    ("ureq", &["fleet-net"]),
    ("rustls", &["fleet-net", "fleet-testkit"]),
    ("tokio-rustls", &["fleet-testkit"]),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.files.iter().filter(|file| file.name() == "Cargo.toml");
    let mut findings: Vec<Finding> = manifests.flat_map(manifest).collect();
    findings.extend(tree.file("Cargo.lock").and_then(one_sqlite));
    findings
}

fn manifest(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut section = "";
    let mut name = "";
    for (line, text) in file.lines() {
        let text = text.trim();
        if let Some(header) = text.strip_prefix('[') {
            section = header.trim_end_matches(']');
            continue;
        }
        let Some((key, value)) = text.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim().trim_matches('"'));
        if section == "package" && key == "name" {
            name = value;
            if !PLACES.iter().any(|place| place.name == name) {
                let what = format!("the crate `{name}` has no place");
                findings.push(Finding::new(
                    &file.path,
                    line,
                    what,
                    "add it to the table in xtask/src/tidy/crates.rs",
                ));
            }
        }
        if section.starts_with("profile.") && !section.contains("dev") && key == "debug-assertions" && value != "false"
        {
            let what = format!("`{section}` has debug assertions, and with them the seams of the tests");
            findings.push(Finding::new(&file.path, line, what, "take them out"));
        }
        if !section.ends_with("dependencies") || section.starts_with("workspace") {
            continue;
        }
        let dependency = key.split('.').next().unwrap_or(key);
        let Some(place) = PLACES.iter().find(|place| place.name == name) else {
            continue;
        };
        let for_tests = section.contains("dev-dependencies");
        let known = PLACES.iter().any(|place| place.name == dependency);
        let fits = place.may_use.contains(&dependency) || for_tests && place.may_test_with.contains(&dependency);
        if known && !fits {
            let what = format!("`{name}` must not know `{dependency}`");
            findings.push(Finding::new(
                &file.path,
                line,
                what,
                "move the code to the crate that may; ARCHITECTURE.md has the picture",
            ));
        }
        if let Some((_, owners)) = OWNED.iter().find(|(owned, _)| *owned == dependency)
            && !owners.contains(&name)
            && !for_tests
        {
            let what = format!("`{name}` must not depend on `{dependency}`");
            findings.push(Finding::new(
                &file.path,
                line,
                what,
                format!("only {} does", owners.join(" or ")),
            ));
        }
    }
    findings
}

/// Two copies of SQLite in one process break each other's file locks.
fn one_sqlite(file: &File) -> Option<Finding> {
    let copies: Vec<usize> = file
        .lines()
        .filter(|(_, text)| *text == "name = \"libsqlite3-sys\"")
        .map(|(line, _)| line)
        .collect();
    let what = format!("{} copies of libsqlite3-sys", copies.len());
    (copies.len() != 1).then(|| {
        Finding::new(
            &file.path,
            copies.last().copied().unwrap_or(0),
            what,
            "there must be one: align the versions",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)]))
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn dependencies_go_one_way() {
        let text = "[package]\nname = \"fleet-store\"\n[dependencies]\nfleet-core.workspace = true\nfleet-host = { path = \"x\" }\n\
            [dev-dependencies]\nfleet-testkit.workspace = true\n[target.'cfg(unix)'.dependencies]\nfleet-app.workspace = true\n";
        let findings = found("crates/fleet-store/Cargo.toml", text);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("crates/fleet-store/Cargo.toml:5: `fleet-store` must not know `fleet-host`"));
        assert!(findings[1].contains(":9:"));
    }

    #[test]
    fn the_test_kit_and_the_database_are_for_some_only() {
        let text =
            "[package]\nname = \"fleet-app\"\n[dependencies]\nfleet-testkit.workspace = true\nrusqlite = \"1\"\n";
        assert_eq!(found("crates/fleet-app/Cargo.toml", text).len(), 2);
        assert_eq!(
            found("crates/new/Cargo.toml", "[package]\nname = \"fleet-new\"\n").len(),
            1
        );
    }

    #[test]
    fn the_workspace_lists_all_and_release_has_no_seams() {
        let text = "[workspace.dependencies]\nrusqlite = \"1\"\n[profile.dev]\ndebug-assertions = true\n[profile.quick]\ndebug-assertions = true\n";
        let findings = found("Cargo.toml", text);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("Cargo.toml:6: `profile.quick`"));
    }

    #[test]
    fn sqlite_is_there_once() {
        let one = "[[package]]\nname = \"libsqlite3-sys\"\n";
        assert!(found("Cargo.lock", one).is_empty());
        assert_eq!(found("Cargo.lock", &one.repeat(2)).len(), 1);
        assert_eq!(found("Cargo.lock", "").len(), 1);
    }
}
