//! The process that is the meter.

use std::process::ExitCode;

use crate::{cli, ui};

/// Enters the meter, apart from the process that started it.
pub(crate) fn main() -> ExitCode {
    fleet_host::sys::close_from(3);
    match cli::service().and_then(|(app, _)| fleet_app::meter::serve(app)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
