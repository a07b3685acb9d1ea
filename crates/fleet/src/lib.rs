//! The surfaces of fleet: the command line, MCP, and what needs a terminal.
//!
//! Everything that changes the world goes through [`fleet_app::op::dispatch`].

mod attach;
mod cli;
mod dialogue;
mod edit;
mod follow;
mod mcp;
mod meter;
mod reference;
mod report;
mod runs;
mod ui;
mod view;

use std::process::ExitCode;

/// Enters the program in the role that its first argument names.
///
/// Supervisors and views are entered here, before any argument is parsed and without any runtime: they live as
/// long as their agent and must stay small. So are the reports of agent programs, which wait for them.
pub fn main() -> ExitCode {
    #[cfg(debug_assertions)]
    fault::install();
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(fleet_host::supervise::launch::ARGUMENT) => fleet_host::supervise::run::main(),
        Some(view::ARGUMENT) => view::main(args),
        Some(fleet_host::supervise::driver::ARGUMENT) => runs::drive(args),
        Some(fleet_host::supervise::recorder::ARGUMENT) => runs::record(args),
        Some(fleet_host::supervise::meter::ARGUMENT) => meter::main(),
        Some(fleet_host::harness::reporting::ARGUMENT) => report::main(args),
        _ => cli::main(),
    }
}

/// The fault points of the crash tests. Absent from release builds.
#[cfg(debug_assertions)]
mod fault {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};

    use fleet_core::fault::Edge;

    /// `FLEET_FAULT_LOG=FILE` notes each point that is passed. `FLEET_FAULT=SITE:before|after[:N]` kills the process
    /// at its N-th passing of that point, and notes that in `FLEET_FAULT_HIT=FILE`; where that file is, nobody
    /// is killed any more.
    pub(super) fn install() {
        fleet_core::fault::install(pass);
    }

    #[expect(clippy::disallowed_methods, reason = "a test's seam, in debug builds only")]
    fn pass(site: &str, edge: Edge) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let edge = match edge {
            Edge::Before => "before",
            Edge::After => "after",
        };
        if let Ok(path) = std::env::var("FLEET_FAULT_LOG")
            && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
        {
            let _ = file.write_all(format!("{site}:{edge}\n").as_bytes());
        }
        let Ok(wanted) = std::env::var("FLEET_FAULT") else {
            return;
        };
        let mut parts = wanted.split(':');
        if parts.next() == Some(site) && parts.next() == Some(edge) {
            let nth: u64 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
            if COUNT.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                if let Ok(path) = std::env::var("FLEET_FAULT_HIT") {
                    match std::fs::OpenOptions::new().create_new(true).write(true).open(path) {
                        Ok(mut file) => drop(file.write_all(format!("{site}:{edge}\n").as_bytes())),
                        Err(_) => return,
                    }
                }
                fleet_host::sys::kill_self();
            }
        }
    }
}
