//! The commands: arguments in, exit code out.

mod auth;
mod backup;
mod completions;
mod config;
#[cfg_attr(windows, path = "console_windows.rs")]
mod console;
mod doctor;
mod explain;
mod failure;
mod globals;
mod help;
mod import;
mod man;
mod matrix;
mod output;
#[cfg(test)]
mod pages;
mod progress;
mod radio;
mod run;
#[cfg_attr(windows, path = "service_windows.rs")]
mod service;
mod simulate;
mod status;
mod trace;

use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::colour;
use crate::signals::{Hangup, Signals};

use failure::Failure;
use globals::Globals;

/// Carries messages between a Meshtastic mesh radio and Matrix rooms.
///
/// Without a command it runs as a daemon in the foreground.
#[derive(Debug, Parser)]
#[command(name = "relay", version, arg_required_else_help = false)]
#[command(after_help = "Example: relay --home /var/lib/relay run")]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon, in the foreground (as without a command).
    #[command(after_help = "Example: relay run --log-level debug")]
    Run,
    /// Tell how the running relay stands: radio, Matrix, and what it carried.
    #[command(after_help = "Example: relay status --json")]
    Status(status::StatusArgs),
    /// Tell the story of a message: what became of it on its way to the mesh or to Matrix, and what is known of that.
    ///
    /// Each step says whether it was reported by the other side, observed by the relay, inferred, or is unknown. The text of
    /// the message is not shown. Also without a running relay.
    #[command(
        after_help = "Examples:\n  relay trace '$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG'\n  relay trace '!a1b2c3d4:1234567890' --json"
    )]
    Trace(trace::TraceArgs),
    /// Log in to Matrix, out of it, or look at the login.
    #[command(
        subcommand,
        after_help = "Example: relay auth login --homeserver example.org --username relaybot"
    )]
    Auth(auth::AuthCommand),
    /// Check the configuration, write a new one, or show where things are.
    #[command(subcommand, after_help = "Example: relay config check")]
    Config(config::ConfigCommand),
    /// Examine the relay, its homeserver and its radio, and tell what to do about what is not well.
    ///
    /// Beside a running relay, which it asks, or without one: then it connects to the radio itself. What the radio has kept and
    /// hands over to it is stored, and posted when the relay runs.
    #[command(
        after_help = "Examples:\n  relay doctor\n  relay doctor radio --json\n  relay doctor --quick"
    )]
    Doctor(doctor::DoctorArgs),
    /// Write configuration and database into one file, also while the relay runs.
    ///
    /// Not the login: an older copy of it would destroy its encryption. `relay restore` logs in as a new device.
    #[command(after_help = "Example: relay backup relay-backup.tar.gz")]
    Backup(backup::BackupArgs),
    /// Take a backup into an empty home, and log in as a new device with the account's recovery key.
    ///
    /// What waited for the mesh is given up, and each room is told; what waited for rooms is posted, unless it was since.
    #[command(
        after_help = "Example: relay restore relay-backup.tar.gz --recovery-key-file recovery-key.txt"
    )]
    Restore(backup::RestoreArgs),
    /// Take over what another relay has left.
    #[command(
        subcommand,
        after_help = "Example: relay import mmrelay --from ~/.mmrelay --dry-run"
    )]
    Import(import::ImportCommand),
    /// Look at a radio, listen to it, or send a text with it; without the daemon, and without Matrix.
    #[command(
        subcommand,
        after_help = "Example: relay radio info --host 192.168.1.20"
    )]
    Radio(radio::RadioCommand),
    /// Look at rooms, answer an invite, send a line or a picture: Matrix by hand, beside a running relay or without one.
    #[command(
        subcommand,
        after_help = "Example: relay matrix send --room '#hill:example.org' 'back at six'"
    )]
    Matrix(matrix::MatrixCommand),
    /// Install the relay as a service of systemd, remove it, or tell how it stands.
    #[command(subcommand, after_help = "Example: sudo relay service install")]
    Service(service::ServiceCommand),
    /// Behave like a radio, to try the relay without one.
    ///
    /// As one with firmware 2.7 or 2.8, on TCP or on a serial port. Each line on standard input is a text from the first node,
    /// or a JSON object that says what a node says or what goes wrong; each packet of the client is told on standard output as
    /// a JSON object. `docs/reference/simulator.md` holds every key and every fault.
    Simulate(simulate::SimulateArgs),
    /// Print what a shell completes these commands by.
    #[command(
        after_help = "Example: relay completions bash > ~/.local/share/bash-completion/completions/relay"
    )]
    Completions(completions::CompletionsArgs),
    /// Print the manual page.
    #[command(after_help = "Example: relay man > relay.1 && man -l relay.1")]
    Man,
}

/// Runs the command given by the process's arguments, and returns the exit code: 0 done, 1 failed, 2 wrong arguments or
/// configuration.
pub fn main() -> ExitCode {
    console::prepare();
    // The library has reasons of its own to colour, such as a variable `CI`.
    let colour = if colour::is_wanted() {
        ColorChoice::Auto
    } else {
        ColorChoice::Never
    };
    let commands = help::with_exit_codes(Arguments::command(), "").color(colour);
    let parsed = commands.clone().try_get_matches();
    let arguments = match parsed.and_then(|it| Arguments::from_arg_matches(&it)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let error = help::with_nearest(error, &commands);
            // Help and version go to standard output with 0, wrong arguments to standard error with 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_closed) => ExitCode::FAILURE,
            };
        }
    };
    let globals = arguments.globals;
    // One thread: most of what the relay does is to wait, and to wake another thread costs more than the work that is left.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime.context("cannot start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into(), &globals),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            None | Some(Command::Run) => run::run(&globals).await,
            Some(Command::Status(arguments)) => status::run(&arguments, &globals).await,
            Some(Command::Trace(arguments)) => trace::run(arguments, &globals).await,
            Some(Command::Doctor(arguments)) => Box::pin(doctor::run(&arguments, &globals)).await,
            Some(Command::Auth(command)) => Box::pin(auth::run(command, &globals)).await,
            Some(Command::Backup(arguments)) => backup::backup(&arguments, &globals),
            Some(Command::Restore(arguments)) => {
                Box::pin(backup::restore(arguments, &globals)).await
            }
            Some(Command::Config(command)) => Box::pin(config::run(command, &globals)).await,
            Some(Command::Import(command)) => Box::pin(import::run(command, &globals)).await,
            Some(Command::Radio(command)) => Box::pin(radio::run(command, &globals)).await,
            Some(Command::Matrix(command)) => Box::pin(matrix::run(command, &globals)).await,
            Some(Command::Service(command)) => service::run(command, &globals).await,
            Some(Command::Completions(arguments)) => completions::run(&arguments, commands),
            Some(Command::Man) => man::run(commands),
            Some(Command::Simulate(arguments)) => Box::pin(simulate::run(arguments)).await,
        }
    });
    // A read of standard input may still block a thread: do not wait for it.
    runtime.shutdown_background();
    crate::telemetry::end();
    outcome.unwrap_or_else(|failure| report(&failure, &globals))
}

/// Prints the failure. If standard error is closed, there is nowhere to report to.
fn report(failure: &Failure, globals: &Globals) -> ExitCode {
    let text = failure.to_string();
    let named = globals.home().map(|home| home.named_in(&text));
    drop(output::say(&output::coloured(&named.unwrap_or(text))));
    failure.exit
}

/// Runs work that a signal asks to end, through `stop`; a second signal ends it at once.
async fn interruptible<T>(
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut signals = Signals::listen(Hangup::Ends).context("cannot listen for signals")?;
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done),
        _ = signals.asked_to_end() => stop.cancel(),
    }
    tokio::select! {
        done = work => Ok(done),
        _ = signals.asked_to_end() => Err(anyhow!("interrupted").into()),
    }
}
