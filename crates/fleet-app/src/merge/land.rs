//! Landing: branches go in one by one, and the target only ever moves forward to what has passed the gate.
//!
//! Without a gate the target moves after each merge. With one, all that is left is merged in a row and the gate is run
//! once on the result. When it fails, the first merge that breaks it is searched for; the merges before it land, it is
//! left out, and the rest is tried again without it. Nothing is remembered between runs: what is on the target already
//! is skipped, so that a landing which was cut off is finished by asking for it again.

use fleet_core::merge::first_breaking;
use fleet_core::name::plural;
use fleet_core::task::TRAILER;
use fleet_core::{Error, Result};
use fleet_host::exec::Checked;
use fleet_host::git::Merges;

use super::gate::{self, Gate};
use super::plan::{TIP_TRAILER, blame, in_conflict};
use super::target::Target;
use super::{Clash, Conflict, Fate, MergePlan, Planned};
use crate::app::App;
use crate::caller::Caller;
use crate::task;

pub use super::gate::GateLine;

/// How a branch comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By a merge commit.
    Merge,
    /// As one commit of its own.
    Squash,
}

/// How to land.
#[derive(Clone, Debug)]
pub struct Options {
    /// How a branch comes in.
    pub form: Form,
    /// What every result has to pass.
    pub gate: Option<GateLine>,
}

/// What a landing came to; the fates of the branches are in the plan.
#[derive(Clone, Debug, Default)]
pub struct Landing {
    /// Why it ended before all were tried.
    pub stopped: Option<Error>,
}

/// One merge of a row.
struct Step {
    /// The place of its branch in the plan.
    place: usize,
    commit: String,
}

/// Lands those branches of `plan` that can be merged, in its order, and writes their fates into it. Nothing is forced.
///
/// # Errors
/// Nothing was done: the checkout is not clean, another landing is under way, or the gate fails on the target as it is.
/// What happens later is in the [`Landing`].
pub fn land(
    app: &App,
    caller: &Caller,
    target: &mut Target,
    plan: &mut MergePlan,
    options: &Options,
) -> Result<Landing> {
    app.home.prepare()?;
    let Some(_turn) = gate::take_turn(&app.home, target)? else {
        return Err(
            Error::conflict(format!("another landing on `{}` is under way", target.branch)).hint("wait for its end"),
        );
    };
    let ready: Vec<usize> = places(plan, Fate::Ready);
    target.require_ready(
        &ready
            .iter()
            .map(|place| plan.branches[*place].clone())
            .collect::<Vec<_>>(),
    )?;
    let merges = Merges::kept(&target.repo.common_dir)?;
    for planned in plan.branches.iter_mut().filter(|planned| planned.tip.is_some()) {
        planned.tasks = task::of_commits(app, &target.repo.common_dir, &target.tip, &planned.branch)?;
    }
    let Some(wanted) = &options.gate else {
        return one_by_one(caller, &merges, target, plan, &ready, options.form);
    };
    let gate = Gate::open(&app.home, caller, target, wanted);
    let landing = behind(caller, &merges, &gate, target, plan, options.form);
    gate.close()?;
    landing
}

fn one_by_one(
    caller: &Caller,
    merges: &Merges,
    target: &mut Target,
    plan: &mut MergePlan,
    ready: &[usize],
    form: Form,
) -> Result<Landing> {
    for place in ready {
        let landed = row(merges, target, plan, &[*place], form).and_then(|steps| {
            let Some(step) = steps.first() else { return Ok(()) };
            target.advance(&step.commit)?;
            let planned = &mut plan.branches[step.place];
            (caller.progress)(&format!("{} landed", planned.name));
            planned.fate = Fate::Landed;
            planned.landed_in = Some(step.commit.clone());
            Ok(())
        });
        if let Err(error) = landed {
            return stopped(plan, error);
        }
    }
    Ok(Landing::default())
}

/// Lands behind a gate. The error: the gate fails before anything is merged.
fn behind(
    caller: &Caller,
    merges: &Merges,
    gate: &Gate<'_>,
    target: &mut Target,
    plan: &mut MergePlan,
    form: Form,
) -> Result<Landing> {
    let mut known_to_pass = false;
    loop {
        let waiting = waiting(plan);
        let mut step = || -> Result<Option<()>> {
            let steps = row(merges, target, plan, &waiting, form)?;
            let Some(last) = steps.last() else { return Ok(None) };
            (caller.progress)(&format!("the gate runs on {}", plural(steps.len(), "branch")));
            let whole = gate.run(&last.commit)?;
            if whole.passed() {
                take_in(target, plan, &steps)?;
                return Ok(Some(()));
            }
            if !known_to_pass {
                (caller.progress)(&format!("it fails; it runs on `{}` alone", target.branch));
                let alone = gate.run(&target.tip)?;
                if !alone.passed() {
                    return Err(fails_already(target, &alone));
                }
                known_to_pass = true;
            }
            let mut last_failure = whole;
            let culprit = first_breaking(steps.len(), |count| -> Result<bool> {
                (caller.progress)(&format!("the gate runs on the first {} of {}", count, steps.len()));
                let checked = gate.run(&steps[count - 1].commit)?;
                let passed = checked.passed();
                if !passed {
                    last_failure = checked;
                }
                Ok(passed)
            })?;
            if culprit > 0 {
                take_in(target, plan, &steps[..culprit])?;
            }
            let planned = &mut plan.branches[steps[culprit].place];
            (caller.progress)(&format!("{} is left out: the gate fails with it", planned.name));
            planned.fate = Fate::GateFailed;
            planned.why = Some(format!("the gate fails with it: {}", how_it_ended(&last_failure)));
            planned.gate_output = Some(tail(&last_failure.output));
            Ok(Some(()))
        };
        match step() {
            Ok(Some(())) => {}
            Ok(None) => return Ok(Landing::default()),
            Err(error) => return stopped(plan, error),
        }
    }
}

/// What ends a landing is its error while nothing has landed, and a part of its answer afterwards.
fn stopped(plan: &MergePlan, error: Error) -> Result<Landing> {
    match places(plan, Fate::Landed).is_empty() {
        true => Err(error),
        false => Ok(Landing { stopped: Some(error) }),
    }
}

/// The places of branches that may still land: also of those that were in conflict with one that was then left out.
fn waiting(plan: &MergePlan) -> Vec<usize> {
    let left_out: Vec<&str> = plan
        .branches
        .iter()
        .filter(|planned| planned.fate == Fate::GateFailed)
        .map(|planned| planned.name.as_str())
        .collect();
    let freed = |planned: &Planned| {
        let clashes = &planned.clashes;
        !clashes.is_empty()
            && clashes
                .iter()
                .any(|clash| clash.with.iter().any(|name| left_out.contains(&name.as_str())))
    };
    let may_land = |planned: &Planned| match planned.fate {
        Fate::Ready => true,
        Fate::Conflict => freed(planned),
        _ => false,
    };
    (0..plan.branches.len())
        .filter(|place| may_land(&plan.branches[*place]))
        .collect()
}

/// Merges the branches at `places` in a row, on top of the target. One that is in conflict is left out, and its fate
/// says so.
fn row(merges: &Merges, target: &Target, plan: &mut MergePlan, places: &[usize], form: Form) -> Result<Vec<Step>> {
    let mut current = target.tip.clone();
    let mut steps: Vec<Step> = Vec::new();
    for place in places {
        let planned = &plan.branches[*place];
        let Some(tip) = planned.tip.clone() else { continue };
        let merged = merges.merge(&current, &tip)?;
        if !merged.conflicts.is_empty() {
            let before: Vec<Planned> = plan
                .branches
                .iter()
                .enumerate()
                .filter(|(other, each)| each.fate == Fate::Landed || steps.iter().any(|step| step.place == *other))
                .map(|(_, each)| each.clone())
                .collect();
            let before: Vec<&Planned> = before.iter().collect();
            let (name, conflicts) = (planned.name.clone(), plan.conflicts.clone());
            let clashes = clashes(&name, merged.conflicts, &before, &conflicts, &target.branch);
            in_conflict(&mut plan.branches[*place], clashes);
            continue;
        }
        if merged.tree == merges.tree(&current)? {
            plan.branches[*place].fate = Fate::AlreadyIn;
            continue;
        }
        let commit = match form {
            Form::Merge => merges.commit(&merged.tree, &[&current, &tip], &merge_message(planned, target))?,
            Form::Squash => merges.commit(
                &merged.tree,
                &[&current],
                &squash_message(merges, planned, target, &tip)?,
            )?,
        };
        let planned = &mut plan.branches[*place];
        planned.fate = Fate::Ready;
        planned.why = None;
        planned.clashes.clear();
        current.clone_from(&commit);
        steps.push(Step { place: *place, commit });
    }
    Ok(steps)
}

fn clashes(
    name: &str,
    found: Vec<fleet_host::git::FileConflict>,
    before: &[&Planned],
    conflicts: &[Conflict],
    target: &str,
) -> Vec<Clash> {
    let clash = |each: fleet_host::git::FileConflict| Clash {
        with: blame(name, &each.file, before, conflicts, target),
        file: each.file,
        kind: each.kind,
    };
    found.into_iter().map(clash).collect()
}

/// Moves the target to the last of `steps`, which has passed, in one step: it is never at a commit that has not.
fn take_in(target: &mut Target, plan: &mut MergePlan, steps: &[Step]) -> Result<()> {
    let Some(last) = steps.last() else { return Ok(()) };
    target.advance(&last.commit)?;
    for step in steps {
        let planned = &mut plan.branches[step.place];
        planned.fate = Fate::Landed;
        planned.landed_in = Some(step.commit.clone());
    }
    Ok(())
}

fn places(plan: &MergePlan, fate: Fate) -> Vec<usize> {
    (0..plan.branches.len())
        .filter(|place| plan.branches[*place].fate == fate)
        .collect()
}

fn merge_message(planned: &Planned, target: &Target) -> String {
    let mut trailers: Vec<String> = planned.tasks.iter().map(|task| format!("{TRAILER}: {task}")).collect();
    if planned.name != planned.branch {
        trailers.insert(0, format!("Worker: {}", planned.name));
    }
    let gap = if trailers.is_empty() { "" } else { "\n\n" };
    let trailers = trailers.join("\n");
    format!(
        "Merge branch '{}' into {}{gap}{trailers}\n",
        planned.branch, target.branch
    )
}

/// The message of the only commit, or the branch's name and the subjects of all.
fn squash_message(merges: &Merges, planned: &Planned, target: &Target, tip: &str) -> Result<String> {
    let subjects = merges.subjects(&target.tip, tip)?;
    let body = match subjects.as_slice() {
        [_] => merges.message(tip)?,
        subjects => {
            let list: Vec<String> = subjects.iter().map(|subject| format!("- {subject}")).collect();
            format!("Squash branch '{}'\n\n{}", planned.branch, list.join("\n"))
        }
    };
    let last = body.lines().last().unwrap_or_default();
    let is_trailer = |line: &str| {
        let key = line.split_once(": ").map_or("", |(key, _)| key);
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let gap = if body.contains("\n\n") && is_trailer(last) {
        "\n"
    } else {
        "\n\n"
    };
    let tasks = planned.tasks.iter().map(|task| format!("{TRAILER}: {task}"));
    let new: String = tasks
        .filter(|line| body.lines().all(|known| known != line))
        .map(|line| line + "\n")
        .collect();
    Ok(format!("{body}{gap}{new}{TIP_TRAILER}: {tip}\n"))
}

fn fails_already(target: &Target, checked: &Checked) -> Error {
    Error::failed(format!(
        "the gate fails on `{}` before anything is merged: {}",
        target.branch,
        how_it_ended(checked)
    ))
    .hint("repair that first, or choose another gate; nothing was landed")
    .detail(tail(&checked.output))
}

pub(crate) fn how_it_ended(checked: &Checked) -> String {
    match checked.code {
        Some(code) => format!("exit code {code}"),
        None => format!("it did not end within {} s", checked.took.as_secs_f64().round()),
    }
}

/// The last lines of an output, for people.
pub(crate) fn tail(output: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<&str> = output.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
