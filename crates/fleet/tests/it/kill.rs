//! The end of agents and what comes after: nothing of them is left running, nothing of their work is lost.

mod deleting;
mod notifiers;
mod processes;
mod revive;
mod work;
