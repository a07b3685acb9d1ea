//! A terminal's screen and modes, rebuilt from its output. Pure.
