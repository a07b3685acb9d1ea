//! What is measured, and how.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::page::{Bound, Row, Unit};
use super::sample::Sample;
use super::stage::{Repo, Stage, millis, timed};
use super::{meter, plans, real, seen};
use crate::procs::Process;
use crate::run::io;
use crate::{Failure, Result, failed};

/// Rows that are measured together.
pub(crate) struct Group {
    pub(crate) rows: &'static [&'static str],
    pub(crate) measure: fn(&mut Stage) -> Result<Vec<Row>>,
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        rows: &["create-200"],
        measure: |stage| create(stage, "create-200", 200, Bound::ratio(1.5, 1.3)),
    },
    Group {
        rows: &["create-2000"],
        measure: |stage| create(stage, "create-2000", 2000, Bound::ratio(1.15, 1.05)),
    },
    Group {
        rows: &["fanout-5"],
        measure: |stage| fanout(stage, "fanout-5", 5, 200, Bound::ratio(0.9, 0.6)),
    },
    Group {
        rows: &["fanout-20"],
        measure: |stage| fanout(stage, "fanout-20", 20, 200, Bound::ratio(0.7, 0.6)),
    },
    Group {
        rows: &["fanout-20-2000"],
        measure: |stage| fanout(stage, "fanout-20-2000", 20, 2000, Bound::ratio(1.0, 0.6)),
    },
    Group {
        rows: &["prompt-input", "prompt-receipt"],
        measure: prompt,
    },
    Group {
        rows: &["state-work", "state-work-p99", "state-prompt", "state-prompt-p99"],
        measure: seen::rows,
    },
    Group {
        rows: &["kill-20-clean"],
        measure: kill_clean,
    },
    Group {
        rows: &["kill-20-dirty", "kill-20-dirty-bare"],
        measure: kill_dirty,
    },
    Group {
        rows: &["list-25", "list-100", "idle-memory", "idle-memory-view", "idle-cpu"],
        measure: crowd,
    },
    Group {
        rows: plans::ROWS,
        measure: plans::rows,
    },
    Group {
        rows: meter::ROWS,
        measure: meter::rows,
    },
    Group {
        rows: &["cli-start", "cli-size"],
        measure: cli,
    },
    Group {
        rows: real::START_ROWS,
        measure: real::starts,
    },
    Group {
        rows: real::IDLE_ROWS,
        measure: real::idle,
    },
    Group {
        rows: real::TURN_ROWS,
        measure: real::turns,
    },
];

/// The names of all rows.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.rows.iter().copied())
}

/// `git worktree add` and `tmux new-session`, as a floor.
const PLAIN_START: &str = "`git worktree add -b` + `tmux new-session -d`, the same program";

fn create(stage: &mut Stage, name: &'static str, files: usize, bound: Bound) -> Result<Vec<Row>> {
    let repo = stage.repo(&format!("files{files}"), files)?;
    let (mut ours, mut floor) = (Sample::default(), Sample::default());
    for round in 0..stage.rounds(21) {
        let (branch, plain) = (format!("b{round}"), format!("f{round}"));
        let (fleet, git) = in_turns(
            round,
            || timed(|| stage.fleet(&repo, &["create", &branch])),
            || timed(|| stage.floor_create(&repo, &plain)),
        )?;
        ours.push(fleet);
        floor.push(git);
        stage.keep_files(&repo)?;
        stage.fleet(&repo, &["kill", &branch, "--force"])?;
        stage.floor_kill(&repo, &plain)?;
        stage.clean(&repo)?;
    }
    let what = format!("`create`, {files} files, to the child started");
    Ok(vec![
        Row::times(name, &what, &ours).floor(PLAIN_START, &floor).bound(bound),
    ])
}

fn fanout(stage: &mut Stage, name: &'static str, agents: usize, files: usize, bound: Bound) -> Result<Vec<Row>> {
    let repo = stage.repo(&format!("files{files}"), files)?;
    let (mut ours, mut floor) = (Sample::default(), Sample::default());
    for round in 0..stage.rounds(if files > 1000 { 7 } else { 11 }) {
        let batch = format!("b{round}");
        let plain = plain_branches(round, agents);
        let (fleet, git) = in_turns(
            round,
            || timed(|| stage.fleet(&repo, &["fanout", &agents.to_string(), &batch])),
            || timed(|| plain.iter().try_for_each(|branch| stage.floor_create(&repo, branch))),
        )?;
        ours.push(fleet);
        floor.push(git);
        stage.keep_files(&repo)?;
        stage.fleet(&repo, &["kill", "--batch", &batch, "--force"])?;
        plain.iter().try_for_each(|branch| stage.floor_kill(&repo, branch))?;
        stage.clean(&repo)?;
    }
    let what = format!("`fanout {agents}`, {files} files, to the last child started");
    Ok(vec![
        Row::times(name, &what, &ours)
            .floor(&format!("{PLAIN_START}, {agents} times"), &floor)
            .bound(bound),
    ])
}

fn prompt(stage: &mut Stage) -> Result<Vec<Row>> {
    let repo = stage.repo("files200", 200)?;
    stage.fleet(&repo, &["create", "talk", "--wait", "ready", "--timeout", "20"])?;
    stage.floor_create(&repo, "plain")?;
    settle();
    let (mut ours, mut receipt, mut floor) = (Sample::default(), Sample::default(), Sample::default());
    for round in 0..stage.rounds(51) {
        let (text, plain) = (
            format!("words of round {round}"),
            format!("plain words of round {round}"),
        );
        let ((taken, answered), sent) = in_turns(
            round,
            || {
                let start = Instant::now();
                stage.fleet(&repo, &["prompt", "talk", &text, "--wait=receipt"])?;
                let end = Instant::now();
                let taken = stage.received(&text)?;
                // The turn is over before the next prompt, which would be queued otherwise.
                stage.fleet(&repo, &["wait", "talk", "--until", "idle", "--timeout", "20"])?;
                Ok((millis(taken - start), millis(end.saturating_duration_since(taken))))
            },
            || {
                let start = Instant::now();
                stage.tmux(["send-keys", "-t", "=plain:", &plain, "Enter"])?;
                let took = millis(stage.received(&plain)? - start);
                settle();
                Ok(took)
            },
        )?;
        ours.push(taken);
        receipt.push(answered);
        floor.push(sent);
    }
    stage.fleet(&repo, &["kill", "talk", "--force"])?;
    stage.floor_kill(&repo, "plain")?;
    stage.clean(&repo)?;
    let bound = Bound::absolute(10.0, 3.0);
    Ok(vec![
        Row::times("prompt-input", "`prompt`, until the program has taken the text", &ours)
            .floor(
                "`tmux send-keys TEXT Enter`, until the same program has taken it",
                &floor,
            )
            .bound(bound),
        Row::times(
            "prompt-receipt",
            "`prompt --wait=receipt`, from there to its answer",
            &receipt,
        )
        .bound(bound),
    ])
}

fn kill_clean(stage: &mut Stage) -> Result<Vec<Row>> {
    let (ours, _, floor) = kill(stage, false)?;
    Ok(vec![
        Row::times(
            "kill-20-clean",
            "`kill --force` of 20, descendants reaped, worktrees clean",
            &ours,
        )
        .floor("`tmux kill-session` + `git worktree remove`, 20 times", &floor)
        .bound(Bound::ratio(1.5, 1.1)),
    ])
}

fn kill_dirty(stage: &mut Stage) -> Result<Vec<Row>> {
    let (ours, save, floor) = kill(stage, true)?;
    let both = save.plus(&floor);
    Ok(vec![
        Row::times(
            "kill-20-dirty",
            "`kill --force` of 20, worktrees dirty and salvaged",
            &ours,
        )
        .floor(
            "`git add` + `git commit`, `tmux kill-session` + `git worktree remove --force`, 20 times",
            &both,
        )
        .bound(Bound::ratio(1.5, 1.1)),
        Row::times("kill-20-dirty-bare", "the same", &ours)
            .floor("without `git add` + `git commit`: the work is lost", &floor),
    ])
}

/// Times of killing 20: ours; saving the work without fleet; ending without fleet.
fn kill(stage: &mut Stage, dirty: bool) -> Result<(Sample, Sample, Sample)> {
    const AGENTS: usize = 20;
    let repo = stage.repo("files200", 200)?;
    let (mut ours, mut save, mut floor) = (Sample::default(), Sample::default(), Sample::default());
    for round in 0..stage.rounds(11) {
        let batch = format!("b{round}");
        let plain = plain_branches(round, AGENTS);
        stage.fleet(
            &repo,
            &[
                "fanout",
                &AGENTS.to_string(),
                &batch,
                "--wait",
                "ready",
                "--timeout",
                "60",
            ],
        )?;
        plain.iter().try_for_each(|branch| stage.floor_create(&repo, branch))?;
        if dirty {
            for agent in stage
                .agents(&repo)?
                .iter()
                .filter(|agent| agent["batch_id"] == batch.as_str())
            {
                change(stage, agent["worktree"].as_str().unwrap_or_default().as_ref())?;
            }
            plain
                .iter()
                .try_for_each(|branch| change(stage, &stage.floor_worktree(&repo, branch)))?;
        }
        settle();
        let (fleet, (saved, ended)) = in_turns(
            round,
            || timed(|| stage.fleet(&repo, &["kill", "--batch", &batch, "--force"])),
            || {
                let save = || plain.iter().try_for_each(|branch| stage.floor_save(&repo, branch));
                let saved = if dirty { timed(save)? } else { 0.0 };
                Ok((
                    saved,
                    timed(|| plain.iter().try_for_each(|branch| stage.floor_kill(&repo, branch)))?,
                ))
            },
        )?;
        ours.push(fleet);
        save.push(saved);
        floor.push(ended);
        stage.clean(&repo)?;
    }
    Ok((ours, save, floor))
}

/// One tracked change, one staged, one new file.
fn change(stage: &Stage, worktree: &std::path::Path) -> Result<()> {
    for name in ["src0/file1.txt", "src0/file2.txt", "new.txt"] {
        let path = worktree.join(name);
        fs::write(&path, format!("changed in {}\n", worktree.display())).map_err(io("write", &path))?;
    }
    stage.world.git(worktree, ["add", "src0/file2.txt"]).map(drop)
}

/// What needs many agents at once.
fn crowd(stage: &mut Stage) -> Result<Vec<Row>> {
    let repo = stage.repo("files200", 200)?;
    let warm = stage.repo("warm", 1)?;
    stage.fleet(&repo, &["fanout", "25", "few", "--wait", "ready", "--timeout", "60"])?;
    // The crowd keeps fleet's tmux server alive now, and is to be exactly as large as it is said to be.
    stage.fleet(&warm, &["kill", "stays", "--force"])?;
    let mut rows = vec![list(stage, &repo, "list-25", 25)?];
    stage.fleet(&repo, &["fanout", "75", "more", "--wait", "ready", "--timeout", "120"])?;
    rows.push(list(stage, &repo, "list-100", 100)?);
    rows.extend(idle(stage, &repo)?);
    stage.clean(&warm)?;
    stage.fleet(&warm, &["create", "stays"])?;
    for batch in ["few", "more"] {
        stage.fleet(&repo, &["kill", "--batch", batch, "--force"])?;
    }
    stage.clean(&repo)?;
    Ok(rows)
}

fn list(stage: &mut Stage, repo: &Repo, name: &'static str, agents: usize) -> Result<Row> {
    let found = stage.agents(repo)?.len();
    if found != agents {
        return failed(format!("there should be {agents} agents, not {found}"));
    }
    let (mut ours, mut floor) = (Sample::default(), Sample::default());
    for round in 0..stage.rounds(41) {
        let (fleet, plain) = in_turns(
            round,
            || timed(|| stage.fleet(repo, &["list"])),
            || {
                timed(|| {
                    stage.fleets_tmux(&["list-panes", "-a"])?.text()?;
                    stage.git(repo, &["worktree", "list"])
                })
            },
        )?;
        ours.push(fleet);
        floor.push(plain);
    }
    let row = Row::times(name, &format!("`list`, {agents} agents"), &ours);
    Ok(row
        .floor("`tmux list-panes -a` + `git worktree list`", &floor)
        .bound(Bound::ratio(1.0, 1.0)))
}

/// Memory and processor time of 100 agents that do nothing.
fn idle(stage: &mut Stage, repo: &Repo) -> Result<Vec<Row>> {
    stage.agents(repo)?;
    std::thread::sleep(Duration::from_secs(3));
    let is_supervisor = |process: &Process| process.argv.get(1).is_some_and(|word| word == "__supervise");
    let is_fleet = |process: &Process| {
        process
            .argv
            .first()
            .is_some_and(|program| program.rsplit('/').next() == Some("fleet"))
    };
    let all = stage.world.processes();
    let supervisors: Vec<&Process> = all.iter().filter(|process| is_supervisor(process)).collect();
    let views: Vec<&Process> = all
        .iter()
        .filter(|process| is_fleet(process) && !is_supervisor(process))
        .collect();
    if supervisors.len() < 100 {
        return failed(format!("only {} supervisors are to be seen", supervisors.len()));
    }
    let memory = |processes: &[&Process]| {
        Sample::of(
            processes
                .iter()
                .filter_map(|process| Some(mebibytes(process.private_memory()?))),
        )
    };
    let time = || supervisors.iter().map(|process| process.processor_time()).sum::<u64>();
    let (before, start) = (time(), Instant::now());
    std::thread::sleep(Duration::from_secs(if stage.quick { 5 } else { 30 }));
    // Supervisors have started a program each, so nothing at all means that it cannot be read.
    let Some(used) = time().checked_sub(before).filter(|_| before > 0) else {
        return failed("the processor time of the supervisors cannot be read, or one has ended");
    };
    let percent = used as f64 / start.elapsed().as_nanos() as f64 * 100.0;
    let mut rows = vec![
        Row::new(
            "idle-memory",
            "private memory of a supervisor, 100 idle agents",
            Unit::Mebibytes,
            &memory(&supervisors),
        )
        .bound(Bound::absolute(2.0, 0.5)),
    ];
    if !views.is_empty() {
        let what = format!("private memory of the view in a tmux pane, {} of them", views.len());
        rows.push(Row::new("idle-memory-view", &what, Unit::Mebibytes, &memory(&views)));
    }
    let what = "processor time of all supervisors together, 100 idle agents";
    rows.push(Row::new("idle-cpu", what, Unit::Percent, &Sample::of([percent])).bound(Bound::absolute(0.2, 0.2)));
    Ok(rows)
}

fn cli(stage: &mut Stage) -> Result<Vec<Row>> {
    let (mut ours, mut floor) = (Sample::default(), Sample::default());
    for round in 0..stage.rounds(301) {
        let (fleet, nothing) = in_turns(
            round,
            || bare(stage.world.fleet(stage.world.root(), ["--version"])),
            || bare(stage.world.program("true", stage.world.root(), [""; 0])),
        )?;
        ours.push(fleet);
        floor.push(nothing);
    }
    let program = stage.programs.join("fleet");
    let size = fs::metadata(&program).map_err(io("see", &program))?.len();
    Ok(vec![
        Row::times("cli-start", "`fleet --version`, net of `true`", &ours.less(&floor))
            .floor("`true`", &floor)
            .bound(Bound::absolute(5.0, 3.0)),
        Row::new(
            "cli-size",
            "the program `fleet`, stripped",
            Unit::Mebibytes,
            &Sample::of([mebibytes(size)]),
        )
        .bound(Bound::absolute(30.0, 20.0)),
    ])
}

/// Milliseconds of a start and an end, with the output thrown away.
fn bare(run: crate::run::Run) -> Result<f64> {
    let mut command = run.into_command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command
        .status()
        .map_err(|error| Failure::Failed(format!("cannot start a program: {error}")))?;
    let took = millis(start.elapsed());
    if status.success() {
        Ok(took)
    } else {
        failed(format!("`--version` failed: {status}"))
    }
}

/// Both, in an order that changes from round to round, so that neither has the warmer machine.
pub(crate) fn in_turns<A, B>(
    round: usize,
    a: impl FnOnce() -> Result<A>,
    b: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    if round.is_multiple_of(2) {
        let a = a()?;
        Ok((a, b()?))
    } else {
        let b = b()?;
        Ok((a()?, b))
    }
}

fn plain_branches(round: usize, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("f{round}-{n}")).collect()
}

fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
