//! A network namespace in which there is nothing but loopback.
//!
//! Agent programs that run there reach the scripted endpoint and nobody else, whatever their settings say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::clis::{self, Cli};
use crate::install::{self, Tool};
use crate::run::Run;
use crate::{Failure, Result, failed};

/// For the part of a chore that runs in such a namespace: the folder of the pinned programs.
const INSIDE: &str = "FLEET_XTASK_CLIS";

/// The folder of the pinned programs, when this is the part that [`go_inside`] has started.
pub(crate) fn inside() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}

/// Runs this very chore once more where agent programs may run: `clis` are installed and at hand, and there is no
/// network.
pub(crate) fn go_inside(wanted_by: &str, clis: &[&Cli]) -> Result<()> {
    let programs = clis::install(clis, wanted_by)?;
    let alone = Alone::find(wanted_by)?;
    let here = |error| Failure::Failed(format!("cannot find this program or its folder: {error}"));
    let (me, folder) = (
        std::env::current_exe().map_err(here)?,
        std::env::current_dir().map_err(here)?,
    );
    let run = alone.run(me, &folder, std::env::args_os().skip(1));
    match run.env(INSIDE, programs).status()? {
        status if status.success() => Ok(()),
        _ => failed(format!("{wanted_by} did not succeed; see above")),
    }
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "unshare",
        package: "util-linux",
    },
    Tool {
        program: "setpriv",
        package: "util-linux",
    },
    Tool {
        program: "ip",
        package: "iproute2",
    },
];

/// The ways in, each the words before a command. Where the first is not allowed, a user namespace may be; the rights
/// that come with that are given up as soon as loopback is up.
const WAYS: [&[&str]; 2] = [
    &["--net", "--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"],
    &[
        "--user",
        "--map-current-user",
        "--keep-caps",
        "--net",
        "--",
        "sh",
        "-c",
        "ip link set lo up && exec setpriv --inh-caps -all --ambient-caps -all -- \"$@\"",
        "sh",
    ],
];

/// A way into such a namespace that works on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone(&'static [&'static str]);

impl Alone {
    /// Finds a way. Error: there is none, and why.
    pub(crate) fn find(wanted_by: &str) -> Result<Self> {
        install::require(TOOLS, wanted_by)?;
        let mut why = String::new();
        for way in WAYS {
            let tried = Self(way).run("true", Path::new("/"), [""; 0]).output()?;
            if tried.status.success() {
                return Ok(Self(way));
            }
            why = tried.stderr;
        }
        failed(format!(
            "{wanted_by} needs a network namespace, and this machine allows none: {}",
            why.trim_end()
        ))
    }

    /// A run of `program` in a new namespace of this kind.
    pub(crate) fn run<S: AsRef<OsStr>>(
        self,
        program: impl AsRef<OsStr>,
        cwd: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Run {
        Run::new("unshare", cwd).args(self.0).args([program]).args(args)
    }
}
