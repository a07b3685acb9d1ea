//! Locks that die with their holder.
//!
//! An agent is alive exactly while its lock file is locked. The lock belongs to an open file description: the
//! process that reserves an agent takes it, hands the descriptor to the supervisor it starts, and closes its
//! own copy, so there is no moment at which a living agent looks dead. Probing takes nothing (`F_OFD_GETLK` of
//! fcntl(2)), so a probe can never be mistaken for a holder.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fleet_core::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// A held lock on one file; released when the last copy of its descriptor closes.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock if nobody holds it.
    pub fn try_take(path: &Path) -> Result<Option<Lock>> {
        let file = open(path)?;
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&request(libc::F_WRLCK))) {
            Ok(_) => Ok(Some(Lock(file))),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(cannot_lock(path, &error.to_string())),
        }
    }

    /// Waits for the lock. Waiters are served by the kernel; nobody polls.
    pub fn take(path: &Path) -> Result<Lock> {
        let file = open(path)?;
        loop {
            match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&request(libc::F_WRLCK))) {
                Ok(_) => return Ok(Lock(file)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(cannot_lock(path, &error.to_string())),
            }
        }
    }

    /// Whether somebody holds the lock. A missing file is not locked.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let mut probe = request(libc::F_RDLCK);
        match fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut probe)) {
            Ok(_) => i32::from(probe.l_type) != libc::F_UNLCK,
            Err(_) => false,
        }
    }

    /// The descriptor, to be handed to a supervisor.
    pub fn into_file(self) -> File {
        self.0
    }

    /// The lock behind a descriptor that was handed over.
    pub fn from_file(file: File) -> Lock {
        Lock(file)
    }
}

fn open(path: &Path) -> Result<File> {
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path);
    open.map_err(|error| crate::files::io_error("open", path, &error))
}

fn request(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn cannot_lock(path: &Path, why: &str) -> Error {
    Error::unavailable(format!("cannot lock {}: {why}", path.display()))
        .hint("keep FLEET_HOME on a local file system, such as `FLEET_HOME=/var/tmp/fleet`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_by_probes_and_freed_by_its_end() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        assert!(!Lock::is_held(&path));
        let lock = Lock::try_take(&path).expect("no error").expect("free");
        assert!(Lock::is_held(&path));
        assert!(Lock::try_take(&path).expect("no error").is_none());
        drop(lock);
        assert!(!Lock::is_held(&path));
    }
}
