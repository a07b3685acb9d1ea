//! The operations of fleet and their one dispatch.
//!
//! Surfaces call [`op::dispatch`] and nothing else to change the world.

pub mod app;
mod budgets;
pub mod caller;
mod checked;
mod child;
pub mod config;
mod conversation;
pub mod end;
pub mod engine;
pub mod forecast;
pub(crate) mod grants;
mod kept;
pub mod merge;
pub mod meter;
pub mod op;
pub mod ops;
pub mod page;
mod pipelines;
pub mod plan;
pub mod profile;
mod pulls;
pub mod record;
pub mod repair;
mod reporting;
mod request;
pub mod runs;
pub mod sessions;
pub mod start;
pub mod task;
mod trash;
mod trust;
mod up;
mod updated;
