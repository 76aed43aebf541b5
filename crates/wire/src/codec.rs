//! Framing on TCP and serial links, the same in both directions.
//!
//! A frame is `94 C3`, its length as two bytes (big endian, at most 512), and that many bytes of protobuf. There is no
//! checksum, and `94 C3` also occurs inside frames (in UTF-8), so it is searched only outside plausible frames. All
//! other bytes are noise or a radio's debug text: an [`Item::Log`], never an error.

use std::time::{Duration, Instant};

use tokio_util::bytes::{Buf as _, Bytes, BytesMut};

/// The first two bytes of every frame.
const MAGIC: [u8; 2] = [0x94, 0xC3];

/// Magic and length.
const HEADER: usize = 4;

/// Maximum size of a frame's protobuf in bytes.
pub const FRAME_LIMIT: usize = 512;

/// Sent before the first frame: ends a half-read header, and begins none.
pub const WAKE: [u8; 32] = [0xC3; 32];

/// Age at which an incomplete frame counts as noise. The longest frame takes 45 ms on a serial line.
pub const STALE_AFTER: Duration = Duration::from_secs(4);

/// What a byte stream from a radio consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A frame's protobuf, without the header. May be empty, and need not be valid protobuf.
    Frame(Bytes),
    /// Bytes outside frames: debug text of a serial radio, or noise.
    Log(Bytes),
}

/// The frame exceeds the protocol's limit, so its receiver would drop it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame has {size} bytes, a radio's link takes {FRAME_LIMIT}")]
pub struct TooLong {
    /// Size of the frame in bytes, without its header.
    pub size: usize,
}

/// Puts the four bytes of the header before a frame. Fails if the frame exceeds the protocol's limit.
pub fn framed(frame: &[u8]) -> Result<Vec<u8>, TooLong> {
    let size = frame.len();
    let length = u16::try_from(size).ok().filter(|_| size <= FRAME_LIMIT);
    let length = length.ok_or(TooLong { size })?;
    Ok([&MAGIC[..], &length.to_be_bytes(), frame].concat())
}

/// Splits a byte stream into frames and noise.
///
/// The caller owns the buffer of undecoded bytes; it holds at most one frame and what was read with it.
#[derive(Debug, Default)]
pub struct Codec {
    incomplete_since: Option<Instant>,
}

impl Codec {
    /// Removes the first item of the buffer; `None` if it begins with an incomplete frame, or is empty. After an
    /// invalid header only its first byte is noise, since the next one may begin a frame (`94 94 C3 …`).
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Option<Item> {
        let mut rests = (0..buffer.len()).filter_map(|at| buffer.get(at..));
        let noise = rests.position(may_be_header).unwrap_or(buffer.len());
        if noise > 0 {
            self.incomplete_since = None;
            return Some(Item::Log(buffer.split_to(noise).freeze()));
        }
        let &[_, _, high, low, ref payload @ ..] = buffer.as_ref() else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if payload.len() < length {
            return None;
        }
        self.incomplete_since = None;
        buffer.advance(HEADER);
        Some(Item::Frame(buffer.split_to(length).freeze()))
    }

    /// Returns when [`Codec::resync`] is due: only while `buffer`, fully decoded, begins with an incomplete frame. Its
    /// age counts from the first call that sees it.
    pub fn deadline(&mut self, buffer: &BytesMut, now: Instant) -> Option<Instant> {
        if buffer.is_empty() {
            self.incomplete_since = None;
            return None;
        }
        Some(*self.incomplete_since.get_or_insert(now) + STALE_AFTER)
    }

    /// Drops one byte of a frame that has been incomplete for [`STALE_AFTER`]. Returns whether it did, in which case
    /// the buffer may contain frames.
    pub fn resync(&mut self, buffer: &mut BytesMut, now: Instant) -> bool {
        let since = self.incomplete_since;
        if since.is_none_or(|since| now < since + STALE_AFTER) || buffer.is_empty() {
            return false;
        }
        self.incomplete_since = None;
        buffer.advance(1);
        true
    }
}

/// Returns whether the bytes are a header or the beginning of one.
fn may_be_header(bytes: &[u8]) -> bool {
    let is_magic = bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
    let at = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let least_length = u16::from_be_bytes([at(2), at(3)]);
    is_magic && usize::from(least_length) <= FRAME_LIMIT
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        super::framed(payload).unwrap()
    }

    /// Decodes the pieces in order; returns the frames, and everything outside them, a final incomplete frame included.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut codec, mut buffer) = (Codec::default(), BytesMut::new());
        let (mut frames, mut noise) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(item) = codec.decode(&mut buffer) {
                match item {
                    Item::Frame(bytes) => frames.push(bytes.to_vec()),
                    Item::Log(bytes) => noise.extend_from_slice(&bytes),
                }
            }
        }
        noise.extend_from_slice(&buffer);
        (frames, noise)
    }

    #[test]
    fn a_frame_has_its_header_before_it() {
        assert_eq!(framed(b"abc"), b"\x94\xC3\x00\x03abc");
        assert_eq!(decode([framed(b"abc").as_slice()]).0, [b"abc"]);
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let bytes = [framed(b""), framed(b"x")].concat();
        assert_eq!(decode([bytes.as_slice()]).0, [b"".as_slice(), b"x"]);
    }

    #[test]
    fn a_frame_of_512_bytes_passes_and_one_more_does_not() {
        assert_eq!(decode([framed(&[7; 512]).as_slice()]).0, [[7; 512]]);
        assert_eq!(super::framed(&[7; 513]), Err(TooLong { size: 513 }));
    }

    #[test]
    fn the_magic_inside_a_frame_means_nothing() {
        for text in ["oui \u{2014}\u{e0} demain", "\u{414}\u{e9}", "\u{1f469}"] {
            let bytes = [framed(text.as_bytes()), framed(b"next")].concat();
            let (frames, noise) = decode([bytes.as_slice()]);
            assert_eq!(frames, [text.as_bytes(), b"next"]);
            assert!(noise.is_empty());
        }
    }

    #[test]
    fn the_byte_that_ends_a_header_may_begin_the_next() {
        for before in [
            b"\x94".as_slice(),
            b"\x94\x94",
            b"\x94\xC3",
            b"\x94\xC3\x02\x01",
            b"\x94\xC3\xFF\xFF",
            b"\x94\xC3\x94",
            b"\x94\xC3\x03",
        ] {
            let bytes = [before, &framed(b"found")].concat();
            let (frames, noise) = decode([bytes.as_slice()]);
            assert_eq!(frames, [b"found"], "after {before:02x?}");
            assert_eq!(noise, before);
        }
    }

    #[test]
    fn wake_bytes_and_log_lines_are_handed_over_as_such() {
        let line = b"\x1b[32mINFO  | boot\x1b[0m\r\n";
        let bytes = [&WAKE[..], line, &framed(b"a"), line, &framed(b"b")].concat();
        let (frames, noise) = decode([bytes.as_slice()]);
        assert_eq!(frames, [b"a", b"b"]);
        assert_eq!(noise, [&WAKE[..], line, line].concat());
    }

    #[test]
    fn an_incomplete_frame_at_the_end_is_noise() {
        let (frames, noise) = decode([b"\x94\xC3\x00\x05abc".as_slice()]);
        assert!(frames.is_empty());
        assert_eq!(noise, b"\x94\xC3\x00\x05abc");
    }

    #[test]
    fn a_header_that_swallows_frames_is_given_up_after_a_while() {
        let (mut codec, start) = (Codec::default(), Instant::now());
        let mut buffer = BytesMut::from(
            [b"\x94\xC3\x01\xF0", &framed(b"real")[..]]
                .concat()
                .as_slice(),
        );
        assert_eq!(codec.decode(&mut buffer), None);
        assert_eq!(codec.deadline(&buffer, start), Some(start + STALE_AFTER));
        let later = start + STALE_AFTER / 2;
        assert_eq!(codec.deadline(&buffer, later), Some(start + STALE_AFTER));
        assert!(!codec.resync(&mut buffer, later));
        assert!(codec.resync(&mut buffer, start + STALE_AFTER));
        let mut items = Vec::new();
        while let Some(item) = codec.decode(&mut buffer) {
            items.push(item);
        }
        assert_eq!(
            items.last(),
            Some(&Item::Frame(Bytes::from_static(b"real")))
        );
        assert_eq!(codec.deadline(&buffer, later), None);
    }

    #[test]
    fn each_frame_has_its_own_time() {
        let (mut codec, start) = (Codec::default(), Instant::now());
        let mut buffer = BytesMut::from(&b"\x94\xC3\x00\x02a"[..]);
        assert_eq!(codec.decode(&mut buffer), None);
        assert!(codec.deadline(&buffer, start).is_some());
        buffer.extend_from_slice(b"b\x94");
        assert!(codec.decode(&mut buffer).is_some());
        let later = start + STALE_AFTER;
        assert_eq!(codec.decode(&mut buffer), None);
        assert!(!codec.resync(&mut buffer, later));
        assert_eq!(codec.deadline(&buffer, later), Some(later + STALE_AFTER));
    }

    /// Bytes that often contain the magic, or parts of it.
    fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![2 => Just(0x94), 2 => Just(0xC3), 1 => 0u8..3, 3 => any::<u8>()];
        vec(byte, length)
    }

    /// Noise that does not form a plausible header, not even with the bytes after it.
    fn harmless() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0xC3), 3u8..0x94, 0x95u8..=0xFF], 0..40)
    }

    proptest! {
        // Generating the bytes takes most of the time.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_cut_anywhere_decode_the_same(
            parts in vec((harmless(), bytes(0..300)), 0..6),
            cuts in vec(1usize..40, 1..40),
        ) {
            let mut stream = Vec::new();
            for (noise, payload) in &parts {
                stream.extend_from_slice(noise);
                stream.extend_from_slice(&framed(payload));
            }
            let mut pieces = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let (frames, noise) = decode(pieces);
            let expected: Vec<_> = parts.iter().map(|(_, payload)| payload.clone()).collect();
            let outside: Vec<u8> = parts.iter().flat_map(|(noise, _)| noise.clone()).collect();
            prop_assert_eq!(&frames, &expected);
            prop_assert_eq!(&noise, &outside);
            prop_assert_eq!(decode(stream.chunks(1)).0, expected);
        }

        #[test]
        fn every_byte_of_anything_is_accounted_for(stream in bytes(0..1200), size in 1usize..50) {
            let (frames, noise) = decode(stream.chunks(size));
            let framed: usize = frames.iter().map(|frame| frame.len() + HEADER).sum();
            prop_assert_eq!(framed + noise.len(), stream.len());
            prop_assert!(frames.iter().all(|frame| frame.len() <= FRAME_LIMIT));
        }

        #[test]
        fn after_any_noise_a_frame_is_found_again_in_time(
            noise in bytes(0..600),
            // Without a header inside: a stream of equal frames would be ambiguous.
            payload in vec(prop_oneof![0u8..0x94, 0x95u8..=0xFF], 0..200),
        ) {
            let (mut codec, mut now) = (Codec::default(), Instant::now());
            let mut buffer = BytesMut::from(noise.as_slice());
            let mut found = false;
            // The same frame repeated, like answers to heartbeats: at the latest when the longest false header is
            // complete, one of them is found.
            for _ in 0..700 {
                buffer.extend_from_slice(&framed(&payload));
                loop {
                    while let Some(item) = codec.decode(&mut buffer) {
                        found |= item == Item::Frame(Bytes::copy_from_slice(&payload));
                    }
                    let Some(deadline) = codec.deadline(&buffer, now) else { break };
                    now = deadline;
                    codec.resync(&mut buffer, now);
                }
                if found {
                    break;
                }
            }
            prop_assert!(found);
        }
    }
}
