//! What fleet itself says to other machines. Only this crate dials out; git and the programs of the user speak for
//! themselves.
//!
//! [`http`] is one request with one answer. [`forge`] is what a pull request needs of GitHub, Gitea and GitLab. [`meter`]
//! hands on what agent programs ask their services, and counts. Nothing here reads the environment: tokens and proxies
//! are arguments, and no token is in any message.

pub mod forge;
pub mod http;
pub mod meter;
