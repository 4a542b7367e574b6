//! What a client prefers to read, by its `Accept`: a page for people, or a document for programs.

use actix_web::HttpRequest;
use actix_web::http::header::ACCEPT;

/// How well a type is accepted: the quality of the most specific media range that matches, how specific that range is, and its position.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    quality: f32,
    /// 0 = no range matches, 1 = `*/*`, 2 = `text/*`, 3 = the type itself.
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

/// Whether the client prefers a page to a document.
pub(super) fn wants_page(request: &HttpRequest) -> bool {
    let values: Vec<&str> = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok()).collect();
    prefers_page(&values.join(","))
}

/// Whether an `Accept` (RFC 9110) prefers HTML to JSON. A client that accepts both equally, such as with `*/*`, is a program: browsers name HTML.
fn prefers_page(accept: &str) -> bool {
    let (mut page, mut document) = (Wish::default(), Wish::default());
    for (place, range) in accept.split(',').enumerate() {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .filter(|quality| (0.0..=1.0).contains(quality))
            .unwrap_or(1.0);
        let wish = |specific| Wish { quality, specific, place };
        match media.as_str() {
            "*/*" => {
                page.note(wish(1));
                document.note(wish(1));
            }
            "text/*" => page.note(wish(2)),
            "application/*" => document.note(wish(2)),
            "text/html" | "application/xhtml+xml" => page.note(wish(3)),
            "application/json" | "application/problem+json" => document.note(wish(3)),
            _ => {}
        }
    }
    let alike = page.quality == document.quality;
    let first = page.specific > document.specific || page.specific == 3 && page.place < document.place;
    page.quality > 0.0 && (page.quality > document.quality || alike && first)
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
            assert!(prefers_page(accept), "{accept}");
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
            assert!(!prefers_page(accept), "{accept}");
        }
    }
}
