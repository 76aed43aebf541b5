//! A radio's settings, channels and nodes: for people, and as JSON. Never a key.

use std::fmt::Write as _;

use serde::Serialize;

use super::VisitError;
use crate::{home::utc, tools::printable};
use relay_model::{Channel, ChannelRole, Explained as _, NodeNum, RadioProfile, Timestamp, span};
use relay_radio::KnownNode;

/// What `relay radio info` tells of the radio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RadioReport {
    node: String,
    long_name: String,
    short_name: String,
    licensed: bool,
    hardware: Option<String>,
    firmware: Option<String>,
    role: Option<String>,
    region: Option<String>,
    preset: Option<String>,
    transmit: bool,
    locked: bool,
    hop_limit: u8,
    reboot_count: u32,
    /// Battery level in percent; above 100: external power. `None`: not reported.
    battery_percent: Option<u32>,
    voltage: Option<f32>,
    channel_use_percent: Option<f32>,
    air_use_percent: Option<f32>,
    channels: usize,
    nodes: usize,
}

/// A channel in use, as `relay radio channels` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ChannelReport {
    channel: u8,
    name: String,
    role: &'static str,
}

/// A node known to the radio, as `relay radio nodes` lists it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeReport {
    node: String,
    long_name: Option<String>,
    short_name: Option<String>,
    own: bool,
    licensed: bool,
    ignored: bool,
    hardware: Option<String>,
    role: Option<String>,
    hops: Option<u8>,
    snr: Option<f32>,
    via_mqtt: bool,
    battery_percent: Option<u32>,
    last_heard: Option<String>,
    #[serde(skip)]
    heard_seconds_ago: Option<u64>,
    #[serde(skip)]
    names: (String, String),
}

pub(crate) fn radio(profile: &RadioProfile, known: &[KnownNode]) -> RadioReport {
    let own = known.iter().find(|it| it.node.num == profile.own.num);
    let details = own.map(|it| it.details.clone()).unwrap_or_default();
    let setup = profile.setup.clone();
    RadioReport {
        node: profile.own.num.to_string(),
        long_name: profile.own.long(),
        short_name: profile.own.short(),
        licensed: profile.own.is_licensed,
        hardware: setup.hardware.or(details.hardware),
        firmware: profile.told_firmware().map(str::to_owned),
        role: setup.role.or(details.role),
        region: setup.region,
        preset: setup.preset,
        transmit: profile.transmits(),
        locked: profile.locked,
        hop_limit: profile.hop_limit,
        reboot_count: profile.reboot_count,
        battery_percent: details.battery_percent,
        voltage: details.voltage,
        channel_use_percent: details.channel_use_percent,
        air_use_percent: details.air_use_percent,
        channels: channels(profile).len(),
        nodes: known.len(),
    }
}

/// Returns the radio's channels in use.
pub(crate) fn channels(profile: &RadioProfile) -> Vec<ChannelReport> {
    let channels = profile.channels.iter();
    let used = channels.filter(|it| it.role != ChannelRole::Disabled);
    let report = |it: &Channel| ChannelReport {
        channel: it.index.number(),
        name: it.name.clone(),
        role: it.role.into(),
    };
    used.map(report).collect()
}

/// Returns the radio's nodes: itself, then the others, most recently heard first.
pub(crate) fn nodes(own: NodeNum, known: &[KnownNode], now: Timestamp) -> Vec<NodeReport> {
    let mut known: Vec<&KnownNode> = known.iter().collect();
    known.sort_by_key(|it| {
        let heard = it.node.last_heard.map(|at| at.0);
        (it.node.num != own, std::cmp::Reverse(heard), it.node.num)
    });
    let report = |KnownNode { node, details }: &KnownNode| NodeReport {
        node: node.num.to_string(),
        long_name: node.long_name.clone(),
        short_name: node.short_name.clone(),
        own: node.num == own,
        licensed: node.is_licensed,
        ignored: node.is_ignored,
        hardware: details.hardware.clone(),
        role: details.role.clone(),
        hops: details.hops,
        snr: details.snr,
        via_mqtt: details.via_mqtt,
        battery_percent: details.battery_percent,
        last_heard: node.last_heard.map(|at| utc(at.into())),
        heard_seconds_ago: node.last_heard.map(|at| now.since(at).as_secs()),
        names: (node.short(), node.long()),
    };
    known.into_iter().map(report).collect()
}

pub(crate) fn radio_lines(radio: &RadioReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12} {}", printable(value));
    };
    let or_unknown =
        |known: &Option<String>| known.clone().unwrap_or_else(|| "not told".to_owned());
    line("node", &radio.node);
    let (long, short) = (&radio.long_name, &radio.short_name);
    let licensed = if radio.licensed { ", licensed" } else { "" };
    line("name", &format!("{long} ({short}){licensed}"));
    line("hardware", &or_unknown(&radio.hardware));
    line("firmware", &or_unknown(&radio.firmware));
    line("role", &or_unknown(&radio.role));
    let no_region = "none: it transmits nothing until `lora.region` is set on it";
    match &radio.region {
        None if !radio.locked => line("region", no_region),
        region => line("region", &or_unknown(region)),
    }
    line("preset", &or_unknown(&radio.preset));
    let cure = VisitError::Locked.hint().unwrap_or_default();
    let locked = format!("no: it is locked; {cure}");
    let transmit = match (radio.locked, radio.transmit) {
        (true, _) => &locked,
        (false, true) => "on",
        (false, false) => "off",
    };
    line("transmit", transmit);
    line("hop limit", &radio.hop_limit.to_string());
    line("reboots", &radio.reboot_count.to_string());
    if let Some(percent) = radio.battery_percent {
        let volt = radio.voltage.map(|volt| format!(", {volt:.2} V"));
        let volt = volt.unwrap_or_default();
        line("battery", &format!("{}{volt}", battery(percent)));
    }
    if let Some(percent) = radio.channel_use_percent {
        let own = radio.air_use_percent;
        let own = own.map(|own| format!(", its own sending {own:.1} % of the last hour"));
        let own = own.unwrap_or_default();
        line("channel use", &format!("{percent:.1} %{own}"));
    }
    line("channels", &radio.channels.to_string());
    line("nodes", &radio.nodes.to_string());
    text
}

pub(crate) fn channel_lines(channels: &[ChannelReport]) -> String {
    let row = |it: &ChannelReport| vec![it.channel.to_string(), it.name.clone(), it.role.into()];
    table("CHANNEL NAME ROLE", channels.iter().map(row))
}

pub(crate) fn node_lines(nodes: &[NodeReport]) -> String {
    let rows = nodes.iter().map(|it| {
        let about = [
            (it.own, "this radio"),
            (it.licensed, "licensed"),
            (it.via_mqtt, "by MQTT"),
            (it.ignored, "ignored"),
        ];
        let about = about.into_iter().filter(|(is_so, _)| *is_so);
        let about: Vec<_> = about.map(|(_, word)| word).collect();
        let (short, long) = it.names.clone();
        vec![
            it.node.clone(),
            short,
            long,
            it.hardware.clone().unwrap_or_default(),
            it.hops.map(|hops| hops.to_string()).unwrap_or_default(),
            it.snr.map(|snr| format!("{snr:.1}")).unwrap_or_default(),
            it.battery_percent.map(battery).unwrap_or_default(),
            match it.heard_seconds_ago {
                // A radio does not hear itself.
                _ if it.own => String::new(),
                Some(seconds) => format!("{} ago", span::of_seconds(seconds)),
                None => "never".to_owned(),
            },
            about.join(", "),
        ]
    });
    table("NODE SHORT NAME HARDWARE HOPS SNR BATTERY HEARD", rows)
}

fn battery(percent: u32) -> String {
    match percent {
        0..=100 => format!("{percent} %"),
        _ => "powered".to_owned(),
    }
}

/// Returns an aligned table; the last column may have no heading.
fn table(headings: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let headings = headings.split(' ').map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = std::iter::once(headings)
        .chain(rows)
        .map(|row| row.iter().map(|cell| printable(cell)).collect())
        .collect();
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::{Channel, ChannelIndex, Node, RadioSetup};
    use relay_radio::Details;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    fn profile() -> RadioProfile {
        let channel = |index: u32, name: &str, role| Channel {
            index: ChannelIndex::try_from(index).unwrap(),
            name: name.to_owned(),
            role,
            fingerprint: None,
        };
        RadioProfile {
            own: Node {
                long_name: Some("Hill\u{1b}[2Jtop".to_owned()),
                short_name: Some("HILL".to_owned()),
                ..Node::unknown(NodeNum(0xA11C_E001))
            },
            firmware: "2.7.26".to_owned(),
            channels: vec![
                channel(0, "LongFast", ChannelRole::Primary),
                channel(1, "", ChannelRole::Disabled),
                channel(2, "Rescue", ChannelRole::Secondary),
            ],
            hop_limit: 3,
            region_set: true,
            transmit_enabled: true,
            reboot_count: 12,
            locked: false,
            setup: RadioSetup {
                hardware: Some("HELTEC_V3".to_owned()),
                role: Some("CLIENT".to_owned()),
                region: Some("EU_868".to_owned()),
                preset: Some("LongFast".to_owned()),
            },
        }
    }

    fn known() -> Vec<KnownNode> {
        let bob = Node {
            long_name: Some("Bob".to_owned()),
            short_name: Some("🐻".to_owned()),
            is_licensed: true,
            last_heard: Some(Timestamp(NOON.0 - 65_000)),
            ..Node::unknown(NodeNum(0xB0B0_B002))
        };
        let silent = Node::unknown(NodeNum(1));
        vec![
            KnownNode {
                node: silent,
                details: Details::default(),
            },
            KnownNode {
                node: bob,
                details: Details {
                    hardware: Some("RAK4631".to_owned()),
                    hops: Some(2),
                    snr: Some(-7.25),
                    battery_percent: Some(101),
                    ..Details::default()
                },
            },
            KnownNode {
                node: profile().own,
                details: Details {
                    battery_percent: Some(87),
                    voltage: Some(4.05),
                    channel_use_percent: Some(3.12),
                    air_use_percent: Some(0.2),
                    ..Details::default()
                },
            },
        ]
    }

    #[test]
    fn a_radio_is_told_a_line_each() {
        insta::assert_snapshot!(radio_lines(&radio(&profile(), &known())), @r"
        node         !a11ce001
        name         Hill[2Jtop (HILL)
        hardware     HELTEC_V3
        firmware     2.7.26
        role         CLIENT
        region       EU_868
        preset       LongFast
        transmit     on
        hop limit    3
        reboots      12
        battery      87 %, 4.05 V
        channel use  3.1 %, its own sending 0.2 % of the last hour
        channels     2
        nodes        3
        ");
    }

    #[test]
    fn a_radio_that_must_not_transmit_says_why() {
        let mut profile = profile();
        profile.region_set = false;
        profile.setup = RadioSetup::default();
        let lines = radio_lines(&radio(&profile, &[]));
        assert!(lines.contains("transmit     off"), "{lines}");
        assert!(lines.contains("`lora.region` is set"), "{lines}");
        assert!(lines.contains("hardware     not told"), "{lines}");
    }

    #[test]
    fn a_locked_radio_says_so() {
        let mut profile = profile();
        (profile.locked, profile.transmit_enabled) = (true, false);
        profile.setup = RadioSetup::default();
        let lines = radio_lines(&radio(&profile, &[]));
        assert!(lines.contains("transmit     no: it is locked"), "{lines}");
        assert!(lines.contains("region       not told"), "{lines}");
    }

    #[test]
    fn channels_in_use_are_listed() {
        insta::assert_snapshot!(channel_lines(&channels(&profile())), @r"
        CHANNEL  NAME      ROLE
        0        LongFast  primary
        2        Rescue    secondary
        ");
    }

    #[test]
    fn the_radio_comes_first_and_then_who_was_heard_last() {
        let nodes = nodes(NodeNum(0xA11C_E001), &known(), NOON);
        insta::assert_snapshot!(node_lines(&nodes), @"
        NODE       SHORT  NAME             HARDWARE  HOPS  SNR   BATTERY  HEARD
        !a11ce001  HILL   Hill[2Jtop                             87 %               this radio
        !b0b0b002  🐻      Bob              RAK4631   2     -7.2  powered  65 s ago  licensed
        !00000001  0001   Meshtastic 0001                                 never
        ");
        let json = serde_json::to_value(&nodes).unwrap();
        assert_eq!(json[1]["last_heard"], "2025-12-31T23:58:55Z");
        assert_eq!(json[1]["battery_percent"], 101);
        assert_eq!(json[2]["long_name"], serde_json::Value::Null);
    }
}
