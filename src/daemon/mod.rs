//! Builds the parts, runs them, stops them.
