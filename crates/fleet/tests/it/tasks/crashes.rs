//! Killed at each step: what was asked for is there once, or not at all, and asking again makes it whole.

use super::stage::{GOOD, Stage, block};

#[test]
fn a_record_that_was_cut_off_is_made_once_when_it_is_asked_for_again() {
    for site in ["task.add", "task.folder", "task.file"] {
        for side in ["before", "after"] {
            let stage = Stage::new();
            let create = ["task", "create", "The index", "--external", "one"];
            let cut = stage
                .fleet(create)
                .env("FLEET_FAULT", format!("{site}:{side}"))
                .output();
            assert!(!cut.status.success(), "{site}:{side}: {cut}");
            let id = stage.task(&["The index", "--external", "one"]);
            assert_eq!(stage.tasks().len(), 1, "{site}:{side}");
            assert!(
                stage
                    .read(&format!(".fleet/tasks/{id}/task.yaml"))
                    .contains("title: \"The index\"")
            );
            stage.end();
        }
    }
}

#[test]
fn a_report_that_was_cut_off_is_whole_when_it_is_given_again() {
    for site in ["task.report", "task.file", "task.report-file"] {
        for side in ["before", "after"] {
            let stage = Stage::new();
            let id = stage.task(&["The index"]);
            let good = GOOD.replace("TASK", &id);
            let cut = stage
                .tell(&block(&good))
                .env("FLEET_FAULT", format!("{site}:{side}"))
                .output();
            assert!(!cut.status.success(), "{site}:{side}: {cut}");
            let _ = stage.report(&good);
            assert_eq!(
                stage.answer(["task", "show", &id])["status"],
                "completed",
                "{site}:{side}"
            );
            assert!(
                stage
                    .read(&format!(".fleet/tasks/{id}/task.yaml"))
                    .contains("status: completed")
            );
            assert!(
                stage
                    .read(&format!(".fleet/tasks/{id}/report.md"))
                    .contains("FLEET_REPORT")
            );
            stage.end();
        }
    }
}

#[test]
fn a_request_that_was_cut_off_is_there_whole_or_not_at_all() {
    for side in ["before", "after"] {
        let stage = Stage::new();
        let id = stage.task(&["One"]);
        let _ = stage.report(&format!("{}follow_ups:\n  - title: Later\n", GOOD.replace("TASK", &id)));
        let ask = ["task", "promote", &id, "1", "--to", "vibe"];
        let cut = stage
            .fleet(ask)
            .env("FLEET_FAULT", format!("task.outbox:{side}"))
            .output();
        assert!(!cut.status.success(), "{cut}");
        let _ = stage.answer(ask);
        let text = stage.read(&format!(".fleet/federation/outbox/{id}-vibe-later.md"));
        assert!(text.contains("# Later\n"), "{text}");
        stage.end();
    }
}
