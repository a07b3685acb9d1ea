//! What agents are told about tasks: the skill `fleet`, which is the command `/fleet` as well, and the hook that stores
//! reports.

use super::crew_report;
use super::{TRAILER, TaskId};

/// Where the hook is below the folder of skills.
pub const HOOK: &str = "fleet/hooks/report-persister.sh";

/// The events of Claude Code that the hook is for, each with the tools it is about.
pub const EVENTS: [(&str, &str); 4] = [
    ("PreToolUse", "Task|Agent"),
    ("PostToolUse", "Task|Agent"),
    ("SubagentStop", ""),
    ("Stop", ""),
];

/// The skill `fleet`.
pub fn skill() -> String {
    let example = crew_report::example();
    let id = TaskId::to_string(&example.fleet_task_id);
    let block = crew_report::write(&example);
    format!(
        "---
name: fleet
description: Run a fleet command such as `/fleet task list`, and lead crews as a captain, with a record, a cost and a report for \
each task. Use it when work is given to sub-agents or to agents of fleet and has to be accounted for.
argument-hint: task list|show|cost|follow-ups|blame|promote
allowed-tools: Bash(fleet task:*)
---

# Tasks of a fleet

Asked for: $ARGUMENTS

If that is a command, such as `task list`, run it once with `fleet` before it, show what it prints as it is, and stop. If \
nothing was asked for, go on reading.

You are the captain of your session. Crews do the work: sub-agents, or agents of fleet. Officers are specialists that a crew \
asks and that only read. Each dispatch of either is a task with a record.

## 1. Plan, and record before you dispatch

For each crew: `fleet task create \"TITLE\" --crew NAME`, with `--ceiling USD` for its share of the money. For an officer \
add `--kind officer`. It prints the id, such as `{id}`.

## 2. Dispatch

To a sub-agent: write the line `fleet_task_id: ID` into its prompt, and all of section 3. To an agent of fleet: `fleet \
create BRANCH --task ID --headless -p PROMPT`; its cost is always counted apart.

## 3. What a crew does

Commit with the task's id: `git commit --trailer \"{TRAILER}: ID\"`. End the last message with one block, its cost left \
out where it is not known:

```text
{block}```

`status` is completed, partial, failed, over_budget or cancelled; `priority` is low, medium, high or critical. In Claude \
Code a hook stores the block. Elsewhere: `fleet task report @FILE`.

## 4. Read the records before you report

`fleet task list --parent ID`, `fleet task cost ID` and `fleet task follow-ups`. Report what they say: what a crew says it \
cost is not the account, and what is unknown is not 0.
"
    )
}

/// The hook: it stores what an event tells of tasks, and never holds a session up.
pub fn hook() -> String {
    "#!/bin/sh
# Claude Code runs this with an event on standard input. Most events are not about tasks.
event=$(cat)
case $event in
*FLEET_REPORT* | *fleet_task_id*) ;;
*) exit 0 ;;
esac
if ! command -v fleet >/dev/null 2>&1; then
    echo 'fleet is not on PATH, so the report is not stored' >&2
    exit 0
fi
printf '%s' \"$event\" | fleet task report --hook - >/dev/null
exit 0
"
    .to_owned()
}
