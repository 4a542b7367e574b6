//! A node that has less memory than it takes.

use serde_json::json;

use crate::node_in_temp;

#[tokio::test]
async fn a_node_that_is_short_of_memory_creates_no_links_says_so_and_does_everything_else() {
    let (_dir, builder) = node_in_temp();
    let mut roomy = builder.clone().start().unwrap();
    let code = roomy.client().create("https://example.com/kept").await.unwrap();
    let status = roomy.client().get("/health/ready").await.unwrap().json();
    assert_eq!((&status["writable"], &status["shortOf"]), (&json!(true), &json!([])));
    roomy.terminate().unwrap();

    // An idle node takes more than this.
    let node = builder.env("WAYPOST_LIMITS_MEMORY", "16MiB").start().unwrap();
    let client = node.client();
    let refused = client.shorten(json!({ "longUrl": "https://example.com/refused" })).await.unwrap();
    assert_eq!((refused.status, refused.problem()), (507, "read-only".to_owned()));
    assert!(refused.text("detail").contains("[limits] memory"), "{}", refused.text("detail"));
    assert_eq!(client.follow(&code).await.unwrap().as_deref(), Some("https://example.com/kept"));
    let ready = client.get("/health/ready").await.unwrap();
    assert_eq!((ready.status, &ready.json()["writable"]), (200, &json!(false)));
    assert_eq!(ready.json()["shortOf"], json!(["memory"]));
}
