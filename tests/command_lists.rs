//! `waypost links list` and `waypost tags`.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::api::{listing_node, waits_for};
use crate::{PROGRAM, fresh_node};

fn waypost(server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(["--server", server]).env_remove("WAYPOST_SERVER").env("TZ", "UTC").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of a table, each with its words.
fn rows(output: &Output) -> Vec<Vec<String>> {
    text(&output.stdout).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn links_are_listed_in_the_shell_by_what_people_remember_of_them() {
    let (_dir, node) = listing_node().await;
    let server = format!("http://{}", node.address());
    let done = |arguments: &[&str]| {
        let output = waypost(&server, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        output
    };
    done(&["domains", "add", "b.example"]);
    done(&[
        "links",
        "create",
        "https://example.com/1",
        "--slug",
        "spring",
        "--title",
        "Spring sale",
        "--tag",
        "sale,2027",
    ]);
    done(&["links", "create", "https://example.com/2", "--slug", "old", "--tag", "sale", "--disable"]);
    done(&["links", "create", "https://example.com/3", "--slug", "later", "--valid-since", "2999-01-01"]);
    done(&["links", "create", "https://other.example/", "--slug", "other", "--domain", "b.example"]);
    waits_for(async || rows(&waypost(&server, &["links", "list"])).len() == 5).await;
    let today = "CREATED";
    let table = done(&["links", "list", "--sort", "createdAt"]);
    let shown = rows(&table);
    assert_eq!(shown[0], ["SHORT", "URL", today, "VISITS", "STATE", "LEADS", "TO"]);
    assert_eq!(shown[1][0], format!("{server}/spring"));
    assert_eq!(shown[1][2..], ["0", "active", "https://example.com/1", "Spring", "sale", "[sale,", "2027]"]);
    assert!(text(&table.stderr).contains("4 links"), "{}", text(&table.stderr));
    let slugs = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["links", "list"][..], arguments].concat();
        let listed = rows(&done(&arguments)).into_iter().skip(1);
        listed.map(|row| row[0].rsplit('/').next().unwrap().to_owned()).collect()
    };
    let short = format!("{server}/spring");
    for (arguments, expected) in [
        (&[][..], &["later", "old", "other", "spring"][..]),
        (&["SALE", "spri"], &["spring"]),
        (&[&short], &["spring"]),
        (&["--tag", "Sale"], &["old", "spring"]),
        (&["--tag", "sale,2027", "--all-tags"], &["spring"]),
        (&["--tag", "sale", "--exclude-tag", "2027"], &["old"]),
        (&["--state", "not-yet"], &["later"]),
        (&["--state", "disabled"], &["old"]),
        (&["--domain", "B.example"], &["other"]),
        (&["--domain", "default", "--tag", "sale"], &["old", "spring"]),
        (&["--created-from", "-1d", "--created-to", "+1d", "other.example"], &["other"]),
        (&["--created-to", "2020-01-01"], &[]),
        (&["--limit", "2"], &["later", "old"]),
        (&["--all"], &["later", "old", "other", "spring"]),
    ] {
        let sorted = [&["--sort", "slug"][..], arguments].concat();
        assert_eq!(slugs(&sorted), expected, "{arguments:?}");
    }
    assert_eq!(slugs(&["--sort", "-slug"]), ["spring", "other", "old", "later"]);
    let first: Value =
        serde_json::from_slice(&done(&["links", "list", "--json", "--limit", "3", "--sort", "slug"]).stdout).unwrap();
    assert_eq!((&first["items"][0]["shortCode"], &first["total"]), (&json!("later"), &json!(4)));
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(slugs(&["--sort", "slug", "--cursor", cursor]), ["spring"]);
    let more = done(&["links", "list", "--limit", "1"]);
    assert!(text(&more.stderr).contains("1 of 4 links"), "{}", text(&more.stderr));
    for (code, arguments) in [
        (5, &["--domain", "c.example"][..]),
        (5, &["--domain", "c.example", "--csv"]),
        (1, &["--json", "--limit", "1001"]),
        (1, &["--cursor", "x"]),
        (2, &["--created-from", "tomorrow"]),
        (2, &["--state", "gone"]),
        (2, &["--sort", "url"]),
        (2, &["--json", "--csv"]),
        (2, &["--limit", "0"]),
    ] {
        assert_eq!(
            waypost(&server, &[&["links", "list"], arguments].concat()).status.code(),
            Some(code),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn all_links_leave_as_csv_and_come_back_by_an_import() {
    let (dir, node) = listing_node().await;
    let server = format!("http://{}", node.address());
    let client = node.client();
    let item = |n: usize| json!({ "op": "create", "link": { "longUrl": format!("https://example.com/{n}?a=1,2"), "customSlug": format!("s{n}"), "title": format!("T, \"{n}\""), "tags": ["a", "b"] } });
    let request = client.request(reqwest::Method::POST, "/api/v1/bulk");
    let items: Vec<Value> = (0..700).map(item).collect();
    assert_eq!(client.send(request.json(&json!({ "items": items }))).await.unwrap().json()["failed"], 0);
    let lines = || text(&waypost(&server, &["links", "list", "--ndjson"]).stdout).lines().count();
    waits_for(async || lines() == 700).await;
    let csv = waypost(&server, &["links", "list", "--csv", "--sort", "createdAt"]);
    assert_eq!((csv.status.code(), text(&csv.stderr)), (Some(0), String::new()));
    assert_eq!(csv::Reader::from_reader(&csv.stdout[..]).records().map(Result::unwrap).count(), 700);
    let file = dir.path().join("all.csv");
    std::fs::write(&file, &csv.stdout).unwrap();

    let (_other_dir, other) = fresh_node();
    let there = format!("http://{}", other.address());
    let imported = waypost(&there, &["import", file.to_str().unwrap()]);
    assert_eq!(text(&imported.stdout), "700 created, 0 existing, 0 failed\n", "{}", text(&imported.stderr));
    let link = other.client().get("/api/v1/links/s7").await.unwrap().json();
    assert_eq!((&link["longUrl"], &link["title"]), (&json!("https://example.com/7?a=1,2"), &json!("T, \"7\"")));
    assert_eq!(link["tags"], json!(["a", "b"]));
    let every_field = json!({ "longUrl": "https://example.com/all", "customSlug": "all", "title": "=1+1", "note": "-", "redirectStatus": 307,
        "forwardQuery": true, "forwardPath": true, "expiredUrl": "https://example.com/over", "crawlable": true, "disabled": true, "maxVisits": 7,
        "validSince": "2020-01-01T00:00:00Z", "validUntil": "2090-01-01T00:00:00Z",
        "rules": [{ "conditions": [{ "type": "device", "value": "ios" }], "longUrl": "https://example.com/ios" }] });
    assert_eq!(client.shorten(every_field).await.unwrap().status, 201);
    let one = || text(&waypost(&server, &["links", "list", "--csv", "all"]).stdout);
    waits_for(async || one().contains("https://example.com/all")).await;
    std::fs::write(&file, one()).unwrap();
    let imported = waypost(&there, &["import", file.to_str().unwrap()]);
    assert_eq!(text(&imported.stdout), "1 created, 0 existing, 0 failed\n", "{}", text(&imported.stderr));
    // The list of a node is what it has.
    let again = waypost(&server, &["import", file.to_str().unwrap(), "--find-existing"]);
    assert_eq!(text(&again.stdout), "0 created, 1 existing, 0 failed\n", "{}", text(&again.stderr));
    std::fs::write(&file, &csv.stdout).unwrap();
    let again = waypost(&server, &["import", file.to_str().unwrap(), "--find-existing"]);
    assert_eq!(text(&again.stdout), "0 created, 700 existing, 0 failed\n", "{}", text(&again.stderr));
    let [here, again] = [&node, &other].map(|node| node.client());
    let [mut here, mut again] =
        [here.get("/api/v1/links/all").await.unwrap().json(), again.get("/api/v1/links/all").await.unwrap().json()];
    for link in [&mut here, &mut again] {
        for name in ["shortUrl", "createdAt", "etag"] {
            link.as_object_mut().unwrap().remove(name);
        }
    }
    assert_eq!(here, again);
    waits_for(async || text(&waypost(&there, &["links", "list", "all"]).stderr) == "1 link\n").await;
    // Who reads only the beginning gets no error.
    let mut head = Command::new(PROGRAM)
        .args(["links", "list", "--csv", "--server", &server])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(head.stdout.take());
    assert_eq!(head.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn tags_are_listed_renamed_and_removed_from_the_shell() {
    let (_dir, node) = listing_node().await;
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| waypost(&server, arguments);
    for (slug, tags) in [("a", "sale,2027"), ("b", "Sale"), ("c", "old")] {
        run(&["links", "create", "https://example.com/", "--slug", slug, "--tag", tags]);
    }
    waits_for(async || rows(&run(&["tags", "list"])).len() == 4).await;
    let listed = rows(&run(&["tags", "list"]));
    assert_eq!((&listed[0][..], &listed[1][0]), (&["LINKS".to_owned(), "TAG".to_owned()][..], &"2".to_owned()));
    assert_eq!(rows(&run(&["tags", "list", "OL"]))[1..], [["1", "old"]]);
    let more = run(&["tags", "list", "--limit", "1"]);
    assert!(text(&more.stderr).contains("1 of 3 tags"), "{}", text(&more.stderr));
    let renamed = run(&["tags", "rename", "SALE", "old"]);
    assert_eq!(
        (renamed.status.code(), text(&renamed.stdout)),
        (Some(0), "2 changed, 0 failed\n".to_owned()),
        "{}",
        text(&renamed.stderr)
    );
    let b = node.client().get("/api/v1/links/b").await.unwrap().json();
    assert_eq!(b["tags"], json!(["old"]));
    let deleted: Value = serde_json::from_slice(&run(&["tags", "delete", "Old", "--json"]).stdout).unwrap();
    assert_eq!((&deleted["changed"], &deleted["failed"], &deleted["done"]), (&json!(3), &json!(0), &json!(true)));
    waits_for(async || rows(&run(&["tags", "list"])).len() == 2).await;
    for (code, arguments) in [
        (1, &["tags", "rename", "a", "b,c"][..]),
        (5, &["tags", "list", "--domain", "c.example"]),
        (5, &["tags", "delete", "a", "--domain", "c.example"]),
        (2, &["tags", "rename", "a"]),
    ] {
        assert_eq!(run(arguments).status.code(), Some(code), "{arguments:?}");
    }
}
