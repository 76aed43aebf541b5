//! `scripts/demo` shows what it says: a relay that is killed and a radio that is pulled out lose nothing, and double nothing.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::guide::{commands, root};
use crate::support::lines::Lines;
use crate::support::person::Person;
use crate::support::process::{relay_program, virtual_environment};
use crate::support::synapse::Synapse;
use crate::support::within;

const ESCAPE: char = '\u{1b}';
const WELL: &str = "nothing was lost, and nothing came twice";

/// The demo as the README has it, with the built relay, on the homeserver of the tests, in haste.
async fn demo(no_color: &str) -> Command {
    let commands = commands("README.md", "demo.rs");
    let line = commands.first().expect("the README shows the demo");
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec {line} 2>&1")])
        .current_dir(root())
        .env("RELAY_BIN", relay_program())
        .env("RELAY_TEST_VENV", virtual_environment())
        .env("RELAY_DEMO_HOMESERVER", Synapse::shared().await.url())
        // Slower than the mesh takes texts: otherwise reactions, which go last, wait without end.
        .env("RELAY_DEMO_PACE", "2")
        .env("TERM", "xterm-256color")
        .env("NO_COLOR", no_color)
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn both_keys_break_something_and_nothing_is_lost() {
    let mut person = Person::at(&demo("").await);
    person.sees("arrived 2").await;
    person.presses("k");
    person.sees("relay KILLED").await;
    person.sees("waits in the radio's memory").await;
    person.sees("waits on the homeserver").await;
    person.presses("k");
    person.sees("waiting 0").await;
    person.presses("r");
    person.sees("radio PULLED OUT").await;
    person.sees("waits in the relay's database").await;
    person.sees("waits in the radio's memory").await;
    person.presses("r");
    person.sees("radio plugged in").await;
    person.sees("waiting 0").await;
    person.presses("q");
    let (status, screen) = person.reads_to_the_end().await;
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(screen.contains(WELL), "{screen}");
    assert!(screen.contains("\u{1b}[1;31m"), "it has colours");
}

#[tokio::test]
async fn the_demo_has_no_colours_for_whoever_wants_none() {
    let mut person = Person::at(&demo("1").await);
    person.sees("arrived 1").await;
    person.presses("q");
    let (status, screen) = person.reads_to_the_end().await;
    assert_eq!(status.code(), Some(0), "{screen}");
    // Colours end in `m`; what moves on the screen does not.
    let codes = screen.split(ESCAPE).skip(1);
    let mut ends = codes.filter_map(|code| code.chars().find(char::is_ascii_alphabetic));
    assert!(!ends.any(|end| end == 'm'), "{screen:?}");
}

#[tokio::test]
async fn without_a_terminal_the_demo_breaks_both_by_itself_and_judges() {
    let mut command = demo("").await;
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut program = command.spawn().expect("it runs");
    let output = program.stdout.take().expect("it is a pipe");
    let output = Lines::of("the demo", output);
    let is_verdict = |line: &str| line.contains(WELL).then_some(());
    output.first(0, "its verdict", is_verdict).await;
    let status = within("the end of the demo", program.wait()).await;
    let text = output.text();
    assert_eq!(status.expect("it ends").code(), Some(0), "{text}");
    for words in [
        "the relay is killed (kill -9)",
        "the relay is started again",
        "the radio is pulled out",
        "the radio is plugged in again",
        WELL,
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains(ESCAPE), "{text:?}");
}
