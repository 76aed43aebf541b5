//! The radio's side: asks the running daemon, which holds the radio, or connects to the radio where none runs.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::daemon::Daemon;
use super::handed_over;
use super::report::{Finding, Side};
use crate::daemon::checks::{check, ok, silent, skipped, warning};
use crate::daemon::status::{Check, CheckResult, Status};
use crate::daemon::{radio_away, route_cure};
use crate::home::Home;
use crate::tools::radio::{Visit, VisitError, visit};
use relay_bridge::RadioProblems;
use relay_config::{ChannelRef, Config, Connection};
use relay_model::{
    Channel, ChannelRole, Explained as _, RadioProfile, RadioText, Timestamp, causes, span,
};
use relay_radio::LinkState;

/// Maximum time until the radio says something, and until it has told its configuration.
const FIRST: Duration = Duration::from_secs(15);
const WHOLE: Duration = Duration::from_mins(1);
/// Likewise by Bluetooth, where the radio has to be found first.
const FIRST_BY_AIR: Duration = Duration::from_secs(45);
const WHOLE_BY_AIR: Duration = Duration::from_mins(2);
/// Difference up to which two clocks agree.
const SLACK: Duration = Duration::from_mins(5);

/// The names of the checks that need an answer of the radio.
const OF_ANSWER: [&str; 3] = ["region", "channels", "radio_time"];

/// What is known of a radio that answers.
struct Facts {
    name: Option<String>,
    /// The radio, in a sentence.
    about: String,
    region: Option<String>,
    locked: bool,
    /// Why it transmits nothing, and the cure.
    silence: Option<(String, Option<String>)>,
    /// What is wrong with mapped channels, and the cures.
    problems: Vec<(String, Option<String>)>,
    /// Its channels in use.
    channels: Vec<(u8, String)>,
    time: RadioTime,
}

/// What is known of the radio's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RadioTime {
    /// It has told of itself at this time, by its own clock.
    Told(Timestamp),
    /// It has told no time.
    Untold,
    /// The running relay gives it the time.
    Given,
}

/// Examines the radio; returns the messages that it handed over, which it does not do again, too: they are stored, as far as
/// that is possible.
pub(super) async fn examine(
    (home, allow_network_home): (&Home, bool),
    config: Option<&Config>,
    daemon: &Daemon,
    changed_at: Option<&str>,
    stop: CancellationToken,
    now: impl Fn() -> Timestamp,
) -> (Vec<Finding>, Vec<RadioText>) {
    match (daemon, config) {
        (Daemon::Mute(_), _) => {
            let why = "the running relay holds the radio, and does not answer";
            (unknown(skipped(why), why), Vec::new())
        }
        (Daemon::Answers(status, _), Some(config)) if daemon.is_behind(changed_at) => {
            let (used, named) = (&status.radio.connection, &config.meshtastic.connection);
            if used == named {
                return (of_daemon(status, None), Vec::new());
            }
            let text = format!(
                "the running relay uses {}, and the file names {}: not tried",
                used.place(),
                named.place()
            );
            let hint =
                "stop the relay, and run this again; it uses the other radio after a restart";
            (
                unknown(warning(text, hint), "another radio is used"),
                Vec::new(),
            )
        }
        (Daemon::Answers(status, _), _) => (of_daemon(status, config), Vec::new()),
        (Daemon::Absent(_), None) => {
            let why = "there is no configuration that names it";
            (unknown(skipped(why), why), Vec::new())
        }
        (Daemon::Absent(_), Some(config)) => {
            let place = (home, allow_network_home);
            of_visit(place, config, stop, now).await
        }
    }
}

fn of_daemon(status: &Status, config: Option<&Config>) -> Vec<Finding> {
    let radio = &status.radio;
    if radio.state != LinkState::Ready {
        return unknown(radio_away(radio, Duration::ZERO), "the radio is away");
    }
    let problems = status.rooms.iter().flat_map(|room| {
        let with_cure = |problem: &String| (problem.clone(), room.hint.clone());
        room.problems.iter().map(with_cure)
    });
    let named = status.channels.iter();
    let named = named.filter_map(|it| Some((it.channel, it.name.clone()?)));
    let firmware = radio.firmware.clone();
    let time = span::of_seconds(radio.for_seconds);
    let about = about(
        radio.name.as_deref(),
        radio.node.as_deref(),
        firmware.as_deref(),
        &radio.connection,
    );
    let facts = Facts {
        name: radio.name.clone(),
        about: format!("{about}, ready for {time}"),
        region: radio.region.clone(),
        // A locked radio does not tell its firmware.
        locked: firmware.is_none(),
        silence: radio
            .silence
            .clone()
            .map(|it| (it, radio.silence_hint.clone())),
        problems: problems.collect(),
        channels: named.collect(),
        time: RadioTime::Given,
    };
    facts.findings(config, Timestamp(0))
}

async fn of_visit(
    (home, allow_network_home): (&Home, bool),
    config: &Config,
    stop: CancellationToken,
    now: impl Fn() -> Timestamp,
) -> (Vec<Finding>, Vec<RadioText>) {
    let link = config.meshtastic.clone();
    let (first, whole) = match link.connection {
        Connection::Ble { .. } => (FIRST_BY_AIR, WHOLE_BY_AIR),
        Connection::Tcp { .. } | Connection::Serial { .. } => (FIRST, WHOLE),
    };
    let work = async |visit: &mut Visit| {
        let profile = visit.ready_within(first, whole).await?;
        let mut known = visit.known().into_iter();
        let own = known.find(|it| it.node.num == profile.own.num);
        Ok((profile, own.and_then(|it| it.node.last_heard)))
    };
    let (awaited, _) = watch::channel(None);
    let visited = Box::pin(visit(link, home, None, awaited, |_| {}, stop, work));
    let (result, kept) = visited.await;
    let (mut found, profile) = match result {
        Ok((profile, told)) => {
            let facts = Facts::of(&profile, told, config);
            (facts.findings(Some(config), now()), Some(profile))
        }
        Err(error) => (
            unknown(unreached(&error), "the radio was not reached"),
            None,
        ),
    };
    if !kept.is_empty() {
        let place = (home, allow_network_home);
        let keeping = handed_over::keep(config, place, profile, &kept, now());
        found.push(Side::Radio.finds("handed_over", keeping.await));
    }
    (found, kept)
}

fn unreached(error: &VisitError) -> Check {
    let result = match error {
        VisitError::Late(_) => CheckResult::TimedOut,
        VisitError::Interrupted => CheckResult::Skipped,
        _ => CheckResult::Failed,
    };
    let text: Vec<String> = causes(error).map(ToString::to_string).collect();
    check(result, text.join(": "), error.hint())
}

/// The checks of a radio that tells nothing; the first is why.
fn unknown(radio: Check, why: &str) -> Vec<Finding> {
    let others = OF_ANSWER
        .iter()
        .map(|name| Side::Radio.finds(name, skipped(why)));
    [Side::Radio.finds("radio", radio)]
        .into_iter()
        .chain(others)
        .collect()
}

fn about(
    name: Option<&str>,
    node: Option<&str>,
    firmware: Option<&str>,
    connection: &Connection,
) -> String {
    let name = name.unwrap_or("a radio");
    let node = node.map(|it| format!(" ({it})")).unwrap_or_default();
    let firmware = firmware.unwrap_or("not told");
    format!("{name}{node}, firmware {firmware}, {}", connection.place())
}

impl Facts {
    /// `told`: when the radio was last heard, by its own clock.
    fn of(profile: &RadioProfile, told: Option<Timestamp>, config: &Config) -> Self {
        let RadioProblems { routes, silence } = RadioProblems::of(config, profile);
        let used = profile.channels.iter();
        let used = used.filter(|it| it.role != ChannelRole::Disabled);
        let connection = &config.meshtastic.connection;
        let (name, node) = (profile.own.long(), profile.own.num.to_string());
        Self {
            name: Some(name.clone()),
            about: about(
                Some(&name),
                Some(&node),
                profile.told_firmware(),
                connection,
            ),
            region: profile.setup.region.clone(),
            locked: profile.locked,
            silence: silence.map(|it| (it.to_string(), it.hint())),
            problems: routes
                .iter()
                .map(|it| (it.to_string(), Some(route_cure(it))))
                .collect(),
            channels: used
                .map(|it: &Channel| (it.index.number(), it.name.clone()))
                .collect(),
            time: told.map_or(RadioTime::Untold, RadioTime::Told),
        }
    }

    fn findings(&self, config: Option<&Config>, now: Timestamp) -> Vec<Finding> {
        let mut found = vec![
            Side::Radio.finds("radio", ok(&self.about)),
            Side::Radio.finds("region", self.region()),
        ];
        let channels = self.channels(config).into_iter();
        found.extend(channels.map(|it| Side::Radio.finds("channels", it)));
        let names = self.channels.iter().map(|(_, name)| name.clone());
        let names: Vec<String> = names.chain(self.name.clone()).collect();
        for finding in &mut found {
            finding.names.clone_from(&names);
        }
        let set_time = config.is_none_or(|it| it.meshtastic.set_time);
        found.push(Side::Radio.finds("radio_time", self.time(set_time, now)));
        found
    }

    /// The region, and what else keeps the radio from transmitting. A person must act: nothing goes on the air.
    fn region(&self) -> Check {
        if let Some((silence, cure)) = &self.silence {
            return silent(CheckResult::Failed, silence, cure.as_ref());
        }
        let region = self.region.as_deref().unwrap_or("not told");
        ok(format!("{region}; the radio may transmit"))
    }

    fn channels(&self, config: Option<&Config>) -> Vec<Check> {
        if self.locked && self.channels.is_empty() {
            return vec![skipped(
                "the radio is locked and does not tell its channels",
            )];
        }
        let problems = self.problems.iter();
        let problem = |(text, cure): &(String, Option<String>)| {
            check(CheckResult::Failed, text, cure.clone())
        };
        let problems: Vec<Check> = problems.map(problem).collect();
        if !problems.is_empty() {
            return problems;
        }
        if config.is_none() {
            return vec![ok("those that the relay maps are there")];
        }
        let mut mapped: Vec<String> = Vec::new();
        for room in config.iter().flat_map(|it| &it.matrix_rooms) {
            let shown = self.shown(&room.meshtastic_channel);
            if !mapped.contains(&shown) {
                mapped.push(shown);
            }
        }
        vec![ok(format!(
            "the mapped ones are there: {}",
            mapped.join(", ")
        ))]
    }

    fn shown(&self, mapped: &ChannelRef) -> String {
        let is_it = |(index, name): &&(u8, String)| match mapped {
            ChannelRef::Index(slot) => slot.number() == *index,
            ChannelRef::Name(wanted) => wanted == name,
        };
        match self.channels.iter().find(is_it) {
            Some((index, name)) => format!("{index} ({name})"),
            None => mapped.to_string(),
        }
    }

    fn time(&self, set_time: bool, now: Timestamp) -> Check {
        match self.time {
            RadioTime::Told(told) if now.since(told).max(told.since(now)) <= SLACK => {
                ok("the radio's clock agrees with this machine's")
            }
            RadioTime::Given if set_time => ok("the running relay gives it this machine's time"),
            RadioTime::Given => {
                skipped("not known beside a running relay, and `meshtastic.set_time` is false")
            }
            RadioTime::Told(_) | RadioTime::Untold if set_time => {
                ok("the radio has not the time; the relay gives it this machine's when it connects")
            }
            RadioTime::Told(_) | RadioTime::Untold => warning(
                "the radio has not the time",
                "set `meshtastic.set_time: true`, or the radio's clock with the app; the relay dates its messages by their arrival meanwhile",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_config::{Direction, MappedRoom};
    use relay_model::{ChannelIndex, Node, NodeNum, RadioSetup};

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    fn config(mapped: ChannelRef) -> Config {
        let tcp = Connection::Tcp {
            host: "192.0.2.7".to_owned(),
            port: 4403,
        };
        let mapped = MappedRoom {
            id: "!room:example.org".try_into().unwrap(),
            via: Vec::new(),
            meshtastic_channel: mapped,
            direction: Direction::Both,
            appearance: relay_config::Appearance::default(),
        };
        Config::new(tcp, vec![mapped])
    }

    fn profile() -> RadioProfile {
        let channel = |index: u32, name: &str, role| Channel {
            index: ChannelIndex::try_from(index).unwrap(),
            name: name.to_owned(),
            role,
            fingerprint: None,
        };
        RadioProfile {
            own: Node {
                long_name: Some("Hilltop".to_owned()),
                ..Node::unknown(NodeNum(0xA11C_E001))
            },
            firmware: "2.7.26".to_owned(),
            channels: vec![
                channel(0, "LongFast", ChannelRole::Primary),
                channel(1, "Old", ChannelRole::Disabled),
                channel(2, "Rescue", ChannelRole::Secondary),
            ],
            hop_limit: 3,
            region_set: true,
            transmit_enabled: true,
            reboot_count: 0,
            locked: false,
            setup: RadioSetup {
                region: Some("EU_868".to_owned()),
                ..RadioSetup::default()
            },
        }
    }

    fn examined(
        profile: &RadioProfile,
        told: Option<Timestamp>,
        config: &Config,
    ) -> Vec<(String, CheckResult, String)> {
        let found = Facts::of(profile, told, config).findings(Some(config), NOON);
        let found = found.into_iter().map(|it| it.check);
        found.map(|it| (it.name, it.result, it.text)).collect()
    }

    #[test]
    fn a_radio_that_is_well_is_told_with_its_region_and_its_mapped_channels() {
        let config = config(ChannelRef::Name("Rescue".to_owned()));
        let found = examined(&profile(), Some(NOON), &config);
        assert!(found.iter().all(|it| it.1 == CheckResult::Ok), "{found:?}");
        let texts: Vec<_> = found.iter().map(|it| it.2.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Hilltop (!a11ce001), firmware 2.7.26, 192.0.2.7:4403",
                "EU_868; the radio may transmit",
                "the mapped ones are there: 2 (Rescue)",
                "the radio's clock agrees with this machine's",
            ]
        );
    }

    #[test]
    fn a_mapped_channel_that_is_missing_or_switched_off_fails() {
        let one = ChannelIndex::try_from(1).unwrap();
        for mapped in [ChannelRef::Index(one), ChannelRef::Name("Club".to_owned())] {
            let found = examined(&profile(), Some(NOON), &config(mapped));
            let channels: Vec<_> = found.iter().filter(|it| it.0 == "channels").collect();
            assert_eq!(channels.len(), 1);
            assert_eq!(channels[0].1, CheckResult::Failed);
            assert!(
                channels[0].2.starts_with("matrix_rooms[0]: "),
                "{channels:?}"
            );
        }
    }

    #[test]
    fn a_radio_that_may_not_transmit_fails_with_the_reason() {
        let config = config(ChannelRef::Index(ChannelIndex::PRIMARY));
        let mut unset = profile();
        unset.region_set = false;
        let mut locked = profile();
        (locked.locked, locked.channels, locked.firmware) = (true, Vec::new(), String::new());
        for (profile, words) in [
            (unset, "the radio has no region"),
            (locked, "the radio is locked"),
        ] {
            let found = examined(&profile, Some(NOON), &config);
            let (_, result, text) = &found[1];
            assert_eq!(*result, CheckResult::Failed);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_not_set_matters_only_where_nobody_sets_it() {
        let mut config = config(ChannelRef::Index(ChannelIndex::PRIMARY));
        let yesterday = Some(NOON - Duration::from_hours(24));
        let time = |config: &Config, told| {
            let found = examined(&profile(), told, config);
            found.last().map(|it| it.1).unwrap()
        };
        assert_eq!(time(&config, None), CheckResult::Ok);
        assert_eq!(time(&config, yesterday), CheckResult::Ok);
        config.meshtastic.set_time = false;
        assert_eq!(time(&config, yesterday), CheckResult::Warning);
        assert_eq!(time(&config, Some(NOON)), CheckResult::Ok);
    }
}
