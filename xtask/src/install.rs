//! Programs that are missing are installed where that can be done without a question, or named with the way to do it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::run::{Run, is_installed};
use crate::{Result, failed};

/// A program from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    /// The Debian package that holds it.
    pub(crate) package: &'static str,
}

pub(crate) const GIT: Tool = Tool {
    program: "git",
    package: "git",
};
pub(crate) const TMUX: Tool = Tool {
    program: "tmux",
    package: "tmux",
};

/// Installs those of `tools` that are missing. Error: some still are; it says how to get them.
pub(crate) fn require(tools: &[Tool], wanted_by: &str) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let packages = packages.join(" ");
    let Some(words) = apt_get() else {
        return failed(format!("{wanted_by} needs {}; {}", names(&missing), advice(&packages)));
    };
    println!(
        "{} missing: installing {packages} with apt-get ({wanted_by} needs it)",
        are(&names(&missing), missing.len())
    );
    let install = || {
        apt(&words)
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages.split(' '))
            .output()
    };
    let mut ended = install()?;
    if !ended.status.success() {
        println!("the package lists are missing or old: apt-get update");
        let updated = apt(&words).args(["update"]).output()?;
        if !updated.status.success() {
            return failed(format!("`apt-get update` failed\n{}", updated.stderr));
        }
        ended = install()?;
    }
    let still = self::missing(tools);
    if still.is_empty() {
        return Ok(());
    }
    failed(format!(
        "{} could not be installed; {}\n{}",
        names(&still),
        advice(&packages),
        ended.stderr
    ))
}

/// Those that are not on PATH.
pub(crate) fn missing(tools: &[Tool]) -> Vec<Tool> {
    tools
        .iter()
        .filter(|tool| !is_installed(tool.program))
        .copied()
        .collect()
}

/// How to call apt-get so that it may install and never asks; none where that cannot be.
fn apt_get() -> Option<Vec<&'static str>> {
    if !is_installed("apt-get") {
        return None;
    }
    // As words of the command, because sudo does not pass the environment on.
    let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"];
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        return Some(quiet.to_vec());
    }
    // With -n sudo fails rather than ask for a password.
    let may = is_installed("sudo")
        && Run::new("sudo", Path::new("/"))
            .args(["-n", "true"])
            .output()
            .is_ok_and(|ended| ended.status.success());
    may.then(|| [&["sudo", "-n"], &quiet[..]].concat())
}

fn apt(words: &[&str]) -> Run {
    let (program, before) = words.split_first().expect("a command has a program");
    Run::new(program, Path::new("/")).args(before)
}

fn advice(packages: &str) -> String {
    let line = [
        ("apt-get", "sudo apt-get install"),
        ("dnf", "sudo dnf install"),
        ("pacman", "sudo pacman -S"),
        ("apk", "sudo apk add"),
        ("zypper", "sudo zypper install"),
        ("brew", "brew install"),
    ]
    .into_iter()
    .find(|(program, _)| is_installed(program));
    match line {
        Some((_, line)) => format!("run `{line} {packages}` and try again"),
        None => format!("install {packages} with your system's package manager and try again"),
    }
}

fn names(tools: &[Tool]) -> String {
    tools.iter().map(|tool| tool.program).collect::<Vec<_>>().join(", ")
}

fn are(names: &str, count: usize) -> String {
    format!("{names} {}", if count == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_on_path_is_missing() {
        let shell = Tool {
            program: "sh",
            package: "dash",
        };
        let nothing = Tool {
            program: "no-such-program-anywhere",
            package: "nothing",
        };
        assert_eq!(missing(&[shell, nothing]), [nothing]);
        assert_eq!(require(&[shell], "this test"), Ok(()));
    }
}
