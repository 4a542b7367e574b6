//! The look of an image: its size, its margin and its two colours.

use std::ops::RangeInclusive;

use super::color::Color;

/// Width and height of an image, in pixels. An HTTP worker computes images between redirects: the largest takes it about a millisecond.
pub const SIZE: RangeInclusive<u32> = 64..=1024;

/// The size of an image for which none is given.
pub const SIZE_DEFAULT: u32 = 512;

/// Modules of margin on each side.
pub const MARGIN: RangeInclusive<u32> = 0..=16;

/// The margin of an image for which none is given: what the standard (ISO/IEC 18004) asks for.
pub const MARGIN_DEFAULT: u32 = 4;

/// The least contrast between the colours. A code that no scanner reads is noticed only when it is printed, so it is refused.
pub const CONTRAST_MIN: f64 = 3.0;

/// How an image of a code looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    size: u32,
    margin: u32,
    dark: Color,
    light: Color,
}

/// Why there is no such image.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// The size is not within [`SIZE`].
    #[error("the size has to be a number of pixels from {} to {}", SIZE.start(), SIZE.end())]
    Size,
    /// The margin is not within [`MARGIN`].
    #[error("the margin has to be a number of modules from {} to {}", MARGIN.start(), MARGIN.end())]
    Margin,
    /// The colours are too much alike, or the dark one is lighter.
    #[error(
        "scanners need dark modules on a lighter background: the contrast is {contrast:.1}, and has to be {CONTRAST_MIN:.1} at least"
    )]
    Contrast {
        /// Their contrast.
        contrast: f64,
    },
    /// The code has more modules in a row than the image has pixels.
    #[error("this code has {min} modules in a row, with its margin, so it needs {min} pixels at least")]
    TooSmall {
        /// The smallest size.
        min: u32,
    },
}

impl Default for Look {
    fn default() -> Self {
        Self { size: SIZE_DEFAULT, margin: MARGIN_DEFAULT, dark: Color::BLACK, light: Color::WHITE }
    }
}

impl Look {
    /// A look with `size` pixels in width and height, of which at least `margin` modules on each side are light.
    ///
    /// # Errors
    /// If a value is not within its limits.
    pub fn new(size: u32, margin: u32, dark: Color, light: Color) -> Result<Self, Unusable> {
        if !SIZE.contains(&size) {
            return Err(Unusable::Size);
        }
        if !MARGIN.contains(&margin) {
            return Err(Unusable::Margin);
        }
        let contrast = dark.contrast_to(light);
        if contrast < CONTRAST_MIN {
            return Err(Unusable::Contrast { contrast });
        }
        Ok(Self { size, margin, dark, light })
    }

    /// Whether a code of `width` modules can be drawn.
    pub(super) fn fits(&self, width: u32) -> Result<(), Unusable> {
        let min = self.modules(width);
        if min > self.size { Err(Unusable::TooSmall { min }) } else { Ok(()) }
    }

    /// The modules in a row, with the margin.
    pub(super) fn modules(&self, width: u32) -> u32 {
        width + 2 * self.margin
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn margin(&self) -> u32 {
        self.margin
    }

    /// The colours of dark and of light modules.
    pub(super) fn colors(&self) -> (Color, Color) {
        (self.dark, self.light)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_their_limits_and_colours_that_no_scanner_tells_apart_are_refused() {
        let look = |size, margin, dark: &str, light: &str| {
            Look::new(size, margin, dark.parse().unwrap(), light.parse().unwrap()).map(|_| ())
        };
        for size in [64, 512, 1024] {
            assert_eq!(look(size, 0, "000", "fff"), Ok(()));
        }
        assert_eq!([63, 1025].map(|size| look(size, 4, "000", "fff")), [Err(Unusable::Size); 2]);
        assert_eq!([0, 16, 17].map(|margin| look(512, margin, "000", "fff")), [Ok(()), Ok(()), Err(Unusable::Margin)]);
        assert_eq!(look(512, 4, "00f", "ff0"), Ok(()));
        for (dark, light) in [("fff", "000"), ("fff", "fff"), ("ff0", "fff"), ("999", "fff")] {
            assert!(matches!(look(512, 4, dark, light), Err(Unusable::Contrast { .. })), "{dark} on {light}");
        }
        let smallest = Look::new(64, 4, Color::BLACK, Color::WHITE).unwrap();
        assert_eq!([56, 57].map(|width| smallest.fits(width)), [Ok(()), Err(Unusable::TooSmall { min: 65 })]);
    }
}
