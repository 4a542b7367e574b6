//! Floods of codes that no link has.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Answer, Client, Cluster};

use crate::node_in_temp;

const FLOODS: &str = "203.0.113.7";

/// A request that a trusted proxy on this machine passes on for a client.
async fn ask(client: &Client, path: &str, of: &str) -> Answer {
    client.send(client.request(Method::GET, path).header("x-forwarded-for", of)).await.unwrap()
}

/// Asks for unknown codes until one is refused.
async fn flood(client: &Client, prefix: &str) -> Answer {
    for number in 0..10_000 {
        let answer = ask(client, &format!("{prefix}{number}"), FLOODS).await;
        if answer.status != 404 {
            return answer;
        }
    }
    panic!("ten thousand unknown codes were looked for");
}

#[tokio::test]
async fn who_floods_with_unknown_codes_is_refused_them_and_nothing_else() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let builder = builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_ADMIN_KEY", key);
    // One in a second, so that no machine is too slow to use the budget up.
    let node = builder.env("WAYPOST_LIMITS_UNKNOWN_CODES_PER_S", "1").start().unwrap();
    let client = node.client();
    let owner = node.client().with_key(key);
    let code = owner.create("https://example.com/").await.unwrap();
    for prefix in ["/none", "/analytics/none"] {
        let refused = flood(&client, prefix).await;
        assert_eq!((refused.status, refused.problem()), (429, "too-many-unknown-codes".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    // What is known is not refused: not in the cache yet, in it, and made meanwhile.
    assert_eq!(ask(&client, &format!("/{code}"), FLOODS).await.status, 302);
    assert_eq!(ask(&client, &format!("/{code}"), FLOODS).await.status, 302);
    assert_eq!(ask(&client, &format!("/analytics/{code}"), FLOODS).await.status, 200);
    let fresh = owner.create("https://example.com/fresh").await.unwrap();
    assert_eq!(ask(&client, &format!("/{fresh}"), FLOODS).await.status, 302);
    assert_eq!(ask(&client, "/none0", "203.0.113.8").await.status, 404, "another client");
    for number in 0..30 {
        assert_eq!(client.get(&format!("/none{number}")).await.unwrap().status, 404, "this machine has no limit");
    }
    let page = client.request(Method::GET, "/none").header("x-forwarded-for", FLOODS).header("accept", "text/html");
    flood(&client, "/none").await;
    let page = client.send(page).await.unwrap();
    assert!(page.status == 404 || page.status == 429 && page.header("retry-after") == Some("1"), "{}", page.status);
}

#[tokio::test]
async fn who_floods_a_link_with_a_limit_of_visits_is_refused_it_and_nothing_else() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let node =
        builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let (client, owner) = (node.client(), node.client().with_key(key));
    let limited = json!({ "longUrl": "https://example.com/", "customSlug": "limited", "maxVisits": 1_000_000 });
    assert_eq!(owner.shorten(limited).await.unwrap().status, 201);
    let plain = owner.create("https://example.com/").await.unwrap();
    let (mut visits, mut refused) = (0, None);
    // At the same time, so that no machine is too slow to use the budget up.
    for _ in 0..50 {
        let round = join_all((0..100).map(|_| ask(&client, "/limited", FLOODS))).await;
        visits += round.iter().filter(|answer| answer.status == 302).count();
        refused = round.into_iter().find(|answer| answer.status == 429);
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("five thousand visits of one client were counted by the leader");
    assert_eq!((refused.problem(), refused.header("retry-after")), ("too-many-visits".to_owned(), Some("1")));
    assert!(visits >= 200, "{visits}");
    assert_eq!(ask(&client, &format!("/{plain}"), FLOODS).await.status, 302);
    assert_eq!(ask(&client, "/limited", "203.0.113.8").await.status, 302, "another client");
    let own = join_all((0..1000).map(|_| client.get("/limited"))).await;
    assert!(own.into_iter().all(|answer| answer.unwrap().status == 302), "this machine has no limit");
    // What was refused is not used up.
    let left = owner.get("/api/v1/links/limited").await.unwrap().json()["visitsLeft"].as_u64().unwrap();
    assert_eq!(left, 1_000_000 - visits as u64 - 1 - 1000);
}

#[tokio::test]
async fn who_floods_with_previews_is_refused_them_and_redirects_go_on() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let builder = builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_ADMIN_KEY", key);
    // One in a second, so that no machine is too slow to use the budget up.
    let node = builder.env("WAYPOST_LIMITS_UNKNOWN_CODES_PER_S", "1").start().unwrap();
    let client = node.client();
    let code = node.client().with_key(key).create("https://example.com/").await.unwrap();
    let mut previews = 0;
    let refused = loop {
        let answer = ask(&client, &format!("/{code}+"), FLOODS).await;
        if answer.status != 200 {
            break answer;
        }
        previews += 1;
        assert!(previews < 10_000, "ten thousand previews were answered");
    };
    assert_eq!((refused.status, refused.problem()), (429, "too-many-unknown-codes".to_owned()));
    assert!(previews >= 10, "{previews}");
    assert_eq!(ask(&client, &format!("/{code}"), FLOODS).await.status, 302);
    assert_eq!(ask(&client, &format!("/{code}+"), "203.0.113.8").await.status, 200, "another client");
    for _ in 0..30 {
        assert_eq!(client.get(&format!("/{code}+")).await.unwrap().status, 200, "this machine has no limit");
    }
}

/// How often the shards of all nodes were asked for a link.
async fn asked(cluster: &Cluster) -> Vec<f64> {
    let mut all = Vec::new();
    for node in 0..3 {
        let text = Client::new(cluster.node(node).admin()).get("/metrics").await.unwrap().body;
        let text = String::from_utf8(text).unwrap();
        let of_links = text
            .lines()
            .filter(|line| line.starts_with("waypost_actor_handled_total") && line.contains("message=\"get_link\""));
        all.push(of_links.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_codes_at_one_node_does_not_reach_the_others() {
    let (_dir, cluster) = crate::cluster::started(3, |cluster| {
        cluster.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_LIMITS_UNKNOWN_CODES_PER_S", "1")
    })
    .await;
    // Else one of them may lead all shards, and has nobody to ask.
    crate::cluster::evened_out(&cluster).await;
    let client = cluster.client(0);
    let before = asked(&cluster).await;
    flood(&client, "/none").await;
    let at_the_budget = asked(&cluster).await;
    assert!(at_the_budget[1] + at_the_budget[2] > before[1] + before[2], "until then their leaders are asked");
    let mut refused = 0;
    for number in 0..300 {
        refused += u32::from(ask(&client, &format!("/more{number}"), FLOODS).await.status == 429);
    }
    let after = asked(&cluster).await;
    let others = (after[1] + after[2]) - (at_the_budget[1] + at_the_budget[2]);
    assert!(others <= f64::from(300 - refused) * 2.0, "{others} questions for {refused} refusals of 300");
    assert!(refused > 100, "{refused}");
    // A link that another node has made is found by the one that floods as well.
    let code = cluster.client(1).create("https://example.com/").await.unwrap();
    let since = std::time::Instant::now();
    while ask(&client, &format!("/{code}"), FLOODS).await.status != 302 {
        assert!(since.elapsed().as_secs() < 60, "a link is hidden by the flood");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
