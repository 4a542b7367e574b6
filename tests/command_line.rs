//! The command line, run as a user runs it.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use crate::{PROGRAM, fresh_node};

/// Real-looking URLs of every shape that homepages and articles have.
const SAMPLE: &str = include_str!("data/urls.txt");

fn waypost(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env_remove("WAYPOST_SERVER").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn an_import_survives_a_restart_and_is_not_repeated() {
    let (dir, mut node) = fresh_node();
    let (file, report) = (dir.path().join("urls.txt"), dir.path().join("report.csv"));
    std::fs::write(&file, SAMPLE).unwrap();
    let rows = SAMPLE.lines().count();
    let server = format!("http://{}", node.address());
    let (file, report) = (file.to_str().unwrap(), report.to_str().unwrap());
    let import = waypost(&["import", file, "--server", &server, "--report", report, "--json"]);
    assert_eq!(import.status.code(), Some(0), "{}", text(&import.stderr));
    assert_eq!(text(&import.stdout).trim(), format!("{{\"created\":{rows},\"existing\":0,\"failed\":0}}"));

    let mut codes = BTreeMap::new();
    let mut reader = csv::Reader::from_path(report).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        codes.insert(record[4].to_owned(), record[1].to_owned());
    }
    assert_eq!(codes.len(), rows);
    node.terminate().unwrap();
    node.restart().unwrap();
    let client = node.client();
    for (code, url) in &codes {
        let normal = url::Url::parse(url).unwrap().to_string();
        assert_eq!(client.follow(code).await.unwrap(), Some(normal), "{url}");
    }

    let server = format!("http://{}", node.address());
    let kept = waypost(&["import", file, "--server", &server, "--report", report]);
    assert_eq!(kept.status.code(), Some(2));
    assert!(text(&kept.stderr).contains("--force"), "{}", text(&kept.stderr));
    let own = waypost(&["import", file, "--server", &server, "--report", file, "--force"]);
    assert_eq!(own.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(file).unwrap(), SAMPLE, "the report has overwritten what is imported");
    let again = waypost(&["import", file, "--server", &server, "--report", report, "--force"]);
    assert!(text(&again.stdout).contains(&format!("{rows} created")), "the same rows answer the same links");
    let again: Vec<String> =
        csv::Reader::from_path(report).unwrap().records().map(|record| record.unwrap()[4].to_owned()).collect();
    assert!(again.iter().all(|code| codes.contains_key(code)), "an import that is repeated made new links");
    let found = waypost(&["import", file, "--server", &server, "--find-existing"]);
    assert_eq!(text(&found.stdout).trim(), format!("0 created, {rows} existing, 0 failed"));
}

#[tokio::test]
async fn rows_that_fail_are_reported_and_the_exit_code_says_so() {
    let (dir, node) = fresh_node();
    let (file, report) = (dir.path().join("rows.csv"), dir.path().join("report.csv"));
    std::fs::write(&file, "url,slug\nhttps://example.com/1,one\nhttps://example.com/2,one\nexample.com,\n").unwrap();
    let server = format!("http://{}", node.address());
    let import = waypost(&[
        "import",
        file.to_str().unwrap(),
        "--server",
        &server,
        "--report",
        report.to_str().unwrap(),
        "--concurrency",
        "1",
    ]);
    assert_eq!(import.status.code(), Some(3));
    let report = std::fs::read_to_string(report).unwrap();
    let rows: Vec<&str> = report.lines().collect();
    assert!(rows[1].starts_with("2,https://example.com/1,one,created,one,"), "{report}");
    assert!(rows[2].starts_with("3,https://example.com/2,one,conflict,,,"), "{report}");
    assert!(rows[3].starts_with("4,example.com,,failed,,,") && rows[3].contains("https://"), "{report}");
}

#[tokio::test]
async fn an_import_of_links_that_are_there_already_finds_them_by_slug_and_url() {
    let (dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let (file, report) = (dir.path().join("rows.csv"), dir.path().join("report.csv"));
    std::fs::write(&file, "keyword,url,ip\r\nsale,https://example.com/sale,::1\r\n").unwrap();
    let first = waypost(&["import", file.to_str().unwrap(), "--server", &server]);
    assert_eq!((first.status.code(), text(&first.stdout).trim()), (Some(0), "1 created, 0 existing, 0 failed"));
    assert!(text(&first.stderr).contains("not imported: ip"), "{}", text(&first.stderr));
    // A day later, or from another file: the server does not know the row by its idempotency key.
    std::fs::write(&file, "keyword,url\n\nsale,https://example.com/sale\nsale,https://example.com/other\n").unwrap();
    let arguments = ["import", file.to_str().unwrap(), "--server", &server, "--find-existing", "--report"];
    let again = waypost(&[arguments.as_slice(), &[report.to_str().unwrap()]].concat());
    assert_eq!((again.status.code(), text(&again.stdout).trim()), (Some(3), "0 created, 1 existing, 1 failed"));
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains(&format!("3,https://example.com/sale,sale,existing,sale,{server}/sale,,")), "{report}");
    assert!(report.contains("4,https://example.com/other,sale,conflict,,,"), "{report}");
    assert_eq!(node.client().follow("sale").await.unwrap().as_deref(), Some("https://example.com/sale"));
    let same = waypost(&["shorten", "https://example.com/sale", "--slug", "sale", "--server", &server]);
    assert!(text(&same.stderr).contains("already names a link to this URL"), "{}", text(&same.stderr));
}

#[tokio::test]
async fn an_import_brings_titles_tags_notes_and_begins() {
    let (dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let file = dir.path().join("links.csv");
    let rows = "Long URL,Short code,Title,Tags,Notes,Valid since,IP\nhttps://example.com/1,one,Spring,a|b,Mine,2020-01-01,::1\n\
        https://example.com/2,two,,,,,\n";
    std::fs::write(&file, rows).unwrap();
    let import = ["import", file.to_str().unwrap(), "--server", &server];
    let done = Command::new(PROGRAM).args(import).env("TZ", "UTC").output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("not imported: IP\n"), "{}", text(&done.stderr));
    let client = node.client();
    let link = async |code: &str| client.get(&format!("/api/v1/links/{code}")).await.unwrap().json();
    let one: serde_json::Value = link("one").await;
    assert_eq!(
        ["title", "tags", "note", "validSince"].map(|name| one[name].to_string()),
        ["\"Spring\"", "[\"a\",\"b\"]", "\"Mine\"", "\"2020-01-01T00:00:00.000Z\""]
    );
    let two: serde_json::Value = link("two").await;
    assert_eq!((&two["title"], &two["tags"]), (&serde_json::Value::Null, &serde_json::json!([])));
}

#[tokio::test]
async fn links_are_made_and_shown_from_the_shell() {
    let (_dir, mut node) = fresh_node();
    let server = format!("http://{}", node.address());
    let made = waypost(&["shorten", "https://example.com/x", "--slug", "abc", "--server", &server]);
    assert_eq!((made.status.code(), text(&made.stdout)), (Some(0), format!("{server}/abc\n")));
    let taken = waypost(&["shorten", "https://example.com/y", "--slug", "abc", "--server", &server]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("already names another link"));
    for code in ["abc", &format!("{server}/abc")] {
        let shown = waypost(&["resolve", code, "--server", &server]);
        assert_eq!(text(&shown.stdout), "https://example.com/x\n");
    }
    let json = waypost(&["resolve", "abc", "--json", "--server", &server]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&json.stdout).unwrap()["totalClicks"], 0);
    assert_eq!(waypost(&["resolve", "nothing", "--server", &server]).status.code(), Some(5));
    assert_eq!(waypost(&["health", "--server", &server]).status.code(), Some(0));
    node.kill().unwrap();
    let gone = waypost(&["shorten", "https://example.com/", "--server", &server]);
    assert_eq!(gone.status.code(), Some(4));
    assert!(text(&gone.stderr).contains("waypost serve"));
}

#[tokio::test]
async fn a_short_url_is_resolved_however_it_was_copied() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    waypost(&["shorten", "https://example.com/x", "--slug", "abc", "--server", &server]);
    for typed in [
        format!("{server}/abc?utm=1"),
        format!("{server}/abc#x"),
        format!("{server}/abc/?to=https://other.example/path"),
        format!("<{server}/abc>"),
        format!("({server}/abc)."),
        format!("{}/abc", node.address()),
        "https://elsewhere.example//abc%20".to_owned(),
        "abc.".to_owned(),
        "/abc/".to_owned(),
        "\u{200b}abc\u{a0}".to_owned(),
    ] {
        let shown = waypost(&["resolve", &typed, "--server", &server]);
        assert_eq!(text(&shown.stdout), "https://example.com/x\n", "{typed}: {}", text(&shown.stderr));
        let counted = waypost(&["stats", &typed, "--json", "--server", &server]);
        assert_eq!(counted.status.code(), Some(0), "{typed}: {}", text(&counted.stderr));
    }
    for wrong in [server.as_str(), &format!("{server}/?abc"), "two words", "..."] {
        let shown = waypost(&["resolve", wrong, "--server", &server]);
        assert_eq!(shown.status.code(), Some(5), "{wrong}");
        assert!(text(&shown.stderr).contains("no code in"), "{}", text(&shown.stderr));
    }
}

#[tokio::test]
async fn an_expired_link_is_shown_as_expired() {
    let (_dir, node) = fresh_node();
    let (server, client) = (format!("http://{}", node.address()), node.client());
    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_string();
    let made =
        waypost(&["shorten", "https://example.com/x", "--slug", "brief", "--valid-until", &end, "--server", &server]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let since = std::time::Instant::now();
    while client.get("/brief").await.unwrap().status == 302 {
        assert!(since.elapsed().as_secs() < 20, "it never expires");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let shown = waypost(&["resolve", "brief", "--server", &server]);
    assert_eq!((shown.status.code(), text(&shown.stdout)), (Some(5), String::new()));
    assert!(
        text(&shown.stderr).contains("has expired") && text(&shown.stderr).contains("https://example.com/x"),
        "{}",
        text(&shown.stderr)
    );
    let json: serde_json::Value =
        serde_json::from_slice(&waypost(&["resolve", "brief", "--json", "--server", &server]).stdout).unwrap();
    assert_eq!(json["expired"], true);
    for time in ["validUntil", "createdAt"] {
        assert!(json[time].as_str().is_some_and(|text| text.starts_with("20")), "{json}");
    }
}

#[test]
fn mistakes_in_the_configuration_are_named_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cluster.toml");
    std::fs::write(&file, "[cluster]\nshard = 3\n").unwrap();
    let path = file.to_str().unwrap();
    for arguments in [vec!["config", "check", "--config", path], vec!["serve", "--config", path]] {
        let wrong = waypost(&arguments);
        assert_eq!(wrong.status.code(), Some(2));
        assert_eq!(
            text(&wrong.stderr).trim(),
            format!("waypost: {path}:2: unknown key \"shard\" in [cluster]; did you mean \"shards\"?")
        );
    }
    assert_eq!(waypost(&["config", "check"]).status.code(), Some(0));
    std::fs::write(&file, waypost(&["config", "show"]).stdout).unwrap();
    assert_eq!(waypost(&["config", "check", "--config", path]).status.code(), Some(0));
    assert_eq!(waypost(&["check", "--data-dir", "/nothing/here"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_report_of_an_import_has_no_cell_that_a_spreadsheet_would_run() {
    let (dir, node) = fresh_node();
    let (file, report) = (dir.path().join("links.csv"), dir.path().join("report.csv"));
    let rows = "url,slug\nhttps://example.com/,=1+1\n@SUM(A1),a\nhttps://example.com/,\"\t=1\"\n";
    std::fs::write(&file, rows).unwrap();
    let (file, report) = (file.to_str().unwrap(), report.to_str().unwrap());
    let server = format!("http://{}", node.address());
    let import = waypost(&["import", file, "--server", &server, "--report", report]);
    assert_eq!(import.status.code(), Some(3), "{}", text(&import.stderr));
    let records: Vec<_> = csv::Reader::from_path(report).unwrap().records().map(Result::unwrap).collect();
    assert_eq!((&records[0][2], &records[1][1], &records[2][2]), ("'=1+1", "'@SUM(A1)", "'=1"));
    for cell in records.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
    }
}
