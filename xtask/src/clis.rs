//! The real agent programs: installed from npm at the versions that `crates/fleet-testkit/clis` pins.
//!
//! Each version has a folder of its own in the user's cache, so that several checkouts share it. A folder is filled
//! under another name and renamed when it is whole: what is there under its own name is complete. `target/clis` has a
//! link to each program of this checkout's versions, and is what tests and agents get to see.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::install::{self, Tool};
use crate::run::{Run, io, root, target};
use crate::{Failure, Result, failed};

/// The folder of the pins, from the root.
const PINS: &str = "crates/fleet-testkit/clis";

const NODE: Tool = Tool {
    program: "node",
    package: "nodejs",
};
const NPM: Tool = Tool {
    program: "npm",
    package: "npm",
};

/// One agent program.
#[derive(Debug)]
pub(crate) struct Cli {
    /// Its program, and its harness in fleet.
    pub(crate) name: &'static str,
    /// Its npm package.
    package: &'static str,
    /// The script of the package, if there is one, that puts its native program in its place. No other script of any
    /// package is run.
    setup: Option<&'static str>,
}

/// All that are tested.
pub(crate) static CLIS: [Cli; 5] = [
    Cli {
        name: "claude",
        package: "@anthropic-ai/claude-code",
        setup: Some("install.cjs"),
    },
    Cli {
        name: "codex",
        package: "@openai/codex",
        setup: None,
    },
    Cli {
        name: "pi",
        package: "@mariozechner/pi-coding-agent",
        setup: None,
    },
    Cli {
        name: "opencode",
        package: "opencode-ai",
        setup: Some("postinstall.mjs"),
    },
    Cli {
        name: "gemini",
        package: "@google/gemini-cli",
        setup: None,
    },
];

/// The program of this name, if it is one of ours.
pub(crate) fn named(name: &str) -> Option<&'static Cli> {
    CLIS.iter().find(|cli| cli.name == name)
}

/// Installs those of `clis` that are not there, and gives the folder with a link to each.
pub(crate) fn install(clis: &[&Cli], wanted_by: &str) -> Result<PathBuf> {
    let pins = Pins::read()?;
    install::require(&[NODE, NPM], wanted_by)?;
    pins.check_node()?;
    let cache = cache();
    fs::create_dir_all(&cache).map_err(io("make", &cache))?;
    let links = target().join("clis");
    fs::create_dir_all(&links).map_err(io("make", &links))?;
    // Held until this returns: another run waits here, and then finds everything done.
    let lock = cache.join("lock");
    let turn = File::create(&lock).map_err(io("open", &lock))?;
    turn.lock().map_err(io("lock", &lock))?;
    for cli in clis {
        let folder = cache.join(format!("{}-{}", cli.name, pins.version(cli)?));
        if !folder.exists() {
            cli.fill(&pins, &folder)?;
        }
        link(&folder.join("node_modules/.bin").join(cli.name), &links.join(cli.name))?;
    }
    Ok(links)
}

impl Cli {
    /// Installs it into `folder`, which is whole or not there afterwards.
    fn fill(&self, pins: &Pins, folder: &Path) -> Result<()> {
        eprintln!("installing {} {} from npm", self.package, pins.version(self)?);
        let part = PathBuf::from(format!("{}.part", folder.display()));
        if part.exists() {
            // Of a run that was cut off; whoever holds the lock is alone here.
            fs::remove_dir_all(&part).map_err(io("remove", &part))?;
        }
        fs::create_dir(&part).map_err(io("make", &part))?;
        // With all pins in the lock file and one dependency, npm takes what that one needs at the pinned versions.
        let manifest = json!({"private": true, "dependencies": {self.package: pins.version(self)?}});
        for (name, text) in [
            ("package.json", &manifest.to_string()),
            ("package-lock.json", &pins.lock),
        ] {
            let path = part.join(name);
            fs::write(&path, text).map_err(io("write", &path))?;
        }
        let packages = part.join("npm-cache");
        Run::new("npm", &part)
            .args([
                "install",
                "--ignore-scripts",
                "--include=optional",
                "--no-audit",
                "--no-fund",
            ])
            .args(["--no-update-notifier", "--loglevel=error", "--cache"])
            .args([&packages])
            .text()?;
        if let Some(script) = self.setup {
            let package = part.join("node_modules").join(self.package);
            Run::new("node", &package).args([script]).text()?;
        }
        fs::remove_dir_all(&packages).map_err(io("remove", &packages))?;
        fs::rename(&part, folder).map_err(io("name", folder))
    }
}

/// What is pinned.
struct Pins {
    manifest: Value,
    lock: String,
}

impl Pins {
    fn read() -> Result<Self> {
        let folder = root().join(PINS);
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(io("read", &path))
        };
        let manifest = serde_json::from_str(&text("package.json")?)
            .map_err(|error| Failure::Failed(format!("{PINS}/package.json: {error}")))?;
        Ok(Self {
            manifest,
            lock: text("package-lock.json")?,
        })
    }

    fn version(&self, cli: &Cli) -> Result<&str> {
        match self.manifest["dependencies"][cli.package].as_str() {
            Some(version) => Ok(version),
            None => failed(format!("{PINS}/package.json has no version of {}", cli.package)),
        }
    }

    /// Refuses a Node.js that is older than the programs want.
    fn check_node(&self) -> Result<()> {
        let wanted = self.manifest["engines"]["node"].as_str().unwrap_or_default();
        let has = Run::new("node", Path::new("/")).args(["--version"]).text()?;
        let has = has.trim();
        match (numbers(has), numbers(wanted)) {
            (Some(has), Some(wanted)) if has >= wanted => Ok(()),
            _ => failed(format!(
                "the agent programs want Node.js {wanted}, and `node --version` says {has}; your system's package is \
                 too old: put a newer `node` and its `npm` first on PATH"
            )),
        }
    }
}

/// Major and minor of a version such as `v20.19.2` or `>=20.6`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches(['v', '>', '=']).split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Where installations stay from one checkout to the next.
fn cache() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let user = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    user.map_or_else(|| target().join("clis-cache"), |user| user.join("fleet-clis"))
}

/// Makes `at` a link to `program`, whatever it was a link to before.
fn link(program: &Path, at: &Path) -> Result<()> {
    if !program.exists() {
        return failed(format!(
            "{} is not there although it was installed; remove its folder and try again",
            program.display()
        ));
    }
    if fs::read_link(at).is_ok_and(|target| target == program) {
        return Ok(());
    }
    let new = at.with_extension("new");
    let _ = fs::remove_file(&new);
    symlink(program, &new).map_err(io("link", &new))?;
    fs::rename(&new, at).map_err(io("name", at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_pinned_to_one_version_and_its_bytes() {
        let pins = Pins::read().unwrap();
        let lock: Value = serde_json::from_str(&pins.lock).unwrap();
        for cli in &CLIS {
            let version = pins.version(cli).unwrap();
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
            let locked = &lock["packages"][format!("node_modules/{}", cli.package)];
            assert_eq!(locked["version"], version, "{}", cli.package);
            assert!(locked["bin"][cli.name].is_string(), "{locked}");
        }
        let packages = lock["packages"].as_object().unwrap();
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(
                package["integrity"].is_string() || package["inBundle"] == true,
                "{name}"
            );
            assert!(package["resolved"].is_null(), "{name} names where it comes from");
        }
    }

    #[test]
    fn versions_of_node_compare_by_their_numbers() {
        assert!(numbers("v20.20.2") >= numbers(">=20.6"));
        assert!(numbers("v18.20.4") < numbers(">=20.6"));
        assert!(numbers("v9.11.0") < numbers(">=20.6"));
        assert_eq!(numbers("none"), None);
    }

    #[test]
    fn a_link_follows_the_pinned_version() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("claude");
        for version in ["one", "two", "two"] {
            let program = dir.path().join(version);
            fs::write(&program, version).unwrap();
            link(&program, &at).unwrap();
            assert_eq!(fs::read_to_string(&at).unwrap(), version);
        }
        assert!(link(&dir.path().join("none"), &at).is_err());
    }
}
