//! One-time links: who gets one, who can use it, and what uses it up.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::cannot_run;

use super::{Browser, KEY, keyed_node, one_time_link, set_cookie, text};
use crate::{PROGRAM, fresh_node, node_in_temp};

#[tokio::test]
async fn a_link_signs_in_once_and_only_its_button_uses_it_up() {
    let (_dir, mut node) = fresh_node();
    let link = one_time_link(&node).await;
    let mut browser = Browser::of(&node);
    // As a chat, a mail scanner or a browser that fetches in advance does.
    for header in [("purpose", "prefetch"), ("sec-purpose", "prefetch;prerender"), ("accept", "*/*")] {
        for method in [Method::GET, Method::HEAD] {
            let request = node.client().request(method, &link).header(header.0, header.1);
            let shown = node.client().send(request).await.unwrap();
            assert!(shown.status == 200 && set_cookie(&shown).is_none(), "{header:?}");
        }
    }
    let page = text(&browser.get(&link).await);
    assert!(page.contains(&format!("action=\"{link}\"")), "{page}");
    let signed_in = browser.post(&link, "").await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/ui/")));
    assert!(browser.is_in().await);
    for again in [Browser::of(&node).post(&link, "").await, Browser::of(&node).get(&link).await] {
        assert_eq!(again.status, 410);
        assert!(text(&again).contains("waypost dashboard") && set_cookie(&again).is_none(), "{}", text(&again));
    }
    let list = text(&browser.get("/ui/sessions").await);
    assert!(list.contains("Link on the server"), "{list}");
    // Links are in the memory of the node, sessions are not.
    let late = one_time_link(&node).await;
    node.terminate().unwrap();
    node.restart().unwrap();
    assert_eq!(Browser::of(&node).post(&late, "").await.status, 410);
    assert!(Browser { cookie: browser.cookie, ..Browser::of(&node) }.is_in().await);
}

#[tokio::test]
async fn a_link_is_neither_made_nor_used_through_a_proxy_or_by_another_name() {
    let (_dir, node) = fresh_node();
    let link = one_time_link(&node).await;
    let key = node.key().unwrap();
    let foreign: [(&str, &str, u16); 4] = [
        ("x-forwarded-for", "203.0.113.7", 401),
        ("via", "1.1 proxy", 401),
        ("x-real-ip", "127.0.0.1", 401),
        ("host", "evil.example", 201),
    ];
    for (name, value, of_maker) in foreign {
        let made = node.client().request(Method::POST, "/api/v1/dashboard-links").header("x-api-key", &key);
        let made = node.client().send(made.header(name, value).json(&json!({}))).await.unwrap();
        assert_eq!(made.status, of_maker, "{name}: {}", text(&made));
        for method in [Method::GET, Method::POST] {
            let request = node.client().request(method, &link).header("sec-fetch-site", "same-origin");
            let refused = node.client().send(request.header(name, value)).await.unwrap();
            assert_eq!(refused.status, 403, "{name}: {}", text(&refused));
            assert!(text(&refused).contains("machine of the server"), "{}", text(&refused));
        }
    }
    // A session of the own account does not count there either.
    let mut browser = Browser::of(&node);
    assert_eq!(browser.post(&link, "").await.status, 303);
    let cookie = format!("waypost_session={}", browser.cookie.clone().unwrap());
    let request = node.client().request(Method::GET, "/ui/").header("cookie", &cookie).header("x-forwarded-for", "::1");
    assert_eq!(node.client().send(request).await.unwrap().status, 303);
    assert!(browser.is_in().await);
    // An admin key that comes by a proxy makes no link.
    let (_dir, node) = keyed_node();
    let made = node.client().request(Method::POST, "/api/v1/dashboard-links").header("x-api-key", KEY);
    let made = made.header("x-forwarded-for", "203.0.113.7").json(&json!({}));
    assert_eq!(node.client().send(made).await.unwrap().status, 403);
}

#[tokio::test]
async fn a_link_needs_a_key_whoever_asks() {
    let (_dir, node) = fresh_node();
    let ask = || node.client().request(Method::POST, "/api/v1/dashboard-links").json(&json!({}));
    for request in [ask(), ask().header("x-api-key", "wrong")] {
        assert_eq!(node.client().send(request).await.unwrap().status, 401);
    }
    // Nor does a session make one.
    let mut browser = Browser::of(&node);
    let link = one_time_link(&node).await;
    browser.post(&link, "").await;
    let cookie = format!("waypost_session={}", browser.cookie.unwrap());
    assert_eq!(node.client().send(ask().header("cookie", cookie)).await.unwrap().status, 401);
}

#[tokio::test]
async fn a_link_for_the_own_account_is_made_for_it_only_and_works_for_it() {
    let (_dir, node) = fresh_node();
    let key = node.key().unwrap();
    for own in [true, false] {
        let made = node.client().request(Method::POST, "/api/v1/dashboard-links").header("x-api-key", &key);
        let made = node.client().send(made.json(&json!({ "ownAccountOnly": own }))).await.unwrap();
        assert_eq!((made.status, &made.json()["ownAccountOnly"]), (201, &json!(own)));
        let url = made.text("url");
        let path = url.strip_prefix(&format!("http://{}", node.address())).unwrap();
        assert_eq!(Browser::of(&node).post(path, "").await.status, 303);
    }
}

#[tokio::test]
async fn the_command_prints_a_link_of_the_running_node() {
    let (_dir, node) = fresh_node();
    let (url, data) = (format!("http://{}", node.address()), node.data_dir().display().to_string());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("dashboard").args(arguments).env_remove("WAYPOST_SERVER").env_remove("DISPLAY");
        command.env_remove("WAYLAND_DISPLAY").env("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22").output().unwrap()
    };
    let made = run(&["--server", &url, "--data-dir", &data]);
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(0), "{said}");
    let link = String::from_utf8(made.stdout).unwrap();
    assert_eq!(link.lines().count(), 1);
    assert!(said.contains("10 minutes") && said.contains("ssh -L"), "{said}");
    let path = link.trim().strip_prefix(&url).unwrap();
    assert_eq!(Browser::of(&node).post(path, "").await.status, 303);
    let keyless = run(&["--server", &url, "--data-dir", "/nowhere"]);
    let said = String::from_utf8_lossy(&keyless.stderr).into_owned();
    assert!(keyless.status.code() == Some(1) && said.contains("--data-dir"), "{said}");
    // A node that serves no dashboard says so.
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_DASHBOARD_ENABLED", "false").start().unwrap();
    let (url, data) = (format!("http://{}", node.address()), node.data_dir().display().to_string());
    let off = run(&["--server", &url, "--data-dir", &data]);
    let said = String::from_utf8_lossy(&off.stderr).into_owned();
    assert!(off.status.code() == Some(1) && said.contains("[dashboard] enabled"), "{said}");
    assert_eq!(node.client().get("/ui/").await.unwrap().status, 404);
}

#[tokio::test]
async fn serve_prints_a_link_to_a_terminal_and_the_address_alone_to_everything_else() {
    let arguments = |data: &str, listen: &str| {
        format!("{PROGRAM} serve --listen {listen} --admin-listen localhost:0 --data-dir {data}")
    };
    let lines = |mut command: Command| {
        let mut serving = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(serving.stdout.take().unwrap()).lines().map_while(Result::ok);
        let found =
            output.find(|line| line.starts_with("waypost is ready: ")).map(|ready| (ready, output.next().unwrap()));
        (serving, found.expect("it is not ready"))
    };
    let plain = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {}", arguments(plain.path().to_str().unwrap(), ":0"))]);
    let (mut serving, (ready, line)) = lines(command);
    serving.kill().unwrap();
    serving.wait().unwrap();
    let address = ready.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    // It listens on all addresses, and names one that can be opened here.
    assert!(address.starts_with("127.0.0.1:"), "{ready}");
    assert_eq!(line, format!("waypost dashboard: http://{address}/ui/"));

    if Command::new("script").arg("--version").output().is_err() {
        return cannot_run("a terminal needs script (util-linux)");
    }
    let at_terminal = tempfile::tempdir().unwrap();
    let data = at_terminal.path().join("data");
    let mut command = Command::new("script");
    command.args(["-qefc", &format!("exec {}", arguments(data.to_str().unwrap(), "localhost:0")), "/dev/null"]);
    let (mut serving, (ready, line)) = lines(command);
    let address = ready.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let link = line.trim_end().strip_prefix("waypost dashboard: ").unwrap().to_owned();
    let path = link.strip_prefix(&format!("http://{address}")).unwrap_or_else(|| panic!("{link}"));
    assert!(path.starts_with("/ui/sign-in/"), "{path}");
    let address: std::net::SocketAddr = address.parse().unwrap();
    let mut browser = Browser::at(waypost_testkit::Client::new(address), address);
    assert_eq!(browser.post(path, "").await.status, 303);
    assert!(browser.is_in().await);
    // Its terminal goes away, and it ends with it.
    serving.kill().unwrap();
    serving.wait().unwrap();
    let mut rest = String::new();
    let _ = serving.stderr.take().map(|mut errors| errors.read_to_string(&mut rest));
}
