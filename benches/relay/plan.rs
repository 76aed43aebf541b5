//! The selection of figures, and the order of their measurement.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::extent::{Extent, FULL, QUICK};
use crate::figures::{Figures, progress};
use crate::order::{Misread, Order};
use crate::{
    bare_program, burst, cost, homeserver, idle, instructions, kill, latency, link, machine,
    outage, outside, queue, rate, soak, start, world,
};

const USAGE: &str = "usage: scripts/bench [--quick] [--delay MS] [--errors] [FIGURE...]
       scripts/bench --check [--update]
--delay MS   every answer of the homeserver comes so much later, a tenth more or less
--errors     the homeserver refuses every fiftieth request of the relay with 502
--check      counts instructions, and fails if a message takes a tenth more than benches/instructions.json says (8 min);
--update     writes that file instead
A figure is chosen by its name or by the beginning of it; without one all are measured. They are:";

/// Returns the groups of figures, each measured together.
fn groups() -> [&'static [&'static str]; 14] {
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
        &rate::FIGURES,
        &cost::FIGURES,
        &world::FIGURES,
        &instructions::FIGURES,
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
    let order = match Order::read(&arguments, is_figure) {
        Ok(order) => order,
        Err(Misread::Help) => return tell_usage(0),
        Err(Misread::Mistake(mistake)) => {
            eprintln!("error: {mistake}");
            return tell_usage(2);
        }
    };
    if order.delay.is_some() || order.errors {
        return homeserver::choose(&order);
    }
    if cfg!(debug_assertions) {
        progress("this is a debug build: its figures are worthless");
    }
    let mut figures = Figures::new(order.wanted.clone());
    let ended = runtime.block_on(async {
        tokio::select! {
            () = carry_out(&mut figures, &order) => None,
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

async fn carry_out(figures: &mut Figures, order: &Order) {
    // A few messages are too few to compare.
    let is_quick = order.quick && !order.check;
    let extent = if is_quick { &QUICK } else { &FULL };
    let mut with_homeserver = groups().into_iter().skip(1);
    if with_homeserver.any(|group| figures.want_any_of(group)) {
        figures.set_surroundings(Box::pin(homeserver::surroundings()).await);
    }
    if !order.check {
        Box::pin(measure(figures, extent)).await;
        return;
    }
    let counted = Box::pin(instructions::measure(figures, extent)).await;
    if order.update {
        instructions::update(&counted);
    } else {
        for sentence in instructions::check(&counted) {
            figures.broken(sentence);
        }
    }
}

async fn measure(figures: &mut Figures, extent: &Extent) {
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
    if figures.want_any_of(&rate::FIGURES) {
        Box::pin(rate::measure(figures, extent)).await;
    }
    if figures.want_any_of(&cost::FIGURES) {
        Box::pin(cost::measure(figures, extent)).await;
    }
    if figures.want_any_of(&world::FIGURES) {
        Box::pin(world::measure(figures, extent)).await;
    }
    if figures.want_any_of(&instructions::FIGURES) {
        Box::pin(instructions::measure(figures, extent)).await;
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
