//! `waypost domains`, and `--domain` of the commands about links.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{PROGRAM, fresh_node};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn domains_are_managed_from_the_shell_and_commands_about_links_name_them() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .args(["--server", &server])
            .env_remove("WAYPOST_SERVER")
            .env("TZ", "UTC")
            .output()
            .unwrap()
    };
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let json_of = |arguments: &[&str]| -> Value { serde_json::from_str(&done(arguments)).unwrap() };
    let added = done(&["domains", "add", "B.example", "--case-insensitive", "--base-url", "https://example.com/home"]);
    for line in ["domain            b.example", "base URL          https://example.com/home", "case-insensitive  yes"] {
        assert!(added.lines().any(|shown| shown == line), "{added}");
    }
    assert!(added.contains("8 lowercase"), "{added}");
    assert_eq!(done(&["domains", "list"]), "DEFAULT\nb.example\n");
    let set =
        ["domains", "set", "b.example", "--default-status", "307", "--alphabet", "unambiguous", "--check-character"];
    assert!(done(&set).contains("8 unambiguous, and a check character"));
    let cleared = json_of(&["domains", "set", "b.example", "--clear", "base-url", "--json"]);
    assert_eq!((&cleared["baseUrl"], &cleared["defaultStatus"]), (&Value::Null, &json!(307)));
    assert_eq!(
        json_of(&["domains", "set", "DEFAULT", "--unknown-host", "not-found", "--json"])["unknownHost"],
        "notFound"
    );

    done(&["shorten", "https://example.com/0", "--slug", "abc"]);
    let short = done(&["shorten", "https://example.com/1", "--slug", "ABC", "--domain", "b.example"]);
    assert_eq!(short.trim(), format!("http://b.example:{}/abc", node.address().port()));
    let generated = json_of(&["links", "create", "https://example.com/2", "--domain", "b.example", "--json"]);
    assert_eq!((&generated["domain"], generated["shortCode"].as_str().unwrap().len()), (&json!("b.example"), 9));
    let target = |arguments: &[&str]| json_of(&[arguments, &["--json"]].concat())["longUrl"].clone();
    assert_eq!(target(&["links", "show", "abc"]), "https://example.com/0");
    assert_eq!(target(&["links", "show", "abc", "--domain", "b.example"]), "https://example.com/1");
    // A short URL says which domain is meant.
    assert_eq!(target(&["links", "show", short.trim()]), "https://example.com/1");
    assert_eq!(target(&["links", "show", &format!("{server}/abc")]), "https://example.com/0");
    assert_eq!(done(&["resolve", short.trim()]).trim(), "https://example.com/1");
    assert_eq!(target(&["links", "edit", short.trim(), "--url", "https://example.com/3"]), "https://example.com/3");
    assert_eq!(done(&["resolve", "abc"]).trim(), "https://example.com/0");
    assert!(done(&["links", "qr", "abc", "--domain", "b.example", "--plain", "dark"]).contains("http://b.example"));
    assert_eq!(json_of(&["stats", "abc", "--domain", "b.example", "--json"])["domain"], "b.example");
    let history = json_of(&["links", "history", short.trim(), "--json"]);
    assert_eq!(history["entries"].as_array().unwrap().len(), 2, "{history}");
    assert_eq!(target(&["links", "restore", "abc", "1", "--domain", "b.example"]), "https://example.com/1");
    done(&["links", "delete", "abc", "--domain", "b.example"]);
    assert_eq!(target(&["links", "show", "abc"]), "https://example.com/0");

    // On a domain of slugs with several segments, all of the path is the code.
    assert!(done(&["domains", "add", "docs.example", "--multi-segment"]).contains("several segments"));
    let short = done(&["shorten", "https://example.com/4", "--slug", "docs/setup", "--domain", "docs.example"]);
    assert_eq!(short.trim(), format!("http://docs.example:{}/docs/setup", node.address().port()));
    assert_eq!(target(&["links", "show", short.trim()]), "https://example.com/4");
    assert_eq!(target(&["links", "show", "docs/setup", "--domain", "docs.example"]), "https://example.com/4");
    assert_eq!(done(&["resolve", short.trim()]).trim(), "https://example.com/4");
    assert_eq!(json_of(&["stats", short.trim(), "--json"])["shortCode"], "docs/setup");
    done(&["links", "history", "docs/setup", "--domain", "docs.example"]);
    assert_eq!(done(&["links", "delete", short.trim()]), "deleted docs/setup\n");
    done(&["domains", "remove", "docs.example"]);

    for (code, arguments) in [
        (5, &["links", "show", "abc", "--domain", "c.example"][..]),
        (1, &["domains", "set", "b.example", "--unknown-host", "default"]),
        (2, &["domains", "set", "b.example"]),
        (2, &["domains", "set", "b.example", "--base-url", "https://example.com", "--clear", "base-url"]),
        (2, &["domains", "show", "https://b.example"]),
        (2, &["links", "show", "abc", "--domain", "a b"]),
        (1, &["domains", "remove", "DEFAULT"]),
    ] {
        assert_eq!(run(arguments).status.code(), Some(code), "{arguments:?}");
    }
    assert_eq!(done(&["domains", "remove", "b.example"]), "removed b.example\n");
    assert_eq!(done(&["domains", "list"]), "DEFAULT\n");
    assert_eq!(run(&["domains", "show", "b.example"]).status.code(), Some(5));
}

#[tokio::test]
async fn an_import_goes_to_the_domain_of_each_row_or_to_one_for_all() {
    let (dir, node) = fresh_node();
    let client = node.client();
    for body in [json!({ "host": "b.example" }), json!({ "host": "docs.example", "multiSegment": true })] {
        let made = client.request(reqwest::Method::POST, "/api/v1/domains").json(&body);
        assert_eq!(client.send(made).await.unwrap().status, 201);
    }
    let file = dir.path().join("links.csv");
    let rows = "Long URL,Short code,Domain\nhttps://example.com/0,a,\nhttps://example.com/1,a,B.example\n\
                https://example.com/2,https://docs.example/docs/setup,docs.example\nhttps://example.com/3,a,c.example\n\
                https://example.com/4,x,DEFAULT\n";
    std::fs::write(&file, rows).unwrap();
    let server = format!("http://{}", node.address());
    let import = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["import", file.to_str().unwrap(), "--server", &server, "--json"]).args(more);
        command.env_remove("WAYPOST_SERVER").output().unwrap()
    };
    let output = import(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("line 5: https://example.com/3: there is no domain \"c.example\""),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout).trim(), "{\"created\":4,\"existing\":0,\"failed\":1}");
    let led_to = |host: &'static str, path: &'static str| {
        let visit = client.send(client.request(reqwest::Method::GET, path).header("host", host));
        async { visit.await.unwrap().header("location").map(str::to_owned) }
    };
    for (host, path, to) in [
        ("localhost", "/a", "0"),
        ("b.example", "/a", "1"),
        ("docs.example", "/docs/setup", "2"),
        ("localhost", "/x", "4"),
    ] {
        assert_eq!(led_to(host, path).await, Some(format!("https://example.com/{to}")), "{host}{path}");
    }
    std::fs::write(
        &file,
        "url,slug,domain\nhttps://example.com/5,https://old.example/p/q,old.example\nhttps://example.com/6,r,\n",
    )
    .unwrap();
    let report = dir.path().join("report.csv");
    let output = import(&["--domain", "docs.example", "--report", report.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = std::fs::read_to_string(report).unwrap();
    let first = report.lines().nth(1).unwrap();
    assert!(first.contains("/p/q,") && first.ends_with(",domain"), "{report}");
    assert_eq!(led_to("docs.example", "/p/q").await.as_deref(), Some("https://example.com/5"));
    assert_eq!(led_to("docs.example", "/r").await.as_deref(), Some("https://example.com/6"));
    assert_eq!(led_to("localhost", "/r").await, None);
    assert_eq!(import(&["--domain", "https://docs.example"]).status.code(), Some(2));
}
