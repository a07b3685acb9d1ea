//! `integrate`: what other programs are given so that they know of fleet.

mod hooks;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use fleet_core::name::plural;
use fleet_core::plan::skill::skills;
use fleet_core::{Error, Result, fault};
use fleet_host::files;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::{Operation, Surfaces};
use crate::ops::plan::base;
use crate::page::{Label, Page, Show, plain, span};

/// Give Claude Code the skills to plan and run fleets, the command /fleet, and the hook that stores reports of tasks
///
/// Writes skills into ~/.claude/skills, or with --project into the repository's .claude/skills, and adds the hook to
/// settings.json beside that folder; all else in there stays as it is. What fleet has not written, or what was changed
/// since, is kept. Run it again after an update of fleet.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claude {
    /// For this repository alone, in its .claude/skills
    #[arg(long)]
    #[serde(default)]
    pub project: bool,
    /// Take them away again
    #[arg(long)]
    #[serde(default)]
    pub remove: bool,
    /// Replace what is not fleet's as well; it is moved to NAME.before-fleet beside
    #[arg(long, conflicts_with = "remove")]
    #[serde(default)]
    pub force: bool,
    /// Show what would be done
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not there and was written.
    Written,
    /// An older one of fleet's was replaced.
    Updated,
    /// It is the user's, and what is fleet's was added to it.
    Extended,
    /// One that is not fleet's was moved beside, and fleet's was written.
    Replaced,
    /// It was there as it should be.
    Current,
    /// It is not fleet's, or was changed: it stays as it is.
    Kept,
    /// It was fleet's and was removed.
    Removed,
    /// It was to be removed and was not there.
    Absent,
}

/// One file of the skills.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What became of it; with `--dry-run` what would.
    pub outcome: Outcome,
    /// Why it was kept, or where the other one was moved.
    pub note: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Integrated {
    /// The folder of skills.
    pub folder: PathBuf,
    /// All of fleet's files in it.
    pub files: Vec<File>,
    /// Whether nothing was changed, because that was asked for.
    pub dry_run: bool,
}

/// A file as fleet writes it: the text of the skill and a last line that tells whether it was changed since.
#[derive(Clone, Debug, Serialize)]
pub struct Stamped {
    /// Where it is below the folder of skills.
    pub path: String,
    /// What it says.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

/// Whose file it is.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Absent,
    Ours,
    /// Not fleet's, and why.
    Theirs(&'static str),
}

const MARK: &str = "written by fleet integrate, ";

impl Operation for Claude {
    const NAME: &'static str = "integrate.claude";
    const EFFECT: Effect = Effect::Write;
    const SURFACES: Surfaces = Surfaces::CLI;
    type Output = Integrated;

    fn effect(&self) -> Effect {
        if self.dry_run { Effect::Read } else { Effect::Write }
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Integrated> {
        if self.remove && self.force {
            return Err(Error::usage("`--force` is not for `--remove`").hint("leave `--force` out"));
        }
        let folder = self.folder(app, caller)?;
        let mut done = Vec::new();
        for skill in stamped() {
            let path = folder.join(&skill.path);
            let (outcome, note) = match self.remove {
                true => self.take(&path)?,
                false => self.put(&path, &skill)?,
            };
            done.push(File { path, outcome, note });
        }
        done.push(self.hooks(&folder)?);
        if self.remove && !self.dry_run {
            remove_empty_folders(&folder);
        }
        Ok(Integrated {
            folder,
            files: done,
            dry_run: self.dry_run,
        })
    }
}

/// The skills as they are written.
pub fn stamped() -> Vec<Stamped> {
    let stamp = |skill: fleet_core::plan::skill::Skill| {
        let digest = digest(&skill.text);
        let line = match skill.executable {
            true => format!("# {MARK}{digest}\n"),
            false => format!("<!-- {MARK}{digest} -->\n"),
        };
        Stamped {
            path: skill.path,
            text: skill.text + &line,
            executable: skill.executable,
        }
    };
    skills().into_iter().map(stamp).collect()
}

impl Claude {
    fn folder(&self, app: &App, caller: &Caller) -> Result<PathBuf> {
        if self.project {
            let _ = fleet_host::git::discover(&caller.cwd)?;
            return Ok(Path::new(&base(app, caller)).join(".claude/skills"));
        }
        let set = |name: &str| caller.var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // Claude Code itself looks there first.
        let own = set("CLAUDE_CONFIG_DIR").or_else(|| Some(set("HOME")?.join(".claude")));
        let own = own.ok_or_else(|| {
            Error::usage("neither HOME nor CLAUDE_CONFIG_DIR is set")
                .hint("set one, or pass `--project` in a repository")
        })?;
        Ok(caller.cwd.join(own).join("skills"))
    }

    fn put(&self, path: &Path, skill: &Stamped) -> Result<(Outcome, Option<String>)> {
        let (outcome, note) = match standing(path)? {
            Standing::Absent => (Outcome::Written, None),
            Standing::Ours if is_current(path, &skill.text) => return Ok((Outcome::Current, None)),
            Standing::Ours => (Outcome::Updated, None),
            Standing::Theirs(why) if !self.force => return Ok((Outcome::Kept, Some(why.to_owned()))),
            Standing::Theirs(_) => {
                let beside = free_beside(path);
                if !self.dry_run {
                    files::rename("integrate.move", path, &beside)?;
                }
                (Outcome::Replaced, Some(format!("moved to {}", beside.display())))
            }
        };
        if !self.dry_run {
            files::create_private_dir("integrate.folder", path.parent().unwrap_or(path))?;
            let mode = if skill.executable { 0o755 } else { 0o644 };
            files::write_atomic("integrate.write", path, skill.text.as_bytes(), mode)?;
        }
        Ok((outcome, note))
    }

    fn take(&self, path: &Path) -> Result<(Outcome, Option<String>)> {
        match standing(path)? {
            Standing::Absent => Ok((Outcome::Absent, None)),
            Standing::Theirs(why) => Ok((Outcome::Kept, Some(why.to_owned()))),
            Standing::Ours => {
                if !self.dry_run {
                    files::remove_file("integrate.remove", path)?;
                }
                Ok((Outcome::Removed, None))
            }
        }
    }
}

/// Whose the file at `path` is: fleet's is one whose last line fits the rest.
fn standing(path: &Path) -> Result<Standing> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => return Ok(Standing::Absent),
        Err(error) => return Err(files::io_error("read", path, &error)),
    };
    if !meta.is_file() {
        return Ok(Standing::Theirs("it is no file of its own"));
    }
    let bytes = fs::read(path).map_err(|error| files::io_error("read", path, &error))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(Standing::Theirs("fleet did not write it"));
    };
    let (body, last) = match text.trim_end_matches('\n').rsplit_once('\n') {
        Some((body, last)) => (format!("{body}\n"), last),
        None => return Ok(Standing::Theirs("fleet did not write it")),
    };
    Ok(match last.split_once(MARK) {
        None if text.contains(MARK) => Standing::Theirs("it was changed"),
        None => Standing::Theirs("fleet did not write it"),
        Some((_, rest)) if rest.trim_end_matches(" -->") == digest(&body) => Standing::Ours,
        Some(_) => Standing::Theirs("it was changed"),
    })
}

fn is_current(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// `NAME.before-fleet`, or one with a number where that is taken.
fn free_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let taken = |path: &Path| fs::symlink_metadata(path).is_ok();
    let first = path.with_file_name(format!("{name}.before-fleet"));
    let numbered = (2..).map(|number| path.with_file_name(format!("{name}.before-fleet-{number}")));
    let mut free = std::iter::once(first).chain(numbered).filter(|path| !taken(path));
    free.next().unwrap_or_else(|| path.to_owned())
}

/// Removes the folders of the skills, the inner ones first, where nothing is left in them.
fn remove_empty_folders(folder: &Path) {
    let mut folders: Vec<PathBuf> = skills()
        .iter()
        .flat_map(|skill| {
            let parents = Path::new(&skill.path).ancestors().skip(1);
            let parents = parents.filter(|each| !each.as_os_str().is_empty());
            parents.map(|each| folder.join(each)).collect::<Vec<_>>()
        })
        .collect();
    folders.sort();
    folders.dedup();
    for each in folders.iter().rev() {
        // One with something in it stays.
        let _ = fault::guard("integrate.remove-folder", || fs::remove_dir(each));
    }
}

fn digest(text: &str) -> String {
    files::digest(text.as_bytes())[..16].to_owned()
}

impl Show for Integrated {
    fn show(&self, page: &mut Page) {
        let would = if self.dry_run { "would be " } else { "" };
        for file in &self.files {
            let (label, word) = match file.outcome {
                Outcome::Written => (Label::Good, "written"),
                Outcome::Updated => (Label::Good, "updated"),
                Outcome::Extended => (Label::Good, "extended"),
                Outcome::Replaced => (Label::Warn, "replaced"),
                Outcome::Removed => (Label::Good, "removed"),
                Outcome::Kept => (Label::Warn, "kept"),
                Outcome::Current | Outcome::Absent => continue,
            };
            let note = file
                .note
                .as_deref()
                .map(|note| format!(" ({note})"))
                .unwrap_or_default();
            page.spans(vec![
                span(label, format!("{would}{word}")),
                plain(format!(" {}{note}", file.path.display())),
            ]);
        }
        let count = |outcomes: &[Outcome]| {
            self.files
                .iter()
                .filter(|file| outcomes.contains(&file.outcome))
                .count()
        };
        let all = plural(self.files.len(), "file");
        let folder = self.folder.display();
        let current = count(&[Outcome::Current]);
        if current == self.files.len() {
            page.line(format!("all {all} in {folder} are as they should be"));
        } else if count(&[Outcome::Absent]) == self.files.len() {
            page.line(format!("there is nothing of fleet in {folder}"));
        }
        if count(&[Outcome::Kept]) > 0 && count(&[Outcome::Removed, Outcome::Absent]) == 0 {
            page.hint("to have fleet's own in their place: `fleet integrate claude --force` moves the others beside");
        }
        if !self.dry_run && count(&[Outcome::Written, Outcome::Updated, Outcome::Replaced]) > 0 {
            page.hint("sessions of Claude Code that start from now on have the skills `fleet-plan` and `/fleet`");
        }
    }
}
