//! `GET /openapi.json` and `GET /docs`: the document says what the running server does.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::{fresh_node, node_in_temp};

#[tokio::test]
async fn the_document_needs_no_key_and_has_every_operation_of_the_running_server() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", "a-long-enough-key-for-the-tests").start().unwrap();
    let client = node.client();
    let answer = client.get("/openapi.json").await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let documented: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let at = path.replace("{code}", "abc");
            // A stream would not end; its path is refused for lack of a key.
            let answer = client.send(client.request(method.parse().unwrap(), &at)).await.unwrap();
            assert_eq!(answer.status != 405, documented.contains(method), "{method} {path}: {}", answer.status);
            if answer.status == 405 {
                let allowed: BTreeSet<String> =
                    answer.header("allow").unwrap().split(", ").map(str::to_owned).collect();
                assert_eq!(allowed, documented, "{path}");
            } else {
                let responses = &item[method.to_lowercase()]["responses"];
                assert!(responses.get(answer.status.to_string()).is_some(), "{method} {path}: {}", answer.status);
            }
            checked += 1;
        }
    }
    assert!(checked > 100);
}

#[tokio::test]
async fn the_page_of_the_api_shows_every_operation_and_loads_and_runs_nothing() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let page = client.get("/docs").await.unwrap();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script"), "{policy}");
    let text = String::from_utf8(page.body).unwrap();
    for outside in ["<script", "src=", "http://", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    let document: Value = client.get("/openapi.json").await.unwrap().json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "head") {
            assert!(text.contains(&format!("<code>{} {path}</code>", method.to_uppercase())), "{method} {path}");
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("id=\"type-{name}\"")), "{name}");
    }
    let head = client.send(client.request(Method::HEAD, "/docs")).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
}
