//! The rules of fleet: values, facts, states and errors.
//!
//! This crate is pure. It reads no file, clock, environment or random source and starts nothing; time and
//! ids come in as arguments. So every rule here is tested by tables, without a machine around it.

pub mod agent;
pub mod block;
pub mod budget;
pub mod contract;
pub mod error;
pub mod fact;
pub mod fault;
pub mod id;
pub mod intensity;
pub mod merge;
pub mod meter;
pub mod money;
pub mod name;
pub mod nearest;
pub mod outcome;
pub mod pipeline;
pub mod plan;
pub mod price;
pub mod profile;
pub mod rank;
pub mod remote;
pub mod report;
pub mod run;
pub mod spend;
pub mod tally;
pub mod target;
pub mod task;
pub mod time;
pub mod usage;
pub mod yaml;

pub use error::{Error, Kind, Result};
pub use time::Time;
