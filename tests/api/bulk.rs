//! `POST /api/v1/bulk`: many changes in one request.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client, Node};

use crate::fresh_node;

async fn bulk(client: &Client, items: &[Value], key: Option<&str>) -> Answer {
    let request = client.request(Method::POST, "/api/v1/bulk").json(&json!({ "items": items }));
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    client.send(request).await.unwrap()
}

fn create(n: usize) -> Value {
    json!({ "op": "create", "link": { "longUrl": format!("https://example.com/{n}") } })
}

/// How many links the node has.
async fn links(node: &Node) -> String {
    let metrics = Client::new(node.admin()).get("/metrics").await.unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    text.lines().find_map(|line| line.strip_prefix("waypost_links ")).unwrap().to_owned()
}

#[tokio::test]
async fn of_a_thousand_items_the_good_ones_are_done_and_each_has_a_result() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let items: Vec<Value> = (0..1000)
        .map(|n| match n % 10 {
            3 => json!({ "op": "create", "link": { "longUrl": "not a url" } }),
            5 => json!({ "op": "create", "link": { "longUrl": "https://example.com/", "customSlug": "a/b" } }),
            6 => json!({ "op": "create", "link": { "longUrl": "https://example.com/", "customSlug": "mine" } }),
            7 => json!({ "op": "move", "code": "x" }),
            8 => json!({ "op": "delete", "code": format!("none-{n}") }),
            9 => json!(n),
            _ => create(n),
        })
        .collect();
    let answer = bulk(&client, &items, None).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    let mut codes = HashMap::new();
    for (n, result) in results.iter().enumerate() {
        let expected = match n % 10 {
            3 | 5 => 422,
            6 if n > 6 => 409,
            7 | 9 => 400,
            8 => 404,
            _ => 201,
        };
        assert_eq!((&result["index"], &result["status"]), (&json!(n), &json!(expected)), "{result}");
        assert_eq!(result["problem"]["status"], if expected == 201 { json!(null) } else { json!(expected) });
        if expected == 201 {
            let code = result["link"]["shortCode"].as_str().unwrap();
            assert!(codes.insert(code.to_owned(), n).is_none());
            assert!(
                result["link"]["shortUrl"].as_str().unwrap().ends_with(&format!("/{code}"))
                    && result["etag"].is_string()
            );
        }
    }
    assert_eq!((&answer["failed"], codes.len()), (&json!(599), 401));
    assert_eq!(links(&node).await, "401");
    for (code, n) in codes.iter().filter(|(code, _)| *code != "mine").take(20) {
        assert_eq!(client.follow(code).await.unwrap(), Some(format!("https://example.com/{n}")));
    }
}

#[tokio::test]
async fn the_items_of_one_code_are_done_in_their_order_and_keep_to_the_version_that_they_require() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let to = |n: u32| json!({ "longUrl": format!("https://example.com/{n}") });
    let items = [
        json!({ "op": "put", "code": "one", "link": to(1) }),
        json!({ "op": "edit", "code": "one", "changes": to(2) }),
        json!({ "op": "put", "code": "one", "link": to(3), "ifMatch": "\"9-9\"" }),
        json!({ "op": "edit", "code": "one", "changes": to(3), "ifMatch": "\"9-9\"" }),
        json!({ "op": "delete", "code": "one", "ifMatch": "9-9" }),
        json!({ "op": "delete", "code": "one" }),
        json!({ "op": "edit", "code": "one", "changes": to(4) }),
        json!({ "op": "create", "link": { "longUrl": "https://example.com/5", "customSlug": "one" } }),
        json!({ "op": "put", "code": "one", "link": { "longUrl": "https://example.com/6", "customSlug": "two" } }),
    ];
    let answer = bulk(&client, &items, None).await.json();
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 412, 412, 412, 204, 404, 201, 422], "{answer}");
    assert_eq!(results[4]["problem"]["type"], "urn:waypost:problem:unusable-entity-tag");
    assert_eq!(client.follow("one").await.unwrap().as_deref(), Some("https://example.com/5"));
}

#[tokio::test]
async fn a_bulk_request_that_is_sent_again_with_its_key_creates_nothing_twice() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let items: Vec<Value> = (0..300).map(|n| create(n % 3)).collect();
    let (first, second) = (bulk(&client, &items, Some("k")).await, bulk(&client, &items, Some("k")).await);
    assert_eq!(first.json()["failed"], 0);
    assert_eq!(first.body, second.body);
    assert_eq!(links(&node).await, "300");
    let other = json!({ "longUrl": "https://example.com/0", "validUntil": "2999-01-01T00:00:00Z" });
    let other = bulk(&client, &[json!({ "op": "create", "link": other })], Some("k")).await.json();
    assert_eq!(other["results"][0]["problem"]["type"], "urn:waypost:problem:idempotency-key-reused");
    assert_eq!(bulk(&client, &[create(7)], None).await.json()["results"][0]["status"], 201);
}

#[tokio::test]
async fn a_create_with_a_key_of_its_own_is_the_same_alone_and_in_any_bulk_request() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let keyed = |n: usize| {
        let mut item = create(n);
        item["idempotencyKey"] = json!(format!("row {n}"));
        item
    };
    let code = |answer: &Value, at: usize| answer["results"][at]["link"]["shortCode"].clone();
    let first = bulk(&client, &[keyed(1), keyed(2), create(2)], Some("k")).await.json();
    assert_eq!((&first["failed"], &first["results"][0]["link"]["visits"]), (&json!(0), &Value::Null), "{first}");
    // In another request, at another place, and alone.
    let second = bulk(&client, &[create(3), keyed(2)], None).await.json();
    assert_eq!(code(&second, 1), code(&first, 1));
    let alone = client.request(Method::POST, "/shorten").header("idempotency-key", "row 1");
    let alone = client.send(alone.json(&create(1)["link"])).await.unwrap();
    assert_eq!((alone.status, &alone.json()["shortCode"]), (201, &code(&first, 0)));
    let mut other = keyed(1);
    other["link"]["validUntil"] = json!("2999-01-01T00:00:00Z");
    let reused = bulk(&client, &[other], None).await.json();
    assert_eq!(reused["results"][0]["problem"]["type"], "urn:waypost:problem:idempotency-key-reused", "{reused}");
    assert_eq!(links(&node).await, "4");
}

#[tokio::test]
async fn what_is_too_much_for_json_is_refused_whole() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let many: Vec<Value> = (0..1001).map(create).collect();
    let refused = bulk(&client, &many, None).await;
    assert_eq!(
        (refused.status, refused.problem(), refused.text("field")),
        (422, "invalid-value".to_owned(), "items".to_owned())
    );
    for (kind, body, status) in
        [("application/json", "[]", 400), ("application/json", "{\"items\":[],\"x\":1}", 400), ("text/plain", "x", 415)]
    {
        let request = client.request(Method::POST, "/api/v1/bulk").header("content-type", kind).body(body);
        assert_eq!(client.send(request).await.unwrap().status, status, "{kind} {body}");
    }
    assert_eq!(bulk(&client, &[], None).await.json(), json!({ "results": [], "failed": 0 }));
    assert_eq!(links(&node).await, "0");
}

fn lines(of: impl Iterator<Item = Value>) -> String {
    of.map(|item| format!("{item}\n")).collect()
}

#[tokio::test]
async fn a_stream_of_lines_is_answered_while_it_comes_and_after_a_break_the_rest_is_done_and_nothing_twice() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let item = |n: usize| if n == 1500 { json!({ "op": "create" }) } else { create(n % 7) };
    let whole = lines((0..3000).map(item));
    let half = lines((0..1200).map(item));
    let before = {
        let mut stream = TcpStream::connect(node.address()).unwrap();
        let head = format!(
            "POST /api/v1/bulk HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nIdempotency-Key: stream\r\n\
             Content-Length: {}\r\n\r\n",
            node.address(),
            whole.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(half.as_bytes()).unwrap();
        // A part of a line: it must not be taken for a whole one.
        stream.write_all(b"{\"op\":\"create\",").unwrap();
        let answered = BufReader::new(stream).lines().map_while(Result::ok);
        let results = answered.filter_map(|line| serde_json::from_str::<Value>(&line).ok().filter(Value::is_object));
        results.take(1200).collect::<Vec<_>>()
    };
    assert_eq!(before.len(), 1200, "they are answered before the rest has come");
    let request = client.request(Method::POST, "/api/v1/bulk").header("content-type", "application/x-ndjson");
    let answer = client.send(request.header("idempotency-key", "stream").body(whole)).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let text = String::from_utf8(answer.body).unwrap();
    let after: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(after.len(), 3000);
    assert_eq!(before, after[..1200]);
    for (n, result) in after.iter().enumerate() {
        let status = if n == 1500 { 400 } else { 201 };
        assert_eq!((&result["index"], &result["status"]), (&json!(n), &json!(status)), "{result}");
    }
    assert_eq!(links(&node).await, "2999");
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_stream() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let body = format!("{}\n\n{}{}\n{}\n", create(1), " ".repeat(200_000), create(2), create(3));
    let request = client.request(Method::POST, "/api/v1/bulk").header("content-type", "application/x-ndjson");
    let answer = client.send(request.body(body)).await.unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let results: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        results.iter().map(|result| result["status"].as_u64().unwrap()).collect::<Vec<_>>(),
        [201, 413],
        "{text}"
    );
    assert_eq!(links(&node).await, "1");
}

#[tokio::test]
async fn a_list_with_too_many_or_too_long_items_is_refused_before_it_is_parsed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let send = |body: String| {
        client.send(client.request(Method::POST, "/api/v1/bulk").header("content-type", "application/json").body(body))
    };
    // The process has its buffers for such a body already.
    let spaces = format!("{{\"items\":[]{}}}", " ".repeat(9_000_000));
    assert_eq!(send(spaces).await.unwrap().status, 200);
    let before = peak();
    let many = format!("{{\"items\":[{}{{}}]}}", "{\"\":0},".repeat(1_200_000));
    let answer = send(many).await.unwrap();
    assert_eq!((answer.status, answer.json()["field"].as_str()), (422, Some("items")));
    let long = format!("{{\"items\":[{{\"op\":\"delete\",\"code\":\"a\",\"x\":[{}0]}}]}}", "[],".repeat(2_500_000));
    let answer = send(long).await.unwrap();
    assert_eq!((answer.status, answer.json()["results"][0]["status"].as_u64()), (200, Some(400)));
    let grown = peak() - before;
    assert!(grown < 80 * 1024, "{grown} KiB");
}
