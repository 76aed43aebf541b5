//! What the guides to faults and to the Debian package tell to type works, beside a running relay and in a home where nothing
//! is set up.

use crate::support::relay::Home;
use crate::support::scene::Plan;
use crate::support::user::Kind;

const FAULTS: &str = include_str!("../../docs/guide/troubleshooting.md");
const DEBIAN: &str = include_str!("../../docs/guide/debian.md");

/// Returns the relay's commands in the blocks marked `console`, without the home that they name.
fn commands(guide: &str) -> Vec<Vec<&str>> {
    let blocks = guide.split("```console\n").skip(1);
    let lines = blocks.filter_map(|rest| rest.split("```").next());
    let lines = lines.flat_map(str::lines);
    let commands = lines.filter_map(|line| {
        let of_package = line.split_once(" relay --home /var/lib/relay ");
        line.strip_prefix("$ relay ")
            .or(of_package.map(|(_, it)| it))
    });
    commands.map(|it| it.split(' ').collect()).collect()
}

/// Runs each command; the relay knows it, and comes to an end.
async fn all_are_known(guide: &str, home: &Home, codes: &[i32]) {
    let commands = commands(guide);
    assert!(commands.len() > 3, "{commands:?}");
    for command in commands {
        // The hosts of the network around would be asked, or a person at the terminal.
        if command == ["radio", "scan"] || command == ["auth", "login"] {
            continue;
        }
        let output = home.run(&command).await;
        let code = output.status.code().expect("it ends by itself");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(codes.contains(&code), "{command:?}: {code}\n{said}");
        assert!(!said.contains("unrecognized"), "{command:?}: {said}");
        assert!(!said.contains("unexpected"), "{command:?}: {said}");
    }
}

#[tokio::test]
async fn every_command_of_the_guide_to_faults_is_well_beside_a_running_relay() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    all_are_known(FAULTS, &scene.home, &[0]).await;
}

#[tokio::test]
async fn every_command_of_the_guide_to_faults_says_what_is_missing_in_an_empty_home() {
    all_are_known(FAULTS, &Home::new(), &[0, 1, 2]).await;
}

#[tokio::test]
async fn every_command_of_the_guide_to_the_debian_package_is_known() {
    all_are_known(DEBIAN, &Home::new(), &[0, 1, 2]).await;
}
