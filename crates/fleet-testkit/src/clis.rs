//! The real agent programs: where they are, how they are pointed at an endpoint, and when they may run at all.
//!
//! `cargo xtask test` installs the versions that `clis/package.json` pins and names their folder in
//! [`FOLDER`]. A test starts one only where nothing but 127.0.0.1 can be reached ([`require_only_loopback`]), with a
//! HOME of its own that [`prepare`] has written: no key of the user's, no way to a vendor, nobody's money.

use std::fs;
use std::path::{Path, PathBuf};

mod settings;

pub use settings::{Setup, prepare};

/// The variable with the folder that has a link to each program.
pub const FOLDER: &str = "FLEET_TEST_CLIS";

/// Interfaces that the kernel puts into every network namespace. They have no address and lead nowhere.
const KERNELS_OWN: &[&str] = &[
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
];

/// An agent program that is tested for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cli {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Pi.
    Pi,
    /// OpenCode.
    OpenCode,
    /// Gemini CLI.
    Gemini,
}

impl Cli {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Claude, Self::Codex, Self::Pi, Self::OpenCode, Self::Gemini];

    /// The name of its program, and of its harness in fleet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Pi => "pi",
            Self::OpenCode => "opencode",
            Self::Gemini => "gemini",
        }
    }

    /// Refuses to go on unless the pinned program may be run here, and gives it.
    ///
    /// # Panics
    /// When it is not installed, or could reach more than 127.0.0.1 from here.
    #[track_caller]
    pub fn require(self) -> PathBuf {
        require_only_loopback();
        let program = folder().join(self.name());
        assert!(
            program.exists(),
            "{} is not there; run the test with `cargo xtask test real`",
            program.display()
        );
        program
    }
}

/// A PATH on which the pinned programs come first.
///
/// # Panics
/// When nobody has said where they are.
#[track_caller]
pub fn search_path() -> String {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    format!("{}:{}", folder().display(), path.to_string_lossy())
}

/// The folder of the pinned programs.
///
/// # Panics
/// When nobody has said where it is.
#[track_caller]
pub fn folder() -> PathBuf {
    match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => panic!("{FOLDER} is not set; run the test with `cargo xtask test real`"),
    }
}

/// Refuses to go on where anything but 127.0.0.1 could be reached: no test may speak to a vendor.
///
/// # Panics
/// When this process has a network interface beside loopback.
#[track_caller]
pub fn require_only_loopback() {
    // Of /sys/class/net the mount decides whose interfaces it shows; this file is always the reader's own.
    let table = fs::read_to_string("/proc/self/net/dev").expect("/proc is mounted");
    let more = beside_loopback(&table);
    assert!(
        more.is_empty(),
        "real agent programs run only where there is no network but loopback, and here is {}; run the test with \
         `cargo xtask test real`",
        more.join(", ")
    );
}

/// The interfaces in this proc_net_dev(5) table that could lead somewhere.
fn beside_loopback(table: &str) -> Vec<&str> {
    let names = table
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim()));
    names
        .filter(|name| *name != "lo" && !KERNELS_OWN.contains(name))
        .collect()
}

/// Writes a file below HOME that must not be there yet.
fn write_new(home: &Path, path: &str, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let path = home.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::create_new(&path)
        .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_lead_somewhere_is_beside_loopback() {
        let head = "Inter-|   Receive        |  Transmit\n face |bytes    packets|bytes    packets\n";
        let alone = format!("{head}    lo:   0  0  0  0\n  sit0:   0  0  0  0\n");
        assert!(beside_loopback(&alone).is_empty());
        let more = format!("{alone}  eth0: 12 3 4 5\nwlp0s1: 0 0 0 0\n");
        assert_eq!(beside_loopback(&more), ["eth0", "wlp0s1"]);
    }
}
