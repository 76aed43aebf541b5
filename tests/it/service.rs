//! The relay as a service of systemd: what `relay service` and the guide say is so, on a machine with a systemd of its own.

use std::path::Path;
use std::process::Command;

use crate::support::guide::{Block, run_by};
use crate::support::machine::Machine;
use crate::support::radio::BASE;
use crate::support::relay::{Home, text_of};
use crate::support::scene::{Plan, Stage};
use crate::support::synapse::Synapse;
use crate::support::user::Kind;

const UNIT: &str = "/etc/systemd/system/relay.service";
const CONFIG: &str = "/var/lib/relay/config.yaml";

fn packaged(name: &str) -> String {
    format!("{}/packaging/systemd/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Returns the commands of a section of the guide.
fn commands_of(section: &str) -> Vec<String> {
    let blocks = run_by("docs/guide/service.md", "service.rs");
    let blocks = blocks.iter().filter(|it| it.section == section);
    let commands: Vec<String> = blocks.flat_map(Block::commands).collect();
    assert!(!commands.is_empty(), "the guide has this section");
    commands
}

/// Returns the value of a property of the service.
fn property(name: &str) -> String {
    format!("systemctl show --property={name} --value relay")
}

/// A machine, and a stage whose relay is to run on it: radio, homeserver, room, and the bot's account.
async fn set_up() -> Option<(Machine, Stage)> {
    let machine = Machine::start().await?;
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    Some((machine, stage))
}

/// Does what the guide says, and what it leaves to the reader: to edit the configuration.
async fn follow_the_guide(
    machine: &Machine,
    stage: &Stage,
    section: &str,
    user: &str,
    config: &str,
) {
    let text = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    for command in commands_of(section) {
        let command = command.replace("example.org", Synapse::shared().await.url());
        let command = command.replace("relaybot", stage.bot.localpart());
        machine.run_as(user, &command).await;
        if command.ends_with("config generate") {
            machine.write(config, &text);
        }
    }
}

#[test]
fn the_units_are_well_formed_and_closed_in() {
    let run = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).output();
        output
            .inspect_err(|error| {
                eprintln!("SKIPPED: systemd-analyze: {error} (apt install systemd)");
            })
            .ok()
    };
    let directory = tempfile::tempdir().expect("there is room");
    for name in ["relay.service", "relay-user.service"] {
        // Verified with a program that is here.
        let unit = std::fs::read_to_string(packaged(name)).expect("it is there");
        let unit = unit
            .replace("/usr/bin/relay", "/bin/true")
            .replace("Documentation=", "X-Documentation=");
        let path = directory.path().join(name);
        std::fs::write(&path, unit).expect("there is room");
        let Some(output) = run(&["verify", path.to_str().expect("it is a text")]) else {
            return;
        };
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{name}: {}",
            text_of(&output)
        );
    }
    let security = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    let unit = packaged("relay.service");
    let output = run(&[&security[..], &[&unit]].concat()).expect("it was here just now");
    assert!(output.status.success(), "{}", text_of(&output));
}

#[tokio::test]
async fn without_systemd_it_is_said_what_to_do_instead() {
    if Path::new("/run/systemd/system").exists() {
        return eprintln!("SKIPPED: systemd runs this system");
    }
    let home = Home::new();
    for command in ["install", "uninstall", "status", "install --user"] {
        let output = home
            .run(["service"].into_iter().chain(command.split(' ')))
            .await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("systemd does not run this system"), "{text}");
        assert!(text.contains("`relay run --home "), "{text}");
    }
}

#[tokio::test]
async fn whoever_follows_the_guide_has_a_service_that_relays_and_that_the_watchdog_restarts() {
    let Some((machine, mut stage)) = set_up().await else {
        return;
    };
    machine
        .run("install -d -m 700 ~/.cargo/bin ~/.relay && cp /usr/local/bin/relay ~/.cargo/bin/relay && touch ~/.relay/moved")
        .await;
    // Soon enough for a test.
    let watchdog = "[Service]\nWatchdogSec=5s\nTimeoutAbortSec=1s\nRestartSec=1s\n";
    machine.write("/etc/systemd/system/relay.service.d/test.conf", watchdog);
    follow_the_guide(&machine, &stage, "For the whole system", "root", CONFIG).await;
    machine.comes_to(&property("ActiveState"), "active").await;
    machine
        .comes_to(&property("StatusText"), "radio ready, homeserver connected")
        .await;
    machine
        .comes_to("stat -c '%U %a' /var/lib/relay", "relay 700")
        .await;
    machine
        .comes_to("stat -c %U /var/lib/relay/moved", "relay")
        .await;
    machine.comes_to("ps -o user= -C relay", "relay").await;
    stage.alice.sees_join(&stage.rooms[0], &stage.bot).await;
    stage.radio.says(BASE, 0, "from a service").await;
    let room = stage.rooms[0].clone();
    stage
        .alice
        .sees_text(&room, "[Base Camp/LongFast]: from a service")
        .await;
    let status = machine.run("relay service status").await;
    for words in [
        UNIT,
        "enabled",
        "active (running)",
        "5s; started again",
        "radio ready, homeserver connected",
        "up for",
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }

    machine
        .run("kill -STOP $(systemctl show --property=MainPID --value relay)")
        .await;
    machine.comes_to(&property("NRestarts"), "1").await;
    machine
        .comes_to(&property("StatusText"), "radio ready, homeserver connected")
        .await;
    stage.radio.says(BASE, 0, "after the watchdog").await;
    stage
        .alice
        .sees_text(&room, "[Base Camp/LongFast]: after the watchdog")
        .await;
    let log = machine.run("journalctl --no-pager --unit relay").await;
    assert!(log.contains("Watchdog timeout"), "{log}");

    machine
        .run("systemctl reload relay && systemctl stop relay")
        .await;
    let log = machine
        .run("journalctl --no-pager --unit relay --lines 5")
        .await;
    assert!(log.contains("Deactivated successfully"), "{log}");
    follow_the_guide(&machine, &stage, "Away again", "root", CONFIG).await;
    assert!(!machine.path(UNIT).exists());
    machine
        .run("test -e /var/lib/relay/matrix/session.json -a -e /var/lib/relay/config.yaml")
        .await;
}

#[tokio::test]
async fn whoever_follows_the_guide_as_a_user_has_a_service_of_that_user() {
    let Some((machine, mut stage)) = set_up().await else {
        return;
    };
    machine
        .run("useradd --create-home pi && install -d -o pi -g pi -m 700 /home/pi/.relay")
        .await;
    // As a login of this user would.
    machine.run("systemctl start user@$(id -u pi)").await;
    let config = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    machine.write("/home/pi/.relay/config.yaml", &config);
    machine.run("chown pi: /home/pi/.relay/config.yaml").await;
    let login = format!(
        "relay auth login --homeserver {} --username {}",
        Synapse::shared().await.url(),
        stage.bot.localpart()
    );
    machine.run_as("pi", &login).await;
    for command in commands_of("For your own user") {
        // Its user may not: the machine has no rights for it to give.
        if let Some(command) = command.strip_prefix("sudo ") {
            machine.run(&command.replace("\"$USER\"", "pi")).await;
        } else {
            machine.run_as("pi", &command).await;
        }
    }
    stage.alice.sees_join(&stage.rooms[0], &stage.bot).await;
    stage.radio.says(BASE, 0, "from a user's service").await;
    stage
        .alice
        .sees_text(
            &stage.rooms[0],
            "[Base Camp/LongFast]: from a user's service",
        )
        .await;
    let status = machine
        .run_as("pi", "relay service status --user --json")
        .await;
    let status: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
    assert_eq!(status["running"], true, "{status}");
    assert_eq!(status["home"], "/home/pi/.relay", "{status}");
    machine.run_as("pi", "relay service uninstall --user").await;
    assert!(
        !machine
            .path("/home/pi/.config/systemd/user/relay.service")
            .exists()
    );
}

#[tokio::test]
async fn what_is_there_already_is_respected() {
    let Some(machine) = Machine::start().await else {
        return;
    };
    let fails = async |line: &str, words: &[&str]| {
        let output = machine.tries(line).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {text}");
        for word in words {
            assert!(text.contains(word), "{line}: {word} is missing in {text}");
        }
    };
    machine
        .run("mkdir -p ~/.cargo/bin && cp /usr/local/bin/relay ~/.cargo/bin/relay")
        .await;
    fails(
        "~/.cargo/bin/relay service install",
        &["homes of users are hidden", "/usr/local/bin/relay"],
    )
    .await;
    fails(
        "runuser -u nobody -- relay service install",
        &["root", "--user"],
    )
    .await;
    fails("relay service status", &[]).await;

    // A unit of somebody else.
    machine.write(UNIT, "[Service]\nExecStart=/bin/sleep 1000\n");
    fails(
        "relay service install",
        &[UNIT, "has not written it", "--force"],
    )
    .await;
    fails("relay service uninstall", &[UNIT]).await;
    machine.run("! id relay").await;
    let text = machine.run("relay service install --force").await;
    for step in [
        "the user relay is made",
        "/var/lib/relay is made",
        "is replaced",
        "is enabled",
        "config generate",
        "auth login",
        "systemctl start relay",
    ] {
        assert!(text.contains(step), "{step}: {text}");
    }
    assert!(
        machine
            .read("/etc/systemd/system/relay.service.old")
            .contains("sleep 1000")
    );
    machine
        .comes_to(&property("UnitFileState"), "enabled")
        .await;

    // Once more: nothing changes.
    let unit = machine.read(UNIT);
    let text = machine.run("relay service install").await;
    assert!(
        text.contains("is up to date") && !text.contains("is made"),
        "{text}"
    );
    assert_eq!(machine.read(UNIT), unit);

    // A home of somebody else.
    machine.run("install -d -o nobody /srv/relay").await;
    fails(
        "relay --home /srv/relay service install",
        &["belongs to nobody", "chown -R relay: /srv/relay"],
    )
    .await;
    assert_eq!(machine.read(UNIT), unit);
    // Elsewhere, also where homes of users are.
    machine
        .run("relay --home '/home/the relay' service install")
        .await;
    let exposed = machine.run("systemd-analyze verify /etc/systemd/system/relay.service 2>&1 | grep -v 'man relay' || true").await;
    assert_eq!(exposed, "");

    // Wrong configuration: it is not tried again and again.
    machine.write("/home/the relay/config.yaml", "matrix_rooms: 5\n");
    machine
        .run("chown relay: '/home/the relay/config.yaml'; systemctl start relay || true")
        .await;
    machine.comes_to(&property("ActiveState"), "failed").await;
    machine.comes_to(&property("NRestarts"), "0").await;
    let log = machine.run("journalctl --no-pager --unit relay").await;
    assert!(log.contains("config.yaml:1:"), "it sees its home: {log}");
    fails("relay service status", &["failed", "exit code 2"]).await;
    let text = machine.run("relay service uninstall").await;
    assert!(text.contains("/home/the relay is left as it is"), "{text}");
    assert!(machine.path("/home/the relay/config.yaml").exists());
    let text = machine.run("relay service uninstall").await;
    assert!(text.contains("no service is installed"), "{text}");
}
