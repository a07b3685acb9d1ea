//! The generated reference pages: from the same text as the help, the schemas and the tables.

mod forecasts;
mod tasks;

use std::fmt::Write;

use fleet_app::config;
use fleet_app::op::ALL;
use fleet_app::ops::integrate::stamped;
use fleet_app::plan::show_spec;
use fleet_core::plan::author::{Spec, WorkerSpec};
use fleet_core::plan::file;
use fleet_core::plan::model::{Act, Names, gaps, providers, reach};
use fleet_core::plan::rule::Rule;
use fleet_core::plan::skill::example_spec;
use fleet_core::plan::word::{PlanType, WorkerType};
use fleet_core::task::crew_report;
use fleet_core::{Error, Kind, Result, block, contract, intensity, report};
use serde_json::{Value, json};

use crate::cli;

/// The page called `name`: Markdown, or the schema as JSON.
pub(crate) fn page(name: &str) -> Result<String> {
    match name {
        "cli" => Ok(commands()),
        "forecasts" => Ok(forecasts::page()),
        "tasks" => Ok(tasks::page()),
        "crew-report.schema.json" => Ok(format!("{:#}\n", crew_report::schema())),
        "config" => Ok(config::reference()),
        "exit-codes" => Ok(exit_codes()),
        "operations" => Ok(operations()),
        "plan-rules" => Ok(plan_rules()),
        "plan-spec" => Ok(plan_spec()),
        "contract-rules" => Ok(contract_rules()),
        "contract.schema.json" => Ok(format!("{:#}\n", contract::schema())),
        "report.schema.json" => Ok(format!("{:#}\n", report::schema())),
        "skills" => Ok(format!("{:#}\n", json!(stamped()))),
        "fleet.schema.json" => Ok(format!("{:#}\n", file::schema())),
        other => Err(Error::usage(format!("there is no page `{other}`"))
            .hint("pages: cli, forecasts, tasks, crew-report.schema.json, config, exit-codes, operations, plan-rules, plan-spec, fleet.schema.json, contract-rules, contract.schema.json, report.schema.json, skills")),
    }
}

fn commands() -> String {
    let mut text = "# Command line\n\nMade from the program's own help by `cargo xtask gen`.\n".to_owned();
    let mut root = cli::tree().term_width(100);
    root.build();
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let nested: Vec<String> = command
            .get_subcommands()
            .map(|inner| inner.get_name().to_owned())
            .collect();
        if nested.is_empty() {
            section(&mut text, command);
        }
        for name in nested {
            if let Some(inner) = command.find_subcommand_mut(&name) {
                section(&mut text, inner);
            }
        }
    }
    text
}

fn section(text: &mut String, command: &mut clap::Command) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
}

fn exit_codes() -> String {
    let mut text = "# Exit codes\n\nMade from the one table of error kinds by `cargo xtask gen`. With `--json` an error is printed as \
                    `{\"error\": {\"kind\", \"message\", \"hint\", \"detail\"}}`.\n\n| exit code | kind | HTTP | when |\n| --- | --- | --- | --- |\n\
                    | 0 | | 200 | it was done, and seen to be done |\n"
        .to_owned();
    for kind in Kind::ALL {
        let (exit, http, when) = kind.row();
        let name = serde_json::to_value(kind)
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default();
        let _ = writeln!(text, "| {exit} | `{name}` | {http} | {when} |");
    }
    text.push_str(
        "\nA program that was ended by signal n has the code 128 + n in an agent's state, such as `exited(137)`.\n",
    );
    text
}

fn plan_rules() -> String {
    let mut text = "# Rules of a plan\n\nMade from the tables that `fleet check` uses by `cargo xtask gen`. How a plan is written: \
                    [plans](../plans.md). Its JSON Schema: [fleet.schema.json](fleet.schema.json).\n\n## Types\n\n\
                    | type | what | choose it when | its plan needs |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for plan_type in PlanType::ALL {
        let row = plan_type.row();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            plan_type.as_str(),
            row.hint,
            row.when,
            row.needs
        );
    }
    text.push_str(
        "\n## Rules\n\nAn error keeps the plan from being started; a warning does not. A code is never given to another rule.\n\n\
         | code | level | what is wrong | what is right |\n| --- | --- | --- | --- |\n",
    );
    for rule in Rule::ALL {
        let row = rule.row();
        let right = row.right.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {right} |",
            row.code,
            row.level.as_str(),
            row.wrong
        );
    }
    restrictions(&mut text);
    models(&mut text);
    text
}

fn contract_rules() -> String {
    let mut text = "# Rules of contracts and reports\n\nMade from the tables that `fleet contract check`, `fleet report check` and `fleet run` use by \
                    `cargo xtask gen`. What they are for: [contracts](../contracts.md), [pipelines](../pipelines.md). Their JSON Schemas, for what stands in a block: \
                    [contract.schema.json](contract.schema.json), [report.schema.json](report.schema.json).\n\n## Rules\n\n\
                    An error keeps a contract, a report or a `vibe.yaml` from being taken; a warning does not. A code is never given to another rule.\n\n\
                    | code | level | what is wrong | what is right |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for rule in block::rule::Rule::ALL {
        let row = rule.row();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            row.code,
            row.level.as_str(),
            row.wrong,
            row.right
        );
    }
    text.push_str(
        "\n## Intensities\n\nWhat an intensity chooses. Where a provider or a model is not named, the program chooses.\n\n\
         | intensity | what | reviews at most | model and effort |\n| --- | --- | --- | --- |\n",
    );
    for row in intensity::rows() {
        let choice = |choice: &intensity::Choice| {
            let model = choice
                .model
                .as_ref()
                .map(|model| format!(" `{model}`"))
                .unwrap_or_default();
            let effort = choice
                .effort
                .map(|effort| format!(" {}", effort.as_str()))
                .unwrap_or_default();
            format!("{}{model}{effort}", choice.provider)
        };
        let choices: Vec<String> = row.providers.iter().map(choice).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            row.intensity.as_str(),
            row.about,
            row.review_rounds,
            choices.join(", ")
        );
    }
    let contract = contract::write(&contract::example()).unwrap_or_default();
    let report = report::write(&report::example()).unwrap_or_default();
    let _ = write!(
        text,
        "\n## Example of a contract\n\n```html\n{contract}```\n\n## Example of a report\n\nIt answers that contract.\n\n```html\n{report}```\n"
    );
    text
}

fn plan_spec() -> String {
    let mut text = "# Answers for `fleet plan`\n\nMade from the types that `fleet plan --from spec.toml` reads by `cargo xtask gen`. Every key \
                    may be left out where its text says what holds then; flags of the same names win over the file, and the \
                    MCP tool takes the same keys.\n\n## Keys\n\n"
        .to_owned();
    keys(&mut text, &file::schema_of::<Spec>());
    text.push_str("\nEach of `workers` is a table `[[workers]]`:\n\n");
    keys(&mut text, &file::schema_of::<WorkerSpec>());
    text.push_str("\n`independent`, `reviewed`, `ordered` and `measured` together may stand in place of `type`.\n");
    for plan_type in PlanType::ALL {
        let name = plan_type.as_str();
        let answers = show_spec(&example_spec(*plan_type));
        let _ = write!(text, "\n## Example: {name}\n\n```toml\n{}\n```\n", answers.trim_end());
    }
    text
}

/// The keys of a file that people write.
fn keys(text: &mut String, schema: &Value) {
    text.push_str("| key | value | |\n| --- | --- | --- |\n");
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let _ = writeln!(text, "| `{key}` | {} | {meaning} |", file::value_of(schema, property));
    }
}

fn restrictions(text: &mut String) {
    text.push_str(
        "\n## Types of workers\n\nWhat a worker of the type may do, and what each provider cannot keep it from. `check` warns of it (`P090`), and \
         tells what is open to commands alone. [What was tried](restrictions.md) stands behind it. A worker's own folders, and \
         temporary files, are not elsewhere. \
         `\"sandbox\": \"bwrap\"` closes the gaps of changed files.\n\n| type |",
    );
    for act in Act::ALL {
        let _ = write!(text, " {} |", act.as_str());
    }
    let names: Vec<&str> = providers().iter().map(|provider| provider.name.as_str()).collect();
    let _ = write!(text, " gaps of {} |\n| --- |", names.join(" | gaps of "));
    text.push_str(&" --- |".repeat(Act::ALL.len() + names.len()));
    text.push('\n');
    for worker_type in WorkerType::ALL {
        let _ = write!(text, "| `{}` |", worker_type.as_str());
        for act in Act::ALL {
            let may = if act.is_allowed(*worker_type) { "yes" } else { "no" };
            let _ = write!(text, " {may} |");
        }
        for provider in providers() {
            let by_commands = reach(provider, *worker_type, None);
            let named = |act: Act| match by_commands.contains(&act) {
                true => format!("{} by commands", act.as_str()),
                false => act.as_str().to_owned(),
            };
            let gaps: Vec<String> = gaps(Some(provider), *worker_type, None)
                .into_iter()
                .map(named)
                .collect();
            let gaps = if gaps.is_empty() {
                "none".to_owned()
            } else {
                gaps.join(", ")
            };
            let _ = write!(text, " {gaps} |");
        }
        text.push('\n');
    }
    text.push_str("\nA harness of your own is kept from nothing.\n");
}

fn models(text: &mut String) {
    text.push_str(
        "\n## Models\n\nAnother model is refused, unless `--allow-unknown-model` is said. A harness of your own takes any.\n\n\
         | provider | model | when to use it |\n| --- | --- | --- |\n",
    );
    for provider in providers() {
        for model in &provider.models {
            let alias = model
                .alias
                .as_ref()
                .map(|alias| format!(", `{alias}`"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{}` | `{}`{alias} | {} |",
                provider.name, model.name, model.purpose
            );
        }
        let other = match provider.names {
            Names::Listed => continue,
            Names::Qualified => "any, as `PROVIDER/MODEL`",
            Names::Any => "any other name",
        };
        let _ = writeln!(text, "| `{}` | {other} | |", provider.name);
    }
}

fn operations() -> String {
    let mut text = "# Operations\n\nMade from the operations themselves by `cargo xtask gen`. Every surface takes the same arguments and gives \
                    the same answer.\n"
        .to_owned();
    for op in ALL {
        let surfaces = match (op.surfaces.cli, op.surfaces.mcp) {
            (true, true) => format!("`fleet {}`, MCP tool `{}`", op.name.replace('.', " "), op.tool_name()),
            _ => format!("`fleet {}`", op.name.replace('.', " ")),
        };
        let effect = format!("{:?}", op.effect).to_lowercase();
        let _ = write!(
            text,
            "\n## {}\n\n{}. Effect: {effect}. Surfaces: {surfaces}.\n\n",
            op.name,
            op.about()
        );
        fields(&mut text, "argument", &(op.params)().to_value());
        fields(&mut text, "answer", &(op.output)().to_value());
    }
    text
}

fn fields(text: &mut String, what: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object().filter(|map| !map.is_empty()) else {
        return;
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let _ = write!(text, "| {what} | type | |\n| --- | --- | --- |\n");
    for (name, property) in properties {
        let needed = if what == "argument" && required.contains(&name.as_str()) {
            " (required)"
        } else {
            ""
        };
        let description = property["description"]
            .as_str()
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {} | {description}{needed} |", kind_of(property));
    }
    text.push('\n');
}

fn kind_of(property: &Value) -> String {
    let name = |value: &Value| {
        value
            .as_str()
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
    };
    if let Some(reference) = name(&property["$ref"]) {
        return reference;
    }
    match &property["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of(&property["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => match property["anyOf"].as_array() {
            Some(kinds) => kinds
                .iter()
                .filter(|kind| kind["type"] != "null")
                .map(kind_of)
                .collect::<Vec<_>>()
                .join(" or "),
            None => "any".to_owned(),
        },
    }
}
