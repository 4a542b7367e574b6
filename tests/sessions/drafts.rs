//! What somebody has typed when their session ends: the page on which one signs in keeps it, and offers it again.

use std::collections::BTreeMap;

use super::{Browser, KEY, keyed_node, text};

/// The hidden fields of the form of a page that is sent to a path.
fn fields_of(page: &str, action: &str) -> Vec<(String, String)> {
    let start =
        page.find(&format!("<form method=\"post\" action=\"{action}\"")).unwrap_or_else(|| panic!("{action}: {page}"));
    let form = page[start..].split("</form>").next().unwrap();
    let hidden = form.split("<input type=\"hidden\" name=\"").skip(1);
    let field = |part: &str| {
        let mut parts = part.split('"');
        let name = parts.next().unwrap().to_owned();
        (name, parts.nth(1).unwrap().replace("&#38;", "&"))
    };
    hidden.map(field).collect()
}

fn query(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[tokio::test]
async fn a_form_that_is_sent_after_the_session_has_ended_is_offered_again_to_who_signs_in() {
    let (_dir, node) = keyed_node();
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    browser.post("/ui/sign-out", "").await;
    let typed = "longUrl=https%3A%2F%2Fexample.com%2F%3Fa%3D1%26b%3D2&title=Kept&password=night+ferry";
    let lost = browser.post("/ui/links", typed).await;
    let page = text(&lost);
    assert_eq!(lost.status, 401, "{page}");
    assert!(page.contains("Your session has ended") && !page.contains("night"), "{page}");
    // It can also be sent from there, by somebody who has signed in elsewhere.
    let again: BTreeMap<_, _> = fields_of(&page, "/ui/links").into_iter().collect();
    assert_eq!((again["longUrl"].as_str(), again["title"].as_str()), ("https://example.com/?a=1&b=2", "Kept"));
    assert!(!again.contains_key("password") && page.contains("type=\"password\" name=\"password\""), "{page}");
    // Also behind a wrong key.
    let mut entry = fields_of(&page, "/ui/sign-in");
    entry.push(("key".to_owned(), "wrong-key-of-somebody".to_owned()));
    let refused = browser.post("/ui/sign-in", &query(&entry)).await;
    assert_eq!(refused.status, 403);
    let mut entry = fields_of(&text(&refused), "/ui/sign-in");
    entry.push(("key".to_owned(), KEY.to_owned()));
    let entered = browser.post("/ui/sign-in", &query(&entry)).await;
    let page = text(&entered);
    assert_eq!(entered.status, 200, "{page}");
    assert!(page.contains("Signed in again") && page.contains("Kept") && page.contains("name=\"password\""), "{page}");
    // Nothing was made until it is sent once more.
    assert_eq!(
        node.client().with_key(KEY).get("/api/v1/links").await.unwrap().json()["items"].as_array().unwrap().len(),
        0
    );
    let made = browser.post("/ui/links", &query(&fields_of(&page, "/ui/links"))).await;
    assert_eq!(made.status, 303, "{}", text(&made));
}

#[tokio::test]
async fn what_is_kept_is_sent_to_a_page_of_the_dashboard_and_nowhere_else() {
    let (_dir, node) = keyed_node();
    for action in
        ["https%3A%2F%2Fevil.example%2F", "%2F%2Fevil.example%2Fui%2F", "javascript%3Aalert%281%29", "%2Fshorten"]
    {
        let mut browser = Browser::of(&node);
        let entered = browser.post("/ui/sign-in", &format!("key={KEY}&draft-action={action}&draft.title=x")).await;
        let page = text(&entered);
        assert!(page.contains("<form method=\"post\" action=\"/ui/\"") && !page.contains("evil"), "{page}");
    }
    // A script gets no page for the place of a part; it sends the form anew.
    let request = node.client().request(reqwest::Method::POST, "/ui/links").header("sec-fetch-site", "same-origin");
    let part = node.client().send(request.header("hx-request", "true").body("longUrl=x")).await.unwrap();
    assert_eq!((part.status, part.body.len(), part.header("hx-refresh")), (401, 0, None));
}
