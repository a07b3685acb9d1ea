//! The page about reports of crews, from the type that reads them.

use std::fmt::Write;

use fleet_core::plan::file;
use fleet_core::task::crew_report::{self, CrewReport};
use fleet_core::task::skill::{EVENTS, HOOK};
use fleet_core::task::{Standing, Task};

use super::keys;

pub(super) fn page() -> String {
    let mut text = "# Records and reports of tasks\n\nMade from the types that fleet reads and writes by `cargo xtask gen`. What they are for: \
                    [tasks](../tasks.md).\n\n## The block `FLEET_REPORT`\n\nIts JSON Schema: \
                    [crew-report.schema.json](crew-report.schema.json).\n\n"
        .to_owned();
    keys(&mut text, &file::schema_of::<CrewReport>());
    let _ = write!(
        text,
        "\nKeys that are not known are read as if they were not there. What else is wrong refuses the block. An example:\n\n\
         ```html\n{}```\n\n## The record of a task\n\nAs `fleet task show --json` and its neighbours give it.\n\n",
        crew_report::write(&crew_report::example())
    );
    keys(&mut text, &file::schema_of::<Task>());
    let words: Vec<String> = Standing::ALL
        .iter()
        .map(|each| format!("`{}`", each.as_str()))
        .collect();
    let _ = write!(
        text,
        "\n`status` is one of {}.\n\n## The hook\n\n`fleet integrate claude` installs `{HOOK}` and enters it for these events of \
         Claude Code:\n\n| event | of the tools |\n| --- | --- |\n",
        words.join(", ")
    );
    for (event, tools) in EVENTS {
        let tools: Vec<String> = tools
            .split('|')
            .filter(|tool| !tool.is_empty())
            .map(|tool| format!("`{tool}`"))
            .collect();
        let _ = writeln!(
            text,
            "| `{event}` | {} |",
            if tools.is_empty() {
                "all".to_owned()
            } else {
                tools.join(", ")
            }
        );
    }
    text
}
