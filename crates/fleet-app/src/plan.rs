//! A plan and what it speaks of, read from the disk for the rules of `fleet_core::plan`. Nothing is changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fleet_core::plan::prompt::{LONGEST, Prompt};
use fleet_core::plan::{Draft, Surroundings};
use fleet_core::{Error, Result};
use nix::unistd::{AccessFlags, access};

use crate::app::App;
use crate::caller::Caller;

/// The name of a plan's file.
pub const FILE: &str = "fleet.json";

/// The largest plan that is read: some hundred times 1,000 workers.
const LARGEST: u64 = 256 * 1024 * 1024;

/// A plan's file as it was found.
pub struct Found {
    /// The fleet root: the folder that holds it. Absolute, without symbolic links.
    pub root: PathBuf,
    /// The same, as the caller named it.
    pub named: PathBuf,
    /// Its file.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
}

/// Reads the plan at `path`, a fleet root or the file itself. Errors: it is not there, or it is no text.
pub fn find(caller: &Caller, path: &str) -> Result<Found> {
    let path = caller.cwd.join(path);
    let missing = |path: &Path| {
        Error::not_found(format!("there is no {}", path.display())).hint(format!(
            "name a fleet root, which is a folder with a {FILE}, or the file itself"
        ))
    };
    let meta = fs::metadata(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(&path),
        _ => unreadable(&path, &error),
    })?;
    let (named, file) = match meta.is_dir() {
        true => (path.clone(), path.join(FILE)),
        false => (path.parent().unwrap_or(Path::new("/")).to_owned(), path),
    };
    let meta = fs::metadata(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(&file),
        _ => unreadable(&file, &error),
    })?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Err(
            Error::usage(format!("{} is no file of at most {LARGEST} bytes", file.display()))
                .hint(format!("name a fleet root, which is a folder with a {FILE}")),
        );
    }
    let bytes = fs::read(&file).map_err(|error| unreadable(&file, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::usage(format!("{} is no text: byte {at} is no UTF-8", file.display())).hint("save it as UTF-8")
    })?;
    let root = fs::canonicalize(&named).map_err(|error| unreadable(&named, &error))?;
    Ok(Found {
        root,
        named,
        file,
        text,
    })
}

/// What `draft`, the plan of `found`, speaks of.
pub fn surroundings(app: &App, caller: &Caller, found: &Found, draft: &Draft<'_>) -> Result<Surroundings> {
    let repo = app.repo(caller).ok();
    let config = app.config(caller, repo.as_ref())?;
    let shown = |path: &Path| path.display().to_string();
    Ok(Surroundings {
        roots: vec![shown(&found.root), shown(&found.named)],
        read_only: access(&found.root, AccessFlags::W_OK | AccessFlags::X_OK)
            .err()
            .map(|why| why.desc().to_lowercase()),
        prompts: draft
            .prompts()
            .map(|id| prompt(&found.root.join("workers").join(id).join("prompt.md")))
            .collect(),
        program: draft.program().map(|path| prompt(&found.root.join(path))),
        has_workdir: draft.workdir().is_none_or(|path| found.root.join(path).is_dir()),
        harnesses: config.harness.keys().cloned().collect(),
        allow_unknown_model: false,
    })
}

/// The prompt in the file at `path`.
fn prompt(path: &Path) -> Prompt {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Prompt::Missing,
        Err(error) => return Prompt::Unreadable(error.to_string()),
    };
    // A pipe would be waited for, for ever.
    if !meta.is_file() {
        return Prompt::Unreadable("it is no file".to_owned());
    }
    if meta.len() > LONGEST as u64 {
        return Prompt::Unreadable(format!("it is longer than {LONGEST} bytes"));
    }
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Prompt::read(&text),
        Ok(Err(_)) => Prompt::Unreadable("it is no UTF-8".to_owned()),
        Err(error) => Prompt::Unreadable(error.to_string()),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::unavailable(format!("cannot read {}: {error}", path.display())).hint(format!(
        "see who owns it: `ls -ld {}`",
        fleet_core::name::word(&path.to_string_lossy())
    ))
}
