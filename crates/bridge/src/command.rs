//! Commands to the bridge: the prefix followed directly by a command name. Other text that begins with the prefix (`!!! HELP
//! !!!`) is an ordinary message.

use std::iter;

/// The command names, implemented or not: our own and those of MMRelay's plugins.
const NAMES: &str = "admin airUtilTx approve batteryLevel beacons bind cancel daily dm drop follow health help hourly invite map \
     mesh_beacon meshtastic mute new nodes ping plot queue status trace traceroute trust unbind use voltage weather \
     where who yes";

/// Returns whether a text is a command, also when addressed to the bot (`Relay: !ping`).
pub(super) fn is_command(text: &str, prefix: &str, bot: &[&str]) -> bool {
    let addressed = bot.iter().filter_map(|name| behind_name(text, name));
    !prefix.is_empty()
        && iter::once(text)
            .chain(addressed)
            .filter_map(|words| words.strip_prefix(prefix))
            .filter_map(|words| words.split(char::is_whitespace).next())
            .any(is_name)
}

fn is_name(word: &str) -> bool {
    NAMES.split(' ').any(|name| name.eq_ignore_ascii_case(word))
}

/// Returns the rest of a text that addresses somebody by this name.
fn behind_name<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let after = |text: &'a str| {
        let (start, rest) = text.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some(rest)
    };
    let rest = after(text).or_else(|| after(text.strip_prefix('@')?))?;
    let words = rest.strip_prefix([':', ',']).unwrap_or(rest);
    let is_apart = words.len() < rest.len() || words.starts_with(char::is_whitespace);
    (is_apart && !name.is_empty()).then(|| words.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: [&str; 3] = ["Relay Bot", "relaybot", "@relaybot:example.org"];

    fn is_one(text: &str) -> bool {
        is_command(text, "!", &BOT)
    }

    #[test]
    fn the_prefix_and_at_once_a_name_are_a_command() {
        for command in [
            "!ping",
            "!PING",
            "!batterylevel Hilltop",
            "!map zoom=3\nsize=9",
            "!help\tweather",
            "!mesh_beacon list",
            // Never sent unencrypted to everybody.
            "!dm Summit Hut the key is under the stone",
            "!meshtastic --dest !a1b2c3d4 --reboot",
        ] {
            assert!(is_one(command), "{command}");
        }
    }

    #[test]
    fn everything_else_that_begins_so_is_a_text() {
        for text in [
            "!",
            "!!",
            "!!! HELP !!!",
            "!!ping",
            "! ping",
            "!important",
            "!pings",
            "!ping!",
            "!help, please",
            "!maps are here",
            "¡ping",
            "ping",
            "see !ping",
            "",
        ] {
            assert!(!is_one(text), "{text}");
        }
        assert!(!is_command("ping", "", &BOT));
        assert!(is_command(".ping", ".", &BOT));
        assert!(!is_command("!ping", ".", &BOT));
        assert!(is_command("relay ping", "relay ", &BOT));
    }

    #[test]
    fn a_command_may_be_addressed_to_the_bot_by_each_of_its_names() {
        for command in [
            "Relay Bot: !ping",
            "relay bot !ping",
            "@Relay Bot, !help",
            "relaybot: !ping",
            "@relaybot !ping",
            "@relaybot:example.org !ping",
            "@relaybot:example.org: !ping",
            "@relaybot:example.org:  !ping now",
        ] {
            assert!(is_one(command), "{command}");
        }
        for text in [
            "Relay Bot: ping",
            "Relay Bot: hello",
            "Relay Bot:",
            "Relay Bots: !ping",
            "relaybot!ping",
            "Bob: !ping",
            "tell Relay Bot: !ping",
            "Relay Bot: !!! help",
        ] {
            assert!(!is_one(text), "{text}");
        }
        assert!(!is_command(": !ping", "!", &[""]));
    }
}
