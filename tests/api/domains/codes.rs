//! The codes of a domain: their format, check characters, spelling, and keys.

use reqwest::Method;
use serde_json::json;

use super::{domain, led_to, link, send, to};
use crate::fresh_node;

#[tokio::test]
async fn generated_codes_find_existing_and_idempotency_keys_keep_domains_apart() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    domain(&client, json!({ "host": "b.example" })).await;
    let body = |host: Option<&str>| json!({ "longUrl": "https://example.com/x", "domain": host, "findIfExists": true });
    let create = |host: Option<&'static str>| send(&client, Method::POST, "/api/v1/links", body(host));
    let (one, two) = (create(None).await, create(Some("b.example")).await);
    assert_eq!((one.status, two.status), (201, 201));
    assert_ne!(one.text("shortCode"), two.text("shortCode"));
    let (found, elsewhere) = (create(None).await, create(Some("b.example")).await);
    assert_eq!((found.status, found.text("shortCode")), (200, one.text("shortCode")));
    assert_eq!((elsewhere.status, elsewhere.text("shortCode")), (200, two.text("shortCode")));
    assert_eq!(led_to(&client, "b.example", &format!("/{}", two.text("shortCode"))).await, to("x"));
    assert_eq!(led_to(&client, "go.example", &format!("/{}", two.text("shortCode"))).await.0, 404);
    // More codes than the shards have in stock.
    for _ in 0..300 {
        link(&client, json!({ "longUrl": "https://example.com/y", "domain": "b.example" })).await;
    }
    let with_key = |host: Option<&str>| {
        let request = client.request(Method::POST, "/api/v1/links").header("idempotency-key", "k");
        client.send(request.json(&json!({ "longUrl": "https://example.com/z", "customSlug": "z", "domain": host })))
    };
    for host in [None, Some("b.example")] {
        let (first, second) = (with_key(host).await.unwrap(), with_key(host).await.unwrap());
        assert_eq!((first.status, second.status), (201, 201));
        assert_eq!(
            (first.json()["id"].clone(), first.text("domain")),
            (second.json()["id"].clone(), host.unwrap_or_default().to_owned())
        );
    }
}

#[tokio::test]
async fn a_domain_that_compares_without_case_finds_a_link_in_any_spelling() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    domain(&client, json!({ "host": "b.example", "caseInsensitive": true })).await;
    let made = link(
        &client,
        json!({ "longUrl": "https://example.com/1", "customSlug": "Spring-Sale", "domain": "b.example" }),
    )
    .await;
    assert_eq!(made["shortCode"], "spring-sale");
    for path in ["/spring-sale", "/SPRING-SALE", "/Spring-sale", "/SPRING-SALE.", "/Spring-Sale/"] {
        for _ in 0..2 {
            assert_eq!(led_to(&client, "b.example", path).await, to("1"), "{path}");
        }
    }
    let taken = json!({ "longUrl": "https://example.com/2", "customSlug": "SPRING-SALE", "domain": "b.example" });
    assert_eq!(send(&client, Method::POST, "/api/v1/links", taken).await.problem(), "slug-taken");
    let letters = json!({ "longUrl": "https://example.com/3", "customSlug": "Straße-Ä", "domain": "b.example" });
    link(&client, letters).await;
    assert_eq!(led_to(&client, "b.example", "/STRA%C3%9Fe-%C3%84").await, to("3"));
    assert_eq!(client.get("/api/v1/links/SPRING-sale?domain=b.example").await.unwrap().status, 200);
    // Generated codes have no capital letters there.
    for _ in 0..40 {
        let made = link(&client, json!({ "longUrl": "https://example.com/4", "domain": "b.example" })).await;
        let code = made["shortCode"].as_str().unwrap().to_owned();
        assert_eq!((code.len(), code.to_lowercase()), (8, code.clone()));
        assert_eq!(led_to(&client, "b.example", &format!("/{}", code.to_uppercase())).await, to("4"));
    }
    // What is fixed stays.
    let path = "/api/v1/domains/b.example";
    let refused = send(&client, Method::PATCH, path, json!({ "caseInsensitive": false })).await;
    assert_eq!((refused.status, refused.problem()), (409, "conflict".to_owned()));
    assert_eq!(send(&client, Method::PATCH, path, json!({ "caseInsensitive": true })).await.status, 200);
    let refused = send(&client, Method::PATCH, "/api/v1/domains/DEFAULT", json!({ "caseInsensitive": true })).await;
    assert_eq!(refused.problem(), "conflict");
}

#[tokio::test]
async fn a_mistyped_code_of_a_domain_with_check_characters_opens_no_link_and_is_told() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let format = json!({ "alphabet": "unambiguous", "length": 8, "checkCharacter": true });
    domain(&client, json!({ "host": "b.example", "codeFormat": format })).await;
    let made = link(&client, json!({ "longUrl": "https://example.com/x", "domain": "b.example" })).await;
    let code = made["shortCode"].as_str().unwrap();
    let other = if code.starts_with('2') { "3" } else { "2" };
    let mistyped = format!("{other}{}", &code[1..]);
    let asked = client.request(Method::GET, &format!("/{mistyped}")).header("host", "b.example");
    let answer = client.send(asked).await.unwrap();
    assert_eq!(
        (answer.status, answer.problem().as_str(), answer.text("reason").as_str()),
        (404, "link-not-found", "mistyped")
    );
    let asked = client.request(Method::GET, &format!("/{mistyped}")).header("host", "b.example");
    let page = client.send(asked.header("accept", "text/html").header("accept-language", "en")).await.unwrap();
    assert!(String::from_utf8_lossy(&page.body).contains("mistyped"));
    // Another text is only unknown, and so is this one in another domain.
    for (host, path) in [("b.example", "/unknown"), ("localhost", mistyped.as_str())] {
        let asked = client.request(Method::GET, &format!("/{}", path.trim_start_matches('/'))).header("host", host);
        let answer = client.send(asked).await.unwrap();
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (404, None), "{host}{path}");
    }
    // Also where visitors of unknown codes are sent elsewhere. What they have sent does not go there with them.
    let elsewhere = json!({ "unknownUrl": "https://example.com/lost" });
    assert_eq!(send(&client, Method::PATCH, "/api/v1/domains/b.example", elsewhere).await.status, 200);
    let asked = client.request(Method::GET, &format!("/{mistyped}")).header("host", "b.example");
    assert_eq!(client.send(asked).await.unwrap().text("reason"), "mistyped");
    let form = client
        .request(Method::POST, "/unknown")
        .header("host", "b.example")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = client.send(form.body("password=secret")).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (303, Some("https://example.com/lost")));
    // No link can have it.
    let slip =
        |host: Option<&str>| json!({ "longUrl": "https://example.com/y", "customSlug": mistyped, "domain": host });
    let refused = send(&client, Method::POST, "/api/v1/links", slip(Some("b.example"))).await;
    assert_eq!((refused.status, refused.text("field")), (422, "customSlug".to_owned()));
    assert_eq!(send(&client, Method::POST, "/api/v1/links", slip(None)).await.status, 201);
}

#[tokio::test]
async fn generated_codes_have_the_format_of_their_domain() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let format = json!({ "alphabet": "unambiguous", "length": 6, "prefix": "P-", "checkCharacter": true });
    let made = domain(&client, json!({ "host": "b.example", "codeFormat": format })).await;
    assert_eq!(made["codeFormat"], format);
    let codes = |host: Option<&'static str>| {
        let client = client.clone();
        async move {
            let mut codes = Vec::new();
            for _ in 0..20 {
                let made = link(&client, json!({ "longUrl": "https://example.com/x", "domain": host })).await;
                codes.push(made["shortCode"].as_str().unwrap().to_owned());
            }
            codes
        }
    };
    for code in codes(Some("b.example")).await {
        assert!(code.starts_with("P-") && code.len() == 9, "{code}");
        assert_eq!(led_to(&client, "b.example", &format!("/{code}")).await, to("x"));
    }
    assert!(codes(None).await.iter().all(|code| code.len() == 7));
    // Codes for later have the format, too, and are for links of the domain only.
    let keys = client.get("/generate-key?count=3&domain=B.example").await.unwrap().json();
    for key in keys["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()) {
        assert!(key.starts_with("P-") && key.len() == 9, "{key}");
        let body = json!({ "longUrl": "https://example.com/x", "customSlug": key, "domain": "b.example" });
        assert_eq!(link(&client, body).await["shortCode"], key);
    }
    assert_eq!(client.get("/generate-key?domain=DEFAULT").await.unwrap().text("key").len(), 7);
    let unknown = client.get("/generate-key?domain=c.example").await.unwrap();
    assert_eq!((unknown.status, unknown.problem()), (404, "domain-not-found".to_owned()));
    // A change counts for the next code, in the default domain as well.
    for (name, host) in [("b.example", Some("b.example")), ("DEFAULT", None)] {
        let path = format!("/api/v1/domains/{name}");
        let eight = json!({ "codeFormat": { "alphabet": "base62", "length": 8 } });
        assert_eq!(send(&client, Method::PATCH, &path, eight).await.status, 200);
        assert!(codes(host).await.iter().all(|code| code.len() == 8));
        let usual = send(&client, Method::PATCH, &path, json!({ "codeFormat": null })).await;
        assert_eq!(
            usual.json()["codeFormat"],
            json!({ "alphabet": "base62", "length": 7, "prefix": "", "checkCharacter": false })
        );
        assert!(codes(host).await.iter().all(|code| code.len() == 7));
    }
    for wrong in [
        json!({ "alphabet": "base62", "length": 5 }),
        json!({ "alphabet": "base62", "length": 7, "checkCharacter": true }),
        json!({ "alphabet": "lowercase", "length": 7, "prefix": "a/" }),
    ] {
        let refused = send(&client, Method::PATCH, "/api/v1/domains/b.example", json!({ "codeFormat": wrong })).await;
        assert_eq!((refused.status, refused.text("field")), (422, "codeFormat".to_owned()), "{wrong}");
    }
    let folds =
        json!({ "host": "c.example", "caseInsensitive": true, "codeFormat": { "alphabet": "base62", "length": 7 } });
    assert_eq!(send(&client, Method::POST, "/api/v1/domains", folds).await.text("field"), "codeFormat");
}

#[tokio::test]
async fn codes_with_a_check_character_have_a_length_of_their_own() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let format = |alphabet: &str, length: u8, check: bool| json!({ "codeFormat": { "alphabet": alphabet, "length": length, "checkCharacter": check } });
    let path = "/api/v1/domains/DEFAULT";
    link(&client, json!({ "longUrl": "https://example.com/x" })).await;
    // Seven characters, as the usual codes that there are.
    let refused = send(&client, Method::PATCH, path, format("unambiguous", 6, true)).await;
    assert_eq!((refused.status, refused.text("field")), (422, "codeFormat".to_owned()));
    assert_eq!(send(&client, Method::PATCH, path, format("unambiguous", 8, true)).await.status, 200);
    link(&client, json!({ "longUrl": "https://example.com/x" })).await;
    for (alphabet, length, check) in [("base62", 9, false), ("unambiguous", 9, false)] {
        let refused = send(&client, Method::PATCH, path, format(alphabet, length, check)).await;
        assert_eq!(refused.text("field"), "codeFormat", "{alphabet} {length}");
    }
    // A new domain has no codes of another format.
    let mut new = format("unambiguous", 6, true);
    new["host"] = json!("b.example");
    domain(&client, new).await;
}
