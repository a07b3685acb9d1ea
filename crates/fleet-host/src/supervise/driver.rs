//! Starting the driver of a run, detached from everything. Whoever notices that nobody drives a run starts one: a
//! launch, a verb that changes what people want of it, and each supervisor of the run when its program has ended.

use std::path::PathBuf;
use std::process::Stdio;

use fleet_core::{Error, Result, fault};
use serde::{Deserialize, Serialize};

use crate::exec::raw_command;
use crate::lock::Lock;

/// The first argument by which the executable knows that it is to drive a run.
pub const ARGUMENT: &str = "__drive";

/// How the driver of a run is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Driver {
    /// The run's id.
    pub run: String,
    /// The lock that a driver holds while it lives.
    pub lock: PathBuf,
    /// Where it writes what it cannot say elsewhere.
    pub log: PathBuf,
    /// Its environment, which is also that of the programs it starts.
    pub env: Vec<(String, String)>,
}

impl Driver {
    /// Whether the run has a driver.
    pub fn is_there(&self) -> bool {
        Lock::is_held(&self.lock)
    }

    /// Starts a driver, unless there is one. Of two that are started at once the second finds the lock held and ends.
    pub fn start(&self) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        if self.is_there() {
            return Ok(());
        }
        let cannot = |error: std::io::Error| Error::unavailable(format!("cannot start the driver of the run: {error}"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.log);
        let log = log.map_err(cannot)?;
        // The running executable, even when its file was replaced by an update meanwhile.
        let mut command = raw_command("/proc/self/exe");
        command
            .args([ARGUMENT, &self.run])
            .current_dir("/")
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        crate::sys::with_new_session(&mut command);
        // Its first process is over at once: it forks away, so that it is nobody's child.
        let status = fault::guard("drive.spawn", || command.status()).map_err(cannot)?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::unavailable("the driver of the run ended at once")),
        }
    }
}

/// Enters a driver: leaves the process that started it. True in the driver itself.
pub fn enter() -> bool {
    crate::sys::close_from(3);
    matches!(crate::sys::fork_is_parent(), Ok(false))
}
