//! What a client prefers, by its `Accept`: a page for people or a document for programs, a table or lines of documents, and an image in one format or another.

use actix_web::HttpRequest;
use actix_web::http::header::ACCEPT;

/// How well a type is accepted: the quality of the most specific media range that matches, how specific that range is, and its position.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    quality: f32,
    /// 0 = no range matches, 1 = `*/*`, 2 = such as `text/*`, 3 = the type itself.
    specific: u8,
    place: usize,
}

impl Wish {
    fn note(&mut self, other: Self) {
        if (other.specific, other.quality) > (self.specific, self.quality) {
            *self = other;
        }
    }
}

/// The names of a kind of answer, and the media range that covers them all.
struct Kind {
    names: &'static [&'static str],
    range: &'static str,
}

const PAGE: Kind = Kind { names: &["text/html", "application/xhtml+xml"], range: "text/*" };
const DOCUMENT: Kind = Kind { names: &["application/json", "application/problem+json"], range: "application/*" };
const SVG: Kind = Kind { names: &["image/svg+xml"], range: "image/*" };
/// One JSON document a line.
const LINES: Kind = Kind { names: &["application/x-ndjson", "application/jsonl"], range: "application/*" };
const TABLE: Kind = Kind { names: &["text/csv"], range: "text/*" };
const PNG: Kind = Kind { names: &["image/png"], range: "image/*" };

impl Kind {
    /// How specifically a media range names it.
    fn named_by(&self, range: &str) -> u8 {
        match range {
            range if self.names.contains(&range) => 3,
            range if range == self.range => 2,
            "*/*" => 1,
            _ => 0,
        }
    }
}

/// Whether the client prefers a page to a document.
pub(super) fn wants_page(request: &HttpRequest) -> bool {
    prefers(&accepted(request), &PAGE, &DOCUMENT)
}

/// Whether the client prefers an image as SVG to one as PNG.
pub(super) fn wants_svg(request: &HttpRequest) -> bool {
    prefers(&accepted(request), &SVG, &PNG)
}

/// Whether the client prefers a table (CSV) to a document.
pub(super) fn wants_csv(request: &HttpRequest) -> bool {
    prefers(&accepted(request), &TABLE, &DOCUMENT)
}

/// Whether the client prefers one document a line (NDJSON) to a single one.
pub(super) fn wants_lines(request: &HttpRequest) -> bool {
    prefers(&accepted(request), &LINES, &DOCUMENT)
}

fn accepted(request: &HttpRequest) -> String {
    let values: Vec<&str> = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Whether an `Accept` (RFC 9110) prefers one kind to the other one, which clients get that accept both equally, such as with `*/*`: browsers
/// name HTML, so such a client is a program.
fn prefers(accept: &str, one: &Kind, other: &Kind) -> bool {
    let (mut wished, mut else_wished) = (Wish::default(), Wish::default());
    for (place, range) in accept.split(',').enumerate() {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .filter(|quality| (0.0..=1.0).contains(quality))
            .unwrap_or(1.0);
        for (kind, wish) in [(one, &mut wished), (other, &mut else_wished)] {
            match kind.named_by(&media) {
                0 => {}
                specific => wish.note(Wish { quality, specific, place }),
            }
        }
    }
    let alike = wished.quality == else_wished.quality;
    let first = wished.specific > else_wished.specific || wished.specific == 3 && wished.place < else_wished.place;
    wished.quality > 0.0 && (wished.quality > else_wished.quality || alike && first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_wants_a_page_and_a_program_a_document() {
        for accept in [
            "text/html",
            "TEXT/HTML",
            "text/html;charset=utf-8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html, application/xhtml+xml, */*",
            "application/xhtml+xml",
            "text/*",
            "text/*, */*;q=0.1",
            "application/json;q=0.5, text/html",
            "text/html;q=0.9, application/json;q=0.8",
            "text/html, application/json",
            "*/*;q=0.8, text/html",
            "text/html;q=0.2",
            "text/html;q=1.000",
            "text/html; q=high",
        ] {
            assert!(prefers(accept, &PAGE, &DOCUMENT), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/problem+json",
            "application/json, text/plain, */*",
            "application/json, text/html",
            "text/html;q=0",
            "text/html;q=0.0, */*",
            "text/html;q=0.5, application/json",
            "text/html;q=0.3, */*",
            "text/html;q=0.5, application/*;q=0.9",
            "text/html; q=0.1, application/problem+json; q=0.2",
            "application/*",
            "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            "text/plain",
            "nonsense",
            ",;,=",
        ] {
            assert!(!prefers(accept, &PAGE, &DOCUMENT), "{accept}");
        }
    }

    #[test]
    fn lines_and_tables_are_for_clients_that_ask_for_them() {
        for accept in [
            "application/x-ndjson",
            "application/jsonl",
            "application/x-ndjson, application/json",
            "*/*;q=0.1, application/x-ndjson",
        ] {
            assert!(prefers(accept, &LINES, &DOCUMENT), "{accept}");
        }
        for accept in ["text/csv", "text/csv, application/json", "text/csv;q=0.9, */*;q=0.1", "text/*"] {
            assert!(prefers(accept, &TABLE, &DOCUMENT), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "application/json, text/csv, application/x-ndjson",
            "image/png",
        ] {
            assert!(!prefers(accept, &LINES, &DOCUMENT) && !prefers(accept, &TABLE, &DOCUMENT), "{accept}");
        }
    }

    #[test]
    fn an_image_is_an_svg_only_for_clients_that_prefer_it() {
        for accept in ["image/svg+xml", "image/svg+xml, image/png", "image/png;q=0.5, image/*", "image/svg+xml, */*"] {
            assert!(prefers(accept, &SVG, &PNG), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "image/*",
            "image/png",
            "image/png, image/svg+xml",
            "image/svg+xml;q=0.9, image/png",
            "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "application/json",
        ] {
            assert!(!prefers(accept, &SVG, &PNG), "{accept}");
        }
    }
}
