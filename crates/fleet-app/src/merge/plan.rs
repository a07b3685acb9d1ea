//! Trial merges, and the order that follows from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleet_core::merge::{self, Candidate, in_the_way};
use fleet_core::name::{plural, word};
use fleet_core::{Kind, Result};
use fleet_host::git::{self, Merges, State};
use fleet_host::parallel;

use super::target::{Target, some_of};
use super::{Branch, Clash, Conflict, Fate, MergePlan, Planned};

/// The trailer by which a squashed branch is known again.
pub(super) const TIP_TRAILER: &str = "Fleet-Tip";

/// What counts as the work of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// What is committed. A worktree with more than that is refused.
    Committed,
    /// The worktree as it is now: a forecast of branches that are still worked on.
    Live,
}

/// One branch as it was looked at.
pub(crate) struct Looked {
    pub(crate) planned: Planned,
    /// The commit to merge.
    pub(crate) commit: String,
    /// The paths that it changes.
    pub(crate) paths: BTreeSet<String>,
}

/// Tries to merge every one of `branches` into `target`, each alone, each with each, and one after the other. Nothing
/// in the repository changes.
pub fn plan(target: &Target, branches: &[Branch], work: Work) -> Result<MergePlan> {
    let merges = Merges::trial(&target.repo.common_dir)?;
    let squashed: BTreeSet<String> = merges.trailers(&target.tip, TIP_TRAILER)?.into_iter().collect();
    let target_tree = merges.tree(&target.tip)?;
    let looked = parallel::map(branches.iter().collect(), parallel::cores(), |branch: &Branch| {
        let mut looked = look(&merges, target, branch, work)?;
        if looked.planned.fate == Fate::Ready {
            try_alone(&merges, target, &target_tree, &squashed, &mut looked)?;
        }
        Ok(looked)
    });
    let looked = looked.into_iter().collect::<Result<Vec<Looked>>>()?;
    let (ready, mut others): (Vec<Looked>, Vec<Looked>) =
        looked.into_iter().partition(|each| each.planned.fate == Fate::Ready);
    let conflicts = pairs(&merges, &ready)?;
    let mut ready = in_order(ready, branches, &conflicts);
    try_in_turn(&merges, target, &mut ready, &conflicts)?;
    others.sort_by(|a, b| a.planned.name.cmp(&b.planned.name));
    // What turned out not to fit behind the others goes to those that cannot be merged.
    let (fits, rest): (Vec<Looked>, Vec<Looked>) = ready.into_iter().partition(|each| each.planned.fate == Fate::Ready);
    Ok(MergePlan {
        branches: fits
            .into_iter()
            .chain(rest)
            .chain(others)
            .map(|each| each.planned)
            .collect(),
        conflicts,
    })
}

/// Which of these are in each other's way, in pairs. Only those that touch a common place are tried.
pub(crate) fn pairs(merges: &Merges, looked: &[Looked]) -> Result<Vec<Conflict>> {
    let mut candidates = Vec::new();
    for (index, a) in looked.iter().enumerate() {
        let rest = &looked[index + 1..];
        candidates.extend(rest.iter().filter(|b| touch(&a.paths, &b.paths)).map(|b| (a, b)));
    }
    let tried = parallel::map(candidates, parallel::cores(), |(a, b): (&Looked, &Looked)| {
        let merged = merges.merge(&a.commit, &b.commit)?;
        // Where they started from different commits, git also tells of what is between those; that is not theirs.
        let both = |file: &String| touches(&a.paths, file) && touches(&b.paths, file);
        let files: Vec<String> = merged
            .conflicts
            .into_iter()
            .map(|each| each.file)
            .filter(both)
            .collect();
        let mut names = [a.planned.name.clone(), b.planned.name.clone()];
        names.sort();
        let [a, b] = names;
        Ok((!files.is_empty()).then_some(Conflict { a, b, files }))
    });
    let found: Vec<Option<Conflict>> = tried.into_iter().collect::<Result<_>>()?;
    let mut conflicts: Vec<Conflict> = found.into_iter().flatten().collect();
    conflicts.sort();
    Ok(conflicts)
}

/// Looks at one branch: whether there is something to merge, and how much.
fn look(merges: &Merges, target: &Target, branch: &Branch, work: Work) -> Result<Looked> {
    let mut looked = Looked {
        planned: Planned::new(branch, Fate::Ready),
        commit: String::new(),
        paths: BTreeSet::new(),
    };
    let planned = &mut looked.planned;
    let Some(tip) = git::branch_tip(&target.repo.common_dir, &branch.branch)? else {
        planned.fate = Fate::Gone;
        planned.why = Some(format!("the branch `{}` is gone", branch.branch));
        return Ok(looked);
    };
    looked.commit = match (&branch.worktree, work) {
        (Some(worktree), Work::Live) => merges.snapshot(worktree, &branch.foreign)?,
        _ => tip,
    };
    planned.tip = Some(looked.commit.clone());
    if work == Work::Committed {
        check_worktree(branch, planned)?;
    }
    (planned.ahead, planned.behind) = merges.ahead_behind(&target.tip, &looked.commit)?;
    let Some(base) = merges.base(&target.tip, &looked.commit)? else {
        planned.fate = Fate::Conflict;
        planned.why = Some(format!("it and `{}` have no history in common", target.branch));
        return Ok(looked);
    };
    let changes = merges.changes(&base, &looked.commit)?;
    planned.added = changes.iter().filter_map(|change| change.added).sum();
    planned.removed = changes.iter().filter_map(|change| change.removed).sum();
    planned.files = changes.into_iter().map(|change| change.path).collect();
    planned.undeclared = merge::undeclared(planned.files.iter().map(String::as_str), &branch.declared);
    looked.paths = planned.files.iter().cloned().collect();
    if planned.fate == Fate::Ready && planned.ahead == 0 {
        let untouched = branch.base.as_ref().is_none_or(|base| *base == looked.commit);
        planned.fate = if untouched { Fate::Empty } else { Fate::AlreadyIn };
    }
    Ok(looked)
}

/// Finds work that merging the branch would leave behind.
fn check_worktree(branch: &Branch, planned: &mut Planned) -> Result<()> {
    let Some(worktree) = &branch.worktree else {
        return Ok(());
    };
    let folder = word(&worktree.to_string_lossy());
    let status = git::status(worktree)?;
    if status.branch.as_deref() != Some(branch.branch.as_str()) {
        let on = status
            .branch
            .map_or("a plain commit".to_owned(), |name| format!("`{name}`"));
        planned.fate = Fate::Elsewhere;
        planned.why = Some(format!("its worktree is on {on}"));
        planned.hint = Some(format!(
            "bring its work back: `git -C {folder} log --oneline --all --max-count=9`"
        ));
        return Ok(());
    }
    let is_foreign = |path: &std::path::Path| {
        let known = branch
            .foreign
            .iter()
            .find(|(each, _)| std::path::Path::new(each) == path);
        known.is_some_and(|(each, digest)| {
            fleet_host::files::file_digest(&worktree.join(each)).as_deref() == Some(digest.as_str())
        })
    };
    let paths: Vec<String> = status
        .paths
        .iter()
        .filter(|(path, state)| *state != State::Ignored && !is_foreign(path))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !paths.is_empty() {
        planned.fate = Fate::Uncommitted;
        planned.why = Some(format!(
            "{} not committed: {}",
            plural(paths.len(), "file"),
            some_of(&paths)
        ));
        planned.hint = Some(format!("have it committed, or look at it: `git -C {folder} status`"));
    }
    Ok(())
}

/// Merges it into the target as that is now.
fn try_alone(
    merges: &Merges,
    target: &Target,
    target_tree: &str,
    squashed: &BTreeSet<String>,
    looked: &mut Looked,
) -> Result<()> {
    let planned = &mut looked.planned;
    if squashed.contains(&looked.commit) {
        planned.fate = Fate::AlreadyIn;
        return Ok(());
    }
    let merged = match merges.merge(&target.tip, &looked.commit) {
        Err(error) if error.kind == Kind::Failed => {
            planned.fate = Fate::Conflict;
            planned.why = Some(error.message);
            return Ok(());
        }
        other => other?,
    };
    if !merged.conflicts.is_empty() {
        let with = vec![target.branch.clone()];
        let clashes = merged.conflicts.into_iter().map(|each| Clash {
            file: each.file,
            kind: each.kind,
            with: with.clone(),
        });
        in_conflict(planned, clashes.collect());
    } else if merged.tree == target_tree {
        planned.fate = Fate::AlreadyIn;
    }
    Ok(())
}

fn in_order(ready: Vec<Looked>, branches: &[Branch], conflicts: &[Conflict]) -> Vec<Looked> {
    let places: HashMap<&str, usize> = ready
        .iter()
        .enumerate()
        .map(|(place, each)| (each.planned.name.as_str(), place))
        .collect();
    let after: BTreeMap<&str, &[String]> = branches
        .iter()
        .map(|branch| (branch.name.as_str(), branch.after.as_slice()))
        .collect();
    let candidates: Vec<Candidate> = ready
        .iter()
        .map(|each| {
            let name = each.planned.name.as_str();
            let before = after.get(name).copied().unwrap_or_default();
            Candidate {
                name: name.to_owned(),
                after: before
                    .iter()
                    .filter_map(|name| places.get(name.as_str()).copied())
                    .collect(),
                conflicts: conflicts.iter().filter(|pair| pair.a == name || pair.b == name).count(),
                lines: each.planned.added + each.planned.removed,
            }
        })
        .collect();
    let mut ready: Vec<Option<Looked>> = ready.into_iter().map(Some).collect();
    let order = merge::order(&candidates);
    order.into_iter().filter_map(|place| ready[place].take()).collect()
}

/// Merges them one after the other, as a landing would.
fn try_in_turn(merges: &Merges, target: &Target, ready: &mut [Looked], conflicts: &[Conflict]) -> Result<()> {
    let mut current = target.tip.clone();
    for index in 0..ready.len() {
        let (before, rest) = ready.split_at_mut(index);
        let each = &mut rest[0];
        let merged = merges.merge(&current, &each.commit)?;
        if merged.conflicts.is_empty() {
            current = merges.commit(&merged.tree, &[&current, &each.commit], "trial\n")?;
            continue;
        }
        let landed: Vec<&Planned> = before
            .iter()
            .map(|looked| &looked.planned)
            .filter(|planned| planned.fate == Fate::Ready)
            .collect();
        let clashes = merged.conflicts.into_iter().map(|conflict| Clash {
            with: blame(&each.planned.name, &conflict.file, &landed, conflicts, &target.branch),
            file: conflict.file,
            kind: conflict.kind,
        });
        let clashes = clashes.collect();
        in_conflict(&mut each.planned, clashes);
    }
    Ok(())
}

/// Who is in conflict with `name` about `file`: those of `landed` that were found to be, else those that changed it,
/// else what was there before all.
pub(super) fn blame(name: &str, file: &str, landed: &[&Planned], conflicts: &[Conflict], target: &str) -> Vec<String> {
    let is_pair = |other: &str| {
        let pair = |each: &Conflict| (each.a == name && each.b == other) || (each.a == other && each.b == name);
        conflicts
            .iter()
            .any(|each| pair(each) && each.files.iter().any(|each| each == file))
    };
    let names = |of: &dyn Fn(&Planned) -> bool| -> Vec<String> {
        let found = landed.iter().filter(|planned| of(planned));
        found.map(|planned| planned.name.clone()).collect()
    };
    let known = names(&|planned| is_pair(&planned.name));
    if !known.is_empty() {
        return known;
    }
    let touched = names(&|planned| planned.files.iter().any(|each| in_the_way(each, file)));
    if touched.is_empty() {
        vec![target.to_owned()]
    } else {
        touched
    }
}

pub(super) fn in_conflict(planned: &mut Planned, mut clashes: Vec<Clash>) {
    clashes.sort();
    let with: BTreeSet<&str> = clashes
        .iter()
        .flat_map(|clash| &clash.with)
        .map(String::as_str)
        .collect();
    let with: Vec<String> = with.into_iter().map(|name| format!("`{name}`")).collect();
    planned.fate = Fate::Conflict;
    planned.why = Some(format!(
        "in conflict with {} about {}",
        with.join(", "),
        plural(clashes.len(), "file")
    ));
    planned.hint = None;
    planned.clashes = clashes;
}

/// Whether some path of one is in the way of some path of the other.
fn touch(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    few.iter().any(|path| touches(many, path))
}

/// Whether `path`, something below it or a folder above it is one of `paths`.
fn touches(paths: &BTreeSet<String>, path: &str) -> bool {
    if paths.contains(path) {
        return true;
    }
    let above = path.match_indices('/').any(|(at, _)| paths.contains(&path[..at]));
    let below = format!("{path}/");
    above
        || paths
            .range(below.clone()..)
            .next()
            .is_some_and(|next| next.starts_with(&below))
}
