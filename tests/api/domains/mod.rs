//! Domains: what the tests of them share.

mod codes;
mod settings;

use reqwest::Method;
use serde_json::Value;
use waypost_testkit::{Answer, Client};

pub(super) async fn send(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

pub(super) async fn domain(client: &Client, body: Value) -> Value {
    let answer = send(client, Method::POST, "/api/v1/domains", body).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

pub(super) async fn link(client: &Client, body: Value) -> Value {
    let answer = send(client, Method::POST, "/api/v1/links", body).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// What a visitor of a host gets.
pub(super) async fn visit(client: &Client, host: &str, path: &str) -> Answer {
    client.send(client.request(Method::GET, path).header("host", host)).await.unwrap()
}

pub(super) async fn led_to(client: &Client, host: &str, path: &str) -> (u16, String) {
    let answer = visit(client, host, path).await;
    (answer.status, answer.header("location").unwrap_or_default().to_owned())
}

pub(super) fn to(path: &str) -> (u16, String) {
    (302, format!("https://example.com/{path}"))
}
