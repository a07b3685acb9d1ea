//! The prompts of a plan: the task, its scope, one destination, and the lines that a type of plan wants word for word.

use super::super::word::{Direction, PlanType, WorkerType};
use super::{Spec, WorkerSpec, below, is_verdict};

/// The last line of the prompt of a worktree worker.
pub const COMMIT: &str = "When you are done, commit your changes on the current branch with a descriptive message.";

/// The destination of a worker that makes files of its own; `{id}` is its id.
pub const SAVE: &str = "Save ALL output files to $FLEET_ROOT/workers/{id}/output/ — use absolute paths.";

/// How a reviewer gives its verdict: the end of its prompt.
pub const VERDICT: &str = "\
## Writing your verdict

1. Determine the current iteration number: list the `iterations/` directory and find the
   highest-numbered subdirectory that does NOT yet contain a `review.md`.
2. Write your verdict to `iterations/<N>/review.md` (relative to your working directory).
   **Never use absolute paths.**
3. The file MUST contain a line exactly like one of:
   - `verdict: lgtm`
   - `verdict: iterate`
   - `verdict: escalate`
4. Below the verdict line, list **actionable fix instructions** per worker — not just
   what's wrong, but exactly where and how to fix it (file path, function name, what
   to change). 2-3 precise points per worker. The builder sees this on next iteration,
   so vague feedback wastes a cycle.
";

/// The task of a reviewer whom nobody gave one.
pub(super) const REVIEW: &str = "\
Review what the builders have made. Compare it with their tasks, line by line.
Run the tests and checks that there are, and look at what they cover.
The work is good when every task is done, the checks pass, and you would sign it yourself.";

/// How many files of others are listed in a prompt.
const SHOWN: usize = 40;

/// The prompts of `workers`, each with its path below the fleet root.
pub(super) fn prompts(plan_type: PlanType, workers: &[WorkerSpec], base: &str) -> Vec<(String, String)> {
    let prompt = |worker: &WorkerSpec| {
        let text = match plan_type {
            PlanType::Worktree => worktree(worker, workers),
            _ if is_verdict(plan_type, worker) => reviewer(worker, workers, base),
            _ => waiting(worker, workers, base),
        };
        (format!("workers/{}/prompt.md", worker.id), text)
    };
    workers.iter().map(prompt).collect()
}

/// A worker in a worktree of its own.
fn worktree(worker: &WorkerSpec, workers: &[WorkerSpec]) -> String {
    let mut text = head(worker);
    text.push_str("## Scope\n\nYou work in a git worktree of your own. Change only these files:\n\n");
    text.push_str(&list(worker.files.iter().map(|path| format!("`{path}`"))));
    text.push_str("\nDo NOT touch any other file.");
    let others = workers.iter().filter(|other| other.id != worker.id);
    let theirs: Vec<String> = others
        .flat_map(|other| other.files.iter().map(|path| format!("`{path}` (`{}`)", other.id)))
        .collect();
    if !theirs.is_empty() {
        text.push_str(" These belong to other workers:\n\n");
        text.push_str(&list(theirs.iter().take(SHOWN).cloned()));
        if theirs.len() > SHOWN {
            text.push_str(&format!("- and {} more\n", theirs.len() - SHOWN));
        }
    } else {
        text.push('\n');
    }
    text.push_str(&format!("\n{COMMIT}\n"));
    text
}

/// A worker of a dag, or a builder.
fn waiting(worker: &WorkerSpec, workers: &[WorkerSpec], base: &str) -> String {
    let mut text = head(worker);
    let before: Vec<&WorkerSpec> = workers
        .iter()
        .filter(|other| worker.after.contains(&other.id))
        .collect();
    if !before.is_empty() {
        text.push_str("## What is there\n\nThese workers are done before you start. Read what they have made:\n\n");
        text.push_str(&list(before.iter().map(|other| made(other, base))));
        text.push('\n');
    }
    text.push_str("## Scope\n\n");
    if !worker.files.is_empty() {
        let files: Vec<String> = worker
            .files
            .iter()
            .map(|path| format!("`{}`", below(base, path)))
            .collect();
        match files.as_slice() {
            [one] => text.push_str(&format!("Write to {one}\n")),
            several => text.push_str(&format!("Write to these files:\n\n{}", list(several.iter().cloned()))),
        }
        text.push_str("\nDo NOT touch any other file, and do NOT hand in anything elsewhere.\n");
    } else if worker.worker_type == Some(WorkerType::ReadOnly) {
        text.push_str("Do NOT change or save any file. Your last message is all that you hand in.\n");
    } else {
        text.push_str(&format!(
            "Read what you need. Do NOT change anything in the repository or in the folders of other workers.\n\n{}\n",
            SAVE.replace("{id}", &worker.id)
        ));
    }
    text
}

/// The one whose verdict ends a round.
fn reviewer(worker: &WorkerSpec, workers: &[WorkerSpec], base: &str) -> String {
    let mut text = head(worker);
    text.push_str("## What you review\n\n");
    let builders = workers.iter().filter(|other| other.id != worker.id);
    for builder in builders {
        let task = format!("its task is `$FLEET_ROOT/workers/{}/prompt.md`", builder.id);
        text.push_str(&format!("- {}; {task}\n", made(builder, base)));
    }
    text.push('\n');
    text.push_str("## Scope\n\nDo NOT repair anything yourself: the builders do, in the next round.\n\n");
    text.push_str(VERDICT);
    text
}

/// The prompt of each round of an autoresearch plan.
pub(super) fn program(spec: &Spec, name: &str, workdir: &str, results: &str) -> String {
    let text = |value: &Option<String>| value.as_deref().unwrap_or_default().trim().to_owned();
    let better = match spec.metric_direction.unwrap_or(Direction::Minimize) {
        Direction::Minimize => "Less is better.",
        Direction::Maximize => "More is better.",
    };
    let scope = match spec.files.is_empty() {
        true => format!("Change only what is below `{workdir}`.\n"),
        false => {
            let files = spec.files.iter().map(|path| format!("`{}`", below(workdir, path)));
            format!("Change only these files:\n\n{}", list(files))
        }
    };
    let command: Vec<String> = text(&spec.eval_command)
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!(
        "# {name}\n\n{}\n\n## How it is measured\n\nfleet runs this command in `{workdir}` when your round is over:\n\n{}\n\
         The number is what `{}` finds in its output. {better}\n\n## Your round\n\nMake ONE change that should make the \
         number better, and make it whole. fleet measures it, and keeps or discards it: that is not yours to do.\n\
         Look into `{results}` for what was tried before and what came of it. Do NOT try the same again.\n\
         Say in your last message what you have changed and why it should help.\n\n## Scope\n\n{scope}\n\
         Do NOT change the command, what it reads to measure, or `{results}`.\n",
        text(&spec.goal),
        command.concat(),
        text(&spec.metric_regex),
    )
}

fn head(worker: &WorkerSpec) -> String {
    format!("# {}\n\n{}\n\n", worker.id, worker.task.trim())
}

/// Where what a worker hands in is found.
fn made(worker: &WorkerSpec, base: &str) -> String {
    let id = &worker.id;
    if !worker.files.is_empty() {
        let files: Vec<String> = worker
            .files
            .iter()
            .map(|path| format!("`{}`", below(base, path)))
            .collect();
        return format!("`{id}`: {}", files.join(", "));
    }
    match worker.worker_type {
        Some(WorkerType::ReadOnly) => {
            format!("`{id}`: the last message in `$FLEET_ROOT/workers/{id}/session.jsonl`")
        }
        _ => format!("`{id}`: `$FLEET_ROOT/workers/{id}/output/`"),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.map(|item| format!("- {item}\n")).collect()
}
