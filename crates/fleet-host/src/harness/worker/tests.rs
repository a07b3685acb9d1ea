use super::*;
use crate::harness::words;

fn worker(worker_type: WorkerType) -> WorkerTerms<'static> {
    WorkerTerms {
        worker_type,
        cwd: Path::new("/w"),
        added: &[],
        git: &[],
        folder: Path::new("/agent"),
        author: None,
        effort: None,
        fallback: None,
        budget_usd: None,
        max_turns: None,
        sandbox: None,
    }
}

/// The value behind an option.
fn after<'a>(terms: &'a Terms, option: &str) -> &'a str {
    let at = terms.args.iter().position(|arg| arg == option).expect("the option");
    &terms.args[at + 1]
}

fn has(terms: &Terms, arg: &str) -> bool {
    terms.args.iter().any(|each| each == arg)
}

#[test]
fn claude_offers_a_type_what_it_may_use() {
    let table = [
        (WorkerType::ReadOnly, "dontAsk", [false, false, false]),
        (WorkerType::Write, "acceptEdits", [true, false, false]),
        (WorkerType::CodeRun, "acceptEdits", [true, true, false]),
        (WorkerType::Orchestrator, "acceptEdits", [true, true, false]),
        (WorkerType::Research, "acceptEdits", [true, false, true]),
    ];
    for (kind, mode, tools) in table {
        let terms = terms("claude", &worker(kind));
        assert_eq!(after(&terms, "--permission-mode"), mode, "{kind:?}");
        let offered: Vec<&str> = after(&terms, "--tools").split(',').collect();
        let found = ["Write", "Bash", "WebFetch"].map(|tool| offered.contains(&tool));
        assert_eq!(found, tools, "{kind:?}");
        let allowed: Vec<&str> = after(&terms, "--allowedTools").split(',').collect();
        assert!(
            !allowed.contains(&"Write"),
            "an edit outside of the workspace is no longer asked for"
        );
        assert!(allowed.iter().all(|tool| offered.contains(tool)), "{allowed:?}");
    }
    let terms = terms("claude", &worker(WorkerType::Reviewer));
    assert_eq!(after(&terms, "--tools"), "default");
    assert!(after(&terms, "--allowedTools").split(',').any(|tool| tool == "Write"));
}

#[test]
fn claude_is_told_its_limits() {
    let terms = terms(
        "claude",
        &WorkerTerms {
            fallback: Some("haiku"),
            budget_usd: Some(0.25),
            max_turns: Some(7),
            added: &[PathBuf::from("/repo")],
            ..worker(WorkerType::Write)
        },
    );
    let found =
        ["--fallback-model", "--max-budget-usd", "--max-turns", "--add-dir"].map(|option| after(&terms, option));
    assert_eq!(found, ["haiku", "0.25", "7", "/repo"]);
}

#[test]
fn codex_has_the_sandbox_of_the_type_or_of_the_plan() {
    let git = [PathBuf::from("/repo/.git"), PathBuf::from("/repo/.git/worktrees/w")];
    let of = |kind, sandbox| {
        terms(
            "codex",
            &WorkerTerms {
                sandbox,
                git: &git,
                added: &[],
                ..worker(kind)
            },
        )
    };
    for (kind, sandbox, mode) in [
        (WorkerType::ReadOnly, None, "read-only"),
        (WorkerType::CodeRun, None, "workspace-write"),
        (WorkerType::Reviewer, None, "danger-full-access"),
        (WorkerType::Reviewer, Some(Sandbox::FullAuto), "workspace-write"),
        (WorkerType::Write, Some(Sandbox::FullAccess), "danger-full-access"),
    ] {
        let terms = of(kind, sandbox);
        assert!(has(&terms, &format!("sandbox_mode=\"{mode}\"")), "{:?}", terms.args);
    }
    let roots = |kind| {
        let terms = of(kind, None);
        let root = terms.args.iter().find(|arg| arg.contains("writable_roots")).cloned();
        root.expect("roots")
    };
    assert!(roots(WorkerType::CodeRun).ends_with("=[\"/repo/.git\",\"/repo/.git/worktrees/w\"]"));
    assert!(
        roots(WorkerType::Write).ends_with("=[]"),
        "who runs no commands commits nothing"
    );
    let network = |kind| has(&of(kind, None), "sandbox_workspace_write.network_access=true");
    assert!(network(WorkerType::Research) && !network(WorkerType::CodeRun));
}

#[test]
fn an_effort_reaches_the_programs_that_take_one() {
    let worker = WorkerTerms {
        effort: Some(Effort::High),
        ..worker(WorkerType::Write)
    };
    assert!(has(&terms("codex", &worker), "model_reasoning_effort=\"high\""));
    assert_eq!(after(&terms("pi", &worker), "--thinking"), "high");
}

#[test]
fn gemini_is_told_who_commits() {
    let worker = |kind| WorkerTerms {
        author: Some(("Ann", "ann@example.invalid")),
        ..worker(kind)
    };
    let env = terms("gemini", &worker(WorkerType::CodeRun)).env;
    assert!(env.contains(&("GIT_AUTHOR_NAME".to_owned(), "Ann".to_owned())));
    assert!(env.contains(&("GIT_COMMITTER_EMAIL".to_owned(), "ann@example.invalid".to_owned())));
    assert_eq!(terms("gemini", &worker(WorkerType::Write)).env, []);
}

#[test]
fn every_file_is_in_the_folder_of_the_agent_and_named_in_the_arguments() {
    for name in crate::harness::BUILTIN {
        for kind in WorkerType::ALL {
            let terms = terms(name, &worker(*kind));
            for (path, text) in &terms.files {
                assert!(path.starts_with("/agent") && !text.contains("FOLDERS\""), "{name}");
                assert!(has(&terms, &path.display().to_string()), "{name}");
            }
            assert!(!terms.drops.is_empty(), "{name}");
        }
    }
    assert_eq!(terms("own", &worker(WorkerType::ReadOnly)), Terms::default());
}

#[test]
fn opencode_names_every_permission_and_opens_the_added_folders() {
    let terms = terms(
        "opencode",
        &WorkerTerms {
            added: &[PathBuf::from("/repo")],
            ..worker(WorkerType::Write)
        },
    );
    let permission: serde_json::Value = serde_json::from_str(&terms.env[0].1).expect("JSON");
    for (name, word) in [("*", "deny"), ("edit", "allow"), ("bash", "deny"), ("webfetch", "deny")] {
        assert_eq!(permission[name], word, "{name}");
    }
    let outside = &permission["external_directory"];
    assert_eq!((&outside["*"], &outside["/repo/*"]), (&"deny".into(), &"allow".into()));
}

#[test]
fn arguments_that_would_undo_the_type_are_left_out() {
    for (name, given, kept) in [
        (
            "claude",
            &[
                "claude",
                "--dangerously-skip-permissions",
                "--tools",
                "Bash",
                "Write",
                "--effort",
                "low",
                "--permission-mode=plan",
            ][..],
            &["claude", "--effort", "low"][..],
        ),
        (
            "codex",
            &[
                "codex",
                "--no-daemon",
                "-s",
                "danger-full-access",
                "--yolo",
                "-c",
                "x=1",
            ],
            &["codex", "--no-daemon", "-c", "x=1"],
        ),
        ("gemini", &["gemini", "--yolo", "--debug"], &["gemini", "--debug"]),
        ("opencode", &["opencode", "--auto"], &["opencode"]),
        ("pi", &["pi", "-t", "bash", "-e", "x.ts"], &["pi", "-e", "x.ts"]),
    ] {
        let terms = terms(name, &worker(WorkerType::ReadOnly));
        let command = terms.command(&words(given));
        assert_eq!(command[..kept.len()], words(kept), "{name}");
        assert_eq!(command[kept.len()..], terms.args, "{name}");
    }
}
