//! The commands as a person sees them on a terminal, and as a script does in a pipe: colours, progress, exit codes, completions
//! and the manual page.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::person::Person;
use crate::support::process::relay_program;
use crate::support::relay::{Home, text_of};
use crate::support::synapse::free_port;
use crate::support::within;

/// How a colour, or anything else that is for terminals only, begins.
const ESCAPE: char = '\u{1b}';
const CTRL_C: &str = "\u{3}";

/// A configuration with nobody behind it.
fn configured(home: &Home) {
    home.configure(&format!(
        "matrix_rooms:\n  - {{id: '!room:example.org', meshtastic_channel: 0}}\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: {}}}\n",
        free_port()
    ));
}

/// A home whose terminal is of this kind.
fn at(term: &str, no_color: &str) -> Home {
    let mut home = Home::new();
    home.set_environment(("TERM", term.to_owned()));
    home.set_environment(("NO_COLOR", no_color.to_owned()));
    configured(&home);
    home
}

/// Returns what help, an error of the arguments, one of a command, and the log look like on a terminal.
async fn seen_on(home: &Home) -> [String; 4] {
    let mut screens = Vec::new();
    for command in [vec!["--help"], vec!["--hoem"], vec!["status"]] {
        let mut person = home.at_terminal(command);
        screens.push(person.reads_to_the_end().await.1);
    }
    let mut person = home.at_terminal(["run"]);
    person.sees("relay is ready").await;
    person.presses(CTRL_C);
    screens.push(person.reads_to_the_end().await.1);
    screens.try_into().expect("there are four")
}

#[tokio::test]
async fn a_terminal_shows_help_errors_and_the_log_in_colours() {
    for screen in seen_on(&at("xterm-256color", "")).await {
        assert!(screen.contains(ESCAPE), "{screen:?}");
    }
}

#[tokio::test]
async fn whoever_wants_no_colours_or_has_a_plain_terminal_gets_none() {
    for (term, no_color) in [("xterm-256color", "1"), ("dumb", "")] {
        for screen in seen_on(&at(term, no_color)).await {
            assert!(!screen.contains(ESCAPE), "{term}: {screen:?}");
        }
    }
}

#[tokio::test]
async fn a_pipe_gets_no_colours() {
    let home = at("xterm-256color", "");
    for command in [vec!["--help"], vec!["--hoem"], vec!["status"]] {
        let text = text_of(&home.run(command).await);
        assert!(!text.contains(ESCAPE), "{text:?}");
    }
    let mut relay = home.start().await;
    assert!(relay.stop().await.success());
    assert!(!relay.log().contains(ESCAPE), "{:?}", relay.log());
}

/// Somebody who takes connections and never says a word; returns the port.
async fn nobody_answers() -> (u16, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    (
        listener.local_addr().expect("it has an address").port(),
        listener,
    )
}

#[tokio::test]
async fn a_long_wait_shows_its_progress_on_a_terminal_and_nothing_of_it_in_a_pipe() {
    let (port, _nobody) = nobody_answers().await;
    let host = format!("127.0.0.1:{port}");
    let home = at("xterm-256color", "");
    let mut person = home.at_terminal(["radio", "info", "--host", &host]);
    person.sees("connecting to the radio … ").await;
    person.sees("connecting to the radio … ").await;
    person.presses(CTRL_C);
    let (status, screen) = person.reads_to_the_end().await;
    assert_eq!(status.code(), Some(1));
    // The line is gone before anything else is written.
    let (_, after) = screen.rsplit_once("\r\u{1b}[K").expect("it is cleared");
    assert!(!after.contains('…'), "{screen:?}");

    let mut running = home.begin(&["radio", "info", "--host", &host]);
    let told = |line: &str| line.contains(&host).then(|| line.to_owned());
    running
        .errors
        .first(0, "a line about the radio", told)
        .await;
    assert_eq!(running.interrupt().await.code(), Some(1));
    let errors = running.errors.text();
    assert!(
        !errors.contains('…') && !errors.contains('\r'),
        "{errors:?}"
    );
}

#[tokio::test]
async fn whoever_stops_reading_gets_no_complaint_but_an_exit_code() {
    let home = Home::new();
    for command in [
        "config schema",
        "config generate --output -",
        "man",
        "completions bash",
        "--help",
    ] {
        let script = "set -o pipefail; \"$0\" --home \"$1\" $2 | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}";
        let output = Command::new("bash")
            .args(["-c", script])
            .arg(relay_program())
            .arg(home.path(""))
            .arg(command)
            .output();
        let output = within("the end of the pipe", output)
            .await
            .expect("there is bash");
        let (code, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        // It may have written everything before the reader went away.
        assert!(
            ["0", "1"].contains(&code.trim()),
            "{command}: {code} {errors}"
        );
        if !command.starts_with("config generate") {
            assert!(errors.is_empty(), "{command}: {errors}");
        }
    }
}

#[tokio::test]
async fn every_kind_of_outcome_has_its_exit_code() {
    let home = Home::new();
    let closed = format!("127.0.0.1:{}", free_port());
    for (code, command) in [
        (0, "--help"),
        (0, "--version"),
        (0, "help auth login"),
        (0, "config paths"),
        (0, "config schema"),
        (0, "completions fish"),
        (0, "man"),
        (1, "status"),
        (1, "doctor --quick"),
        (1, "auth status"),
        (1, "auth logout -y"),
        (2, "--hoem"),
        (2, "frobnicate"),
        (2, "completions tcsh"),
        (2, "service"),
        (2, "service install --home"),
        (2, "auth login --password x --password-stdin"),
        (2, "radio send --channel 9 hello"),
        (2, "run"),
        (2, "config check"),
        (2, "radio info"),
    ] {
        let output = home.run(command.split(' ')).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{command}: {}",
            text_of(&output)
        );
    }
    let output = home.run(["radio", "info", "--host", &closed]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
}

/// Returns a command that finds the relay by its name.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = relay_program();
    let directory = path.parent().expect("a program is in a directory");
    let before = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{before}", directory.display()));
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Returns a command's output if this program is here; otherwise says that this part of a test is skipped.
async fn output_of(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let mut command = self::program(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    let Ok(mut child) = command.spawn() else {
        eprintln!(
            "SKIPPED: {program} is not here (apt install {})",
            package(program)
        );
        return None;
    };
    let mut pipe = child.stdin.take().expect("it is a pipe");
    drop(pipe.write_all(input).await);
    drop(pipe);
    let output = within(&format!("the end of {program}"), child.wait_with_output()).await;
    Some(output.expect("it can be waited for"))
}

fn package(program: &str) -> &str {
    if program == "groff" {
        "groff-base"
    } else {
        program
    }
}

#[tokio::test]
async fn shells_complete_commands_and_flags() {
    let bash = "eval \"$(relay completions bash)\"; COMP_WORDS=(relay \"$@\"); COMP_CWORD=$#; \
                _relay relay \"${!#}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let fish =
        "relay completions fish | source; complete -C \"relay $argv\" | string split -f 1 \\t";
    for (words, expected) in [
        (&["conf"][..], "config"),
        (&["auth", "lo"], "login"),
        (&["auth", "lo"], "logout"),
        (&["auth", "login", "--home"], "--homeserver"),
        (&["service", "in"], "install"),
        (&["--log-level", "d"], "debug"),
    ] {
        let arguments = ["--norc", "-c", bash, "bash"]
            .into_iter()
            .chain(words.iter().copied());
        let output = output_of("bash", &arguments.collect::<Vec<_>>(), b"").await;
        let text = text_of(&output.expect("there is bash"));
        assert!(
            text.lines().any(|line| line == expected),
            "bash {words:?}: {text}"
        );
        // Its script does not complete the values of flags.
        if words[0].starts_with("--") {
            continue;
        }
        let typed = words.join(" ");
        if let Some(output) =
            output_of("fish", &["--no-config", "-c", fish, "--", &typed], b"").await
        {
            let text = text_of(&output);
            assert!(
                text.lines().any(|line| line == expected),
                "fish {words:?}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn zsh_completes_what_is_typed_to_it() {
    if output_of("zsh", &["--version"], b"").await.is_none() {
        return;
    }
    let mut command = program("zsh");
    command.args(["-f", "-i"]).env("TERM", "dumb");
    let mut person = Person::at(&command);
    // Not seen in what is typed, but in what comes of it.
    person.types(
        "autoload -U compinit; compinit -u -D; eval \"$(relay completions zsh)\"; echo set''up",
    );
    person.sees("setup").await;
    for (typed, completed) in [
        ("relay service st", "relay service status"),
        ("relay --log-level d", "relay --log-level debug"),
    ] {
        person.presses(typed);
        person.presses("\t");
        person.sees(completed).await;
        // Rubs the line out.
        person.presses("\u{15}");
    }
}

#[tokio::test]
async fn the_manual_page_has_every_command_and_no_mistake() {
    let home = Home::new();
    let page = home.run(["man"]).await.stdout;
    let words = ["-man", "-ww", "-Tutf8", "-P-cbou"];
    let Some(output) = output_of("groff", &words, &page).await else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "groff complains"
    );
    let words = ["-T", "lint", "-W", "warning"];
    if let Some(output) = output_of("mandoc", &words, &page).await {
        let text = text_of(&output);
        let mut complaints = text.lines().filter(|line| !line.contains("missing date"));
        assert_eq!(complaints.next(), None, "mandoc complains");
    }
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let helps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let helps = fs::read_dir(helps).expect("the snapshots are there");
    let mut commands = 0;
    for help in helps {
        let name = help
            .expect("it can be read")
            .file_name()
            .into_string()
            .expect("it is a text");
        let Some(command) = name
            .strip_prefix("it__cli__help_")
            .and_then(|it| it.strip_suffix(".snap"))
        else {
            continue;
        };
        let heading = format!("relay {}", command.replace('_', " "));
        assert!(
            shown.lines().any(|line| line.trim() == heading),
            "`{heading}` is missing"
        );
        commands += 1;
    }
    assert!(commands > 20, "{commands} commands");
    for words in [
        "EXIT STATUS",
        "ENVIRONMENT",
        "NO_COLOR",
        "FILES",
        "config.yaml",
        "--homeserver",
        "Exit codes: 0",
    ] {
        assert!(shown.contains(words), "{words}");
    }
}
