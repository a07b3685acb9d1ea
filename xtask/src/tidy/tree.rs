//! The files that are in the repository or would be added to it.

use std::path::Path;

use crate::Result;
use crate::run::Run;

use super::commits::{self, Commit};
use super::source::Source;

/// All text files.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    /// What the checked-out branch is made of.
    pub(crate) commits: Vec<Commit>,
}

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The code in it, if it is Rust.
    pub(crate) source: Option<Source>,
}

impl Tree {
    /// The files below `root` that git tracks, and the new ones that it does not ignore.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let listed = Run::new("git", root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .text()?;
        let mut tree = Self::default();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            // Not text, or deleted and not yet committed: nothing to read.
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                tree.files.push(File::new(path, text));
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.files.dedup_by(|a, b| a.path == b.path);
        let log = Run::new("git", root).args(["log", "-z", "--format=%H%n%B"]).text()?;
        tree.commits = commits::read(&log);
        Ok(tree)
    }

    /// A tree of these paths and texts.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File::new(path, (*text).to_owned()))
                .collect(),
            commits: Vec::new(),
        }
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files with their code.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| Some((file, file.source.as_ref()?)))
    }
}

impl File {
    fn new(path: &str, text: String) -> Self {
        let source = path.ends_with(".rs").then(|| Source::new(path, &text));
        Self {
            path: path.to_owned(),
            text,
            source,
        }
    }

    /// Its lines with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The last part of its path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}
