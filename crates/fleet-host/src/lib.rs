//! This machine: processes, files, git, tmux, supervisors and harnesses.
//!
//! What fleet does to the world it does here. Each kind of act has one door: [`exec`] spawns, [`files`]
//! changes the file system, [`git`] and [`tmux`] speak to those programs, [`supervise`] owns an agent's
//! terminal. Every door passes the fault points of [`fleet_core::fault`].

pub mod alarm;
pub mod alone;
pub mod boundary;
pub mod exec;
pub mod files;
pub mod git;
pub mod harness;
pub mod home;
pub mod lock;
pub mod parallel;
pub mod process;
pub mod salvage;
pub mod supervise;
#[allow(unsafe_code, reason = "the one file that speaks to the kernel directly")]
pub mod sys;
pub mod tmux;
