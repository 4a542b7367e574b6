//! A code as PNG: one bit a pixel, and a palette of two colours.
//!
//! An image of this one kind takes a few lines. The crates that write PNG carry decoders and a dozen kinds of pixels, so only the compression
//! and the checksum come from crates.

use super::look::{Look, Unusable};
use super::modules::Modules;

/// The first bytes of every PNG.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The level of compression: rows repeat, so a higher one gains nothing.
const COMPRESSION: u8 = 6;

/// Draws a code as PNG. A module is a whole number of pixels; what is left of the size makes the margin wider.
///
/// # Errors
/// If the code has more modules than `look` has pixels.
pub fn png(modules: &Modules, look: &Look) -> Result<Vec<u8>, Unusable> {
    look.fits(modules.width())?;
    let size = look.size();
    let scale = size / look.modules(modules.width());
    let before = (size - scale * modules.width()) / 2;
    let (dark, light) = look.colors();
    let mut image = SIGNATURE.to_vec();
    let mut header = [size.to_be_bytes(), size.to_be_bytes()].concat();
    // One bit a pixel, indices into a palette, the usual compression and filters, not interlaced.
    header.extend([1, 3, 0, 0, 0]);
    chunk(&mut image, *b"IHDR", &header);
    chunk(&mut image, *b"PLTE", &[light.rgb, dark.rgb].concat());
    let pixels = pixels(modules, size as usize, scale as usize, before as usize);
    chunk(&mut image, *b"IDAT", &miniz_oxide::deflate::compress_to_vec_zlib(&pixels, COMPRESSION));
    chunk(&mut image, *b"IEND", &[]);
    Ok(image)
}

/// The rows, each behind the number of its filter (0 = none).
fn pixels(modules: &Modules, size: usize, scale: usize, before: usize) -> Vec<u8> {
    let row_bytes = 1 + size.div_ceil(8);
    let mut pixels = vec![0; row_bytes * size];
    for (y, row) in modules.rows().enumerate() {
        let first = (before + y * scale) * row_bytes;
        for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
            for pixel in before + x * scale..before + (x + 1) * scale {
                pixels[first + 1 + pixel / 8] |= 0x80 >> (pixel % 8);
            }
        }
        for copy in 1..scale {
            pixels.copy_within(first..first + row_bytes, first + copy * row_bytes);
        }
    }
    pixels
}

fn chunk(image: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).expect("invariant: an image of this size has less than 4 GiB");
    image.extend(length.to_be_bytes());
    let start = image.len();
    image.extend(kind);
    image.extend(data);
    let sum = crc32fast::hash(&image[start..]);
    image.extend(sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::modules::Level;
    use super::*;

    #[test]
    fn modules_are_whole_pixels_in_the_middle_of_the_image() {
        let modules = Modules::of("https://go.example/a", Level::M).unwrap();
        let (width, drawn) = (modules.width() as usize, modules.rows().collect::<Vec<_>>());
        let (size, scale) = (100, 100 / (width + 2));
        let before = (size - scale * width) / 2;
        assert!(before > scale, "what is left of the size is margin");
        let rows = pixels(&modules, size, scale, before);
        assert_eq!(rows.len(), size * 14);
        for (y, row) in rows.chunks(14).enumerate() {
            assert_eq!(row[0], 0);
            for x in 0..size {
                let dark = row[1 + x / 8] >> (7 - x % 8) & 1 == 1;
                let within = |at: usize| at.checked_sub(before).map(|at| at / scale).filter(|at| *at < width);
                let module = within(x).zip(within(y)).is_some_and(|(x, y)| drawn[y][x]);
                assert_eq!(dark, module, "{x}, {y}");
            }
        }
    }

    #[test]
    fn a_chunk_is_its_length_its_kind_its_data_and_their_checksum() {
        let mut image = Vec::new();
        chunk(&mut image, *b"IEND", &[]);
        assert_eq!(image, b"\0\0\0\0IEND\xae\x42\x60\x82", "as in every PNG");
    }
}
