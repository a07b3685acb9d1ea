//! Which program an agent was started with, and whether another one is in its place now.
//!
//! A supervisor writes it down when it starts the child; whoever lists agents compares. That costs a look at a few files
//! where the answer is wanted. A watch would cost each supervisor one of the 128 inotify instances that a user has, and
//! would have to follow links: an update of one kind replaces a package's files, of another a link to them.
//!
//! Not seen: an update behind a fixed program that finds the real one itself, as version managers have them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file in an agent's folder.
const FILE: &str = "program.json";

/// One program as it was at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The path by which it was started.
    pub path: PathBuf,
    /// The file that this led to.
    pub file: PathBuf,
    /// Its version, where its package or its path tells it.
    pub version: Option<String>,
    /// What tells that file from a later one: device, inode, size and time of change in nanoseconds.
    stamp: (u64, u64, u64, i128),
}

/// That another program is in the place of the one that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The program's name.
    pub program: String,
    /// The versions before and after; none where they are not known.
    pub versions: Option<(String, String)>,
}

impl Program {
    /// The program at `path`; none when there is none.
    pub fn look(path: &Path) -> Option<Program> {
        let file = path.canonicalize().ok()?;
        let meta = fs::metadata(&file).ok()?;
        let changed = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Some(Program {
            path: path.to_owned(),
            version: version_of_package(&file).or_else(|| version_in_path(&file)),
            stamp: (meta.dev(), meta.ino(), meta.size(), changed),
            file,
        })
    }

    /// Writes it down in an agent's folder. Without it nobody can say whether it was updated, and that is all.
    pub(crate) fn keep(&self, folder: &Path) {
        if let Ok(bytes) = serde_json::to_vec(self) {
            let _ = fs::write(folder.join(FILE), bytes);
        }
    }

    /// Whether another one is in its place now. One that is gone is not: it may be in the middle of an update.
    pub fn update(&self) -> Option<Update> {
        let now = Program::look(&self.path)?;
        let versions = self.version.clone().zip(now.version.clone());
        let updated = match &versions {
            // The same version that was installed once more is nothing new.
            Some((before, after)) => before != after,
            None => (&self.file, self.stamp) != (&now.file, now.stamp),
        };
        let program = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        updated.then_some(Update { program, versions })
    }
}

/// What is written down in an agent's folder, as it is in the file: agents of one program have the same.
pub fn kept(folder: &Path) -> Option<Vec<u8>> {
    fs::read(folder.join(FILE)).ok()
}

/// Whether another program is in the place of the one that was written down.
pub fn updated(kept: &[u8]) -> Option<Update> {
    serde_json::from_slice::<Program>(kept).ok()?.update()
}

/// The version of the npm package that `file` is in.
fn version_of_package(file: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let parts: Vec<Component<'_>> = file.components().collect();
    let modules = parts.iter().rposition(|part| part.as_os_str() == "node_modules")?;
    let scoped = parts.get(modules + 1)?.as_os_str().as_encoded_bytes().starts_with(b"@");
    let end = modules + if scoped { 3 } else { 2 };
    let package: PathBuf = parts.get(..end)?.iter().collect();
    let text = fs::read(package.join("package.json")).ok()?;
    Some(serde_json::from_slice::<Package>(&text).ok()?.version)
}

/// The last part of the path that is a version and nothing else, as in `versions/2.1.197`.
fn version_in_path(file: &Path) -> Option<String> {
    let is_version = |part: &&str| part.contains('.') && part.split('.').all(|number| number.parse::<u32>().is_ok());
    let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
    parts.into_iter().rfind(is_version).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn versions(before: &str, after: &str) -> Option<Option<(String, String)>> {
        Some(Some((before.to_owned(), after.to_owned())))
    }

    #[test]
    fn an_npm_package_that_was_replaced_is_an_update_and_one_that_was_installed_again_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let package = dir.path().join("lib/node_modules/@made/agent");
        let install = |version: &str| {
            let _ = fs::remove_dir_all(&package);
            write(&package.join("dist/cli.js"), &format!("// {version}"));
            write(&package.join("package.json"), &format!(r#"{{"version":"{version}"}}"#));
        };
        install("1.0.0");
        let link = dir.path().join("agent");
        symlink(package.join("dist/cli.js"), &link).expect("linked");
        let program = Program::look(&link).expect("it is there");
        assert_eq!((program.version.as_deref(), program.update()), (Some("1.0.0"), None));
        install("1.0.0");
        assert_eq!(program.update(), None);
        install("1.0.1");
        let update = program.update().expect("an update");
        assert_eq!(
            (update.program.as_str(), Some(update.versions)),
            ("agent", versions("1.0.0", "1.0.1"))
        );
        fs::remove_dir_all(&package).expect("removed");
        assert_eq!(program.update(), None, "it may come back");
    }

    #[test]
    fn a_link_that_leads_to_another_version_is_an_update() {
        let dir = tempfile::tempdir().expect("dir");
        let link = dir.path().join("agent");
        for version in ["2.1.197", "2.1.198"] {
            write(&dir.path().join("versions").join(version), "x");
        }
        symlink(dir.path().join("versions/2.1.197"), &link).expect("linked");
        let program = Program::look(&link).expect("it is there");
        fs::remove_file(&link).expect("removed");
        symlink(dir.path().join("versions/2.1.198"), &link).expect("linked");
        assert_eq!(
            program.update().map(|update| update.versions),
            versions("2.1.197", "2.1.198")
        );
    }

    #[test]
    fn a_program_without_a_version_is_told_by_its_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent");
        write(&path, "one");
        let program = Program::look(&path).expect("it is there");
        program.keep(dir.path());
        let kept = kept(dir.path()).expect("kept");
        assert_eq!(updated(&kept), None);
        write(&dir.path().join("new"), "two");
        fs::rename(dir.path().join("new"), &path).expect("renamed");
        assert_eq!(updated(&kept).map(|update| update.versions), Some(None));
    }
}
