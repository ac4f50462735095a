//! Makes a large picture small enough to be a cover.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, Rgb, RgbImage};

/// Pixels of a picture that is decoded: 5,000 by 5,000, as the largest scans have. A progressive JPEG takes 9 bytes for each,
/// and at most half a second.
const PIXELS_MAX: u64 = 25_000_000;
/// Bytes that a decoder may take for the picture itself: 25 million pixels of four bytes.
const DECODED_BYTES_MAX: u64 = 100 << 20;
/// Pixels of the longer side of what it becomes: twice what a large window shows.
const SIDE_MAX: u32 = 1200;
/// A smaller side than this is not tried.
const SIDE_MIN: u32 = 150;
/// Of JPEG: nobody sees the loss.
const QUALITY: u8 = 85;

/// The picture as a JPEG of at most `bytes_max`; none if it does not decode, or is too large for that. Of a moving
/// picture it is the first frame. What is transparent becomes white.
pub(crate) fn scaled(bytes: &[u8], bytes_max: usize) -> Option<Box<[u8]>> {
    // Strangers send these bytes. A song with a picture that its decoder falls over is a song without one.
    catch_unwind(AssertUnwindSafe(|| decoded(bytes).and_then(|image| fitting(image, bytes_max))))
        .unwrap_or(None)
}

fn decoded(bytes: &[u8]) -> Option<RgbImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX
        || decoder.total_bytes() > DECODED_BYTES_MAX
    {
        return None;
    }
    let turned = decoder.orientation().ok()?;
    let image = DynamicImage::from_decoder(decoder).ok()?;
    let mut small = image.thumbnail(SIDE_MAX.min(width), SIDE_MAX.min(height));
    small.apply_orientation(turned);
    let small = small.into_rgba8();
    let (width, height) = small.dimensions();
    let on_white = |x, y| {
        let [red, green, blue, alpha] = small.get_pixel(x, y).0;
        let mixed = |colour: u8| {
            let light = u32::from(colour) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
            (light / 255) as u8
        };
        Rgb([mixed(red), mixed(green), mixed(blue)])
    };
    Some(RgbImage::from_fn(width, height, on_white))
}

/// Half as large again and again, if it has to be: noise does not compress.
fn fitting(mut image: RgbImage, bytes_max: usize) -> Option<Box<[u8]>> {
    loop {
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&image).ok()?;
        if jpeg.len() <= bytes_max {
            return Some(jpeg.into());
        }
        let (width, height) = image.dimensions();
        if width.max(height) < SIDE_MIN {
            return None;
        }
        image = thumbnail(&image, (width / 2).max(1), (height / 2).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage};

    const SOME: usize = 1 << 20;

    /// Red on the left and nothing on the right, with noise over both, which makes it large.
    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut noise = 1u32;
        let image = RgbaImage::from_fn(width, height, |x, _| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bit = (noise >> 28) as u8;
            if x < width / 2 { Rgba([240 + bit, bit, bit, 255]) } else { Rgba([bit, bit, bit, 0]) }
        });
        let mut bytes = Cursor::new(Vec::new());
        let image = DynamicImage::from(image);
        let image = if format == ImageFormat::Jpeg { image.into_rgb8().into() } else { image };
        image.write_to(&mut bytes, format).expect("it is a picture");
        bytes.into_inner()
    }

    #[test]
    fn any_kind_becomes_a_small_jpeg() {
        for (format, right) in [
            (ImageFormat::Png, [255; 3]),
            (ImageFormat::Gif, [255; 3]),
            (ImageFormat::WebP, [255; 3]),
            (ImageFormat::Jpeg, [8; 3]),
        ] {
            let small = scaled(&picture(2000, 1000, format), SOME).expect("it decodes");
            assert!(small.starts_with(b"\xff\xd8\xff") && small.len() <= SOME, "{format:?}");
            let image = image::load_from_memory(&small).expect("it is a JPEG").into_rgb8();
            assert_eq!(image.dimensions(), (1200, 600), "{format:?}");
            for (x, expected) in [(300, [248, 8, 8]), (900, right)] {
                let found = image.get_pixel(x, 300).0;
                let off = found.iter().zip(expected).map(|(found, colour)| found.abs_diff(colour));
                assert!(off.max() < Some(24), "{format:?}: {found:?} at {x}");
            }
        }
    }

    #[test]
    fn it_gets_smaller_until_it_fits() {
        let large = picture(1600, 400, ImageFormat::Png);
        let plain = scaled(&large, SOME).expect("it decodes").len();
        let small = scaled(&large, plain - 1).expect("half of it fits");
        let image = image::load_from_memory(&small).expect("it is a JPEG");
        assert_eq!((image.width(), image.height()), (600, 150));
        assert_eq!(scaled(&large, 100), None);
    }

    #[test]
    fn what_takes_too_much_is_no_picture() {
        let whole = picture(64, 64, ImageFormat::Png);
        assert!(scaled(&whole, SOME).is_some());
        let mut vast = whole.clone();
        vast[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        assert_eq!(scaled(&vast, SOME), None, "65,535 by 65,535");
        assert_eq!(scaled(&whole[..whole.len() / 2], SOME), None, "half of it");
        assert_eq!(scaled(b"\x89PNG\r\n\x1a\n", SOME), None);
        assert_eq!(scaled(b"", SOME), None);
    }
}
