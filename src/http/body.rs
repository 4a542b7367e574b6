//! The bodies of requests: JSON, or plain text where a route reads that as well.

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The content type without its parameters, in lower case. Whoever reads the body of an API request asks for it first.
///
/// # Errors
/// If the body is compressed: no route unpacks it, since a few bytes may unpack to very many.
pub(super) fn essence(request: &HttpRequest) -> Result<Option<String>, Problem> {
    for coding in request.headers().get_all(CONTENT_ENCODING) {
        let coding = coding.to_str().unwrap_or("unreadable");
        if !coding.trim().is_empty() && !coding.trim().eq_ignore_ascii_case("identity") {
            return Err(Problem::unsupported_media_type(format!(
                "a body with the Content-Encoding \"{coding}\" is not read; send it uncompressed, without this header"
            )));
        }
    }
    let Some(content_type) = request.headers().get(CONTENT_TYPE) else { return Ok(None) };
    let content_type = content_type.to_str().unwrap_or_default();
    Ok(Some(content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()))
}

pub(super) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// The body without the byte order mark that some editors put before a text.
pub(super) fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Parses the JSON body of a route that accepts nothing else.
pub(super) fn parse_json_only<T: DeserializeOwned>(request: &HttpRequest, body: &[u8]) -> Result<T, Problem> {
    let body = unmarked(body);
    match essence(request)?.as_deref() {
        None => parse_json(body),
        Some(json) if is_json(json) => parse_json(body),
        Some(other) => {
            Err(Problem::unsupported_media_type(format!("\"{other}\" is not read here; send application/json")))
        }
    }
}

/// Parses a JSON object.
pub(super) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would accept a list of the values of the fields, too.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::malformed("the JSON body cannot be used: it is a list, and an object is needed"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the JSON body cannot be used: {error}")))
}
