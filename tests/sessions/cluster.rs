//! Sessions in a cluster: one that is opened through any node counts on all, and is ended through any.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::Cluster;

use super::{Browser, KEY, text};
use crate::cluster::started;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn at(cluster: &Cluster, node: usize, browser: &Browser) -> Browser {
    Browser { cookie: browser.cookie.clone(), ..Browser::of(cluster.node(node)) }
}

/// Signs in through a node, as soon as all nodes have said that they know sessions.
async fn signed_in(cluster: &Cluster, node: usize) -> Browser {
    let (mut browser, since) = (Browser::of(cluster.node(node)), Instant::now());
    loop {
        let answer = browser.post("/ui/sign-in", &format!("key={KEY}")).await;
        if answer.status == 303 {
            return browser;
        }
        assert_eq!(answer.status, 409, "{}", text(&answer));
        assert!(since.elapsed() < PATIENCE, "the level of the cluster is not raised");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A request waits for a session that its node has not heard of, but on a busy machine not long enough.
async fn is_in_soon(browser: &mut Browser) {
    let since = Instant::now();
    while !browser.is_in().await {
        assert!(since.elapsed() < PATIENCE, "the session is not known");
    }
}

async fn is_out_soon(browser: &mut Browser) {
    let since = Instant::now();
    while browser.is_in().await {
        assert!(since.elapsed() < PATIENCE, "the session goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_counts_on_every_node_over_restarts_and_is_ended_through_any() {
    let (_dir, mut cluster) = started(3, |cluster| cluster.env("WAYPOST_ADMIN_KEY", KEY)).await;
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[edge]).unwrap();
    let nodes = [0, 1, 2, edge];
    let mut sessions = Vec::new();
    for node in nodes {
        let browser = signed_in(&cluster, node).await;
        for other in nodes {
            is_in_soon(&mut at(&cluster, other, &browser)).await;
        }
        sessions.push(browser);
    }
    // Ended through a third node; it counts nowhere.
    let mut through = at(&cluster, 2, &sessions[1]);
    let mut list = at(&cluster, edge, &sessions[0]);
    assert_eq!(list.others().await.len(), 3);
    let ended = at(&cluster, 0, &sessions[0]);
    let id = own_id(&mut at(&cluster, edge, &sessions[1]), &ended).await;
    assert_eq!(through.post("/ui/sessions/end", &format!("id={id}")).await.status, 303);
    for node in nodes {
        is_out_soon(&mut at(&cluster, node, &ended)).await;
    }
    // The node without replicas keeps sessions like all others, and a restart of everything ends none.
    for node in nodes {
        cluster.kill(node).unwrap();
    }
    cluster.start(&nodes).unwrap();
    for node in nodes {
        is_in_soon(&mut at(&cluster, node, &sessions[1])).await;
    }
    assert_eq!(at(&cluster, edge, &sessions[1]).post("/ui/sessions/end-others", "").await.status, 303);
    for node in nodes {
        is_out_soon(&mut at(&cluster, node, &sessions[2])).await;
        assert!(at(&cluster, node, &sessions[1]).is_in().await);
    }
    // Another key through one node ends those of the key before on all.
    cluster.kill(1).unwrap();
    let other = cluster.builder(1).env("WAYPOST_ADMIN_KEY", "another-long-enough-key-for-tests").start().unwrap();
    cluster.take_over_ready(1, other);
    for node in nodes {
        is_out_soon(&mut at(&cluster, node, &sessions[1])).await;
    }
}

/// The id of a session, from the lists that it and another one are shown.
async fn own_id(other: &mut Browser, of: &Browser) -> String {
    let (theirs, own) = (other.others().await, of.clone().others().await);
    theirs.into_iter().find(|id| !own.contains(id)).unwrap()
}

#[tokio::test]
async fn the_dashboard_is_on_the_listeners_that_serve_it() {
    for (listener, public, admin) in [("public", 303, 404), ("admin", 404, 303), ("both", 303, 303)] {
        let (_dir, builder) = crate::node_in_temp();
        let builder = builder.env("WAYPOST_DASHBOARD_LISTENER", listener).env("WAYPOST_DASHBOARD_PATH", "/-/ui");
        let node = builder.start().unwrap();
        let of_admin = waypost_testkit::Client::new(node.admin());
        for (client, expected) in [(node.client(), public), (of_admin, admin)] {
            let answer = client.get("/-/ui/").await.unwrap();
            assert_eq!(answer.status, expected, "{listener}");
            if expected == 303 {
                assert_eq!(answer.header("location"), Some("/-/ui/sign-in?next=%2F-%2Fui%2F"));
                assert_eq!(client.get("/-/ui").await.unwrap().header("location"), Some("/-/ui/"));
                assert_eq!(client.get("/-/ui/nothing").await.unwrap().status, 404);
            }
            assert_eq!(client.get("/ui/").await.unwrap().status, 404);
        }
    }
    let (_dir, builder) = crate::node_in_temp();
    let node = builder.env("WAYPOST_DASHBOARD_HOST", "dash.example").start().unwrap();
    for (host, expected) in [("dash.example", 200), ("go.example", 404), ("localhost", 200)] {
        let request = node.client().request(Method::GET, "/ui/sign-in").header("host", host);
        assert_eq!(node.client().send(request).await.unwrap().status, expected, "{host}");
    }
}

#[tokio::test]
async fn the_cluster_is_changed_and_backups_are_taken_on_the_admin_listener_only() {
    let (_dir, node) = super::keyed_node();
    let mut public = Browser::of(&node);
    public.sign_in().await;
    // A browser sends its cookies to all ports of a host.
    let admin = waypost_testkit::Client::new(node.admin());
    let mut admin = Browser { cookie: public.cookie.clone(), ..Browser::at(admin, node.admin()) };
    for browser in [&mut public, &mut admin] {
        for path in ["/ui/", "/ui/cluster", "/ui/sessions"] {
            assert_eq!(browser.get(path).await.status, 200, "{path}");
        }
    }
    assert_eq!(public.post("/ui/cluster/backup", "").await.status, 403);
    assert_eq!(public.post("/ui/cluster/undrain", "node=a").await.status, 403);
    assert_eq!(admin.post("/ui/cluster/backup", "").await.status, 200);
    assert_eq!(admin.post("/ui/cluster/undrain", "node=a").await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_link_is_brought_back_through_another_node_than_the_one_that_has_deleted_it() {
    let (_dir, cluster) = started(3, |cluster| cluster.env("WAYPOST_ADMIN_KEY", KEY)).await;
    let mut browser = signed_in(&cluster, 0).await;
    let client = cluster.client(0).with_key(KEY);
    let link =
        json!({ "longUrl": "https://example.com/", "customSlug": "gone", "title": "Gone", "password": "night ferry" });
    assert_eq!(client.shorten(link).await.unwrap().status, 201);
    let asked = text(&browser.get("/ui/link/gone/delete").await);
    let version = asked.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let deleted = browser.post("/ui/link/gone/delete", &format!("version={version}")).await;
    let undo = deleted.header("location").unwrap_or_else(|| panic!("{}", text(&deleted))).to_owned();
    assert!(!undo.contains("example"), "{undo}");
    let mut other = at(&cluster, 1, &browser);
    is_in_soon(&mut other).await;
    let shown = other.get(&undo).await;
    assert!(shown.status == 200 && text(&shown).contains("https://example.com/"), "{}", text(&shown));
    // Also if the form is sent twice, to different nodes.
    let mut third = at(&cluster, 2, &browser);
    is_in_soon(&mut third).await;
    for browser in [&mut other, &mut third] {
        let back = browser.post(&undo, "").await;
        assert_eq!((back.status, back.header("location")), (303, Some("/ui/link/gone")), "{}", text(&back));
    }
    let link = client.get("/api/v1/links/gone").await.unwrap().json();
    assert!(link["title"] == "Gone" && link["protected"] == true, "{link}");
    // Somebody else's text is none.
    assert_eq!(third.get(&undo.replace("/deleted/", "/deleted/A")).await.status, 404);
}
