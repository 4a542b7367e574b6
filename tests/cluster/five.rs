//! Five nodes, one of which keeps no links: the whole of the API through each, growing and shrinking.

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Client, Load, leaders};

use super::{addresses, cluster_of, emptied, remove};

/// Everything that a user can do with a link, through one node.
async fn use_everything(client: &Client, node: usize) {
    let url = format!("https://example.com/through/{node}");
    let code = client.create(&url).await.unwrap();
    assert_eq!(client.follow(&code).await.unwrap().as_ref(), Some(&url));
    let slug = format!("five-{node}");
    let made = client.shorten(json!({ "longUrl": url, "customSlug": slug })).await.unwrap();
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    assert_eq!(client.shorten(json!({ "longUrl": url, "customSlug": slug })).await.unwrap().status, 409);
    let found = client.shorten(json!({ "longUrl": url, "findIfExists": true })).await.unwrap();
    assert_eq!((found.status, found.text("shortCode")), (200, code.clone()));
    let keys = client.get("/generate-key?count=2").await.unwrap();
    assert_eq!(keys.status, 200, "{}", String::from_utf8_lossy(&keys.body));
    let path = format!("/api/v1/links/{slug}");
    let edit = client.request(Method::PATCH, &path).json(&json!({ "longUrl": "https://example.com/edited" }));
    assert_eq!(client.send(edit).await.unwrap().status, 200);
    let strong = client.get(&format!("{path}?consistency=strong")).await.unwrap();
    assert_eq!(strong.text("longUrl"), "https://example.com/edited");
    assert_eq!(client.get(&format!("/analytics/{code}")).await.unwrap().status, 200);
    assert_eq!(client.get(&format!("{path}/stats?by=browser")).await.unwrap().status, 200);
    assert_eq!(client.get("/api/v1/stats").await.unwrap().status, 200);
    assert_eq!(client.send(client.request(Method::DELETE, &path)).await.unwrap().status, 204);
    assert_eq!(client.get(&format!("{path}?consistency=strong")).await.unwrap().status, 404);
    assert_eq!(client.get("/health/ready").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_grow_to_five_with_an_edge_node_and_shrink_again_under_load() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let load = Load::start(3, &addresses(&cluster, &[0, 1, 2]));
    let further = cluster.add(None).unwrap();
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[further, edge]).unwrap();
    let holds = |view: &serde_json::Value, name: &str| {
        leaders(view).iter().any(|(leader, _, _)| leader == name)
            && view["moving"].as_array().is_some_and(Vec::is_empty)
            && view["leaderless"].as_array().is_some_and(Vec::is_empty)
    };
    cluster.wait(0, "the fourth node leads shards, too", |view| holds(view, "n4")).await.unwrap();
    load.aim(&addresses(&cluster, &[0, 1, 2, 3, 4]));
    for node in 0..5 {
        use_everything(&cluster.client(node), node).await;
    }
    let admin = cluster.node(1).admin_client().unwrap();
    let drained = admin.send(admin.request(Method::POST, "/cluster/nodes/n1/drain")).await.unwrap();
    assert_eq!(drained.status, 204, "{}", String::from_utf8_lossy(&drained.body));
    emptied(&cluster, 1, "n1").await;
    load.aim(&addresses(&cluster, &[1, 2, 3, 4]));
    remove(&admin, "n1").await;
    cluster.kill(0).unwrap();
    let tally = load.finish(&addresses(&cluster, &[1, 2, 3, 4])).await.unwrap();
    assert!(tally.acknowledged > 50, "{tally:?}");
    use_everything(&cluster.client(edge), 5).await;
}
