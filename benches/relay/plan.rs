//! The selection of figures, and the order of their measurement.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::extent::{Extent, FULL, QUICK};
use crate::figures::{Figures, progress};
use crate::{
    bare_program, burst, idle, kill, latency, link, machine, outage, outside, queue, soak, start,
};

const USAGE: &str = "usage: scripts/bench [--quick] [FIGURE...]
A figure is chosen by its name or by the beginning of it; without one all are measured. They are:";

/// Returns the groups of figures, each measured together.
fn groups() -> [&'static [&'static str]; 10] {
    [
        &machine::FIGURES,
        &start::FIGURES,
        &latency::FIGURES,
        &burst::FIGURES,
        &idle::FIGURES,
        &soak::FIGURES,
        &link::FIGURES,
        &outage::FIGURES,
        &kill::FIGURES,
        &queue::FIGURES,
    ]
}

/// Runs the program as its arguments tell.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    if let [first, directory, url, username] = &*arguments
        && first == bare_program::ARGUMENT
    {
        runtime.block_on(bare_program::run(PathBuf::from(directory), url, username));
        // A read of standard input may still block: do not wait for it.
        runtime.shutdown_background();
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes this argument; `cargo test --benches` only checks that the program starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        progress("nothing is measured: scripts/bench does that");
        return ExitCode::SUCCESS;
    }
    let mut extent = FULL;
    let mut wanted = Vec::new();
    for argument in arguments {
        match &*argument {
            "--bench" => {}
            "--quick" => extent = QUICK,
            name if is_figure(name) => wanted.push(argument),
            "--help" | "-h" => return tell_usage(0),
            unknown => {
                eprintln!("error: there is no figure `{unknown}`");
                return tell_usage(2);
            }
        }
    }
    if cfg!(debug_assertions) {
        progress("this is a debug build: its figures are worthless");
    }
    let mut figures = Figures::new(wanted);
    let ended = runtime.block_on(async {
        tokio::select! {
            () = measure(&mut figures, extent) => None,
            signal = outside::ended() => Some(signal),
        }
    });
    if let Some(signal) = ended {
        progress(&format!("ended from outside ({signal})"));
        // A background task must not delay the end, which the homeserver's process waits for.
        runtime.shutdown_background();
        return ExitCode::FAILURE;
    }
    match figures.promises_broken() {
        [] => ExitCode::SUCCESS,
        broken => {
            for promise in broken {
                eprintln!("error: {promise}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn measure(figures: &mut Figures, extent: Extent) {
    if figures.want_any_of(&machine::FIGURES) {
        machine::measure(figures);
    }
    if figures.want_any_of(&start::FIGURES) {
        Box::pin(start::measure(figures, extent)).await;
    }
    if figures.want_any_of(&latency::FIGURES) {
        Box::pin(latency::measure(figures, extent)).await;
    }
    if figures.want_any_of(&burst::FIGURES) {
        Box::pin(burst::measure(figures, extent)).await;
    }
    if figures.want_any_of(&idle::FIGURES) {
        Box::pin(idle::measure(figures, extent)).await;
    }
    if figures.want_any_of(&soak::FIGURES) {
        Box::pin(soak::measure(figures, extent)).await;
    }
    if figures.want_any_of(&link::FIGURES) {
        Box::pin(link::measure(figures, extent)).await;
    }
    if figures.want_any_of(&outage::FIGURES) {
        Box::pin(outage::measure(figures, extent)).await;
    }
    if figures.want_any_of(&kill::FIGURES) {
        Box::pin(kill::measure(figures, extent)).await;
    }
    if figures.want_any_of(&queue::FIGURES) {
        Box::pin(queue::measure(figures, extent)).await;
    }
}

fn is_figure(name: &str) -> bool {
    let begins = |figure: &&str| figure.starts_with(name);
    !name.is_empty() && groups().iter().any(|group| group.iter().any(begins))
}

fn tell_usage(code: u8) -> ExitCode {
    eprintln!("{USAGE}");
    for group in groups() {
        eprintln!("  {}", group.join(" "));
    }
    ExitCode::from(code)
}
