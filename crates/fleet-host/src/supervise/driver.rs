//! Starting the driver of a run, detached from everything. Whoever notices that nobody drives a run starts one: a
//! launch, a verb that changes what people want of it, and each supervisor of the run when its program has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fleet_core::{Error, Result, fault};
use serde::{Deserialize, Serialize};

use crate::exec::raw_command;
use crate::lock::Lock;
use crate::process::{self, Identity};

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
        is_held(&self.lock)
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
            // An agent that has launched the run is not to end it with itself.
            .env("FLEET_ROLE", "driver")
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

/// Takes `lock` for this process as a driver, and says in it who that is; none while another one has it.
pub fn hold(lock: &Path) -> Result<Option<Lock>> {
    let Some(held) = Lock::try_take(lock)? else {
        return Ok(None);
    };
    let own = serde_json::to_string(&Identity::own()).unwrap_or_default();
    // In place: a file of another name would be another lock.
    fs::write(lock, own).map_err(|error| crate::files::io_error("write", lock, &error))?;
    Ok(Some(held))
}

/// Whether a driver has `lock`. What a killed driver was about to start has a copy of it for a moment, so the lock alone
/// is no proof: the process that it names has to run.
pub fn is_held(lock: &Path) -> bool {
    let named = || {
        fs::read(lock)
            .ok()
            .and_then(|text| serde_json::from_slice::<Identity>(&text).ok())
    };
    Lock::is_held(lock) && named().is_none_or(|driver| process::is_running(&driver))
}

/// Enters a driver: leaves the process that started it. True in the driver itself.
pub fn enter() -> bool {
    crate::sys::close_from(3);
    matches!(crate::sys::fork_is_parent(), Ok(false))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_lock_that_only_a_copy_of_a_dead_driver_holds_is_no_driver() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        assert!(!is_held(&path));
        let held = hold(&path).expect("no error").expect("free");
        assert!(is_held(&path));
        assert!(hold(&path).expect("no error").is_none());
        let mut child = raw_command("/bin/true").spawn().expect("a child");
        let dead = Identity::of(child.id()).expect("it is not reaped");
        child.wait().expect("ended");
        fs::write(&path, serde_json::to_string(&dead).expect("text")).expect("written");
        assert!(!is_held(&path), "its driver is gone");
        assert!(Lock::is_held(&path));
        drop(held);
        // A program that another test starts just now may have a copy of it until it begins.
        let patience = Instant::now() + Duration::from_secs(10);
        while hold(&path).expect("no error").is_none() {
            assert!(Instant::now() < patience, "nobody has it");
            std::thread::yield_now();
        }
    }
}
