//! What is told of a file that is sent: its kind, and of a PNG or JPEG picture its size and a smaller one. The work is bounded,
//! whatever the file claims to be.

use std::io::Cursor;

use png::{BitDepth, ColorType, Transformations};
use relay_matrix::hand::Thumbnail;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Maximum number of pixels of a picture that is decoded.
const MOST_PIXELS: u64 = 50_000_000;
/// Maximum memory for what stands in a PNG beside its pixels, in bytes.
const MOST_MEMORY: usize = 64 * 1024 * 1024;
/// Maximum number of passes over a JPEG.
const MOST_SCANS: usize = 64;
/// Maximum width and height of the smaller picture, as clients ask for.
const SMALL: (u32, u32) = (800, 600);

/// Returns the MIME type by the name of a file.
pub(crate) fn mime_of(name: &str) -> String {
    let guess = mime_guess::from_path(name);
    guess.first_or_octet_stream().essence_str().to_owned()
}

/// What was found in a picture.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// Width and height.
    pub(crate) dimensions: Option<(u32, u32)>,
    /// A smaller one, with its bytes, if it is large.
    pub(crate) small: Option<(Thumbnail, Vec<u8>)>,
}

/// Looks into a picture; finds nothing in what is none, or is too large to be looked into.
pub(crate) fn look(bytes: &[u8]) -> Picture {
    let Some(pixels) = of_png(bytes).or_else(|| of_jpeg(bytes)) else {
        return Picture::default();
    };
    Picture {
        dimensions: Some((pixels.width, pixels.height)),
        small: pixels.smaller().and_then(|it| it.encode()),
    }
}

/// A decoded picture, with one byte for each channel of a pixel.
struct Pixels {
    width: u32,
    height: u32,
    colour: ColorType,
    bytes: Vec<u8>,
}

fn is_bounded(width: u32, height: u32) -> bool {
    u64::from(width) * u64::from(height) <= MOST_PIXELS
}

fn of_png(bytes: &[u8]) -> Option<Pixels> {
    let limits = png::Limits { bytes: MOST_MEMORY };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = reader.info().size();
    if !is_bounded(width, height) {
        return None;
    }
    let mut bytes = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut bytes).ok()?;
    bytes.truncate(frame.buffer_size());
    Some(Pixels {
        width: frame.width,
        height: frame.height,
        colour: frame.color_type,
        bytes,
    })
}

fn of_jpeg(bytes: &[u8]) -> Option<Pixels> {
    let options = DecoderOptions::default()
        .jpeg_set_max_scans(MOST_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let info = decoder.info()?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if !is_bounded(width, height) {
        return None;
    }
    let bytes = decoder.decode().ok()?;
    let colour = ColorType::Rgb;
    Some(Pixels {
        width,
        height,
        colour,
        bytes,
    })
}

impl Pixels {
    /// Returns it in a smaller size, each pixel the mean of those that it stands for; `None` if it is small.
    fn smaller(&self) -> Option<Self> {
        if self.width <= SMALL.0 && self.height <= SMALL.1 {
            return None;
        }
        // By the side that is longer, compared with the limit.
        let by_width = u64::from(self.width) * u64::from(SMALL.1)
            >= u64::from(self.height) * u64::from(SMALL.0);
        let scaled = |side: u32, to: u32, of: u32| {
            let side = u64::from(side) * u64::from(to) / u64::from(of);
            u32::try_from(side).ok().map(|it| it.max(1))
        };
        let (width, height) = if by_width {
            (SMALL.0, scaled(self.height, SMALL.0, self.width)?)
        } else {
            (scaled(self.width, SMALL.1, self.height)?, SMALL.1)
        };
        let channels = self.colour.samples();
        let row = usize::try_from(self.width).ok()? * channels;
        let mut bytes = Vec::new();
        for y in 0..height {
            let rows = span(y, height, self.height)?;
            for x in 0..width {
                let columns = span(x, width, self.width)?;
                for channel in 0..channels {
                    let (mut sum, mut count) = (0_u64, 0_u64);
                    for line in self.bytes.chunks_exact(row).skip(rows.0).take(rows.1) {
                        let from = columns.0 * channels + channel;
                        let values = line.get(from..)?.iter().step_by(channels).take(columns.1);
                        for value in values {
                            sum += u64::from(*value);
                            count += 1;
                        }
                    }
                    bytes.push(u8::try_from(sum.checked_div(count)?).ok()?);
                }
            }
        }
        Some(Self {
            width,
            height,
            colour: self.colour,
            bytes,
        })
    }

    fn encode(&self) -> Option<(Thumbnail, Vec<u8>)> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(self.colour);
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header().ok()?;
        writer.write_image_data(&self.bytes).ok()?;
        writer.finish().ok()?;
        let thumbnail = Thumbnail {
            mime: "image/png".to_owned(),
            size: u64::try_from(file.len()).ok()?,
            dimensions: (self.width, self.height),
        };
        Some((thumbnail, file))
    }
}

/// Returns the first pixel of a row or column of the large picture that one of the small picture stands for, and how many there
/// are.
fn span(at: u32, small: u32, large: u32) -> Option<(usize, usize)> {
    let place = |at: u64| at * u64::from(large) / u64::from(small);
    let (from, to) = (place(at.into()), place(u64::from(at) + 1));
    let count = to.saturating_sub(from).max(1);
    Some((usize::try_from(from).ok()?, usize::try_from(count).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Vec<u8> {
        let colour = ColorType::Grayscale;
        let bytes = vec![7; usize::try_from(width * height).unwrap()];
        let pixels = Pixels {
            width,
            height,
            colour,
            bytes,
        };
        pixels.encode().unwrap().1
    }

    #[test]
    fn a_large_picture_has_a_smaller_one_of_its_shape_and_a_small_one_has_none() {
        for (large, expected) in [((1600, 300), (800, 150)), ((300, 1200), (150, 600))] {
            let found = look(&picture(large.0, large.1));
            assert_eq!(found.dimensions, Some(large));
            let (thumbnail, bytes) = found.small.unwrap();
            assert_eq!(thumbnail.dimensions, expected);
            let small = of_png(&bytes).unwrap();
            assert!(small.bytes.iter().all(|it| *it == 7));
        }
        let small = look(&picture(80, 60));
        assert_eq!(small.dimensions, Some((80, 60)));
        assert!(small.small.is_none());
    }

    #[test]
    fn what_claims_to_be_huge_or_is_no_picture_is_not_decoded() {
        let mut file = Vec::new();
        let encoder = png::Encoder::new(&mut file, 60_000, 60_000);
        drop(encoder.write_header().unwrap());
        assert!(look(&file).dimensions.is_none());
        assert!(look(b"no picture").dimensions.is_none());
        assert!(look(b"\xff\xd8\xff\xe0").dimensions.is_none());
    }
}
