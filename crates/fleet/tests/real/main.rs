//! fleet with the real agent programs, against the scripted model endpoint.
//!
//! `cargo xtask test real` installs the programs and runs this where there is no network but loopback; plain
//! `cargo test` leaves it out. [`world`] is what each test stands on.

mod accuracy;
mod back;
mod ceilings;
mod extensions;
mod headless;
mod live;
mod meter;
mod pipelines;
mod plans;
mod reports;
mod restrictions;
mod skills;
mod starts;
mod tasks;
mod trust;
mod users;
mod world;
