//! Measures the built relay on real parts: a real homeserver, the simulated radio, people's clients. Beside each figure
//! stands that of a bare client of the SDK which does the same without a relay. `docs/performance.md` says what each
//! figure means; `scripts/bench` sets up what this needs and runs it.
#![recursion_limit = "256"]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "what measures owns the tasks that it starts, and ends them"
    )
)]

#[cfg(test)]
mod bare;
#[cfg(test)]
mod bare_program;
#[cfg(test)]
mod burst;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod latency;
#[cfg(test)]
mod link;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod queue;
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
mod traffic;
#[cfg(test)]
mod usage;

#[cfg(test)]
fn main() -> std::process::ExitCode {
    plan::run()
}

/// Cargo builds benches as tests; nobody else has reason to.
#[cfg(not(test))]
fn main() {}
