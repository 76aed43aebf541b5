//! Measures the built relay with a real homeserver, the simulated radio and real Matrix clients, and beside it a bare
//! client of the SDK without a relay. `docs/performance.md` explains the figures; `scripts/bench` prepares and runs
//! this program.
#![recursion_limit = "256"]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "what measures owns the tasks that it starts, and ends them"
    )
)]

#[cfg(test)]
mod account;
#[cfg(test)]
mod bare;
#[cfg(test)]
mod bare_program;
#[cfg(test)]
mod burst;
#[cfg(test)]
mod callgrind;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod extent;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod homeserver;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod instructions;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod latency;
#[cfg(test)]
mod link;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod order;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod pairs;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod puts;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod rate;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod start;
#[cfg(test)]
#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod support;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod village;
#[cfg(test)]
mod world;

#[cfg(test)]
fn main() -> std::process::ExitCode {
    plan::run()
}

/// Cargo builds benches as tests; no other build needs this.
#[cfg(not(test))]
fn main() {}
