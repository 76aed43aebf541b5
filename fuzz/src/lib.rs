//! What is tried with any input: each target is a function that panics where a promise is broken.
//!
//! `fuzz_targets` hands them to the fuzzer; the repository's `tests/corpus.rs` runs them on the inputs of `fuzz/corpus`.

mod bridge;
mod codec;
mod config;
mod message;
mod session;
mod split;

pub use bridge::bridge;
pub use codec::codec;
pub use config::config;
pub use message::message;
pub use session::session;
pub use split::split;
