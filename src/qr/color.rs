//! Colours of a code, and their contrast.

use std::fmt;
use std::str::FromStr;

/// A colour without transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// Red, green and blue, as in sRGB.
    pub rgb: [u8; 3],
}

/// The text is not a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is three or six hexadecimal digits, such as 1a2b3c")]
pub struct BadColor;

impl Color {
    /// Black.
    pub const BLACK: Self = Self { rgb: [0; 3] };
    /// White.
    pub const WHITE: Self = Self { rgb: [255; 3] };

    /// The relative luminance as WCAG 2 defines it, from 0 (black) to 1 (white).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.rgb.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// The contrast to a lighter colour, from 1 to 21; below 1 if the other one is darker.
    pub fn contrast_to(self, lighter: Self) -> f64 {
        (lighter.luminance() + 0.05) / (self.luminance() + 0.05)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.rgb;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Color {
    type Err = BadColor;

    /// Reads `1a2b3c` or `abc`, also with `#` before it.
    fn from_str(text: &str) -> Result<Self, BadColor> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        let values: Option<Vec<u8>> =
            digits.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        match values.ok_or(BadColor)?[..] {
            [r, g, b] => Ok(Self { rgb: [r, g, b].map(|digit| digit * 17) }),
            [r, s, g, h, b, c] => Ok(Self { rgb: [(r, s), (g, h), (b, c)].map(|(high, low)| high * 16 + low) }),
            _ => Err(BadColor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_read_from_hexadecimal_digits() {
        for (text, rgb) in
            [("1a2B3c", [26, 43, 60]), ("#1a2b3c", [26, 43, 60]), ("f0c", [255, 0, 204]), ("#000", [0, 0, 0])]
        {
            assert_eq!(text.parse(), Ok(Color { rgb }), "{text}");
        }
        for text in ["", "#", "12", "1234", "12345", "1234567", "red", "##123", "+12345", "١٢٣"] {
            assert_eq!(text.parse::<Color>(), Err(BadColor), "{text}");
        }
        assert_eq!(Color { rgb: [26, 43, 60] }.to_string(), "#1a2b3c");
    }

    #[test]
    fn the_contrast_is_that_of_wcag() {
        let contrast = |dark: &str, light: &str| {
            let [dark, light] = [dark, light].map(|text| text.parse::<Color>().unwrap());
            (dark.contrast_to(light) * 100.0).round() / 100.0
        };
        assert_eq!(contrast("000", "fff"), 21.0);
        assert_eq!(contrast("777777", "ffffff"), 4.48);
        assert_eq!(contrast("fff", "fff"), 1.0);
        assert!(contrast("fff", "000") < 1.0);
    }
}
