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
}
