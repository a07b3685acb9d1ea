//! The tests that run the real binary, in one program.
//!
//! A module a group of promises; every file of this folder is listed here, and a test looks that it is.

mod adverse;
mod budgets;
mod contracts;
mod crossed;
mod drive;
mod headless;
mod input;
mod integrate;
mod kill;
mod limits;
mod live;
mod many;
mod merge;
mod meter;
mod pages;
mod pipelines;
mod planner;
mod plans;
mod pr;
mod prompts;
mod rank;
mod reports;
mod runs;
mod surfaces;
mod tasks;
mod trust;
mod updated;
mod upgrade;
mod views;

/// A file that is forgotten above would be tests that never run.
#[test]
fn every_file_of_this_folder_is_listed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let list = std::fs::read_to_string(folder.join("main.rs")).expect("this file");
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let module = name.trim_end_matches(".rs");
        assert!(
            name == "main.rs" || list.contains(&format!("mod {module};")),
            "{name} is not listed"
        );
    }
}
