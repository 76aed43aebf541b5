//! `relay radio listen`: the received messages, one line each.

use serde::Serialize;

use crate::home::utc;
use crate::tools::{escaped, printable};
use relay_model::{ChannelIndex, Destination, RadioText, TextPort};

/// A message as JSON, with its text unchanged.
#[derive(Debug, Serialize)]
struct Line<'a> {
    heard_at: String,
    from: String,
    long_name: String,
    short_name: String,
    channel: Option<u8>,
    channel_name: Option<&'a str>,
    direct: bool,
    port: &'a str,
    packet: u32,
    text: &'a str,
    reply_to: Option<u32>,
    reaction: bool,
    hops: Option<u8>,
    snr: Option<f32>,
    rssi: Option<i32>,
    via_mqtt: bool,
    replayed: bool,
}

pub(crate) fn json_lines(texts: &[RadioText]) -> Result<String, serde_json::Error> {
    texts.iter().map(|text| Ok(as_json(text)? + "\n")).collect()
}

pub(crate) fn lines(texts: &[RadioText]) -> String {
    texts.iter().map(|text| as_line(text) + "\n").collect()
}

/// Returns a message as one JSON object, with terminal controls and bidirectional controls escaped.
fn as_json(text: &RadioText) -> Result<String, serde_json::Error> {
    let channel = text.channel();
    let line = Line {
        heard_at: utc(text.heard_at.into()),
        from: text.sender.num.to_string(),
        long_name: text.sender.long(),
        short_name: text.sender.short(),
        channel: channel.map(ChannelIndex::number),
        channel_name: channel.map(|_| text.channel_name.as_str()),
        direct: channel.is_none(),
        port: &text.port_name,
        packet: text.packet.0,
        text: &text.text,
        reply_to: text.reply_to.map(|packet| packet.0),
        reaction: text.is_reaction,
        hops: text.hops,
        snr: text.snr,
        rssi: text.rssi,
        via_mqtt: text.via_mqtt,
        replayed: text.replayed,
    };
    Ok(escaped(&serde_json::to_string(&line)?))
}

fn as_line(text: &RadioText) -> String {
    let sender = format!("{} ({})", text.sender.long(), text.sender.num);
    let words = text.text.trim().replace("\r\n", "\n");
    let words = words.replace(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'], " ⏎ ");
    let words = match (text.port, text.is_reaction, text.reply_to) {
        (_, true, Some(target)) => format!("reacts {words} to packet {target}"),
        (_, true, None) => format!("reacts {words}"),
        (TextPort::Alert, false, _) => format!("🚨 {words}"),
        (_, false, Some(target)) => format!("answers packet {target}: {words}"),
        (_, false, None) => words,
    };
    let place = match text.destination {
        Destination::Channel(index) if text.channel_name.is_empty() => format!("channel {index}"),
        Destination::Channel(_) => text.channel_name.clone(),
        Destination::Direct(_) => "direct".to_owned(),
    };
    let at = utc(text.heard_at.into());
    printable(&format!("{at}  {place}  {sender}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::{Node, NodeNum, PacketId, Timestamp};

    fn text(words: &str) -> RadioText {
        RadioText {
            sender: Node {
                long_name: Some("Bob\u{202e}".to_owned()),
                ..Node::unknown(NodeNum(0xB0B0_B002))
            },
            packet: PacketId(77),
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel_name: "LongFast".to_owned(),
            fingerprint: None,
            port: TextPort::Text,
            port_name: "TEXT_MESSAGE_APP".to_owned(),
            text: words.to_owned(),
            reply_to: None,
            is_reaction: false,
            heard_at: Timestamp(1_767_225_600_000),
            hops: Some(1),
            relayed_by: None,
            snr: Some(6.5),
            rssi: None,
            via_mqtt: false,
            ok_to_mqtt: false,
            replayed: false,
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_it_holds() {
        let hostile = text("one\r\ntwo\u{9b}2J\u{1b}[31m\u{2066}");
        insta::assert_snapshot!(as_line(&hostile), @"2026-01-01T00:00:00Z  LongFast  Bob (!b0b0b002): one ⏎ two2J[31m");
        let json = as_json(&hostile).unwrap();
        assert!(json.is_ascii(), "{json}");
        let output: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(output["text"], hostile.text);
        assert_eq!(output["channel_name"], "LongFast");
        assert_eq!(output["long_name"], "Bob\u{202e}");
    }

    #[test]
    fn messages_are_a_line_each_in_either_form() {
        let heard = [text("one"), text("two\nlines")];
        let output = json_lines(&heard).unwrap();
        let values: Vec<serde_json::Value> = output
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(values.len(), 2);
        assert_eq!(
            (&values[0]["text"], &values[1]["text"]),
            (&"one".into(), &"two\nlines".into())
        );
        let output = lines(&heard);
        assert_eq!(output.lines().count(), 2);
        assert!(output.ends_with(": two ⏎ lines\n"), "{output}");
    }

    #[test]
    fn answers_reactions_alerts_and_direct_messages_say_what_they_are() {
        let mut reaction = text("👍");
        (reaction.is_reaction, reaction.reply_to) = (true, Some(PacketId(5)));
        assert!(as_line(&reaction).ends_with("reacts 👍 to packet 5"));
        let mut answer = text("yes");
        answer.reply_to = Some(PacketId(5));
        assert!(as_line(&answer).ends_with("answers packet 5: yes"));
        let mut alert = text("help");
        alert.port = TextPort::Alert;
        assert!(as_line(&alert).ends_with(": 🚨 help"));
        let mut direct = text("psst");
        direct.destination = Destination::Direct(NodeNum(1));
        assert!(as_line(&direct).contains("  direct  Bob"));
    }
}
