//! A plan on the disk: read with what it speaks of for the rules of `fleet_core::plan`, and written whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fleet_core::nearest::nearest;
use fleet_core::plan::author::{Spec, WorkerSpec, Written};
use fleet_core::plan::file::schema_of;
use fleet_core::plan::prompt::{LONGEST, Prompt};
use fleet_core::plan::{Draft, Surroundings};
use fleet_core::{Error, Result};
use fleet_host::files;
use nix::unistd::{AccessFlags, access};
use serde_json::Value;
use toml::de::DeTable;

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
        read_only: writable_fault(&found.root),
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
/// Where the fleet root `root` will be: absolute, and free. Errors: something is there, or its parent is not.
pub fn root_of(caller: &Caller, root: &str) -> Result<PathBuf> {
    if root.trim().is_empty() {
        return Err(Error::usage("the fleet root has no name").hint("name a folder that is not there yet"));
    }
    let path = caller.cwd.join(root);
    match fs::read_dir(&path) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let message = format!("{} is there already, and not empty", path.display());
                return Err(Error::conflict(message).hint("name a folder that is not there yet"));
            }
            return fs::canonicalize(&path).map_err(|error| unreadable(&path, &error));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(unreadable(&path, &error)),
        Err(_) if fs::symlink_metadata(&path).is_err() => {}
        Err(_) => {
            let message = format!("{} is there already, and no folder", path.display());
            return Err(Error::conflict(message).hint("name a folder that is not there yet"));
        }
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(
            Error::usage(format!("{} names no folder", path.display())).hint("name a folder that is not there yet")
        );
    };
    let parent = fs::canonicalize(parent).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no folder {}", parent.display())).hint(format!(
            "make it first: `mkdir -p {}`",
            fleet_core::name::word(&parent.to_string_lossy())
        )),
        _ => unreadable(parent, &error),
    })?;
    if !parent.is_dir() {
        let message = format!("{} is no folder", parent.display());
        return Err(Error::usage(message).hint("name a folder that is not there yet, in one that is"));
    }
    let path = parent.join(name);
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(path),
        _ => Err(
            Error::usage("the path of the fleet root has a control character or is no UTF-8")
                .hint("name another folder"),
        ),
    }
}

/// What the plan `draft` speaks of, where its prompts are not on the disk yet: `prompts` are their texts.
pub fn surroundings_of(
    app: &App,
    caller: &Caller,
    root: &Path,
    draft: &Draft<'_>,
    prompts: &[(String, String)],
) -> Result<Surroundings> {
    let repo = app.repo(caller).ok();
    let config = app.config(caller, repo.as_ref())?;
    let parent = if root.is_dir() {
        root
    } else {
        root.parent().unwrap_or(root)
    };
    let mut texts = prompts.iter().map(|(_, text)| Prompt::read(text));
    let program = draft.program().and_then(|_| texts.next());
    Ok(Surroundings {
        roots: vec![root.display().to_string()],
        read_only: writable_fault(parent),
        prompts: texts.collect(),
        program,
        has_workdir: draft.workdir().is_none_or(|path| root.join(path).is_dir()),
        harnesses: config.harness.keys().cloned().collect(),
        allow_unknown_model: false,
    })
}

/// Makes the fleet root: whole under another name first, so that whoever sees it sees all of it.
pub fn write_root(app: &App, root: &Path, written: &Written) -> Result<()> {
    let (parent, name) = match (root.parent(), root.file_name()) {
        (Some(parent), Some(name)) => (parent, name.to_string_lossy()),
        _ => return Err(Error::usage("the root of the file system cannot be a fleet root")),
    };
    let draft = parent.join(format!(".{name}.{}.new", app.new_hex()));
    let make = || -> Result<()> {
        let plan = (FILE, written.text.as_str());
        let prompts = written
            .prompts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        for (path, text) in std::iter::once(plan).chain(prompts) {
            let path = draft.join(path);
            files::create_private_dir("plan.folder", path.parent().unwrap_or(&draft))?;
            files::write_atomic("plan.write", &path, text.as_bytes(), 0o644)?;
        }
        files::rename("plan.place", &draft, root)
    };
    make().inspect_err(|_| {
        let _ = files::remove_tree("plan.discard", &draft);
    })
}

/// Reads the answers in the file at `path`. Errors: a key or value that is none, with its line.
pub fn read_spec(path: &Path) -> Result<Spec> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no {}", path.display()))
            .hint("docs/reference/plan-spec.md has an example of such a file"),
        io::ErrorKind::InvalidData => {
            Error::usage(format!("{} is no text: it is not UTF-8", path.display())).hint("save it as UTF-8")
        }
        _ => unreadable(path, &error),
    })?;
    let wrong = |at: Option<usize>, message: &str, hint: String| {
        let place = at.map(|at| {
            let before = &text[..at.min(text.len())];
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!(":{}:{column}", before.matches('\n').count() + 1)
        });
        let place = place.unwrap_or_default();
        Error::usage(format!("{}{place}: {message}", path.display())).hint(hint)
    };
    let see = || "docs/reference/plan-spec.md has every key with an example".to_owned();
    let said = |error: toml::de::Error| {
        let at = error.span().map(|span| span.start);
        wrong(at, &error.message().trim().replace('\n', ", "), see())
    };
    let table = DeTable::parse(&text).map_err(said)?;
    if let Some((at, key, known)) = unknown_key(table.get_ref()) {
        let hint = match nearest(&key, known.iter().map(String::as_str), 1).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        return Err(wrong(Some(at), &format!("the key `{key}` is not known"), hint));
    }
    let spec: Spec = toml::from_str(&text).map_err(said)?;
    // TOML has `nan` and `inf`; a plan, which is JSON, has not.
    let budgets = spec.workers.iter().map(|worker| worker.budget);
    if budgets
        .chain([spec.max_budget_fleet])
        .flatten()
        .any(|amount| !amount.is_finite())
    {
        return Err(wrong(None, "`nan` and `inf` are no amounts in USD", see()));
    }
    Ok(spec)
}

/// The answers as a file for `--from`.
pub fn show_spec(spec: &Spec) -> String {
    toml::to_string_pretty(spec).unwrap_or_default()
}

/// The first key that a spec does not have: where it is, and what may stand there.
fn unknown_key(table: &DeTable<'_>) -> Option<(usize, String, Vec<String>)> {
    let keys = |schema: Value| -> Vec<String> {
        let properties = schema["properties"].as_object().into_iter().flatten();
        properties.map(|(key, _)| key.clone()).collect()
    };
    let of = |table: &DeTable<'_>, known: &[String]| {
        let unknown = table
            .keys()
            .filter(|key| !known.iter().any(|each| each == key.get_ref().as_ref()));
        unknown.map(|key| (key.span().start, key.get_ref().to_string())).min()
    };
    let known = keys(schema_of::<Spec>());
    let mut found = of(table, &known).map(|(at, key)| (at, key, known));
    let known = keys(schema_of::<WorkerSpec>());
    let workers = table.get("workers").and_then(|workers| workers.get_ref().as_array());
    for worker in workers.into_iter().flat_map(|list| list.iter()) {
        let Some(table) = worker.get_ref().as_table() else {
            continue;
        };
        if let Some((at, key)) = of(table, &known)
            && found.as_ref().is_none_or(|(first, ..)| at < *first)
        {
            found = Some((at, key, known.clone()));
        }
    }
    found
}

fn writable_fault(path: &Path) -> Option<String> {
    let fault = access(path, AccessFlags::W_OK | AccessFlags::X_OK).err();
    fault.map(|why| why.desc().to_lowercase())
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
