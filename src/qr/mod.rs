//! QR codes: the modules of a text, and their images as PNG, as SVG and in characters.
//!
//! Nothing here knows a server or a link: a text and a [`Look`] go in, bytes come out.
//!
//! ```text
//! modules.rs   the dark and light modules of a text, by the crate qrcode
//! color.rs     colours, and how well a scanner can tell two of them apart
//! look.rs      size, margin and colours of an image, within their limits
//! png.rs       an image of two colours as PNG
//! svg.rs       the same as SVG
//! terminal.rs  characters for a terminal
//! ```

mod color;
mod look;
mod modules;
mod png;
mod svg;
mod terminal;

pub use color::{BadColor, Color};
pub use look::{Look, MARGIN_DEFAULT, SIZE_DEFAULT, Unusable};
pub use modules::{Level, Modules, TooLong};
pub use png::png;
pub use svg::svg;
pub use terminal::{Ink, terminal};
