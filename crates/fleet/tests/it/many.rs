//! Many agents at once: nothing is lost, nothing is mixed, and whatever is asked of several is asked of each.

mod at_once;
mod batches;
mod starting;
mod targets;
