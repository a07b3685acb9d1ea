//! A network namespace in which there is nothing but loopback: what runs there reaches this machine's own programs of
//! that namespace and nobody else, whatever its settings say.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fleet_core::{Error, Kind, Result};

use crate::exec::{Cmd, install_hint};

/// Interfaces that the kernel puts into every namespace. They have no address and lead nowhere.
const KERNELS_OWN: [&str; 9] = [
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
];

/// The ways in, each the words of unshare(1) before a command. Where the first is not allowed a user namespace may be;
/// the rights that come with that are given up as soon as loopback is up. A user's PATH may lack the folder of `ip`.
const WAYS: [&[&str]; 2] = [
    &[
        "--net",
        "--",
        "sh",
        "-c",
        "PATH=\"$PATH:/usr/sbin:/sbin\" ip link set lo up && exec \"$@\"",
        "sh",
    ],
    &[
        "--user",
        "--map-current-user",
        "--keep-caps",
        "--net",
        "--",
        "sh",
        "-c",
        "PATH=\"$PATH:/usr/sbin:/sbin\" ip link set lo up && \
         exec setpriv --inh-caps -all --ambient-caps -all -- \"$@\"",
        "sh",
    ],
];

/// What forbids the second way: a file, what it says then, and what allows it.
const BARRIERS: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces=10000",
    ),
];

/// A way into such a namespace that works on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Alone(&'static [&'static str]);

impl Alone {
    /// Finds a way; where this process has nothing but loopback already, that is no way at all. Errors: a program is
    /// missing (`Unavailable`), the machine allows none (`Refused`).
    pub fn find(site: &'static str) -> Result<Alone> {
        if is_alone() {
            return Ok(Alone(&[]));
        }
        let mut why = String::new();
        for way in WAYS.map(Alone) {
            let tried = way.cmd(site, "true", Path::new("/")).timeout(Duration::from_secs(10));
            let output = tried.output().map_err(|error| install_hint("util-linux", error))?;
            if output.status.success() {
                return Ok(way);
            }
            why = output.error_text().trim().to_owned();
            if why.contains("ip: not found") {
                let missing = Error::unavailable("`ip` is not installed or not on PATH");
                return Err(install_hint("iproute2", missing));
            }
        }
        let refused = Error::new(
            Kind::Refused,
            format!("this machine allows no network namespace: {why}"),
        );
        Err(
            refused.hint(match BARRIERS.iter().find(|(file, bar, _)| says(file, bar)) {
                Some((_, _, setting)) => format!("allow them until the next boot: `sudo sysctl -w {setting}`"),
                None => "run it as root, outside of a container".to_owned(),
            }),
        )
    }

    /// The words before a command with which it runs in a new namespace of this kind; none where no other is needed.
    pub fn words(self) -> Vec<&'static str> {
        match self.0 {
            [] => Vec::new(),
            way => [&["unshare"], way].concat(),
        }
    }

    /// A run of `program` in a new namespace of this kind.
    pub fn cmd(self, site: &'static str, program: impl AsRef<OsStr>, cwd: &Path) -> Cmd {
        match self.0 {
            [] => Cmd::new(site, program, cwd),
            way => Cmd::new(site, "unshare", cwd).args(way).arg(program),
        }
    }
}

/// Whether this process can reach nothing but loopback.
pub fn is_alone() -> bool {
    // /sys/class/net shows the interfaces of its mount; this file is always the reader's own.
    fs::read_to_string("/proc/self/net/dev").is_ok_and(|table| only_loopback(&table))
}

/// Whether no interface of this proc_net_dev(5) table could lead somewhere.
fn only_loopback(table: &str) -> bool {
    let mut names = table.lines().filter_map(|line| line.split_once(':'));
    names.all(|(name, _)| name.trim() == "lo" || KERNELS_OWN.contains(&name.trim()))
}

fn says(file: &str, wanted: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_what_leads_nowhere_is_alone() {
        let head = "Inter-|   Receive        |  Transmit\n face |bytes    packets|bytes    packets\n";
        let alone = format!("{head}    lo:   0  0  0  0\n  sit0:   0  0  0  0\n");
        assert!(only_loopback(&alone));
        assert!(!only_loopback(&format!("{alone}  eth0: 12 3 4 5\n")));
    }
}
