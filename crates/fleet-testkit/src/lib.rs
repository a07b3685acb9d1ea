//! What the tests stand on: private environments, a terminal to drive programs with, and a scripted harness.
//!
//! [`TestEnv`] is a throw-away HOME with a fleet in it; its [`Cmd`] runs programs under a deadline; [`Pty`] plays
//! the user at a terminal; [`wait_until`] is how a test waits. The program `scripted-agent` behaves like a coding
//! agent's terminal program and does what its prompts say; [`Received`] is a line of the log that it keeps.
//! [`model`] is a scripted model endpoint, for agents that are real; [`clis`] knows five of those; [`tls`] puts a
//! certificate before it.
//! Everything here panics with a story instead of returning errors: its callers are tests.

pub mod clis;
mod cmd;
mod env;
pub mod model;
mod namespace;
mod pty;
mod received;
pub mod scan;
pub mod tls;
mod wait;

pub use cmd::{Background, Cmd, Finished, kill_process, raw_command};
pub use env::{TestEnv, binary};
pub use namespace::cannot_run;
pub use pty::Pty;
pub use received::{Received, append_received, read_received};
pub use wait::{pause, poll_until, wait_until};
