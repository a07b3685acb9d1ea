//! This machine: processes, files, git, tmux, supervisors, harnesses.
