//! The formats, event by event.
