//! Converts between frames and the bytes of a link, with faults: noise, split and joined frames. Pure; the driver does
//! the I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::bytes::{Buf as _, Bytes, BytesMut};

use relay_wire::codec::{Codec, Item, TooLong, framed};

/// The buffered bytes of a link, in the pieces in which they are written.
#[derive(Debug)]
pub(super) struct Wire {
    codec: Codec,
    pub(super) input: BytesMut,
    /// The pieces to write; the first may be partly written, and none is empty.
    pub(super) pieces: VecDeque<Bytes>,
    /// Number of unwritten bytes.
    pub(super) waiting: usize,
    /// Every byte is written separately.
    pub(super) split: bool,
    /// How long bytes are held back to be written in one piece.
    pub(super) join: Duration,
    held: Vec<u8>,
    /// When [`Self::release`] is due.
    pub(super) release_at: Option<Instant>,
    random: StdRng,
}

impl Wire {
    /// Creates a wire without faults; the seed determines its noise.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            codec: Codec::default(),
            input: BytesMut::new(),
            pieces: VecDeque::new(),
            waiting: 0,
            split: false,
            join: Duration::ZERO,
            held: Vec::new(),
            release_at: None,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Drops the bytes of an earlier connection; faults stay.
    pub(super) fn restart(&mut self) {
        self.codec = Codec::default();
        self.input.clear();
        self.clear_output();
    }

    pub(super) fn clear_output(&mut self) {
        self.pieces.clear();
        self.held.clear();
        self.waiting = 0;
        self.release_at = None;
    }

    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        while let Some(item) = self.codec.decode(&mut self.input) {
            if let Item::Frame(frame) = item {
                return Some(frame.to_vec());
            }
        }
        None
    }

    pub(super) fn frame(&mut self, frame: &[u8], now: Instant) -> Result<(), TooLong> {
        self.raw(&framed(frame)?, now);
        Ok(())
    }

    /// Writes half a frame, after which nothing should follow.
    pub(super) fn half_frame(&mut self, now: Instant) {
        self.raw(&[0x94, 0xC3, 0, 100, 0x12, 0x55], now);
    }

    pub(super) fn raw(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.waiting += bytes.len();
        if !self.join.is_zero() {
            self.held.extend_from_slice(bytes);
            self.release_at.get_or_insert(now + self.join);
            return;
        }
        let size = if self.split { 1 } else { bytes.len() };
        let pieces = bytes.chunks(size).map(Bytes::copy_from_slice);
        self.pieces.extend(pieces);
    }

    /// Writes that many random bytes, false headers included.
    pub(super) fn noise(&mut self, count: usize, now: Instant) {
        /// A header with an impossible length, a first byte twice, a lone one.
        const FALSE_HEADERS: [u8; 8] = [0x94, 0xC3, 0xFF, 0xFF, 0x94, 0x94, 0xC0, 0x94];
        let random = std::iter::repeat_with(|| self.random.random());
        // A random header would swallow valid frames after it; that is another fault, `garbage` with `hex`.
        let harmless = random.map(|byte| if byte == 0xC3 { 0xC2 } else { byte });
        let noise = FALSE_HEADERS.into_iter().chain(harmless);
        let noise: Vec<u8> = noise.take(count).collect();
        self.raw(&noise, now);
    }

    /// Releases bytes that were held back long enough.
    pub(super) fn release(&mut self, now: Instant) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.release_at = None;
            let held = std::mem::take(&mut self.held);
            self.pieces.push_back(held.into());
        }
    }

    /// That many bytes of the first piece were written.
    pub(super) fn written(&mut self, count: usize) {
        self.waiting = self.waiting.saturating_sub(count);
        if let Some(piece) = self.pieces.front_mut() {
            piece.advance(count.min(piece.len()));
        }
        self.pieces.pop_front_if(|piece| piece.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(wire: &mut Wire) -> Vec<Vec<u8>> {
        let next = || {
            let piece = wire.pieces.front()?.to_vec();
            wire.written(piece.len());
            Some(piece)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_split_frame_is_written_byte_by_byte() {
        let (mut wire, now) = (Wire::new(1), Instant::now());
        wire.split = true;
        wire.frame(&[1, 2], now).unwrap();
        let expected: Vec<Vec<u8>> = [0x94, 0xC3, 0, 2, 1, 2].map(|byte| vec![byte]).to_vec();
        assert_eq!(pieces(&mut wire), expected);
        assert_eq!(wire.waiting, 0);
    }

    #[test]
    fn joined_frames_are_written_in_one_piece_after_a_while() {
        let (mut wire, now) = (Wire::new(1), Instant::now());
        wire.join = Duration::from_millis(100);
        wire.frame(&[1], now).unwrap();
        wire.frame(&[2], now).unwrap();
        assert_eq!(pieces(&mut wire), Vec::<Vec<u8>>::new());
        let at = wire.release_at.unwrap();
        wire.release(at);
        assert_eq!(
            pieces(&mut wire),
            [[0x94, 0xC3, 0, 1, 1, 0x94, 0xC3, 0, 1, 2]]
        );
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let mut bytes = vec![0xC3; 32];
        for payload in [&[0x94_u8, 0xC3, 0, 9][..], &[], &[7; 300]] {
            bytes.extend_from_slice(&framed(payload).unwrap());
        }
        for cut in 0..bytes.len() {
            let mut wire = Wire::new(1);
            let mut frames = Vec::new();
            let (front, back) = bytes.split_at(cut);
            for part in [front, back] {
                wire.input.extend_from_slice(part);
                frames.extend(std::iter::from_fn(|| wire.next_frame()));
            }
            assert_eq!(frames.len(), 3, "cut at {cut}");
            assert_eq!(frames[0], [0x94, 0xC3, 0, 9]);
        }
    }

    #[test]
    fn noise_never_holds_a_whole_header() {
        let (mut wire, now) = (Wire::new(5), Instant::now());
        wire.noise(4000, now);
        wire.frame(b"good", now).unwrap();
        let mut other = Wire::new(1);
        for piece in pieces(&mut wire) {
            other.input.extend_from_slice(&piece);
        }
        assert_eq!(other.next_frame(), Some(b"good".to_vec()));
    }
}
