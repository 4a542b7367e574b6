//! Who may create and change links.

use reqwest::Method;
use serde_json::json;

use crate::{fresh_node, node_in_temp};

const KEY: &str = "a-long-enough-key-for-the-tests";

#[tokio::test]
async fn a_key_that_is_configured_is_required_for_changes_and_for_nothing_else() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let client = node.client();
    let create = || client.request(Method::POST, "/shorten").json(&json!({ "longUrl": "https://example.com/" }));
    let refused = client.send(create()).await.unwrap();
    assert_eq!((refused.status, refused.problem()), (401, "unauthorized".to_owned()));
    for (name, value) in [
        ("x-api-key", "wrong".to_owned()),
        ("authorization", "Bearer wrong".to_owned()),
        ("authorization", format!("Basic {KEY}")),
        ("authorization", KEY.to_owned()),
    ] {
        assert_eq!(client.send(create().header(name, value)).await.unwrap().status, 401);
    }
    let made = client.send(create().header("x-api-key", KEY)).await.unwrap();
    assert_eq!(made.status, 201);
    let bearer = client.send(create().header("authorization", format!("bearer {KEY}"))).await.unwrap();
    assert_eq!(bearer.status, 201);
    let code = made.text("shortCode");
    for (method, path) in [
        (Method::GET, "/generate-key".to_owned()),
        (Method::GET, format!("/api/v1/links/{code}")),
        (Method::POST, "/api/v1/links".to_owned()),
        (Method::POST, "/api/v1/bulk".to_owned()),
        (Method::PUT, format!("/api/v1/links/{code}")),
        (Method::GET, format!("/api/v1/links/{code}/qr")),
        (Method::PATCH, format!("/api/v1/links/{code}")),
        (Method::DELETE, format!("/api/v1/links/{code}")),
    ] {
        assert_eq!(client.send(client.request(method, &path)).await.unwrap().status, 401, "{path}");
    }
    assert!(client.follow(&code).await.unwrap().is_some());
    assert_eq!(client.get(&format!("/analytics/{code}")).await.unwrap().status, 200);
    assert_eq!(client.get("/health/ready").await.unwrap().status, 200);
}

#[tokio::test]
async fn without_a_key_analytics_tell_totals_and_neither_the_target_nor_any_time() {
    let (_dir, builder) = node_in_temp();
    let builder = builder.env("WAYPOST_ADMIN_KEY", KEY);
    let mut node = builder.start().unwrap();
    let client = node.client();
    let body =
        json!({ "longUrl": "https://example.com/secret", "customSlug": "one", "validUntil": "2099-01-01T00:00:00Z" });
    let create = client.request(Method::POST, "/shorten").header("x-api-key", KEY).json(&body);
    assert_eq!(client.send(create).await.unwrap().status, 201);
    assert!(client.follow("one").await.unwrap().is_some());
    let names = ["longUrl", "createdAt", "validUntil", "lastAccessed"];
    let ask = async |node: &waypost_testkit::Node, key: Option<&str>| {
        let client = node.client();
        let request = client.request(Method::GET, "/analytics/one");
        client.send(key.into_iter().fold(request, |request, key| request.header("x-api-key", key))).await.unwrap()
    };
    let open = ask(&node, None).await;
    let text = String::from_utf8_lossy(&open.body).into_owned();
    assert_eq!((open.status, &open.json()["expired"]), (200, &json!(false)), "{text}");
    assert!(open.json()["totalClicks"].is_u64() && !names.iter().any(|name| text.contains(name)), "{text}");
    let whole = ask(&node, Some(KEY)).await.json();
    assert_eq!(
        (&whole["longUrl"], &whole["validUntil"]),
        (&json!("https://example.com/secret"), &json!("2099-01-01T00:00:00.000Z"))
    );
    assert!(names.iter().all(|name| whole.get(name).is_some()), "{whole}");
    assert_eq!(ask(&node, Some("wrong")).await.status, 401, "a wrong key is not taken for none");
    for (rule, status, target) in [("full", 200, true), ("key", 401, false)] {
        node.terminate().unwrap();
        node = builder.clone().env("WAYPOST_HTTP_ANALYTICS", rule).start().unwrap();
        let open = ask(&node, None).await;
        assert_eq!((open.status, open.json()["longUrl"].is_string()), (status, target), "{rule}");
        assert_eq!(ask(&node, Some(KEY)).await.text("longUrl"), "https://example.com/secret", "{rule}");
    }
}

#[tokio::test]
async fn on_a_public_address_the_first_start_makes_a_key_and_shows_it_once() {
    let (_dir, builder) = node_in_temp();
    let builder = builder.listen("0.0.0.0:0");
    let mut node = builder.start().unwrap();
    let key = node.printed().iter().find_map(|line| line.trim().strip_prefix("wp_admin_")).map(str::to_owned);
    let key = format!("wp_admin_{}", key.expect("no key was shown"));
    assert!(!node.errors().contains(&key), "the key is in the log");
    let port = node.address().port();
    let client = waypost_testkit::Client::new(([127, 0, 0, 1], port).into());
    let create = || client.request(Method::POST, "/shorten").json(&json!({ "longUrl": "https://example.com/" }));
    assert_eq!(client.send(create()).await.unwrap().status, 401);
    assert_eq!(client.send(create().header("x-api-key", &key)).await.unwrap().status, 201);
    node.terminate().unwrap();
    let mut node = builder.start().unwrap();
    assert!(!node.printed().iter().any(|line| line.contains("wp_admin_")), "the key is shown again");
    let client = waypost_testkit::Client::new(([127, 0, 0, 1], node.address().port()).into());
    let create = client.request(Method::POST, "/shorten").json(&json!({ "longUrl": "https://example.com/" }));
    assert_eq!(client.send(create.header("x-api-key", &key)).await.unwrap().status, 201);
    node.terminate().unwrap();
    let found = std::process::Command::new("grep").args(["-rl", &key]).arg(node.data_dir()).output().unwrap();
    assert!(found.stdout.is_empty(), "the key is stored in clear");
}

#[tokio::test]
async fn a_key_that_was_made_and_could_not_be_shown_is_shown_at_the_next_start() {
    let (dir, builder) = node_in_temp();
    let builder = builder.listen("0.0.0.0:0");
    let unseen = dir.path().join("data/admin-key");
    {
        // Nothing that it prints arrives.
        let node = builder.clone().under(&["sh", "-c", "exec \"$@\" >/dev/full", "sh"]).spawn().unwrap();
        let since = std::time::Instant::now();
        while !node.errors().contains("the admin key cannot be printed") {
            assert!(since.elapsed() < std::time::Duration::from_secs(60), "{}", node.errors());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&unseen).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "others can read the key");
    }
    let mut node = builder.start().unwrap();
    let key =
        node.printed().iter().find(|line| line.contains("wp_admin_")).expect("no key was shown").trim().to_owned();
    assert!(!unseen.exists(), "a key that was shown is still kept");
    let client = waypost_testkit::Client::new(([127, 0, 0, 1], node.address().port()).into());
    let create = client.request(Method::POST, "/shorten").json(&json!({ "longUrl": "https://example.com/" }));
    assert_eq!(client.send(create.header("x-api-key", &key)).await.unwrap().status, 201);
    node.terminate().unwrap();
    let node = builder.start().unwrap();
    assert!(!node.printed().iter().any(|line| line.contains("wp_admin_")), "the key is shown again");
}

#[tokio::test]
async fn a_public_url_elsewhere_makes_a_key_needed_also_on_loopback() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_PUBLIC_URL", "https://go.example").start().unwrap();
    assert!(node.printed().iter().any(|line| line.contains("wp_admin_")), "no key was shown");
    let client = node.client();
    assert_eq!(client.shorten(json!({ "longUrl": "https://example.com/" })).await.unwrap().status, 401);
}

#[tokio::test]
async fn an_open_server_refuses_pages_of_other_origins_and_requests_by_way_of_a_proxy() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let create = || client.request(Method::POST, "/shorten").body("https://example.com/");
    assert_eq!(client.send(create().header("origin", "https://evil.example")).await.unwrap().status, 403);
    for header in [
        "x-forwarded-for",
        "x-forwarded-port",
        "via",
        "x-original-url",
        "x-envoy-external-address",
        "x-azure-fdid",
        "cf-ray",
        "true-client-ip",
        "cdn-loop",
        "front-end-https",
    ] {
        let refused = client.send(create().header(header, "203.0.113.9")).await.unwrap();
        assert_eq!((refused.status, refused.text("reason").as_str()), (401, "passed-on"), "{header}");
    }
    // A name of somebody else's that leads to this machine, as after DNS rebinding.
    let port = node.address().port();
    let rebound = create().header("host", format!("evil.example:{port}"));
    let rebound = rebound.header("origin", format!("http://evil.example:{port}"));
    assert_eq!(client.send(rebound).await.unwrap().status, 403);
    let image = client.request(Method::GET, "/generate-key").header("sec-fetch-site", "cross-site");
    assert_eq!(client.send(image).await.unwrap().status, 403);
    let own = format!("http://{}", node.address());
    assert_eq!(client.send(create().header("origin", own)).await.unwrap().status, 201);
}
