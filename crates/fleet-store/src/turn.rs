//! Whose turn it is to write: a file lock that dies with its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use fleet_core::{Error, Result};

use crate::failure;

/// The right to write, held until dropped or until the process dies.
pub(crate) struct Turn(File);

impl Turn {
    /// Waits for the lock at `path`, at most for `patience`.
    ///
    /// flock(2) has no time limit of its own, so a contended wait blocks in a thread. A thread that gets the lock too
    /// late finds nobody listening, and the lock goes with the file it tried to hand over.
    pub(crate) fn take(path: &Path, patience: Duration) -> Result<Turn> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = file.map_err(|error| failure::io("open", path, &error))?;
        match file.try_lock() {
            Ok(()) => return Ok(Turn(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failure::io("lock", path, &error)),
        }

        let (sender, receiver) = mpsc::sync_channel(1);
        let wait = move || {
            let locked = loop {
                match file.lock() {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    done => break done,
                }
            };
            let _ = sender.send(locked.map(|()| Turn(file)));
        };
        let thread = std::thread::Builder::new().name("store-turn".into()).spawn(wait);
        thread.map_err(|error| failure::io("wait for", path, &error))?;
        match receiver.recv_timeout(patience) {
            Ok(turn) => turn.map_err(|error| failure::io("lock", path, &error)),
            Err(_) => Err(waited_too_long(path, patience)),
        }
    }
}

impl Drop for Turn {
    /// Unlocks by name: a child that is between fork and exec still has a copy of the descriptor.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn waited_too_long(path: &Path, patience: Duration) -> Error {
    let seconds = patience.as_secs();
    Error::unavailable(format!(
        "the database is locked: another process held {} for {seconds} s",
        path.display()
    ))
    .hint("let the other `fleet` command finish or end it, then run this one again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_core::Kind;

    #[test]
    fn a_waiter_gets_its_turn_when_the_holder_is_done() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        let held = Turn::take(&path, Duration::ZERO).expect("free");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Turn::take(&path, Duration::from_secs(30)).map(drop));
            drop(held);
            waiter.join().expect("no panic").expect("its turn");
        });
    }

    #[test]
    fn a_waiter_that_gave_up_does_not_keep_the_lock_later() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        let held = Turn::take(&path, Duration::ZERO).expect("free");
        let error = Turn::take(&path, Duration::from_millis(20)).err().expect("too long");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.hint.is_some());
        drop(held);
        drop(Turn::take(&path, Duration::from_secs(30)).expect("free again"));
    }
}
