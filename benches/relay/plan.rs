//! What is measured, in which order, and how often.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::figures::{Figures, progress};
use crate::{
    bare_program, burst, idle, kill, latency, link, machine, outage, outside, queue, soak, start,
};

const USAGE: &str = "usage: scripts/bench [--quick] [FIGURE...]
A figure is chosen by its name or by the beginning of it; without one all are measured. They are:";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Starts of the relay, for each kind of room.
    pub(crate) starts: usize,
    /// Messages one by one to Matrix, for each kind of room.
    pub(crate) to_matrix: usize,
    /// Messages one by one to the mesh, for each kind of room; the radio takes one in two seconds.
    pub(crate) to_mesh: usize,
    /// Messages of a burst.
    pub(crate) burst: usize,
    /// Packets of the soak.
    pub(crate) soak: usize,
    /// Times that the radio is away for 3 s, restarts, is away for 30 s and for 2 min, and is silent; over each wire.
    pub(crate) short_lives: usize,
    pub(crate) restarts: usize,
    pub(crate) half_minutes: usize,
    pub(crate) two_minutes: usize,
    pub(crate) silences: usize,
    /// Times that the homeserver hangs, and that it restarts; how long it hangs.
    pub(crate) homeserver_outages: usize,
    pub(crate) hang: Duration,
    /// Messages that wait for the mesh when the relay is killed.
    pub(crate) kill_to_mesh: usize,
    /// Messages of a queue to the mesh.
    pub(crate) queue: usize,
    /// Messages that the relay misses.
    pub(crate) missed: usize,
    /// How long the relay rests before its memory is read.
    pub(crate) rest: Duration,
    /// How long the idle relay's processor time is counted.
    pub(crate) idle: Duration,
}

const FULL: Extent = Extent {
    starts: 10,
    to_matrix: 200,
    to_mesh: 40,
    burst: 500,
    soak: 5000,
    short_lives: 12,
    restarts: 12,
    half_minutes: 3,
    two_minutes: 2,
    silences: 2,
    homeserver_outages: 3,
    hang: Duration::from_secs(10),
    kill_to_mesh: 20,
    queue: 25,
    missed: 300,
    rest: Duration::from_secs(10),
    idle: Duration::from_mins(1),
};

const QUICK: Extent = Extent {
    starts: 3,
    to_matrix: 30,
    to_mesh: 5,
    burst: 100,
    soak: 1000,
    short_lives: 3,
    restarts: 3,
    half_minutes: 1,
    two_minutes: 0,
    silences: 0,
    homeserver_outages: 1,
    hang: Duration::from_secs(3),
    kill_to_mesh: 4,
    queue: 4,
    missed: 60,
    rest: Duration::from_secs(3),
    idle: Duration::from_secs(10),
};

/// Returns every group of figures: those that are measured together.
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

/// Reads the arguments and does what they say.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    if let [first, directory, url, username] = &*arguments
        && first == bare_program::ARGUMENT
    {
        runtime.block_on(bare_program::run(PathBuf::from(directory), url, username));
        // A read of standard input may still be under way: do not wait for it.
        runtime.shutdown_background();
        return ExitCode::SUCCESS;
    }
    // `cargo bench` says so; `cargo test --benches` only wants to know whether this starts.
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
        // Whatever still runs in the background must not hold the end up: the homeserver waits for it.
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
