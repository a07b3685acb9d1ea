//! The supervisor: the small process that owns one agent's terminal, child, journal and socket.
//!
//! It is this same executable, started by [`launch::launch`] and entered by [`run::main`] before any argument is
//! parsed. It has one thread and one event loop, which sleeps until something happens. It never opens the
//! database: what it observes it appends to its journal, and operations fold that into the store.
//!
//! - [`spec`]: what to start, handed over on an inherited descriptor
//! - [`wire`]: the protocol of the socket, version 1
//! - [`journal`], [`output`]: what is kept
//! - [`prompt`]: how a text becomes a turn exactly once
//! - [`meter`]: the proxy through which programs reach their services
//! - [`recorder`]: who has the store take in what a journal tells of tasks and money
//! - [`notify`]: the notifiers of the config
//! - [`run`]: the event loop; [`client`]: the other end of the socket

pub mod client;
pub mod driver;
pub mod journal;
pub mod launch;
pub mod meter;
pub mod notify;
pub mod output;
pub mod program;
pub mod prompt;
pub mod recorder;
pub mod run;
pub mod spec;
pub mod wire;

mod child;
mod stop;
mod views;
