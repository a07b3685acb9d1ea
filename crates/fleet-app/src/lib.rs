//! The operations of fleet and their one dispatch.
