//! A terminal's screen and modes, rebuilt from a program's output.
//!
//! Pure: bytes in, bytes and text out; no I/O, no clock, no threads, no process-wide state.
//!
//! ```text
//! output ─► Scanner ─► pieces ─► Screen ─► answers   to the program (we are the terminal of record)
//!           (scan)     whole     (screen)  show      to the views (the output without its queries)
//!                      sequences           snapshot  to a late view
//! ```
//!
//! The supervisor holds a [`Terminal`] without history, `fleet logs` feeds a [`LogText`] from the recorded output.
//! A piece is a whole sequence or character, so a snapshot between two feeds never cuts one in half.

mod cells;
mod colors;
mod csi;
mod log;
mod modes;
mod query;
mod scan;
mod screen;
mod snapshot;
mod terminal;

pub use log::LogText;
pub use modes::{Modes, Mouse, MouseEncoding};
pub use terminal::{Fed, Terminal};

#[cfg(test)]
mod testing;
