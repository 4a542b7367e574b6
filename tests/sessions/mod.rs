//! The dashboard's sessions: who is signed in, by what, until when, and who is not.

mod changes;
mod cluster;
mod drafts;
mod keys;
mod links;
mod times;

use reqwest::Method;
use waypost_testkit::{Answer, Client, Node};

use crate::node_in_temp;

/// The admin key of the nodes.
pub(crate) const KEY: &str = "a-long-enough-key-for-the-tests";

/// A node with an admin key.
pub(crate) fn keyed_node() -> (tempfile::TempDir, Node) {
    let (dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    (dir, node)
}

/// A browser at the dashboard of a node: it keeps the cookie of its session, and says where its requests come from.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    origin: String,
    cookie: Option<String>,
}

impl Browser {
    pub(crate) fn of(node: &Node) -> Self {
        Self::at(node.client(), node.address())
    }

    pub(crate) fn at(client: Client, address: std::net::SocketAddr) -> Self {
        Self { client, origin: format!("http://{address}"), cookie: None }
    }

    /// Sends a request as a page of the dashboard does.
    async fn send(&mut self, method: Method, path: &str, form: &str) -> Answer {
        let mut request = self.client.request(method.clone(), path).header("sec-fetch-site", "same-origin");
        if method == Method::POST {
            request = request.header("origin", &self.origin);
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("waypost_session={cookie}"));
        }
        let answer = self.client.send(request).await.unwrap();
        if let Some(set) = set_cookie(&answer) {
            let value = set.split(';').next().and_then(|pair| pair.strip_prefix("waypost_session=")).unwrap();
            self.cookie = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send(Method::POST, path, form).await
    }

    /// Whether the pages are shown.
    async fn is_in(&mut self) -> bool {
        let answer = self.get("/ui/sessions").await;
        assert!(matches!(answer.status, 200 | 303), "{}: {}", answer.status, text(&answer));
        answer.status == 200
    }

    /// Signs in with the admin key.
    pub(crate) async fn sign_in(&mut self) {
        let answer = self.post("/ui/sign-in", &format!("key={KEY}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/ui/")), "{}", text(&answer));
        assert!(self.cookie.is_some());
    }

    /// The cookie of its session.
    pub(crate) fn cookie(&self) -> String {
        format!("waypost_session={}", self.cookie.as_deref().unwrap_or_default())
    }

    /// The ids of the other sessions that the list offers to end.
    async fn others(&mut self) -> Vec<String> {
        let page = text(&self.get("/ui/sessions").await);
        page.split("name=\"id\" value=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    }
}

fn set_cookie(answer: &Answer) -> Option<&str> {
    let mut all = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    all.find(|value| value.starts_with("waypost_session="))
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Makes a one-time link by the endpoint of `waypost dashboard`; its path.
pub(crate) async fn one_time_link(node: &Node) -> String {
    let client = node.client().with_key(&node.key().unwrap());
    let made = client.send(client.request(Method::POST, "/api/v1/dashboard-links").json(&serde_json::json!({}))).await;
    let made = made.unwrap();
    assert_eq!(made.status, 201, "{}", text(&made));
    let base = format!("http://{}", node.address());
    made.text("url").strip_prefix(&base).unwrap().to_owned()
}
