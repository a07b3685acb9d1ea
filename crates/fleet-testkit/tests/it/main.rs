//! The test kit tested: the scripted agent on a real terminal, and the private environment.

mod env;
mod model;
mod scripted_agent;
