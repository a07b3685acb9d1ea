//! A network namespace in which there is nothing but loopback.
//!
//! Agent programs that run there reach the scripted endpoint and nobody else, whatever their settings say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fleet_host::alone;

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

/// A way into such a namespace that works on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone(alone::Alone);

impl Alone {
    /// Finds a way. Error: there is none, and why.
    pub(crate) fn find(wanted_by: &str) -> Result<Self> {
        install::require(TOOLS, wanted_by)?;
        let found = alone::Alone::find("xtask.alone").map(Self);
        found.map_err(|error| {
            let hint = error.hint.unwrap_or_default();
            Failure::Failed(format!(
                "{wanted_by} needs a network namespace: {}\n{hint}",
                error.message
            ))
        })
    }

    /// A run of `program` in a new namespace of this kind.
    pub(crate) fn run<S: AsRef<OsStr>>(
        self,
        program: impl AsRef<Path>,
        cwd: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Run {
        match self.0.words().split_first() {
            None => Run::new(program, cwd),
            Some((first, rest)) => Run::new(first, cwd).args(rest).args([program.as_ref()]),
        }
        .args(args)
    }
}
