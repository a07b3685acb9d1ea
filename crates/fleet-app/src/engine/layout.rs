//! The files of a fleet root that people and programs read: what a worker printed, how it stands, reviews.
//!
//! ```text
//! workers/ID/prompt.md  session.jsonl  status.json  output/
//! iterations/N/review.md  iterations/N/workers/ID/session.jsonl
//! logs/session-iter-N.jsonl
//! ```
//!
//! None of them is the truth: that is the store and the agents' journals. So a failure to write one is no failure.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::plan::{Plan, Shape};
use fleet_core::run::{Key, Part};
use fleet_core::{Error, Result, Time};
use fleet_host::files;
use serde_json::json;

/// The longest review that is read.
const LONGEST_REVIEW: u64 = 1024 * 1024;

/// The folder of a worker.
pub(super) fn worker_dir(root: &Path, id: &str) -> PathBuf {
    root.join("workers").join(id)
}

/// The folder for what a worker hands in.
pub(super) fn output_dir(root: &Path, id: &str) -> PathBuf {
    worker_dir(root, id).join("output")
}

fn round_dir(root: &Path, round: u32) -> PathBuf {
    root.join("iterations").join(round.to_string())
}

/// Makes the folder of a round: the reviewer finds by it which round it is in.
pub(super) fn make_round(root: &Path, round: u32) -> Result<()> {
    make_dir("drive.round-dir", &round_dir(root, round))
}

/// Makes a folder of the fleet root, with the user's usual mode.
pub(super) fn make_dir(site: &'static str, path: &Path) -> Result<()> {
    fleet_core::fault::guard(site, || fs::create_dir_all(path)).map_err(|error| files::io_error("create", path, &error))
}

/// Makes the folder for what the worker of `key` hands in. Before a reviewer begins, what lies already where its review
/// is looked for, from an earlier run or from a builder, is renamed: it is no verdict on what it has not seen.
pub(super) fn make_output(root: &Path, plan: &Plan, key: Key, goes_on: bool) -> Result<()> {
    let output = output_dir(root, plan.worker_id(key.worker));
    let is_reviewer = matches!(&plan.shape, Shape::Iterative(rounds) if rounds.reviewer == key.worker);
    let begins = is_reviewer && key.part == Part::Work && !goes_on;
    let reviews = if begins {
        review_places(root, key.round, plan)
    } else {
        Vec::new()
    };
    fleet_core::fault::guard("drive.output-dir", || {
        fs::create_dir_all(&output)?;
        let aside = |review: &PathBuf| free_name(review).map_or(Ok(()), |aside| fs::rename(review, aside));
        reviews.iter().try_for_each(aside)
    })
    .map_err(|error| files::io_error("prepare", &output, &error))
}

/// The first free `review.earlier-N.md` beside `review`; none where there is no review.
fn free_name(review: &Path) -> Option<PathBuf> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let mut names = (1..).map(|number| review.with_file_name(format!("review.earlier-{number}.md")));
    is_there(review).then(|| names.find(|path| !is_there(path))).flatten()
}

/// The places where the reviewer of `plan` may leave the review of `round`, the one that it is told of first.
fn review_places(root: &Path, round: u32, plan: &Plan) -> Vec<PathBuf> {
    let Shape::Iterative(rounds) = &plan.shape else {
        return Vec::new();
    };
    let id = plan.worker_id(rounds.reviewer);
    let reviewer = worker_dir(root, id);
    let own = PathBuf::from("iterations").join(round.to_string());
    [
        round_dir(root, round),
        reviewer.join(&own),
        reviewer.join("output").join(&own),
        round_dir(root, round).join("workers").join(id),
    ]
    .map(|folder| folder.join("review.md"))
    .into()
}

/// The text of the review of `round`, from the first of the places where reviewers leave it that has one.
pub(super) fn read_review(root: &Path, round: u32, plan: &Plan) -> Option<String> {
    let read = |place: PathBuf| {
        let meta = fs::metadata(&place).ok()?;
        let bytes = (meta.is_file() && meta.len() <= LONGEST_REVIEW).then(|| fs::read(&place))?;
        Some(String::from_utf8_lossy(&bytes.ok()?).into_owned())
    };
    review_places(root, round, plan).into_iter().find_map(read)
}

/// The file that gets what the program of a step prints. The folder is made; in a plan of rounds the worker's own
/// `session.jsonl` leads to that of the round.
pub(super) fn session_file(root: &Path, plan: &Plan, key: Key) -> Option<PathBuf> {
    let id = plan.worker_id(key.worker);
    let path = match (&plan.shape, key.part) {
        (_, Part::Measure) => return None,
        (Shape::Pipeline(_), _) => stage_session(root, id, key.round),
        (Shape::Autoresearch(_), _) => root.join("logs").join(format!("session-iter-{}.jsonl", key.round)),
        (Shape::Iterative(_), _) => round_dir(root, key.round)
            .join("workers")
            .join(id)
            .join("session.jsonl"),
        _ => worker_dir(root, id).join("session.jsonl"),
    };
    make_dir("drive.session-dir", path.parent()?).ok()?;
    if matches!(plan.shape, Shape::Iterative(_)) {
        let link = worker_dir(root, id).join("session.jsonl");
        let to = format!("../../iterations/{}/workers/{id}/session.jsonl", key.round);
        let _ = files::remove_file("drive.session-unlink", &link);
        let _ = fleet_core::fault::guard("drive.session-link", || std::os::unix::fs::symlink(to, link));
    }
    Some(path)
}

/// The file with what the stage called `name` printed in its go number `go`.
pub(super) fn stage_session(root: &Path, name: &str, go: u32) -> PathBuf {
    worker_dir(root, name).join(format!("session-{go}.jsonl"))
}

/// How a worker stands, for its `status.json`.
pub(super) struct Status<'a> {
    /// `RUNNING`, `DONE`, `FAILED`, …
    pub(super) word: &'a str,
    pub(super) task: Option<&'a str>,
    pub(super) step: String,
    pub(super) agent: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) cost: Option<f64>,
    pub(super) restarts: u32,
    pub(super) at: Time,
}

/// Writes a worker's `status.json`.
pub(super) fn write_status(root: &Path, id: &str, status: &Status<'_>) {
    let body = json!({
        "worker_id": id, "status": status.word, "task": status.task, "step": status.step,
        "last_updated": status.at, "session_id": status.session, "cost_usd": status.cost,
        "restarts": status.restarts, "agent": status.agent,
    });
    let path = worker_dir(root, id).join("status.json");
    if let Ok(bytes) = serde_json::to_vec(&body)
        && path.parent().is_some_and(Path::is_dir)
    {
        let _ = files::write_cache("drive.status-file", &path, &bytes, 0o644);
    }
}

/// The error for a prompt that cannot be read.
pub(super) fn no_prompt(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::usage(format!("the prompt {} cannot be read: {why}", path.display()))
}
