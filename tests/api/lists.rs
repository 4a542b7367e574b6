//! `GET /api/v1/links`: every parameter, pages by cursor, and whole lists as CSV and NDJSON.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use waypost_testkit::{Answer, Client, Node};

use crate::{fresh_node, node_in_temp};

const KEY: &str = "a-long-enough-key-for-the-tests";

/// A running node with fresh data, whose catalog has seen all shards.
pub(crate) async fn listing_node() -> (TempDir, Node) {
    let (dir, node) = fresh_node();
    lists_all(&node.client()).await;
    (dir, node)
}

/// Waits until lists lack no shard: a node looks through its shards after a start.
pub(crate) async fn lists_all(client: &Client) {
    waits_for(async || client.get("/api/v1/links?limit=1").await.unwrap().json().get("partial").is_none()).await;
}

/// Creates a link; returns what `seen` names it by.
pub(super) async fn create(client: &Client, body: Value) -> String {
    let made = client.send(client.request(Method::POST, "/api/v1/links").json(&body)).await.unwrap();
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    format!("{}:{}", made.text("id"), made.header("etag").unwrap().trim_matches('"'))
}

/// Creates links, and waits until the list has all of them.
async fn create_all(client: &Client, bodies: impl IntoIterator<Item = Value>) {
    for body in bodies {
        let seen = create(client, body).await;
        assert_eq!(list(client, &[("limit", "1"), ("seen", &seen)]).await.get("partial"), None);
    }
}

async fn ask(client: &Client, query: &[(&str, &str)]) -> Answer {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    client.get(&format!("/api/v1/links?{query}")).await.unwrap()
}

pub(super) async fn list(client: &Client, query: &[(&str, &str)]) -> Value {
    let answer = ask(client, query).await;
    assert_eq!(answer.status, 200, "{query:?}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

pub(super) fn codes(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|link| link["shortCode"].as_str().unwrap()).collect()
}

fn link(slug: &str, fields: Value) -> Value {
    let mut link = json!({ "longUrl": format!("https://example.com/{slug}"), "customSlug": slug });
    link.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    link
}

#[tokio::test]
async fn every_parameter_chooses_its_links() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    client.send(client.request(Method::POST, "/api/v1/domains").json(&json!({ "host": "b.example" }))).await.unwrap();
    let before = "2999-01-01T00:00:00Z";
    create_all(
        &client,
        [
            link("plain", json!({})),
            link("spring", json!({ "title": "Großer Frühling", "tags": ["Sale", "2027"], "note": "ask Zoë" })),
            link("old", json!({ "tags": ["sale", "old"], "disabled": true })),
            link("later", json!({ "tags": ["2027"], "validSince": before })),
            link("secret", json!({ "password": "correct horse" })),
            link("once", json!({ "maxVisits": 1 })),
            link("other", json!({ "domain": "b.example", "longUrl": "https://other.example/Path?x=1" })),
        ],
    )
    .await;
    let all = ["plain", "spring", "old", "later", "secret", "once", "other"];
    let times: Vec<String> = list(&client, &[("sort", "createdAt")]).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["createdAt"].as_str().unwrap().to_owned())
        .collect();
    let middle = times[3].as_str();
    assert_eq!(client.get("/once").await.unwrap().status, 302);
    waits_for(async || codes(&list(&client, &[("state", "exhausted")]).await) == ["once"]).await;
    let short = format!("http://{}/spring", node.address());
    for (query, expected) in [
        (&[][..], &all[..]),
        (&[("q", "")], &all),
        (&[("q", "RUHLING")], &["spring"]),
        (&[("q", "frühling grosser")], &["spring"]),
        (&[("q", "zoe spring")], &["spring"]),
        (&[("q", "zoe plain")], &[]),
        (&[("q", "https://other.example/path")], &["other"]),
        (&[("q", "other.example")], &["other"]),
        (&[("q", "x=1")], &["other"]),
        (&[("q", "ld")], &["old"]),
        (&[("q", &short)], &["spring"]),
        (&[("q", short.trim_start_matches("http://"))], &["spring"]),
        (&[("q", &format!("({short}).")), ("tags", "sale")], &["spring"]),
        (&[("q", &short), ("tags", "old")], &[]),
        (&[("q", "b.example/other")], &["other"]),
        (&[("q", "b.example/plain")], &[]),
        (&[("tags", "SALE")], &["spring", "old"]),
        (&[("tags", "sale,2027")], &["spring", "old", "later"]),
        (&[("tags", "sale,2027"), ("tagsMode", "any")], &["spring", "old", "later"]),
        (&[("tags", "sale,2027"), ("tagsMode", "all")], &["spring"]),
        (&[("tags", "sale"), ("excludeTags", "Old")], &["spring"]),
        (&[("excludeTags", "sale,2027")], &["plain", "secret", "once", "other"]),
        (&[("domain", "b.example")], &["other"]),
        (&[("domain", "DEFAULT")], &all[..6]),
        (&[("state", "active")], &["plain", "spring", "secret", "other"]),
        (&[("state", "notYet")], &["later"]),
        (&[("state", "disabled")], &["old"]),
        (&[("state", "protected")], &["secret"]),
        (&[("state", "expired")], &[]),
        (&[("createdTo", &times[0])], &[]),
        (&[("createdFrom", before)], &[]),
        (&[("createdFrom", &times[0]), ("createdTo", before)], &all),
        (&[("q", "e"), ("tags", "2027"), ("state", "active")], &["spring"]),
    ] {
        let found = list(&client, query).await;
        let found: BTreeSet<&str> = codes(&found).into_iter().collect();
        assert_eq!(found, expected.iter().copied().collect(), "{query:?}");
    }
    // Two links may have been created within a millisecond.
    let (early, late) = (
        list(&client, &[("createdTo", middle)]).await["total"].as_u64().unwrap(),
        list(&client, &[("createdFrom", middle)]).await["total"].as_u64().unwrap(),
    );
    assert_eq!((early + late, early < 7, late < 7), (7, true, true));
    let spring = list(&client, &[("tags", "sale"), ("state", "active")]).await;
    let alone = client.get("/api/v1/links/spring").await.unwrap().json();
    assert_eq!(spring, json!({ "items": [alone], "nextCursor": null, "total": 1 }));
}

/// Waits until a condition holds.
pub(crate) async fn waits_for(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "it never holds");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_order_is_kept_in_both_directions() {
    let (_dir, mut node) = listing_node().await;
    let client = node.client();
    let titles = [("c", "Äpfel"), ("a", "birnen"), ("D", "Zimt"), ("b", "apfel")];
    create_all(&client, titles.map(|(slug, title)| link(slug, json!({ "title": title })))).await;
    let edit = client.request(Method::PATCH, "/api/v1/links/a").json(&json!({ "note": "n" }));
    let edited = client.send(edit).await.unwrap();
    let seen = format!("{}:{}", edited.text("id"), edited.header("etag").unwrap());
    list(&client, &[("seen", &seen)]).await;
    assert!(client.follow("D").await.unwrap().is_some());
    for (sort, expected) in
        [("createdAt", ["c", "a", "D", "b"]), ("slug", ["a", "b", "c", "D"]), ("editedAt", ["c", "D", "b", "a"])]
    {
        let up = list(&client, &[("sort", sort)]).await;
        let mut expected = expected.to_vec();
        assert_eq!(codes(&up), expected, "{sort}");
        expected.reverse();
        let down = list(&client, &[("sort", &format!("-{sort}"))]).await;
        assert_eq!(codes(&down), expected, "-{sort}");
    }
    assert_eq!(list(&client, &[]).await, list(&client, &[("sort", "-createdAt")]).await);
    let by_title = list(&client, &[("sort", "title")]).await;
    let by_title = codes(&by_title);
    // The first two are equal without their accents.
    assert_eq!(
        (by_title[..2].iter().collect::<BTreeSet<_>>(), &by_title[2..]),
        (["b", "c"].iter().collect(), &["a", "D"][..])
    );
    // Visits are written once a minute, and at a stop.
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    node.restart().unwrap();
    let client = node.client();
    lists_all(&client).await;
    for sort in ["visits", "lastVisit"] {
        let (up, down) =
            (list(&client, &[("sort", sort)]).await, list(&client, &[("sort", &format!("-{sort}"))]).await);
        let mut turned = codes(&down);
        turned.reverse();
        assert_eq!((codes(&up)[3], codes(&up)), ("D", turned), "{sort}");
    }
}

#[tokio::test]
async fn what_cannot_be_accepted_is_refused_with_the_name_of_its_parameter() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    create_all(&client, [link("a", json!({}))]).await;
    let long = "x".repeat(9000);
    let many: String = (0..17).map(|n| format!("w{n} ")).collect();
    let refused = [
        ("q", long.as_str()),
        ("q", &many),
        ("q", "\u{b4}"),
        ("q", "\u{0}"),
        ("q", " \u{301}"),
        ("tags", &long),
        ("tagsMode", "both"),
        ("excludeTags", "a\u{7}b"),
        ("state", "gone"),
        ("createdFrom", "today"),
        ("createdTo", "2026-13-01T00:00:00Z"),
        ("sort", "longUrl"),
        ("sort", "createdAt;drop"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("cursor", "AAAA"),
        ("cursor", "'; --"),
        ("seen", "a"),
        ("format", "xml"),
    ];
    for (name, value) in refused {
        let answer = ask(&client, &[(name, value)]).await;
        let told = (answer.status, answer.problem(), answer.text("field"));
        assert_eq!(told, (422, "invalid-value".to_owned(), name.to_owned()), "{name}={value}");
    }
    let unknown = ask(&client, &[("domain", "nobody.example")]).await;
    assert_eq!((unknown.status, unknown.problem()), (404, "domain-not-found".to_owned()));
    for query in ["tag=a", "q=a&q=b", "limit=1&limit=2", "Q=a"] {
        let answer = client.get(&format!("/api/v1/links?{query}")).await.unwrap();
        assert_eq!((answer.status, answer.problem()), (400, "malformed-request".to_owned()), "{query}");
    }
    // Whatever is searched for is a text, and never a part of a question to a database.
    for text in [
        "'",
        "\"",
        "%",
        "_",
        "*",
        "\\",
        "(",
        ")",
        "^",
        "NEAR(a b)",
        "a AND b",
        "a OR a",
        "NOT a",
        "a*",
        "-a",
        "a:b",
        "'; DROP TABLE links; --",
        "a\u{0}",
        "\u{202e}",
        "\u{fffd}",
        "😀",
        "ﬃ",
        "İ",
        "ß",
        "a\u{301}",
        "{}",
        "<script>",
    ] {
        let found = list(&client, &[("q", text)]).await;
        assert!(found["total"].as_u64().unwrap() <= 1, "{text:?}: {found}");
        let found = list(&client, &[("tags", "x"), ("excludeTags", &text.replace(char::is_control, ""))]).await;
        assert_eq!(found["total"], 0, "{text:?}");
    }
    for text in ["%", "_", "*", "a OR a", "a*"] {
        assert_eq!(list(&client, &[("q", text)]).await["total"], 0, "{text:?}");
    }
}

#[tokio::test]
async fn a_walk_by_cursor_gives_each_link_once_while_others_come_and_go() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    let slug = |n: usize| format!("s{n:03}");
    create_all(&client, (0..40).map(|n| link(&slug(n), json!({ "tags": [if n % 2 == 0 { "even" } else { "odd" }] }))))
        .await;
    for (sort, tags) in [("-createdAt", ""), ("createdAt", "even"), ("slug", ""), ("-slug", "odd,even")] {
        let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut query = vec![("sort", sort), ("limit", "7"), ("tags", tags)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = list(&client, &query).await;
            assert!(codes(&page).len() <= 7);
            found.extend(codes(&page).into_iter().map(str::to_owned));
            pages += 1;
            // A link comes and goes on each page.
            let passing = format!("s{pages:03}x{}", sort.trim_start_matches('-'));
            let seen = create(&client, link(&passing, json!({ "tags": ["even"] }))).await;
            list(&client, &[("limit", "1"), ("seen", &seen)]).await;
            let gone = client.request(Method::DELETE, &format!("/api/v1/links/{passing}"));
            assert_eq!(client.send(gone).await.unwrap().status, 204);
            match page["nextCursor"].as_str() {
                None => break,
                Some(next) => cursor = Some(next.to_owned()),
            }
        }
        found.retain(|code| !code.contains('x'));
        let step = if tags == "even" { 2 } else { 1 };
        let mut expected: Vec<String> = (0..40).step_by(step).map(slug).collect();
        if sort.starts_with('-') {
            expected.reverse();
        }
        assert_eq!(found, expected, "{sort} {tags}");
    }
}

#[tokio::test]
async fn a_cursor_fits_the_list_that_it_comes_from_and_no_other() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    create_all(&client, (0..5).map(|n| link(&format!("s{n}"), json!({ "tags": ["a"] })))).await;
    let first = list(&client, &[("limit", "2"), ("tags", "a"), ("sort", "slug")]).await;
    assert_eq!((codes(&first), &first["total"]), (vec!["s0", "s1"], &json!(5)));
    let cursor = first["nextCursor"].as_str().unwrap();
    let own = [("tags", "a"), ("sort", "slug"), ("cursor", cursor)];
    // The length of the page may change.
    for limit in ["1", "1000"] {
        let next = list(&client, &[&own[..], &[("limit", limit)]].concat()).await;
        assert_eq!(codes(&next)[0], "s2");
        assert_eq!(next["nextCursor"].is_null(), limit == "1000");
    }
    for other in [
        vec![("cursor", cursor)],
        vec![("tags", "a"), ("cursor", cursor)],
        vec![("tags", "a"), ("sort", "-slug"), ("cursor", cursor)],
        vec![("tags", "a"), ("sort", "title"), ("cursor", cursor)],
        vec![("tags", "a,b"), ("sort", "slug"), ("cursor", cursor)],
        [&own[..], &[("q", "s")]].concat(),
        [&own[..], &[("state", "active")]].concat(),
        vec![("tags", "a"), ("sort", "slug"), ("cursor", &cursor[1..])],
    ] {
        let refused = ask(&client, &other).await;
        assert_eq!((refused.status, refused.text("field")), (422, "cursor".to_owned()), "{other:?}");
    }
}

#[tokio::test]
async fn a_writer_sees_its_own_link_at_once_when_it_asks_with_its_version() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    for n in 0..50 {
        let slug = format!("own-{n}");
        let seen = create(&client, link(&slug, json!({ "title": "first" }))).await;
        assert_eq!(codes(&list(&client, &[("seen", &seen), ("limit", "1")]).await), [slug.as_str()]);
        let path = format!("/api/v1/links/{slug}");
        let edited = client.request(Method::PATCH, &path).json(&json!({ "title": "second" }));
        let edited = client.send(edited).await.unwrap();
        let seen = format!("{}:{}", edited.text("id"), edited.header("etag").unwrap());
        assert_eq!(list(&client, &[("seen", &seen), ("q", "second")]).await["total"], n + 1);
    }
}

/// Waiting for each would take more than three minutes.
#[tokio::test]
async fn a_version_that_no_link_has_had_yet_is_not_waited_for() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    let seen = create(&client, link("own", json!({}))).await;
    let since = std::time::Instant::now();
    for n in 0..100 {
        let made_up = list(&client, &[("seen", &format!("0-nobody{n}:1-{:x}", 1_000_000 + n))]).await;
        assert_eq!(made_up["partial"].as_array().map(Vec::len), Some(1), "{made_up}");
        assert!(since.elapsed() < std::time::Duration::from_secs(90), "{n} were answered");
    }
    assert_eq!(list(&client, &[("seen", &seen)]).await.get("partial"), None);
}

#[tokio::test]
async fn a_whole_list_comes_as_csv_and_as_ndjson_and_no_cell_is_a_formula() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    create_all(
        &client,
        [
            link("one", json!({ "title": "=HYPERLINK(\"https://evil.example\",\"x\")", "tags": ["@a", "b"] })),
            link("two", json!({ "note": "first, \"second\"\nthird", "validUntil": "2999-01-01T00:00:00Z" })),
        ],
    )
    .await;
    let many: Vec<Value> = (0..1200)
        .map(|n| json!({ "op": "create", "link": { "longUrl": format!("https://example.com/{n}") } }))
        .collect();
    for part in many.chunks(600) {
        let request = client.request(Method::POST, "/api/v1/bulk").json(&json!({ "items": part }));
        assert_eq!(client.send(request).await.unwrap().json()["failed"], 0);
    }
    waits_for(async || list(&client, &[("limit", "1")]).await["total"] == 1202).await;
    let by_format = ask(&client, &[("format", "csv"), ("sort", "createdAt")]).await;
    assert_eq!((by_format.status, by_format.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let by_accept = client.request(Method::GET, "/api/v1/links?sort=createdAt").header("accept", "text/csv");
    assert_eq!(client.send(by_accept).await.unwrap().body, by_format.body);
    let mut table = csv::Reader::from_reader(&by_format.body[..]);
    let head = table.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let cell =
        |row: &csv::StringRecord, name: &str| row[head.iter().position(|column| column == name).unwrap()].to_owned();
    assert_eq!(rows.len(), 1202);
    assert_eq!(cell(&rows[0], "shortCode"), "one");
    assert_eq!(cell(&rows[0], "title"), "'=HYPERLINK(\"https://evil.example\",\"x\")");
    assert_eq!(cell(&rows[0], "tags"), "'@a,b");
    assert_eq!(cell(&rows[1], "note"), "first, \"second\"\nthird");
    assert_eq!(cell(&rows[1], "validUntil"), "2999-01-01T00:00:00.000Z");
    let codes_of: BTreeSet<String> = rows.iter().map(|row| cell(row, "shortCode")).collect();
    assert_eq!(codes_of.len(), 1202);

    let lines = ask(&client, &[("format", "ndjson"), ("sort", "createdAt")]).await;
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let by_accept =
        client.request(Method::GET, "/api/v1/links?sort=createdAt").header("accept", "application/x-ndjson");
    assert_eq!(client.send(by_accept).await.unwrap().body, lines.body);
    let lines: Vec<Value> =
        String::from_utf8(lines.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1202);
    let page = list(&client, &[("sort", "createdAt"), ("limit", "1000")]).await;
    assert_eq!(page["items"].as_array().unwrap()[..], lines[..1000]);
    assert_eq!(lines[0]["title"], "=HYPERLINK(\"https://evil.example\",\"x\")");

    for (query, rows) in [
        ("limit=1", 1),
        ("limit=700", 700),
        ("limit=5000", 1202),
        ("q=example.com/one", 1),
        ("q=example.com/nothing", 0),
    ] {
        let answer = client.get(&format!("/api/v1/links?format=ndjson&{query}")).await.unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap().lines().count(), rows, "{query}");
        let answer = client.get(&format!("/api/v1/links?format=csv&{query}")).await.unwrap();
        assert_eq!(csv::Reader::from_reader(&answer.body[..]).records().count(), rows, "{query}");
    }
    let refused = ask(&client, &[("format", "csv"), ("state", "x")]).await;
    assert_eq!((refused.status, refused.text("field")), (422, "state".to_owned()));
    for format in ["json", "csv", "ndjson"] {
        let head = client.send(client.request(Method::HEAD, &format!("/api/v1/links?format={format}"))).await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{format}");
    }
}

#[tokio::test]
async fn links_of_a_removed_domain_are_in_no_list_and_come_back_with_it() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    let domain = async || {
        let add = client.request(Method::POST, "/api/v1/domains").json(&json!({ "host": "b.example" }));
        assert_eq!(client.send(add).await.unwrap().status, 201);
    };
    domain().await;
    create_all(&client, [link("a", json!({})), link("b", json!({ "domain": "b.example", "tags": ["t"] }))]).await;
    assert_eq!(list(&client, &[]).await["total"], 2);
    let removed = client.request(Method::DELETE, "/api/v1/domains/b.example");
    assert_eq!(client.send(removed).await.unwrap().status, 204);
    let left = list(&client, &[]).await;
    assert_eq!((codes(&left), &left["total"]), (vec!["a"], &json!(1)));
    assert_eq!(client.get("/api/v1/tags").await.unwrap().json()["tags"], json!([]));
    domain().await;
    assert_eq!(list(&client, &[]).await["total"], 2);
}

#[tokio::test]
async fn lists_and_tags_need_a_key_and_a_wrong_one_does_nothing() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let (client, keyed) = (node.client(), node.client().with_key(KEY));
    lists_all(&keyed).await;
    create_all(&keyed, [link("a", json!({ "tags": ["t"] }))]).await;
    for client in [&client, &node.client().with_key("wrong")] {
        for (method, path) in [
            (Method::GET, "/api/v1/links"),
            (Method::GET, "/api/v1/links?format=csv"),
            (Method::GET, "/api/v1/links?format=ndjson"),
            (Method::HEAD, "/api/v1/links"),
            // Who may not ask is not told what is wrong with the question.
            (Method::GET, "/api/v1/links?limit=x"),
            (Method::GET, "/api/v1/tags"),
            (Method::PATCH, "/api/v1/tags/t"),
            (Method::DELETE, "/api/v1/tags/t"),
            (Method::POST, "/api/v1/bulk/links?tags=t"),
        ] {
            let request = client.request(method.clone(), path).json(&json!({ "op": "delete" }));
            assert_eq!(client.send(request).await.unwrap().status, 401, "{method} {path}");
        }
    }
    assert_eq!(list(&keyed, &[("tags", "t")]).await["total"], 1);
}
