//! What is written is what the check wants, whatever was answered.

use proptest::prelude::*;

use super::super::prompt::Prompt;
use super::super::rule::{Finding, Level};
use super::super::{Checked, Surroundings, read, skill};
use super::told::{COMMIT, SAVE, VERDICT};
use super::tree::Stop;
use super::*;

const ROOT: &str = "/plans/fleet-x";

/// What the check says of a plan that was written, as if it were on the disk.
fn checked(written: &Written) -> Checked {
    let draft = read(&written.text);
    let around = Surroundings {
        roots: vec![ROOT.to_owned()],
        prompts: written.prompts.iter().map(|(_, text)| Prompt::read(text)).collect(),
        program: written.prompts.first().map(|(_, text)| Prompt::read(text)),
        has_workdir: true,
        ..Surroundings::default()
    };
    let wanted: Vec<String> = draft.prompts().map(|id| format!("workers/{id}/prompt.md")).collect();
    let have: Vec<&str> = written.prompts.iter().map(|(path, _)| path.as_str()).collect();
    assert!(draft.program().is_some() || wanted == have, "{wanted:?} {have:?}");
    draft.check(&around)
}

fn taken(spec: &Spec) -> Choice {
    match decide(spec) {
        Decision::Take(choice) => choice,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn written(spec: &Spec) -> Written {
    assert_eq!(missing(spec), [""; 0]);
    write(spec, &taken(spec), "/repo").expect("a plan")
}

fn errors(checked: &Checked) -> Vec<&Finding> {
    checked
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .collect()
}

fn worker(line: &str) -> WorkerSpec {
    line.parse().expect(line)
}

fn prompt_of<'a>(written: &'a Written, id: &str) -> &'a str {
    let path = format!("workers/{id}/prompt.md");
    let found = written.prompts.iter().find(|(each, _)| *each == path);
    &found.unwrap_or_else(|| panic!("no {path}")).1
}

#[test]
fn the_examples_of_the_skills_are_fine() {
    for plan_type in PlanType::ALL {
        let written = written(&skill::example_spec(*plan_type));
        let checked = checked(&written);
        assert!(checked.findings.is_empty(), "{:?}\n{written:#?}", checked.findings);
        assert_eq!(checked.plan.map(|plan| plan.type_name()), Some(plan_type.as_str()));
    }
}

#[test]
fn a_worktree_prompt_has_its_scope_and_ends_with_the_order_to_commit() {
    let written = written(&skill::example_spec(PlanType::Worktree));
    let prompt = prompt_of(&written, "cart");
    assert!(prompt.ends_with(&format!("\n{COMMIT}\n")), "{prompt}");
    assert!(
        prompt.contains("Change only these files:\n\n- `src/cart/**`\n"),
        "{prompt}"
    );
    assert!(
        prompt.contains("belong to other workers:\n\n- `src/mail/**` (`mail`)\n"),
        "{prompt}"
    );
    assert!(!prompt.contains("output/"), "{prompt}");
    assert_eq!(written.file.workers[0].branch.as_deref(), Some("shop-cart"));
}

#[test]
fn a_dag_worker_has_one_destination_and_knows_what_is_there() {
    let written = written(&skill::example_spec(PlanType::Dag));
    let find = prompt_of(&written, "find");
    assert!(
        find.ends_with(&format!("\n{}\n", SAVE.replace("{id}", "find"))),
        "{find}"
    );
    let page = prompt_of(&written, "page");
    assert!(
        page.contains("- `find`: `$FLEET_ROOT/workers/find/output/`\n"),
        "{page}"
    );
    assert!(page.contains("Write to `/repo/docs/returns.md`\n"), "{page}");
    assert!(!page.contains("workers/page/output"), "{page}");
}

#[test]
fn an_iterative_plan_gets_its_reviewer_and_the_recipe_at_its_end() {
    let written = written(&skill::example_spec(PlanType::Iterative));
    let reviewer = &written.file.workers[1];
    assert_eq!(reviewer.id.as_deref(), Some("reviewer"));
    assert_eq!(reviewer.depends_on, ["build"]);
    assert!(prompt_of(&written, "reviewer").ends_with(&format!("\n{VERDICT}")));
    let stop = written.file.stop_when.expect("a stop rule");
    assert_eq!((stop.max_iterations, stop.reviewer_lgtm_count), (Some(10), Some(1)));
}

#[test]
fn budgets_are_proposed_by_the_size() {
    let lines = [
        "a size=edit: x",
        "b: x",
        "c size=feature: x",
        "d size=module: x",
        "e budget=1.25: x",
    ];
    let spec = Spec {
        plan_type: Some(PlanType::Worktree),
        workers: lines
            .iter()
            .map(|line| WorkerSpec {
                files: vec![line[..1].to_owned()],
                ..worker(line)
            })
            .collect(),
        ..Spec::default()
    };
    let budgets: Vec<Option<f64>> = written(&spec)
        .file
        .workers
        .iter()
        .map(|worker| worker.max_budget_usd)
        .collect();
    assert_eq!(budgets, [0.5, 2.0, 5.0, 10.0, 1.25].map(Some));
}

#[test]
fn what_is_not_said_yet_is_named() {
    let mut spec = Spec::default();
    assert_eq!(
        missing(&spec),
        ["`type`, or whether it is `independent`, `reviewed`, `ordered`, `measured`"]
    );
    spec.ordered = Some(true);
    assert_eq!(missing(&spec), ["`workers`"]);
    spec.workers = vec![WorkerSpec::default(), worker("b: do it")];
    assert_eq!(
        missing(&spec),
        [
            "`id` of worker 1",
            "`task` of worker 1",
            "`type` of worker 1",
            "`type` of worker `b`"
        ]
    );
    spec.plan_type = Some(PlanType::Autoresearch);
    assert_eq!(missing(&spec), ["`goal`", "`eval_command`", "`metric_regex`"]);
    spec.one_session = Some(true);
    assert_eq!(decide(&spec), Decision::Stop(Stop::OneSession));
    assert_eq!(missing(&spec), [""; 0]);
}

#[test]
fn what_a_type_has_no_place_for_is_refused_rather_than_left_out() {
    let dag = || skill::example_spec(PlanType::Dag);
    let refusal = |spec: Spec| write(&spec, &taken(&spec), "/repo").expect_err("refused").message;
    let research = Spec {
        goal: Some("x".to_owned()),
        ..dag()
    };
    assert_eq!(refusal(research), "a dag plan has no place for `goal`");
    let mut branch = dag();
    branch.workers[0].branch = Some("x".to_owned());
    assert_eq!(refusal(branch), "a dag plan has no place for `branch` of worker `find`");
    let mut reviewer = skill::example_spec(PlanType::Iterative);
    reviewer.review = None;
    reviewer.workers.push(worker("judge type=reviewer files=x.md: Look."));
    assert!(refusal(reviewer).starts_with("`files` of worker `judge`: "));
}

#[test]
fn a_name_is_made_of_the_folder() {
    for (base, name) in [
        ("/home/me/My Shop", "my-shop"),
        ("/x/a_b.c/", "a-b-c"),
        ("/", "fleet"),
        ("/日本", "fleet"),
    ] {
        assert_eq!(default_name(base), name);
    }
    let time = "2026-11-21T09:05:03Z".parse().expect("a time");
    assert_eq!(default_root(time, "team/shop"), "fleet-20261121-090503-team-shop");
}

/// Workers whose answers are valid one by one.
fn workers(plan_type: PlanType) -> impl Strategy<Value = Vec<WorkerSpec>> {
    let types = prop_oneof![
        Just(WorkerType::ReadOnly),
        Just(WorkerType::Write),
        Just(WorkerType::CodeRun),
        Just(WorkerType::Research),
    ];
    let one = (
        "[A-Za-z0-9]([._-]?[A-Za-z0-9]){0,6}[._-]?",
        "[A-Z][a-z]{1,9}( [a-z]{1,9}){0,6}",
        types,
        prop::option::of(prop::sample::select(Size::ALL)),
        prop::option::of(0.01..10.0_f64),
        prop::bool::ANY,
        prop::collection::vec(prop::num::u8::ANY, 0..3),
    );
    prop::collection::vec(one, 1..6).prop_map(move |list| {
        let mut workers: Vec<WorkerSpec> = Vec::new();
        for (index, (id, task, worker_type, size, budget, has_files, after)) in list.into_iter().enumerate() {
            let id = format!("{index}{id}");
            let is_worktree = plan_type == PlanType::Worktree;
            let may_save = worker_type != WorkerType::ReadOnly;
            let mut before: Vec<String> = after
                .iter()
                .filter_map(|place| workers.get(usize::from(*place)).map(|worker| worker.id.clone()))
                .collect();
            before.sort();
            before.dedup();
            workers.push(WorkerSpec {
                files: match is_worktree || has_files && may_save {
                    true => vec![format!("src/part{index}/**")],
                    false => Vec::new(),
                },
                worker_type: (!is_worktree).then_some(worker_type),
                after: if is_worktree { Vec::new() } else { before },
                id,
                // Free text may order what a type does not have; that is for the check to find.
                task: format!("Think about {task}"),
                size,
                budget,
                ..WorkerSpec::default()
            });
        }
        workers
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_valid_answers_make_a_plan_without_errors(
        (plan_type, workers) in prop::sample::select(&[PlanType::Worktree, PlanType::Dag, PlanType::Iterative][..])
            .prop_flat_map(|plan_type| (Just(plan_type), workers(plan_type))),
        name in prop::option::of("[a-z][a-z0-9-]{0,20}(/[a-z]{1,5})?"),
        provider in prop::option::of(prop::sample::select(&["claude", "codex", "pi", "opencode", "gemini"][..])),
        rounds in prop::option::of(1_u32..50),
    ) {
        let spec = Spec {
            name,
            plan_type: Some(plan_type),
            provider: provider.map(str::to_owned),
            max_iterations: rounds.filter(|_| plan_type == PlanType::Iterative),
            workers,
            ..Spec::default()
        };
        let written = written(&spec);
        let checked = checked(&written);
        prop_assert!(errors(&checked).is_empty(), "{:?}\n{}", errors(&checked), written.text);
    }
}
