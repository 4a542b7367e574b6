//! Links with a password: who is let pass, and what others learn of them.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client, NodeBuilder};

use crate::{PROGRAM, fresh_node, node_in_temp};

const TARGET: &str = "https://secret.example/a?b=1";
const PASSWORD: &str = "correct horse";

async fn created(client: &Client, mut body: Value) -> String {
    body["longUrl"] = TARGET.into();
    let answer = client.shorten(body).await.unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.text("shortCode")
}

async fn edit(client: &Client, code: &str, body: Value) -> Answer {
    client.send(client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&body)).await.unwrap()
}

/// Sends the form of the page.
async fn unlock(client: &Client, path: &str, password: &str) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("password", password).finish();
    let request = client.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    client.send(request.body(form)).await.unwrap()
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.problem())
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn a_protected_link_leads_only_those_to_its_target_who_send_its_password() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({ "password": PASSWORD })).await;
    let path = format!("/{code}");
    // The first is read from the store, the second from the cache.
    for _ in 0..2 {
        let refused = client.get(&path).await.unwrap();
        assert_eq!(told(&refused), problem(403, "link-protected"));
        assert_eq!(told(&unlock(&client, &path, "incorrect").await), problem(403, "wrong-password"));
        assert_eq!(told(&unlock(&client, &path, "").await), problem(403, "wrong-password"));
        let passed = unlock(&client, &path, PASSWORD).await;
        let headers = (passed.header("location"), passed.header("cache-control"));
        assert_eq!((passed.status, headers), (303, (Some(TARGET), Some("private, no-store"))));
    }
    assert_eq!(client.send(client.request(Method::HEAD, &path)).await.unwrap().status, 403);
    // A password in the URL is none.
    assert_eq!(client.get(&format!("{path}?password=correct+horse")).await.unwrap().status, 403);
    let shown = client.get(&format!("/api/v1/links/{code}")).await.unwrap();
    assert_eq!((&shown.json()["protected"], &shown.json()["state"]), (&json!(true), &json!("active")));
    let text = String::from_utf8(shown.body.clone()).unwrap();
    assert!(!text.contains("argon2") && !text.contains(PASSWORD) && !text.contains("\"password\""), "{text}");

    assert_eq!(edit(&client, &code, json!({ "password": "another" })).await.json()["protected"], true);
    assert_eq!(told(&unlock(&client, &path, PASSWORD).await), problem(403, "wrong-password"));
    assert_eq!(unlock(&client, &path, "another").await.status, 303);
    assert_eq!(edit(&client, &code, json!({ "title": "T" })).await.json()["protected"], true, "it stays");
    assert_eq!(edit(&client, &code, json!({ "password": null })).await.json()["protected"], false);
    assert_eq!(client.get(&path).await.unwrap().header("location"), Some(TARGET));
    // Who has seen the page before.
    assert_eq!(unlock(&client, &path, "another").await.header("location"), Some(TARGET));
}

#[tokio::test]
async fn people_get_a_page_with_a_form_that_says_what_is_wrong() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({ "password": PASSWORD })).await;
    let browser = |method| {
        let request = client.request(method, &format!("/{code}"));
        request.header("accept", "text/html,*/*;q=0.8").header("accept-language", "de")
    };
    let page = client.send(browser(Method::GET)).await.unwrap();
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert_eq!((page.status, page.header("content-language")), (403, Some("de")));
    for part in
        ["Dieser Link braucht ein Passwort", "<form method=\"post\">", "<label for=\"password\">Passwort</label>"]
    {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("falsch") && !html.contains("secret.example"), "{html}");
    // Browsers apply it to the redirect that follows: it must not forbid the target.
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action http: https:;") && policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let form = || browser(Method::POST).header("content-type", "application/x-www-form-urlencoded");
    let again = client.send(form().body("password=wrong")).await.unwrap();
    let html = String::from_utf8(again.body.clone()).unwrap();
    assert_eq!(again.status, 403);
    assert!(html.contains("Dieses Passwort ist falsch.") && html.contains("<form"), "{html}");
    let passed = client.send(form().body("password=correct+horse")).await.unwrap();
    assert_eq!((passed.status, passed.header("location")), (303, Some(TARGET)));
    // The link is there, so its visitors are no orphans, and those who have passed are counted.
    assert_eq!(client.get("/api/v1/stats/orphans").await.unwrap().json()["orphans"], json!([]));
}

#[tokio::test]
async fn nobody_else_learns_where_a_protected_link_leads() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let node = builder.env("WAYPOST_ADMIN_KEY", key).env("WAYPOST_HTTP_ANALYTICS", "full").start().unwrap();
    let (owner, client) = (node.client().with_key(key), node.client());
    let code = created(&owner, json!({ "password": PASSWORD, "title": "Plans" })).await;
    for path in [format!("/{code}"), format!("/{code}+"), format!("/{code}/"), format!("/analytics/{code}")] {
        for accept in ["*/*", "text/html"] {
            let answer = client.send(client.request(Method::GET, &path).header("accept", accept)).await.unwrap();
            let all = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
            assert!(!all.contains("secret.example") && !all.contains("Plans"), "{path}: {all}");
        }
    }
    let preview = client.get(&format!("/{code}+")).await.unwrap();
    assert_eq!(told(&preview), problem(403, "link-protected"));
    assert_eq!(owner.get(&format!("/analytics/{code}")).await.unwrap().text("longUrl"), TARGET);
    let plain = owner.create("https://example.com/").await.unwrap();
    assert_eq!(client.get(&format!("/analytics/{plain}")).await.unwrap().text("longUrl"), "https://example.com/");
}

#[tokio::test]
async fn a_repeated_request_with_a_password_is_the_same_request_and_protected_links_are_not_found() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let send = |key: &'static str, password: &'static str| {
        let body = json!({ "longUrl": TARGET, "password": password });
        let request = client.request(Method::POST, "/shorten").header("idempotency-key", key).json(&body);
        async { client.send(request).await.unwrap() }
    };
    let first = send("one", PASSWORD).await;
    let again = send("one", PASSWORD).await;
    assert_eq!((first.status, again.status, first.text("shortCode")), (201, 201, again.text("shortCode")));
    assert_eq!(told(&send("one", "another").await), problem(422, "idempotency-key-reused"));
    let found = client.shorten(json!({ "longUrl": TARGET, "findIfExists": true })).await.unwrap();
    assert_eq!((found.status, &found.json()["protected"]), (201, &json!(false)));
    let refused = json!({ "longUrl": TARGET, "findIfExists": true, "password": PASSWORD });
    assert_eq!(client.shorten(refused).await.unwrap().text("field"), "findIfExists");

    let put = |password: &'static str| {
        let body = json!({ "longUrl": TARGET, "password": password });
        let request = client.request(Method::PUT, "/api/v1/links/put").json(&body);
        async { client.send(request).await.unwrap() }
    };
    let first = put(PASSWORD).await;
    let again = put(PASSWORD).await;
    assert_eq!((first.status, again.status, first.header("etag")), (201, 200, again.header("etag")));
    assert_ne!(put("another").await.header("etag"), first.header("etag"));
    assert_eq!(unlock(&client, "/put", "another").await.status, 303);
}

#[tokio::test]
async fn a_password_has_limits_and_excludes_a_permanent_redirect() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for password in ["abc", "", "with\nline", &"x".repeat(257)] {
        let refused = client.shorten(json!({ "longUrl": TARGET, "password": password })).await.unwrap();
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "password"), "{password:?}");
    }
    let both = json!({ "longUrl": TARGET, "password": PASSWORD, "redirectStatus": 308 });
    let put = client.send(client.request(Method::PUT, "/api/v1/links/both").json(&both)).await.unwrap();
    for refused in [client.shorten(both).await.unwrap(), put] {
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "password"));
    }
    let protected = created(&client, json!({ "password": PASSWORD })).await;
    let permanent = created(&client, json!({ "redirectStatus": 301 })).await;
    for (code, body) in [(&protected, json!({ "redirectStatus": 301 })), (&permanent, json!({ "password": PASSWORD }))]
    {
        let refused = edit(&client, code, body).await;
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "password"));
    }
    // In composed characters or not.
    let code = created(&client, json!({ "password": "Cafe\u{301}!" })).await;
    assert_eq!(unlock(&client, &format!("/{code}"), "Caf\u{e9}!").await.status, 303);
}

#[tokio::test]
async fn a_form_is_small_and_has_a_password_and_goes_on_as_the_link_says() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let fields = json!({ "password": PASSWORD, "redirectStatus": 307, "forwardQuery": true, "forwardPath": true });
    let code = created(&client, fields).await;
    let send = |kind: &'static str, body: String| {
        let request = client.request(Method::POST, &format!("/{code}")).header("content-type", kind).body(body);
        async { client.send(request).await.unwrap() }
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(told(&send("application/json", "{}".to_owned()).await), problem(415, "unsupported-media-type"));
    assert_eq!(told(&send(form, "pass=x".to_owned()).await), problem(400, "malformed-request"));
    assert_eq!(told(&send(form, format!("password={}", "x".repeat(5000))).await), problem(413, "body-too-large"));
    // With 307 a browser would send the password on to the target.
    let passed = unlock(&client, &format!("/{code}/more?x=2"), PASSWORD).await;
    assert_eq!((passed.status, passed.header("location")), (303, Some("https://secret.example/a/more?b=1&x=2")));
    assert_eq!(unlock(&client, &format!("/{code}/more"), "wrong").await.status, 403);
    assert_eq!(told(&unlock(&client, "/neverwas", PASSWORD).await), problem(404, "link-not-found"));
    let over = json!({ "disabled": true, "expiredUrl": "https://example.com/over" });
    assert_eq!(edit(&client, &code, over).await.status, 200);
    assert_eq!(client.get(&format!("/{code}")).await.unwrap().header("location"), Some("https://example.com/over"));
}

#[tokio::test]
async fn only_visits_with_the_right_password_use_up_a_limit() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({ "password": PASSWORD, "maxVisits": 1 })).await;
    let path = format!("/{code}");
    assert_eq!(client.get(&path).await.unwrap().status, 403);
    assert_eq!(unlock(&client, &path, "wrong").await.status, 403);
    let link = client.get(&format!("/api/v1/links/{code}")).await.unwrap().json();
    assert_eq!(link["visitsLeft"], 1);
    assert_eq!(unlock(&client, &path, PASSWORD).await.status, 303);
    assert_eq!(told(&unlock(&client, &path, PASSWORD).await), problem(410, "link-exhausted"));
}

#[tokio::test]
async fn who_guesses_is_refused_after_a_few_wrong_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let builder = NodeBuilder::new(PROGRAM, dir.path().join("data"));
    let key = "a-long-enough-key-for-the-tests";
    let builder = builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_ADMIN_KEY", key);
    let node = builder.start().unwrap();
    let client = node.client();
    let code = created(&client.clone().with_key(key), json!({ "password": PASSWORD })).await;
    let guess = |of: &'static str, password: &'static str| {
        let request = client.request(Method::POST, &format!("/{code}")).header("x-forwarded-for", of);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(format!("password={}", password.replace(' ', "+")));
        async { client.send(request).await.unwrap() }
    };
    let mut wrong = 0;
    let refused = loop {
        let answer = guess("203.0.113.7", "wrong").await;
        if answer.status != 403 {
            break answer;
        }
        wrong += 1;
        // One more in each ten seconds, should the machine be slow.
        assert!(wrong < 100, "nobody is refused");
    };
    assert_eq!(told(&refused), problem(429, "too-many-passwords"));
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert!(wrong >= 10, "{wrong} guesses");
    assert_eq!(guess("203.0.113.8", "wrong").await.status, 403, "another address");
    assert_eq!(guess("203.0.113.8", PASSWORD).await.status, 303);
}

#[tokio::test]
async fn who_floods_with_right_passwords_is_refused_too() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let node =
        builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let client = node.client();
    let code = created(&client.clone().with_key(key), json!({ "password": PASSWORD })).await;
    let right = |of: &'static str| {
        let request = client.request(Method::POST, &format!("/{code}")).header("x-forwarded-for", of);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        client.send(request.body("password=correct+horse"))
    };
    let (mut passed, mut refused) = (0, None);
    for _ in 0..100 {
        // Fewer at the same time than may be wrong: those that are not checked yet count like wrong ones.
        let round = join_all((0..8).map(|_| right("203.0.113.7"))).await.into_iter().map(Result::unwrap);
        let round: Vec<Answer> = round.collect();
        passed += round.iter().filter(|answer| answer.status == 303).count();
        refused = round.into_iter().find(|answer| answer.status != 303);
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("800 passwords of one client were checked");
    assert!(passed >= 60, "{passed}");
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("too-many-passwords", Some("10")));
    assert_eq!(right("203.0.113.8").await.unwrap().status, 303, "another client");
}
