//! Tests that need mounts: a full, a read-only or another file system.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::cmd::{Cmd, Finished};
use crate::env::{TestEnv, binary};

/// The name of the tests that cannot run where mounts are impossible.
const GROUP: &str = "tests with mounts";
/// Lines that only succeed where a file system can be mounted.
const PROBE: &str = "dir=$(mktemp -d); mount -t tmpfs tmpfs \"$dir\"; umount \"$dir\"; rmdir \"$dir\"";

impl TestEnv {
    /// Runs lines of shell in `dir`, in a mount namespace of their own and as root there, with `$FLEET` (the program)
    /// and `$ROOT`. None where the machine allows no mounts: that is reported as [`cannot_run`] says, and the test has
    /// nothing left to do.
    #[track_caller]
    pub fn in_namespace(&self, dir: &Path, lines: &str) -> Option<Finished> {
        static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
        let why = WHY_NOT.get_or_init(|| {
            let done = self.unshared(PROBE).cwd(self.root()).output();
            (!done.status.success()).then(|| done.stderr.lines().last().unwrap_or("no reason was given").to_owned())
        });
        if let Some(why) = why {
            cannot_run(GROUP, why);
            return None;
        }
        Some(
            self.unshared(lines)
                .cwd(dir)
                .env("FLEET", binary("fleet"))
                .env("ROOT", self.root())
                .output(),
        )
    }

    fn unshared(&self, lines: &str) -> Cmd {
        let user: &[&str] = match nix::unistd::geteuid().is_root() {
            true => &[],
            false => &["--map-root-user"],
        };
        self.program("unshare", user)
            .args(["--mount", "/bin/sh", "-euc", lines])
            .timeout(Duration::from_secs(60))
    }
}

/// Says that a group of tests cannot run on this machine: in the file that `FLEET_TEST_MISSING` names, whose lines
/// `cargo xtask test` shows at its end. Panics without that variable, for a test that was not run must not look like
/// one that has passed.
#[track_caller]
pub fn cannot_run(group: &str, why: &str) {
    let Some(path) = std::env::var_os("FLEET_TEST_MISSING") else {
        panic!("{group} cannot run on this machine: {why}");
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .expect("whoever names the file can have it");
    // One write, so that the lines of several tests do not mix.
    file.write_all(format!("{group}: {why}\n").as_bytes())
        .expect("a line can be added");
}
