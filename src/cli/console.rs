//! Readies the terminal for what is written to it: it needs nothing.

pub(super) fn prepare() {}
