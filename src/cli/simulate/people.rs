//! Output of `relay simulate` on a terminal: lines for people, with the time of day.

use std::fmt::Write as _;

use crate::{home::utc, tools::printable};
use relay_model::{NodeNum, Timestamp};
use relay_simulator::{Connection, Fate, Mesh, Report, Transmitted};

/// The nodes of the mesh and their names.
#[derive(Debug)]
pub(super) struct People(pub(super) Mesh);

impl People {
    fn name(&self, node: NodeNum) -> String {
        let known = self.0.nodes.iter().find(|it| it.num == node.0);
        let user = known.and_then(|known| known.user.as_ref());
        let name = user.map(|user| printable(&user.long_name));
        match name.filter(|name| !name.trim().is_empty()) {
            Some(name) => format!("{name} ({node})"),
            None => node.to_string(),
        }
    }

    /// Returns the radio's address, and how to send from the mesh.
    pub(super) fn invitation(&self, place: &str) -> String {
        let mut text = format!("a simulated radio is at {place}; Ctrl-C ends it\n");
        if let Some(first) = self.0.nodes.first() {
            let first = self.name(NodeNum(first.num));
            let _ = writeln!(
                text,
                "type a text and press Enter: {first} says it on channel 0"
            );
        }
        text
    }

    pub(super) fn line(&self, report: &Report, at: Timestamp) -> String {
        let text = match report {
            Report::Transmitted(packet, fate) => self.transmitted(packet, *fate),
            Report::Injected { from, .. } => format!("{} is heard", self.name(*from)),
            Report::Client(Connection::Connected) => "a client has connected".to_owned(),
            Report::Client(Connection::Configured) => {
                "the client has been told how the radio is set up".to_owned()
            }
            Report::Client(Connection::Closed) => "the client is gone".to_owned(),
            Report::Back => "the radio is back".to_owned(),
            Report::Ignored { reason, bytes } => {
                format!("{bytes} bytes of the client are ignored: {reason}")
            }
            Report::ScriptEnded => "the script has ended".to_owned(),
            Report::Error(message) => format!("error: {message}"),
        };
        let clock = utc(at.into());
        let clock = clock.get(11..19).unwrap_or(&clock);
        format!("{clock} UTC  {}", printable(&text))
    }

    fn transmitted(&self, packet: &Transmitted, fate: Fate) -> String {
        let (header, content) = (&packet.header, &packet.content);
        let target = content.reply_id;
        let what = match packet.text() {
            Some(text) if content.emoji != 0 => format!("{text} on packet {target}"),
            Some(text) if target != 0 => format!("{text:?}, as an answer to packet {target}"),
            Some(text) => format!("{text:?}"),
            None => {
                let size = content.payload.len();
                format!("{size} bytes on port {}", content.portnum)
            }
        };
        let to = match NodeNum(header.to) {
            NodeNum::BROADCAST => format!("on channel {}", header.channel),
            node => format!("to {}", self.name(node)),
        };
        let error = fate.error().map(|error| format!(" (error {error})"));
        let became = match fate {
            Fate::Accepted => "the radio takes it",
            Fate::Refused(_) => "the radio refuses it",
            Fate::RateLimited => "dropped, too soon after another text",
            Fate::Duplicate => "ignored, its id was there before",
            Fate::Lost => "lost in the radio",
            Fate::Local => "for the radio itself",
            Fate::Sent => "transmitted",
            Fate::Heard => "another node repeats it",
            Fate::Unheard => "nobody repeats it",
            Fate::Relayed => "repeated, but not by its addressee",
            Fate::Delivered => "its addressee has it",
            Fate::Failed(_) => "its addressee answers with an error",
        };
        format!(
            "from the client {to}: {what}: {became}{}",
            error.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use relay_wire::proto::{Data, MeshPacket};

    #[test]
    fn a_line_for_people_has_the_time_the_words_and_what_became_of_them() {
        let mesh = Mesh::new(1, 2);
        let first = NodeNum(mesh.nodes[0].num);
        let people = People(mesh);
        let place = people.invitation("127.0.0.1:4403");
        assert!(place.contains("127.0.0.1:4403") && place.contains("type a text"));
        assert!(
            place.contains(&format!("Alice ({first}) says it")),
            "{place}"
        );
        let at = Timestamp(1_767_225_600_000) + Duration::from_secs(3_723);
        let packet = Transmitted {
            header: MeshPacket {
                to: NodeNum::BROADCAST.0,
                channel: 1,
                ..MeshPacket::default()
            },
            content: Data {
                portnum: 1,
                payload: b"hi \x1b[2J".to_vec(),
                ..Data::default()
            },
            at: Duration::ZERO,
        };
        let line = |fate| {
            let packet = Box::new(packet.clone());
            people.line(&Report::Transmitted(packet, fate), at)
        };
        assert_eq!(
            line(Fate::Refused(6)),
            "01:02:03 UTC  from the client on channel 1: \"hi \\u{1b}[2J\": the radio refuses it (error 6)"
        );
        assert!(line(Fate::Heard).ends_with("another node repeats it"));
        let injected = Report::Injected { id: 1, from: first };
        assert!(people.line(&injected, at).ends_with("is heard"));
    }

    #[test]
    fn a_mesh_without_nodes_invites_nobody_to_speak() {
        let alone = People(Mesh::new(1, 0)).invitation("127.0.0.1:4403");
        assert!(!alone.contains("type"), "{alone}");
    }
}
