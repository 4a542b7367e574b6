//! QR codes of links, read by a decoder that shares no code with Waypost: `zbarimg`, and `rsvg-convert` to draw an SVG.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Answer, Client, cannot_run};

use crate::fresh_node;

/// The texts of all codes in an image; `None` if the decoder is not installed.
fn decoded(image: &Path) -> Option<String> {
    let read = Command::new("zbarimg").args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(image).output();
    Some(String::from_utf8(read.ok()?.stdout).unwrap().trim_end().to_owned())
}

/// Draws an SVG; `None` if that is not possible here.
fn drawn(svg: &Path, png: &Path) -> Option<()> {
    let drawn = Command::new("rsvg-convert").arg("--output").args([png, svg]).output().ok()?;
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    Some(())
}

/// Width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

async fn qr(client: &Client, code: &str, query: &str, accept: Option<&str>) -> Answer {
    let request = client.request(Method::GET, &format!("/api/v1/links/{code}/qr{query}"));
    let request = accept.into_iter().fold(request, |request, accept| request.header("accept", accept));
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn an_independent_decoder_reads_the_short_url_at_every_level_and_in_both_formats() {
    let (dir, node) = fresh_node();
    let client = node.client();
    let slug = "Spring-Sale_2026";
    client.shorten(json!({ "longUrl": "https://example.com/a", "customSlug": slug })).await.unwrap();
    let short_url = format!("http://{}/{slug}", node.address());
    for look in ["size=512", "size=148&margin=1", "size=1024&margin=16", "color=8b0000&background=ffe4b5"] {
        for level in ["L", "M", "Q", "H"] {
            for format in ["png", "svg"] {
                let query = format!("?{look}&errorCorrection={level}&format={format}");
                let answer = qr(&client, slug, &query, None).await;
                assert_eq!(answer.status, 200, "{query}: {}", String::from_utf8_lossy(&answer.body));
                let image = dir.path().join(format!("code.{format}"));
                std::fs::write(&image, &answer.body).unwrap();
                let png = dir.path().join("code.png");
                if format == "svg" && drawn(&image, &png).is_none() {
                    return cannot_run("an SVG cannot be drawn without rsvg-convert");
                }
                let asked = look.split('&').find_map(|part| part.strip_prefix("size=")).unwrap_or("512");
                let asked = asked.parse().unwrap();
                assert_eq!(size(&std::fs::read(&png).unwrap()), (asked, asked), "{query}");
                let Some(text) = decoded(&png) else { return cannot_run("zbarimg is not installed") };
                assert_eq!(text, short_url, "{query}");
            }
        }
    }
}

#[tokio::test]
async fn the_format_is_the_one_asked_for_else_the_one_that_the_client_prefers() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/a").await.unwrap();
    let browser = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5";
    for (query, accept, kind) in [
        ("", None, "image/png"),
        ("", Some("*/*"), "image/png"),
        ("", Some(browser), "image/png"),
        ("", Some("image/svg+xml"), "image/svg+xml"),
        ("?format=svg", Some("image/png"), "image/svg+xml"),
        ("?format=png", Some("image/svg+xml"), "image/png"),
    ] {
        let answer = qr(&client, &code, query, accept).await;
        let seen = ["content-type", "vary", "cache-control"].map(|name| answer.header(name).unwrap_or_default());
        assert_eq!(seen, [kind, "accept", "private, max-age=3600"], "{query} {accept:?}");
    }
}

#[tokio::test]
async fn a_client_that_has_the_image_gets_it_again_only_if_it_would_be_another_one() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/a").await.unwrap();
    let tag = qr(&client, &code, "", None).await.header("etag").unwrap().to_owned();
    let again = |query: &'static str| {
        let request = client.request(Method::GET, &format!("/api/v1/links/{code}/qr{query}"));
        client.send(request.header("if-none-match", &tag))
    };
    let same = again("").await.unwrap();
    assert_eq!((same.status, same.header("etag"), same.body.len()), (304, Some(tag.as_str()), 0));
    for other in ["?size=100", "?margin=16", "?color=006", "?format=svg", "?errorCorrection=H"] {
        assert_eq!(again(other).await.unwrap().status, 200, "{other}");
    }
    let edit = client.request(Method::PATCH, &format!("/api/v1/links/{code}"));
    client.send(edit.json(&json!({ "longUrl": "https://example.com/b" }))).await.unwrap();
    assert_eq!(again("").await.unwrap().status, 304, "the code is that of the short URL, not of its target");
    let head = client.request(Method::HEAD, &format!("/api/v1/links/{code}/qr"));
    let head = client.send(head).await.unwrap();
    assert_eq!((head.status, head.header("etag"), head.body.len()), (200, Some(tag.as_str()), 0));
}

#[tokio::test]
async fn a_code_that_no_scanner_would_read_or_whose_link_does_not_exist_is_refused() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/a").await.unwrap();
    for (query, field) in [
        ("?size=63", "size"),
        ("?size=1025", "size"),
        ("?size=64&margin=16&errorCorrection=H", "size"),
        ("?margin=17", "margin"),
        ("?color=red", "color"),
        ("?color=%23aaa", "color"),
        ("?color=fff&background=000", "color"),
        ("?background=12345", "background"),
    ] {
        let refused = qr(&client, &code, query, None).await;
        assert_eq!((refused.status, refused.problem()), (422, "invalid-value".to_owned()), "{query}");
        assert_eq!(refused.text("field"), field, "{query}: {}", refused.text("detail"));
    }
    for query in ["?size=big", "?size=-1", "?format=gif", "?errorCorrection=X", "?colour=000"] {
        let refused = qr(&client, &code, query, None).await;
        assert_eq!((refused.status, refused.problem()), (400, "malformed-request".to_owned()), "{query}");
    }
    let unknown = qr(&client, "nothing-here", "", None).await;
    assert_eq!((unknown.status, unknown.problem()), (404, "link-not-found".to_owned()));
}
