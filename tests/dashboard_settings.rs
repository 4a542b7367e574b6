//! The pages of the dashboard for tags, domains and the cluster.

use std::time::{Duration, Instant};

use serde_json::json;
use waypost_testkit::{Client, Node};

use crate::sessions::{Browser, KEY, keyed_node, text};

/// How long a list may lack a change.
const PATIENCE: Duration = Duration::from_secs(60);

async fn signed_in(node: &Node) -> Browser {
    let mut browser = Browser::of(node);
    browser.sign_in().await;
    browser
}

fn api(node: &Node) -> Client {
    node.client().with_key(KEY)
}

/// Waits until a page contains a text.
async fn shows(browser: &mut Browser, path: &str, expected: &str) -> String {
    let since = Instant::now();
    loop {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        let page = text(&answer);
        if page.contains(expected) {
            return page;
        }
        assert!(since.elapsed() < PATIENCE, "{path} does not show {expected}: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_tag_is_renamed_in_all_links_and_a_name_that_is_none_is_refused_beside_the_field() {
    let (_dir, node) = keyed_node();
    let (client, mut browser) = (api(&node), signed_in(&node).await);
    for (slug, tags) in [("one", vec!["Sale"]), ("two", vec!["sale", "old & new"])] {
        let link = json!({ "longUrl": "https://example.com/", "customSlug": slug, "tags": tags });
        assert_eq!(client.shorten(link).await.unwrap().status, 201);
    }
    let page = shows(&mut browser, "/ui/tags", "old &#38; new").await;
    assert!(page.contains("href=\"/ui/links?tags=old+%26+new\""), "{page}");
    shows(&mut browser, "/ui/tags/edit?tag=sale", "2 links have it").await;

    let refused = browser.post("/ui/tags/replace", &format!("tag=sale&with={}", "x".repeat(65))).await;
    assert_eq!(refused.status, 422, "{}", text(&refused));
    assert!(text(&refused).contains("id=\"with-error\""), "{}", text(&refused));

    // A blank is no name, and does not remove the tag.
    let blank = browser.post("/ui/tags/replace", "tag=sale&with=+").await;
    assert!(blank.status == 422 && text(&blank).contains("id=\"with-error\""), "{}", text(&blank));

    let renamed = browser.post("/ui/tags/replace", "tag=sale&with=Offer").await;
    let page = text(&renamed);
    assert!(renamed.status == 200 && page.contains("2 links have the tag “Offer” in its place now"), "{page}");
    assert!(page.contains("href=\"/ui/tags\"") && page.ends_with("</html>"), "{page}");
    for slug in ["one", "two"] {
        let link = client.get(&format!("/api/v1/links/{slug}")).await.unwrap().json();
        assert!(link["tags"].as_array().unwrap().contains(&json!("Offer")), "{link}");
    }
    // What a sweep of the list finds is not older than a second.
    shows(&mut browser, "/ui/tags/edit?tag=offer", "2 links have it").await;
    let removal = "action=untag&tag=offer&all=on&filter=tags%3Doffer&back=%2Fui%2Ftags";
    let asked = browser.post("/ui/links/bulk", removal).await;
    assert!(text(&asked).contains("name=\"confirmed\""), "{}", text(&asked));
    let removed = browser.post("/ui/links/bulk", &format!("{removal}&confirmed=on")).await;
    assert!(text(&removed).contains("2 links have lost the tag “offer”"), "{}", text(&removed));
    let link = client.get("/api/v1/links/two").await.unwrap().json();
    assert_eq!(link["tags"], json!(["old & new"]));
    let since = Instant::now();
    while browser.get("/ui/tags/edit?tag=offer").await.status != 404 {
        assert!(since.elapsed() < PATIENCE, "a tag that no link has is still listed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_domain_is_made_changed_and_removed_and_its_links_come_back_with_it() {
    let (_dir, node) = keyed_node();
    let (client, mut browser) = (api(&node), signed_in(&node).await);
    let refused = browser.post("/ui/domains/new", "host=https%3A%2F%2Fgo.example%2F&defaultStatus=302&length=7").await;
    assert_eq!(refused.status, 422, "{}", text(&refused));
    let page = text(&refused);
    assert!(page.contains("id=\"host-error\"") && page.contains("value=\"https://go.example/\""), "{page}");

    let since = Instant::now();
    loop {
        let form =
            "host=go.example&defaultStatus=307&alphabet=unambiguous&length=8&checkCharacter=on&caseInsensitive=on";
        let made = browser.post("/ui/domains/new", form).await;
        if made.status == 303 {
            break;
        }
        // A new node first raises the level of its cluster.
        assert!(since.elapsed() < PATIENCE, "{}", text(&made));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let domain = client.get("/api/v1/domains/go.example").await.unwrap().json();
    assert_eq!((&domain["defaultStatus"], &domain["caseInsensitive"]), (&json!(307), &json!(true)));
    let format = json!({ "alphabet": "unambiguous", "length": 8, "prefix": "", "checkCharacter": true });
    assert_eq!(domain["codeFormat"], format);

    let page = shows(&mut browser, "/ui/domains/edit?host=go.example", "value=\"307\" selected").await;
    assert!(page.contains("value=\"unambiguous\" selected"), "{page}");
    let form = "name=go.example&defaultStatus=302&baseUrl=https%3A%2F%2Fexample.com%2F&alphabet=unambiguous&length=8&checkCharacter=on";
    assert_eq!(browser.post("/ui/domains/edit", form).await.status, 303);
    let domain = client.get("/api/v1/domains/go.example").await.unwrap().json();
    assert_eq!((&domain["defaultStatus"], &domain["baseUrl"]), (&json!(302), &json!("https://example.com/")));

    let link = json!({ "longUrl": "https://example.com/a", "customSlug": "kept", "domain": "go.example" });
    assert_eq!(client.shorten(link).await.unwrap().status, 201);
    shows(&mut browser, "/ui/domains/remove?host=go.example", "Nothing is deleted").await;
    assert_eq!(browser.post("/ui/domains/remove", "host=go.example&visitors=notFound").await.status, 303);
    assert_eq!(client.get("/api/v1/domains/go.example").await.unwrap().status, 404);
    // Codes with a check character were made for it, of which no code of another format may be a slip.
    let close = browser.post("/ui/domains/new", "host=go.example&caseInsensitive=on").await;
    assert!(close.status == 422 && text(&close).contains("id=\"length-error\""), "{}", text(&close));
    let form = "host=go.example&caseInsensitive=on&alphabet=unambiguous&length=8&checkCharacter=on";
    let again = browser.post("/ui/domains/new", form).await;
    assert_eq!(again.status, 303, "{}", text(&again));
    assert_eq!(client.get("/api/v1/links/kept?domain=go.example").await.unwrap().status, 200);
    assert_eq!(browser.get("/ui/domains/remove?host=DEFAULT").await.status, 404);
}

#[tokio::test]
async fn the_cluster_is_shown_on_both_listeners_and_changed_on_the_admin_listener_only() {
    let (_dir, node) = keyed_node();
    let mut browser = signed_in(&node).await;
    let page = shows(&mut browser, "/ui/cluster", "Shard 15").await;
    assert!(
        page.contains(&format!("http://{}/ui/cluster", node.admin())) && !page.contains("/ui/cluster/drain"),
        "{page}"
    );
    for answer in [
        browser.post("/ui/cluster/backup", "").await,
        browser.post("/ui/cluster/drain", "node=waypost").await,
        browser.post("/ui/cluster/leader", "group=1&to=waypost").await,
    ] {
        assert_eq!(answer.status, 403, "{}", text(&answer));
    }

    let mut admin = Browser::at(Client::new(node.admin()), node.admin());
    admin.sign_in().await;
    let page = shows(&mut admin, "/ui/cluster", "Take a backup").await;
    let name = page.split("name=\"node\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    shows(&mut admin, &format!("/ui/cluster/drain?node={name}"), "Nothing is lost").await;
    let refused = admin.post("/ui/cluster/drain", &format!("node={name}")).await;
    assert_eq!(refused.status, 409, "{}", text(&refused));
    assert!(text(&refused).contains("no other node could hold its links"), "{}", text(&refused));
    let backup = admin.post("/ui/cluster/backup", "").await;
    assert_eq!(backup.status, 200);
    assert!(!backup.body.is_empty() && backup.header("content-disposition").is_some());
    assert_eq!(admin.get("/ui/cluster/drain?node=nobody").await.status, 404);
}

#[tokio::test]
async fn a_choice_is_kept_by_a_browser_that_uses_http_also_where_visitors_use_https() {
    let (_dir, builder) = crate::node_in_temp();
    let builder = builder.env("WAYPOST_ADMIN_KEY", KEY).env("WAYPOST_HTTP_PUBLIC_URL", "https://go.example");
    let node = builder.start().unwrap();
    let mut browser = signed_in(&node).await;
    let chosen = browser.post("/ui/preferences", "theme=dark&back=%2Fui%2F").await;
    assert_eq!(chosen.status, 303, "{}", text(&chosen));
    let mut cookies = chosen.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let theme = cookies.find(|cookie| cookie.starts_with("waypost_theme=dark")).unwrap();
    assert!(!theme.contains("Secure"), "{theme}");
}
