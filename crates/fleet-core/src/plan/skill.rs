//! What agents are told about plans: skills, made from the tables that `types`, `check` and `plan` use.
//!
//! Two steps, so that an agent reads little: the index of types first, then the page of the one type it has chosen.

mod keys;

use std::fmt::Write;

use super::author::told::{COMMIT, SAVE, VERDICT};
use super::author::tree::{Decision, Question, Stop, decide};
use super::author::{self, Spec, WorkerSpec};
use super::model::{Names, providers};
use super::rule::Rule;
use super::word::{PlanType, Size, WorkerType};
use crate::task::skill as tasks;

/// The name of the skill that plans.
pub const PLANNER: &str = "fleet-plan";

/// One file of the skills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skill {
    /// Where it is below the folder of skills.
    pub path: String,
    /// What it says.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

/// Every file, in the order in which an agent needs them.
pub fn skills() -> Vec<Skill> {
    let page = |path: &str, text: String| Skill {
        path: path.to_owned(),
        text,
        executable: false,
    };
    let mut all = vec![
        page("fleet-plan/SKILL.md", planner()),
        page("fleet/FLEET-INDEX.md", index()),
        page("fleet/SKILL.md", tasks::skill()),
        Skill {
            path: tasks::HOOK.to_owned(),
            text: tasks::hook(),
            executable: true,
        },
    ];
    for plan_type in PlanType::ALL {
        let folder = folder(*plan_type);
        all.push(page(&format!("{folder}/SKILL.md"), of_type(*plan_type)));
        for verb in ["launch", "status"] {
            all.push(Skill {
                path: format!("{folder}/scripts/{verb}.sh"),
                text: format!("#!/bin/sh\nexec fleet {verb} \"$@\"\n"),
                executable: true,
            });
        }
    }
    all
}

/// `dag-fleet`: the skill of a type.
fn folder(plan_type: PlanType) -> String {
    format!("{}-fleet", plan_type.as_str())
}

fn front_matter(name: &str, description: &str) -> String {
    format!("---\nname: {name}\ndescription: {description}\n---\n\n")
}

fn index() -> String {
    let mut text = "# Fleet types\n\nChoose by the hints, then read the SKILL.md of that one type only: `**/TYPE-fleet/SKILL.md`.\n\n\
                    | type | skill | what | choose it when |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for plan_type in PlanType::ALL {
        let row = plan_type.row();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            plan_type.as_str(),
            folder(*plan_type),
            row.hint,
            row.when
        );
    }
    text.push_str("\nWhere two fit, take `dag`. `fleet types` prints the same.\n");
    text
}

fn planner() -> String {
    let description = "Plan work for several coding agents at once. Decide whether it needs a fleet and of which type (worktree, \
                       dag, iterative, autoresearch), write fleet.json and a prompt for each worker, check them, and give the \
                       commands to launch and to watch. Use it when the user asks for a fleet, a fleet plan, agents in \
                       parallel, or work split among agents.";
    let mut text = front_matter(PLANNER, description);
    text.push_str(
        "# Plan a fleet\n\nYou write the plan; `fleet` runs it. A plan is a folder, the fleet root, with a `fleet.json` and a \
         `workers/{id}/prompt.md` for each worker. Go through the steps in their order.\n\n\
         ## 1. See which types there are\n\nRead `**/fleet/FLEET-INDEX.md` (beside this skill's folder). Do not read the pages \
         of all types.\n\n\
         ## 2. Ask where to place the fleet root\n\nAsk the user: \"Where should I place the fleet root? (Press enter for \
         default)\". The default is `fleet-{YYYYMMDD-HHMMSS}-{fleet-name}/` in the current directory. Use its absolute path \
         from then on.\n\n\
         ## 3. Choose the type\n\nAnswer these in their order, from what you know of the work:\n\n",
    );
    for (index, question) in Question::ALL.iter().enumerate() {
        let then = match question.leads_to() {
            None => format!("YES: say \"{}\" and STOP.", Stop::OneSession.sentence()),
            Some(plan_type) => format!("YES: `{}` fits.", plan_type.as_str()),
        };
        let _ = writeln!(text, "{}. {} {then}", index + 1, question.ask());
    }
    let _ = write!(
        text,
        "\nNone fits: say \"{}\" and STOP. Two fit: say so, and take `dag`.\n\nShow the user your reasoning: which type, and \
         why. Then read `**/TYPE-fleet/SKILL.md` of the chosen type for its keys. Do not write keys from memory.\n\n\
         ## 4. Choose each worker's type by what it hands in\n\nNot by what it reads.\n\n\
         | type | it hands in | files | shell | web |\n| --- | --- | --- | --- | --- |\n",
        Stop::NoType.sentence()
    );
    let yes = |may: bool| if may { "yes" } else { "no" };
    for worker_type in WorkerType::ALL {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            worker_type.as_str(),
            worker_type.hands_in(),
            yes(worker_type.writes()),
            yes(worker_type.has_shell()),
            yes(worker_type.has_web())
        );
    }
    text.push_str("\n## 5. Choose the budget by the size of the task\n\n| size | task | USD |\n| --- | --- | --- |\n");
    for size in Size::ALL {
        let (from, to) = size.band();
        let _ = writeln!(text, "| {} | {} | {from:.2} to {to:.2} |", size.as_str(), size.what());
    }
    text.push_str(
        "\nDo NOT set `max_turns` of a worker: the budget is its only limit.\n\n## 6. Choose the model\n\nOnly these. The \
         provider's default unless the task needs another one.\n\n| provider | model | when |\n| --- | --- | --- |\n",
    );
    models(&mut text);
    text.push_str(
        "\n## 7. Write fleet.json, and prompt.md for each worker\n\nEvery prompt says what to do, in specific terms, and which \
         files to touch and which NOT to touch. One task has one destination: never both the output folder and a path in the \
         repository.\n\n| the worker | its prompt says |\n| --- | --- |\n",
    );
    let _ = write!(
        text,
        "| of a worktree plan | no output folder; it ends with: `{COMMIT}` |\n\
         | makes files of its own (findings, summaries) | `{SAVE}` |\n\
         | changes files of the repository | their exact paths, and nothing of `output/` |\n\
         | is `read-only` | to answer in its last message; it cannot save a file |\n\
         | reviews an iterative plan | the recipe of `iterative-fleet`, at its end |\n\n\
         Write the prompts anew whenever you change fleet.json.\n\n\
         `fleet plan --from spec.toml` does this step without you: it takes the answers and writes all files (`fleet plan \
         --help`).\n\n## 8. Check\n\nRun `fleet check ROOT`. It names every mistake with its place and what would be right. \
         Correct all errors, read the warnings, and check again until it says `fine` or only warnings you mean. What it looks \
         at in prompts:\n\n"
    );
    rules(
        &mut text,
        &[
            Rule::PromptMissing,
            Rule::CannotSave,
            Rule::TwoDestinations,
            Rule::OutputInWorktree,
            Rule::NoCommit,
            Rule::NoVerdictRecipe,
            Rule::BeyondType,
            Rule::OtherRoot,
        ],
    );
    text.push_str(
        "\n## 9. Tell the user\n\n1. A table of the workers: id, type, model, budget, what it does.\n2. The type, and why.\n\
         3. The launch command, with the absolute fleet root: `fleet launch ROOT`. For a worktree plan first `fleet launch \
         ROOT --dry-run`.\n4. The status command, always: `fleet status ROOT`.\n\nYou do not launch it yourself unless the user \
         asks for that.\n\n## Do not talk yourself out of it\n\n| thought | instead |\n| --- | --- |\n",
    );
    for (thought, instead) in THOUGHTS {
        let _ = writeln!(text, "| {thought} | {instead} |");
    }
    text.push_str("\nThe request: $ARGUMENTS\n");
    text
}

/// What an agent tells itself, and what holds.
const THOUGHTS: &[(&str, &str)] = &[
    (
        "I can do this alone",
        "The user asked for a plan. Say that one session is enough only when the first question is truly a yes.",
    ),
    (
        "The strongest model for everybody",
        "It costs several times as much. The default does most work; take another one where the task shows why.",
    ),
    (
        "dag always works",
        "Walk the questions. Independent files want `worktree`, a reviewer wants `iterative`; dag is for the rest.",
    ),
    (
        "The files overlap only a little",
        "Then it is no worktree plan: cut the work differently, or take dag with `depends_on`.",
    ),
    (
        "A high budget, to be safe",
        "The budget follows the size of the task. A high one only pays for going round in circles.",
    ),
    (
        "I cannot decide on the type",
        "Answer the questions one by one. Where two fit, take dag.",
    ),
    (
        "It only reads and sums up, so read-only",
        "It hands in a file: `write`. A read-only worker spends its budget on looking for a way to save.",
    ),
    (
        "Research is reading, so read-only",
        "read-only has no web and saves nothing: `research`.",
    ),
];

fn models(text: &mut String) {
    for provider in providers() {
        for model in &provider.models {
            let name = model.alias.as_ref().unwrap_or(&model.name);
            let _ = writeln!(text, "| `{}` | `{name}` | {} |", provider.name, model.purpose);
        }
        let other = match provider.names {
            Names::Listed => continue,
            Names::Qualified => "any, as `PROVIDER/MODEL`",
            Names::Any => "any other name",
        };
        let _ = writeln!(text, "| `{}` | {other} | |", provider.name);
    }
}

fn of_type(plan_type: PlanType) -> String {
    let name = plan_type.as_str();
    let row = plan_type.row();
    let description = format!(
        "Keys, rules, prompts and commands of {name} fleets ({}). Use it when one is planned, launched or watched, that is \
         when {}.",
        row.hint, row.when
    );
    let mut text = front_matter(&folder(plan_type), &description);
    let _ = write!(
        text,
        "# {name}: {}\n\nChoose it when {}. Its `fleet.json` needs {}.\n\n## Keys of fleet.json\n\nA key that is not here is \
         refused. The required ones are marked.\n",
        row.hint, row.when, row.needs
    );
    keys::tables(&mut text, plan_type);
    text.push_str("\n## Example\n\n");
    let written = example(plan_type);
    let _ = write!(text, "fleet.json:\n\n```json\n{}```\n", written.text);
    if let Some((path, prompt)) = written.prompts.first() {
        let _ = write!(text, "\n{path}:\n\n````text\n{prompt}````\n");
    }
    let (rules_of_type, notes): (&[Rule], &str) = match plan_type {
        PlanType::Worktree => (
            &[
                Rule::BadBranch,
                Rule::BranchTaken,
                Rule::Overlap,
                Rule::BadPattern,
                Rule::OutsidePattern,
                Rule::CannotCommit,
                Rule::OutputInWorktree,
                Rule::NoCommit,
            ],
            "Each worker edits real paths of the repository in a worktree of its own. Its prompt names no output folder.",
        ),
        PlanType::Dag => (
            &[
                Rule::UnknownDependency,
                Rule::SelfDependency,
                Rule::Cycle,
                Rule::TwoDestinations,
                Rule::CannotSave,
            ],
            "Workers without `depends_on` start at once, side by side. A worker finds what another has made in \
             `$FLEET_ROOT/workers/{id}/output/`.",
        ),
        PlanType::Iterative => (
            &[
                Rule::ReviewerCount,
                Rule::WaitsForReviewer,
                Rule::UnreachableStop,
                Rule::NoVerdictRecipe,
                Rule::BudgetPerIteration,
            ],
            "Budgets are `max_budget_per_iter`, for each round. The reviewer runs after all builders. Its prompt.md ends with \
             exactly this:",
        ),
        PlanType::Autoresearch => (
            &[Rule::BadMetric, Rule::PathMissing],
            "fleet runs the command, reads the number and keeps or discards the round; the agent does none of it. The prompt \
             of each round is `program.md` below the fleet root.",
        ),
    };
    let _ = write!(text, "\n## Prompts\n\n{notes}\n");
    if plan_type == PlanType::Iterative {
        let _ = write!(text, "\n````text\n{VERDICT}````\n");
    }
    text.push_str("\n## What `fleet check` refuses\n\n");
    rules(&mut text, rules_of_type);
    let dry_run = match plan_type {
        PlanType::Worktree => "fleet launch ROOT --dry-run\n",
        _ => "",
    };
    let _ = write!(
        text,
        "\n## Commands\n\nROOT is the absolute path of the fleet root.\n\n```sh\nfleet check ROOT\n{dry_run}fleet launch ROOT\n\
         fleet status ROOT\n```\n\n`scripts/launch.sh` and `scripts/status.sh` beside this file take the same arguments.\n"
    );
    text
}

fn rules(text: &mut String, rules: &[Rule]) {
    text.push_str("| code | what is wrong | what is right |\n| --- | --- | --- |\n");
    for rule in rules {
        let row = rule.row();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            row.code,
            row.wrong,
            row.right.replace('|', "\\|")
        );
    }
}

/// A small plan of this type, written as `fleet plan` writes it.
fn example(plan_type: PlanType) -> author::Written {
    let spec = example_spec(plan_type);
    let written = match decide(&spec) {
        Decision::Take(choice) => author::write(&spec, &choice, "/home/me/shop").ok(),
        _ => None,
    };
    written.expect("a test writes every example")
}

/// What is said for the example of this type.
pub fn example_spec(plan_type: PlanType) -> Spec {
    let worker = |line: &str| line.parse::<WorkerSpec>().expect("a test reads the same lines");
    let spec = Spec {
        name: Some("shop".to_owned()),
        plan_type: Some(plan_type),
        ..Spec::default()
    };
    match plan_type {
        PlanType::Worktree => Spec {
            workers: vec![
                worker(
                    "cart files=src/cart/**,tests/cart.rs size=feature: Let the cart keep its items over a login. Add tests.",
                ),
                worker("mail files=src/mail/**: Send the order mail in the language of the customer."),
            ],
            ..spec
        },
        PlanType::Dag => Spec {
            workers: vec![
                worker(
                    "find type=research size=edit: Search the web for how three other shops explain their return policy.",
                ),
                worker(
                    "page type=write files=docs/returns.md after=find: Make a page about returns from what was found.",
                ),
            ],
            ..spec
        },
        PlanType::Iterative => Spec {
            workers: vec![worker(
                "build type=code-run files=src/search.rs size=feature: Make the search find words with typing errors.",
            )],
            review: Some("Look for words that are found too often, and run the tests.".to_owned()),
            ..spec
        },
        PlanType::Autoresearch => Spec {
            goal: Some("Make the search index smaller without losing a result.".to_owned()),
            eval_command: Some("cargo run --release --bin measure".to_owned()),
            metric_regex: Some("bytes: ([0-9]+)".to_owned()),
            workdir: Some(".".to_owned()),
            files: vec!["src/index/**".to_owned()],
            ..spec
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        let all = skills();
        let found = all.into_iter().find(|skill| skill.path == path);
        found.unwrap_or_else(|| panic!("no {path}")).text
    }

    #[test]
    fn the_files_are_where_agents_look_for_them() {
        let paths: Vec<String> = skills().into_iter().map(|skill| skill.path).collect();
        let own = [
            "fleet-plan/SKILL.md",
            "fleet/FLEET-INDEX.md",
            "fleet/SKILL.md",
            tasks::HOOK,
        ];
        let mut wanted: Vec<String> = own.map(str::to_owned).into();
        for plan_type in ["worktree", "dag", "iterative", "autoresearch"] {
            for file in ["SKILL.md", "scripts/launch.sh", "scripts/status.sh"] {
                wanted.push(format!("{plan_type}-fleet/{file}"));
            }
        }
        assert_eq!(paths, wanted);
        for skill in skills() {
            assert_eq!(skill.executable, skill.path.ends_with(".sh"), "{}", skill.path);
        }
    }

    #[test]
    fn the_front_matter_is_what_claude_code_takes() {
        for skill in skills().iter().filter(|skill| skill.path.ends_with("SKILL.md")) {
            let mut lines = skill.text.lines();
            assert_eq!(lines.next(), Some("---"));
            let (Some(name), Some(description)) = (lines.next(), lines.next()) else {
                panic!("{}", skill.path);
            };
            let rest: Vec<&str> = lines.take_while(|line| *line != "---").collect();
            assert!(
                rest.iter().all(|line| ["argument-hint: ", "allowed-tools: "]
                    .iter()
                    .any(|key| line.starts_with(key))),
                "{rest:?}"
            );
            let name = name.strip_prefix("name: ").expect("a name");
            assert_eq!(Some(name), skill.path.strip_suffix("/SKILL.md"));
            assert!(name.len() <= 64 && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            let description = description.strip_prefix("description: ").expect("a description");
            assert!(description.len() <= 1024, "{}", description.len());
            // A value without quotes is a text in YAML where it has no `: ` and no ` #`.
            assert!(
                !description.contains(": ") && !description.contains(" #"),
                "{description}"
            );
        }
    }

    #[test]
    fn the_fixed_words_are_in_the_skills() {
        let planner = text("fleet-plan/SKILL.md");
        for wanted in [
            Stop::OneSession.sentence(),
            Stop::NoType.sentence(),
            COMMIT,
            SAVE,
            "Where should I place the fleet root? (Press enter for default)",
            "fleet launch ROOT --dry-run",
            "fleet status ROOT",
            "`sonnet`",
            "0.25 to 0.50",
        ] {
            assert!(planner.contains(wanted), "{wanted}");
        }
        assert!(text("iterative-fleet/SKILL.md").contains(VERDICT));
        assert!(text("worktree-fleet/SKILL.md").contains("`target_files`"));
        assert!(!text("dag-fleet/SKILL.md").contains("`target_files`"));
        assert!(!text("worktree-fleet/SKILL.md").contains("workers[].depends_on"));
        assert_eq!(
            text("dag-fleet/scripts/launch.sh"),
            "#!/bin/sh\nexec fleet launch \"$@\"\n"
        );
    }
}
