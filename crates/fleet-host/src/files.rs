//! The one door for changes of the file system: private folders, atomic files, moves and removals.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_core::{Error, Result, fault};
use sha2::{Digest, Sha256};

/// Makes a folder and its parents, readable by its owner only. One that exists stays as it is.
pub fn create_private_dir(site: &'static str, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fault::guard(site, || fs::DirBuilder::new().recursive(true).mode(0o700).create(path))
        .map_err(|error| io_error("create", path, &error))
}

/// Replaces the file at `path` by `bytes` in one step: a reader sees the old or the new, never a part. It is on the
/// disk when this returns.
pub fn write_atomic(site: &'static str, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    replace(site, path, bytes, mode, File::sync_data)
}

/// As [`write_atomic`], but a loss of power soon after may lose it: for what is made again, or kept elsewhere.
pub fn write_cache(site: &'static str, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    replace(site, path, bytes, mode, |_| Ok(()))
}

/// As [`write_atomic`], for a file that is there and is somebody's own: it keeps its permissions exactly.
pub fn write_in_place_of(site: &'static str, path: &Path, bytes: &[u8]) -> Result<()> {
    let permissions = fs::metadata(path)
        .map_err(|error| io_error("read", path, &error))?
        .permissions();
    let finish = |file: &File| {
        // The mode that a file is opened with is less the umask.
        file.set_permissions(permissions.clone())?;
        file.sync_data()
    };
    replace(site, path, bytes, 0o600, finish)
}

fn replace(
    site: &'static str,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let count = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = folder.join(format!(".{name}.{}.{count}.new", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(bytes)?;
        sync(&file)?;
        fs::rename(&draft, path)
    };
    fault::guard(site, write).map_err(|error| {
        let _ = fs::remove_file(&draft);
        io_error("write", path, &error)
    })
}

/// Moves `from` to `to` on the same file system; the parent folder of `to` is made.
pub fn rename(site: &'static str, from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        create_private_dir(site, parent)?;
    }
    fault::guard(site, || fs::rename(from, to))
        .map_err(|error| io_error("move", from, &error).context(format!("to {}", to.display())))
}

/// Removes a folder and all in it. One that is gone already is no error.
///
/// Folders without write permission (build caches are often read-only) are made writable first.
pub fn remove_tree(site: &'static str, path: &Path) -> Result<()> {
    let remove = || match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match fault::guard(site, remove) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Removes a file. One that is gone already is no error.
pub fn remove_file(site: &'static str, path: &Path) -> Result<()> {
    match fault::guard(site, || fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Copies a regular file, keeping its permission bits, and gives the SHA-256 of its bytes.
pub fn copy_file(site: &'static str, from: &Path, to: &Path) -> Result<String> {
    let copy = || -> io::Result<String> {
        let bytes = fs::read(from)?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(to)?;
        file.write_all(&bytes)?;
        Ok(digest(&bytes))
    };
    fault::guard(site, copy).map_err(|error| io_error("copy", from, &error))
}

/// SHA-256 of `bytes`, in lower-case hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    fleet_core::id::hex(&Sha256::digest(bytes))
}

/// SHA-256 of the file at `path`; none when it cannot be read.
pub fn file_digest(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| digest(&bytes))
}

/// Whether both paths lie on one file system, so that a rename between them is one step.
pub fn same_file_system(a: &Path, b: &Path) -> bool {
    let device = |path: &Path| {
        existing_ancestor(path)
            .and_then(|path| fs::metadata(path).ok())
            .map(|meta| meta.dev())
    };
    device(a).is_some() && device(a) == device(b)
}

/// The name of the network file system that `path` is on, if it is on one. SQLite's locks and ours cannot be
/// trusted there.
pub fn network_file_system(path: &Path) -> Option<&'static str> {
    /// Magic numbers of statfs(2) and linux/magic.h.
    const NETWORK: [(i64, &str); 9] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0102_1997, "9P"),
        (0x5346_414F, "AFS"),
        (0x7375_7245, "Coda"),
        (0x00C3_6400, "Ceph"),
        (0x0BD0_0BD0, "Lustre"),
    ];
    let existing = existing_ancestor(path)?;
    let magic = test_file_system(&existing).or_else(|| {
        nix::sys::statfs::statfs(&existing).ok().map(|stat| {
            #[allow(clippy::unnecessary_cast, reason = "the type differs between platforms")]
            let magic = stat.filesystem_type().0 as i64;
            magic & 0xFFFF_FFFF
        })
    })?;
    NETWORK
        .iter()
        .find(|(number, _)| *number == magic)
        .map(|(_, name)| *name)
}

/// In debug builds a file `.fleet-test-statfs` with a decimal magic number stands for a mount that a test
/// cannot make.
fn test_file_system(folder: &Path) -> Option<i64> {
    if cfg!(debug_assertions) {
        return fs::read_to_string(folder.join(".fleet-test-statfs"))
            .ok()?
            .trim()
            .parse()
            .ok();
    }
    None
}

/// The nearest ancestor of `path` (or itself) that exists.
pub fn existing_ancestor(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|each| each.exists()).map(Path::to_owned)
}

/// Bytes on disk below `path` (blocks, not lengths; links are not followed).
pub fn disk_usage(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    let Ok(entries) = fs::read_dir(path) else { return own };
    own + entries.flatten().map(|entry| disk_usage(&entry.path())).sum::<u64>()
}

/// Up to the last `most` bytes of a file.
pub fn read_tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut tail = Vec::with_capacity(length.min(most) as usize);
    file.take(most).read_to_end(&mut tail)?;
    Ok(tail)
}

/// The error for a failed act on `path`, with a hint where the cause is a known one.
pub fn io_error(act: &str, path: &Path, error: &io::Error) -> Error {
    let message = format!("cannot {act} {}: {error}", path.display());
    match error.raw_os_error() {
        Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => {
            Error::unavailable(format!("cannot {act} {}: the disk is full", path.display()))
                .hint("free some space: `fleet clean` shows what fleet itself holds")
        }
        Some(nix::libc::EROFS) => {
            Error::unavailable(format!("cannot {act} {}: the file system is read-only", path.display()))
                .hint("choose another home: `export FLEET_HOME=/var/tmp/fleet`")
        }
        Some(nix::libc::EACCES | nix::libc::EPERM) => {
            Error::unavailable(format!("cannot {act} {}: permission denied", path.display()))
                .hint(format!("see who owns it: `ls -ld {}`", path.display()))
        }
        _ => Error::unavailable(message),
    }
}

fn make_writable(path: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        return;
    }
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(meta.permissions().mode() | 0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        make_writable(&entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_leaves_no_draft() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("file");
        write_atomic("test.write", &path, b"one", 0o600).expect("written");
        write_atomic("test.write", &path, b"two", 0o600).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        assert_eq!(fs::metadata(&path).expect("meta").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_tree_with_read_only_folders_is_removed() {
        let dir = tempfile::tempdir().expect("dir");
        let deep = dir.path().join("tree/locked");
        fs::create_dir_all(&deep).expect("made");
        fs::write(deep.join("file"), "x").expect("written");
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o500)).expect("locked");
        remove_tree("test.remove", &dir.path().join("tree")).expect("removed");
        assert!(!dir.path().join("tree").exists());
    }

    #[test]
    fn a_network_mount_is_recognised() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(network_file_system(dir.path()), None);
        fs::write(dir.path().join(".fleet-test-statfs"), "26985").expect("written");
        assert_eq!(network_file_system(dir.path()), Some("NFS"));
    }
}
