//! The files that the pages of the dashboard load: they are part of the binary, and are compressed once, when the first is asked for.

use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The name, the type and the content of each file.
const FILES: &[(&str, &str, &[u8])] = &[
    ("waypost.css", "text/css; charset=utf-8", include_bytes!("assets/waypost.css")),
    ("app.js", "text/javascript; charset=utf-8", include_bytes!("assets/app.js")),
    ("htmx.min.js", "text/javascript; charset=utf-8", include_bytes!("assets/vendor/htmx.min.js")),
    ("stats.js", "text/javascript; charset=utf-8", include_bytes!("assets/stats.js")),
    ("icon-192.png", "image/png", include_bytes!("assets/icon-192.png")),
    ("icon-512.png", "image/png", include_bytes!("assets/icon-512.png")),
    ("icon-maskable.png", "image/png", include_bytes!("assets/icon-maskable.png")),
    ("icon-touch.png", "image/png", include_bytes!("assets/icon-touch.png")),
    ("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
];

/// How many characters of a hash are in a path: enough to tell the versions of a file apart.
const HASH_CHARACTERS: usize = 16;

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|&(name, kind, content)| Asset {
            name,
            kind,
            path: format!("{}/{name}", &blake3::hash(content).to_hex()[..HASH_CHARACTERS]),
            plain: Bytes::from_static(content),
            gzip: gzip(content),
        })
        .collect()
});

/// A file that pages load.
#[derive(Debug)]
pub struct Asset {
    name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    path: String,
    /// The content.
    pub plain: Bytes,
    /// The content, compressed.
    pub gzip: Bytes,
}

/// The path of an asset below that of all assets: it changes with the content.
pub(super) fn path_of(name: &str) -> &'static str {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    &asset.expect("invariant: templates name files that exist, which a test looks for").path
}

/// The asset of a path, and whether it has the content that the path stands for: another node of the cluster may have made the page.
pub fn asset(path: &str) -> Option<(&'static Asset, bool)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    Some((asset, asset.path == path))
}

/// Compresses a page or a file.
pub fn gzip(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 3), Compression::new(6));
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.expect("invariant: writing to memory does not fail").into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_asset_is_found_by_its_path_and_by_that_of_another_version() {
        let (asset_found, current) = asset(path_of("waypost.css")).unwrap();
        assert!(current && asset_found.kind.starts_with("text/css"));
        let (other, current) = asset("0123456789abcdef/waypost.css").unwrap();
        assert!(!current && std::ptr::eq(asset_found, other));
        assert!(asset("0123456789abcdef/other.css").is_none() && asset("").is_none());
    }

    #[test]
    fn templates_name_assets_that_exist() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/templates");
        for entry in std::fs::read_dir(dir).unwrap() {
            let template = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for rest in template.split("cx.asset(\"").skip(1) {
                let name = rest.split('"').next().unwrap_or_default();
                assert!(FILES.iter().any(|file| file.0 == name), "{name}");
            }
        }
    }

    #[test]
    fn vendored_files_are_those_that_their_table_names() {
        use sha2::{Digest, Sha256};
        let table = include_str!("assets/vendor/README.md");
        let htmx = FILES.iter().find(|file| file.0 == "htmx.min.js").unwrap();
        let hash: String = Sha256::digest(htmx.2).iter().map(|byte| format!("{byte:02x}")).collect();
        let row = table.lines().find(|line| line.contains("`htmx.min.js`")).unwrap();
        assert!(row.contains(&hash), "{hash}");
        let version =
            String::from_utf8_lossy(htmx.2).split("version:\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert!(row.contains(&format!("| {version} |")), "{version}");
    }

    #[test]
    fn a_first_visit_loads_less_than_120_kib() {
        let files: usize =
            ASSETS.iter().filter(|asset| !asset.name.ends_with(".png")).map(|asset| asset.gzip.len()).sum();
        assert!(files < 60 << 10, "{files} bytes leave too little for the page");
    }

    /// The luminance of a colour such as `#0b6e4f` (WCAG 2.2).
    fn luminance(color: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn texts_and_controls_can_be_read_in_both_themes() {
        let css = include_str!("assets/waypost.css");
        let token = |name: &str, theme: usize| {
            let start = css.find(&format!("--{name}: light-dark(")).unwrap_or_else(|| panic!("{name}"));
            let pair = css[start..].split(['(', ')']).nth(1).unwrap();
            pair.split(", ").nth(theme).unwrap().to_owned()
        };
        for (least, texts, grounds) in [
            (
                4.5,
                &["text", "muted", "accent", "accent-over", "danger", "warning", "info"][..],
                &["bg", "surface", "sunken"][..],
            ),
            (4.5, &["text"], &["accent-soft", "danger-soft", "warning-soft", "info-soft"]),
            (4.5, &["accent"], &["accent-soft"]),
            (4.5, &["danger"], &["danger-soft"]),
            (4.5, &["on-accent"], &["accent", "accent-over"]),
            (3.0, &["control", "focus", "amber"], &["bg", "surface", "sunken"]),
        ] {
            for text in texts {
                for ground in grounds {
                    for theme in [0, 1] {
                        let ratio = contrast(&token(text, theme), &token(ground, theme));
                        assert!(ratio >= least, "{text} on {ground} in theme {theme}: {ratio:.2}");
                    }
                }
            }
        }
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.01);
    }
}
