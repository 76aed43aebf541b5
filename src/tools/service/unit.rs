//! The text of the unit: the one of the packages, with what is different here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Whose service manager runs the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The system's, as a user of its own.
    System,
    /// That of the user who gives the command.
    User,
}

/// The name of the unit.
pub(super) const NAME: &str = "relay.service";
/// The account of the system's service.
pub(super) const ACCOUNT: &str = "relay";
/// What `systemd-sysusers` makes it from.
pub(super) const ACCOUNT_LINE: &str = "u relay - \"Meshtastic-Matrix relay\" /var/lib/relay";
/// The home that the unit itself has systemd keep.
pub(super) const STATE_DIRECTORY: &str = "/var/lib/relay";
/// Directories that `ProtectHome=` hides.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];

const SYSTEM: &str = include_str!("../../../packaging/systemd/relay.service");
const USER: &str = include_str!("../../../packaging/systemd/relay-user.service");

/// By its first line a unit is known as one of ours.
const MARK: &str =
    "# Written by `relay service install`, which replaces it: put changes of yours into a drop-in";
/// Names the home; systemd ignores keys that begin so.
const HOME_KEY: &str = "X-RelayHome";

/// What is different from machine to machine.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) scope: Scope,
    pub(super) program: &'a Path,
    pub(super) home: &'a Path,
    /// A configuration elsewhere than in the home.
    pub(super) config: Option<&'a Path>,
    pub(super) allow_network_home: bool,
    /// Those groups of serial ports and Bluetooth that this system has.
    pub(super) groups: &'a [&'a str],
}

impl Unit<'_> {
    pub(super) fn text(&self) -> String {
        let (template, edit) = match self.scope {
            Scope::System => (SYSTEM, "`systemctl edit relay`"),
            Scope::User => (USER, "`systemctl --user edit relay`"),
        };
        let mut text = format!("{MARK} ({edit}).\n");
        for line in template.lines() {
            let key = line.split_once('=').map_or(line, |(key, _)| key);
            match (key, self.scope) {
                ("ExecStart", _) => self.command(&mut text),
                ("SupplementaryGroups", _) => {
                    if !self.groups.is_empty() {
                        put(&mut text, key, &self.groups.join(" "));
                    }
                }
                ("StateDirectory" | "StateDirectoryMode", _) if !self.is_state_directory() => {
                    // In place of the two lines.
                    if key == "StateDirectory" {
                        put(&mut text, "ReadWritePaths", &quoted(self.home));
                    }
                }
                ("ProtectHome", _) if is_hidden(self.home) => {
                    put(&mut text, key, "tmpfs");
                    put(
                        &mut text,
                        "BindPaths",
                        &quoted(self.home).replace(':', "\\:"),
                    );
                }
                _ => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        text
    }

    fn command(&self, text: &mut String) {
        let mut command = format!("{} --home {}", quoted(self.program), quoted(self.home));
        if let Some(config) = self.config {
            let _ = write!(command, " --config {}", quoted(config));
        }
        if self.allow_network_home {
            command.push_str(" --allow-network-home");
        }
        command.push_str(" run");
        put(text, "ExecStart", &command);
        put(text, HOME_KEY, &self.home.display().to_string());
    }

    fn is_state_directory(&self) -> bool {
        self.home == Path::new(STATE_DIRECTORY)
    }
}

fn put(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key}={value}");
}

/// Returns whether the system's service would not see this path.
pub(super) fn is_hidden(path: &Path) -> bool {
    HIDDEN.iter().any(|hidden| path.starts_with(hidden))
}

/// Returns whether `relay service install` has written this unit.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Returns the home that a unit of ours names.
pub(super) fn home_of(text: &str) -> Option<PathBuf> {
    let mut keys = text.lines().filter_map(|line| line.split_once('='));
    let (_, home) = keys.find(|(key, _)| *key == HOME_KEY)?;
    Some(PathBuf::from(home))
}

/// Quotes a path for a line of a unit: neither a space nor a specifier or variable changes it. Source: `systemd.syntax(7)`,
/// `systemd.service(5)`.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path.replace('%', "%%").replace('$', "$$");
    if !path.contains([' ', '\\', '"', '\'']) {
        return path;
    }
    let path = path.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{path}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit<'a>(scope: Scope, program: &'a str, home: &'a str) -> Unit<'a> {
        Unit {
            scope,
            program: Path::new(program),
            home: Path::new(home),
            config: None,
            allow_network_home: false,
            groups: &["dialout"],
        }
    }

    /// The lines of `text` that are not in `template`.
    fn different<'a>(text: &'a str, template: &str) -> Vec<&'a str> {
        let known: Vec<_> = template.lines().collect();
        text.lines().filter(|line| !known.contains(line)).collect()
    }

    #[test]
    fn the_unit_is_that_of_the_packages_but_for_program_groups_and_home() {
        let text = unit(Scope::System, "/usr/local/bin/relay", STATE_DIRECTORY).text();
        assert!(is_ours(&text));
        let expected = [
            "ExecStart=/usr/local/bin/relay --home /var/lib/relay run",
            "X-RelayHome=/var/lib/relay",
            "SupplementaryGroups=dialout",
        ];
        assert_eq!(different(&text, SYSTEM)[1..], expected);
        assert_eq!(home_of(&text), Some(PathBuf::from(STATE_DIRECTORY)));
        assert!(!is_ours(SYSTEM), "the packages' own unit is not replaced");
    }

    #[test]
    fn another_home_is_all_that_may_be_written_and_none_is_hidden() {
        let text = unit(Scope::System, "/usr/bin/relay", "/home/pi/the relay").text();
        let expected = [
            "ExecStart=/usr/bin/relay --home \"/home/pi/the relay\" run",
            "X-RelayHome=/home/pi/the relay",
            "SupplementaryGroups=dialout",
            "ReadWritePaths=\"/home/pi/the relay\"",
            "ProtectHome=tmpfs",
            "BindPaths=\"/home/pi/the relay\"",
        ];
        assert_eq!(different(&text, SYSTEM)[1..], expected);
        assert!(!text.contains("\nStateDirectory"), "{text}");
        assert_eq!(home_of(&text), Some(PathBuf::from("/home/pi/the relay")));
    }

    #[test]
    fn a_user_s_unit_has_the_configuration_that_was_named() {
        let mut unit = unit(Scope::User, "/home/pi/.cargo/bin/relay", "/home/pi/.relay");
        unit.config = Some(Path::new("/home/pi/.mmrelay/config.yaml"));
        let text = unit.text();
        let command = "ExecStart=/home/pi/.cargo/bin/relay --home /home/pi/.relay \
                       --config /home/pi/.mmrelay/config.yaml run";
        let expected = [command, "X-RelayHome=/home/pi/.relay"];
        assert_eq!(different(&text, USER)[1..], expected);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let quoted = |path: &str| quoted(Path::new(path));
        assert_eq!(quoted("/srv/100%/$HOME"), "/srv/100%%/$$HOME");
        assert_eq!(quoted("/srv/a \"b\"\\c"), "\"/srv/a \\\"b\\\"\\\\c\"");
    }
}
