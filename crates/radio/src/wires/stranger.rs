//! Identifies a peer that is not a radio by its first bytes.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use relay_wire::codec::Item;

/// Maximum time to wait for the last bytes of a server that closed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Maximum number of first bytes that are kept.
const KEPT: usize = 64;

/// First bytes of other servers, and their names.
const GREETINGS: [(&[u8], &str); 13] = [
    (b"SSH-", "an SSH server"),
    (b"HTTP/", "a web server"),
    (b"<!DOCTYPE", "a web server"),
    (b"<!doctype", "a web server"),
    (b"<html", "a web server"),
    // A TLS record: an alert.
    (b"\x15\x03", "a web server, or another one with TLS"),
    (b"220", "a mail or FTP server"),
    (b"+OK", "a mail server"),
    (b"* OK", "a mail server"),
    (b"RFB ", "a VNC server"),
    // Other servers with such errors greet first.
    (b"-ERR ", "a Redis server"),
    (b"-NOAUTH ", "a Redis server"),
    (b"-DENIED ", "a Redis server"),
];

/// The first bytes on a link before any frame.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    bytes: Vec<u8>,
}

impl Greeting {
    /// Takes bytes outside frames. Returns the peer as soon as it is identified.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<&'static str> {
        let room = KEPT.saturating_sub(self.bytes.len());
        self.bytes.extend(bytes.iter().take(room));
        match self.bytes.as_slice() {
            // A packet's length and number, the protocol's version, and the server's version.
            [_, _, 0, 0, 10, b'0'..=b'9', ..] => Some("a database server (MySQL)"),
            // "Interpret as command", with WILL, WON'T, DO or DON'T.
            [0xFF, 0xFB..=0xFE, ..] => Some("a telnet server"),
            banner => {
                let known = |(begins, who): (&[u8], _)| banner.starts_with(begins).then_some(who);
                GREETINGS.into_iter().find_map(known)
            }
        }
    }

    /// Returns the peer if the bytes so far are text, most of it UTF-8. `None` without bytes, or if they may be the
    /// rest of a frame.
    fn whose(&mut self) -> Option<&'static str> {
        let who = self.take(&[]);
        let text = String::from_utf8_lossy(&self.bytes);
        let is_shown = |it: char| !it.is_control() || it.is_ascii_whitespace();
        let odd = text.matches(char::REPLACEMENT_CHARACTER).count();
        let is_text = text.contains(char::is_alphanumeric)
            && text.chars().all(is_shown)
            && 2 * odd < text.chars().count();
        who.or(is_text.then_some("a server that is no radio"))
    }
}

/// Identifies the peer that ended a link, or did not answer, before any frame; `None` if unknown. Bytes received before
/// a failed write are read first, and servers that speak only when asked are prompted.
pub(crate) async fn whose(greeting: &mut Greeting, link: &mut Connection) -> Option<&'static str> {
    link.ask_stranger().await;
    let limit = Instant::now() + LAST_WORDS;
    while let Ok(Ok(Item::Log(bytes))) = timeout_at(limit, link.receive()).await
        && greeting.take(&bytes).is_none()
    {}
    greeting.whose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_no_radio_is_known_by_its_first_bytes() {
        for (said, who) in [
            (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], Some("an SSH server")),
            (b"HTTP/1.1 400 Bad Request\r\n", Some("a web server")),
            (
                b"220 mail.example.org ESMTP\r\n",
                Some("a mail or FTP server"),
            ),
            (
                b"\x15\x03\x01\x00\x02\x02\x46",
                Some("a web server, or another one with TLS"),
            ),
            (b"\xff\xfe\x01login:", Some("a telnet server")),
            (b"\x4a\0\0\0\x0a8.0.36\0", Some("a database server (MySQL)")),
            (
                b"-ERR unknown command, with args beginning with: \r\n",
                Some("a Redis server"),
            ),
            (b"hello, who are you?\n", None),
            (b"\x94\x94\xff", None),
            (b"", None),
        ] {
            assert_eq!(Greeting::default().take(said), who, "{said:?}");
            let mut slowly = Greeting::default();
            let said_last = said.iter().filter_map(|byte| slowly.take(&[*byte])).last();
            assert_eq!(said_last, who, "{said:?}");
        }
    }

    #[test]
    fn a_link_that_ends_with_text_and_no_frame_was_no_radios() {
        for (said, is_text) in [
            (&b"hello, who are you?\n"[..], true),
            ("grüß dich\n".as_bytes(), true),
            (b"gr\xfc\xdf dich\r\n", true),
            ("ü".repeat(KEPT / 2).as_bytes(), true),
            ("üa".repeat(KEPT).as_bytes(), true),
            (b"\xc3\xe4\xf6\xfc!", false),
            (b"\r\n", false),
            (b"", false),
            // The rest of a frame.
            (b"\x12\x05hello", false),
            (b"\x94\xc3\x00", false),
        ] {
            let mut greeting = Greeting::default();
            assert_eq!(greeting.take(said), None);
            assert_eq!(greeting.whose().is_some(), is_text, "{said:?}");
        }
    }

    #[test]
    fn a_server_that_talks_for_ever_fills_no_memory() {
        let mut greeting = Greeting::default();
        for _ in 0..1000 {
            greeting.take(b"talk talk talk ");
        }
        assert!(greeting.bytes.len() <= KEPT);
    }
}
