//! Any bytes, cut anywhere: every byte is in a frame or in the noise, and the cuts make no difference.

use relay_wire::codec::{Codec, FRAME_LIMIT, Item};
use tokio_util::bytes::BytesMut;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut codec, mut buffer) = (Codec::default(), BytesMut::new());
    let (mut frames, mut noise) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(item) = codec.decode(&mut buffer) {
            match item {
                Item::Frame(frame) => frames.push(frame.to_vec()),
                Item::Log(bytes) => noise.extend_from_slice(&bytes),
            }
        }
    }
    // The rest of an incomplete frame.
    noise.extend_from_slice(&buffer);
    (frames, noise)
}

/// The first byte is the size of the pieces, the rest is the stream.
pub fn codec(input: &[u8]) {
    let Some((&size, bytes)) = input.split_first() else {
        return;
    };
    let whole = decode(std::iter::once(bytes));
    let pieces = decode(bytes.chunks(usize::from(size).max(1)));
    assert_eq!(whole, pieces);
    let (frames, noise) = whole;
    assert!(frames.iter().all(|frame| frame.len() <= FRAME_LIMIT));
    let framed: usize = frames.iter().map(|frame| frame.len() + 4).sum();
    assert_eq!(framed + noise.len(), bytes.len());
}
