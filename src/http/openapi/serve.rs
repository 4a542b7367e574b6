//! The document and the page, ready to send: `GET /openapi.json` and `GET /docs`.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde_json::Value;

use super::page;
use crate::http::pages::POLICY;

/// The document, as a test has made it. It does not have the version, so that a release does not change it.
pub(in crate::http) const DOCUMENT: &str = include_str!("openapi.json");

/// Both change with the version of the server only.
const ONE_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The document and the page as bytes that all workers share.
#[derive(Clone)]
pub(in crate::http) struct Documents {
    json: Bytes,
    page: Bytes,
}

impl Documents {
    /// Renders the page.
    pub(in crate::http) fn new() -> Self {
        let mut document: Value = serde_json::from_str(DOCUMENT).expect("invariant: a test has made the file");
        document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
        Self { json: document.to_string().into(), page: page::render(&document).into() }
    }
}

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenApi", tag = "Documents",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object, content_type = "application/json")))]
pub(in crate::http) async fn openapi(documents: web::Data<Documents>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, ONE_HOUR))
        .body(documents.json.clone())
}

/// The description of this API, for people.
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "Documents",
    responses((status = 200, description = "A page that needs nothing else", body = String, content_type = "text/html")))]
pub(in crate::http) async fn docs(documents: web::Data<Documents>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, ONE_HOUR))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(documents.page.clone())
}
