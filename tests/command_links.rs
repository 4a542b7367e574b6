//! `waypost links`: what the commands print and how they end; and the QR code in a terminal, read by `zbarimg`.

use std::process::{Command, Output};

use serde_json::Value;
use waypost_testkit::cannot_run;

use crate::{PROGRAM, fresh_node};

fn waypost(server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(["--server", server]).env_remove("WAYPOST_SERVER").env("TZ", "UTC").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// The value of a row of a table.
fn row(output: &Output, name: &str) -> Option<String> {
    let shown = text(&output.stdout);
    shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  ")).map(|value| value.trim().to_owned())
}

#[tokio::test]
async fn the_history_of_a_link_is_shown_and_its_former_url_restored_from_the_shell() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| waypost(&server, arguments);
    run(&["links", "create", "https://example.com/1", "--slug", "abc"]);
    let edited = run(&["links", "edit", "abc", "--url", "https://example.com/2", "--title", "T"]);
    let version = row(&edited, "version").unwrap();
    let history = text(&run(&["links", "history", &format!("{server}/abc")]).stdout);
    let lines: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "WHEN", "BY", "CHANGED", "LEADS", "TO"]);
    assert_eq!((lines[1][0], &lines[1][2..]), ("2", &["account", "longUrl,", "title", "https://example.com/2"][..]));
    assert_eq!((lines[2][0], &lines[2][2..]), ("1", &["account", "-", "https://example.com/1"][..]));
    let entries = json(&run(&["links", "history", "abc", "--json"]));
    assert_eq!(entries["entries"][0]["changed"], serde_json::json!(["longUrl", "title"]));
    let restored = run(&["links", "restore", "abc", "1", "--if-match", &version]);
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored.stderr));
    assert_eq!(row(&restored, "leads to").as_deref(), Some("https://example.com/1"));
    let ends = [["abc", "2", "--if-match", &version], ["abc", "9", "--if-match", "*"], ["x", "1", "--if-match", "*"]]
        .map(|rest| run(&[&["links", "restore"][..], &rest].concat()).status.code());
    assert_eq!(ends, [Some(6), Some(5), Some(5)]);
    assert_eq!(run(&["links", "history", "x"]).status.code(), Some(5));
    assert_eq!(node.client().follow("abc").await.unwrap().as_deref(), Some("https://example.com/1"));
}

#[tokio::test]
async fn a_link_is_created_shown_changed_and_deleted_from_the_shell() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| waypost(&server, arguments);
    let made = run(&["links", "create", "https://example.com/1", "--slug", "abc", "--valid-until", "2999-01-01"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(row(&made, "short URL"), Some(format!("{server}/abc")));
    assert_eq!(row(&made, "leads to").as_deref(), Some("https://example.com/1"));
    assert_eq!(row(&made, "valid until").as_deref(), Some("2999-01-01T23:59:59.999Z"));
    let shown = run(&["links", "show", &format!("{server}/abc")]);
    let version = row(&shown, "version").unwrap();
    assert_eq!(json(&run(&["links", "show", "abc", "--json"]))["etag"], version.as_str());
    let bare = version.trim_matches('"');
    let edit = ["links", "edit", "abc", "--url", "https://example.com/2", "--clear", "valid-until", "--if-match"];
    let edited = run(&[&edit[..], &[bare]].concat());
    assert_eq!(edited.status.code(), Some(0), "{}", text(&edited.stderr));
    assert_eq!(row(&edited, "leads to").as_deref(), Some("https://example.com/2"));
    assert_eq!(row(&edited, "valid until"), None);
    for change in [&edit[..], &["links", "delete", "abc", "--if-match"]] {
        let refused = run(&[change, &[bare]].concat());
        assert_eq!(refused.status.code(), Some(6), "{}", text(&refused.stderr));
    }
    assert_eq!(node.client().follow("abc").await.unwrap().as_deref(), Some("https://example.com/2"));
    let version = row(&edited, "version").unwrap();
    let deleted = run(&["links", "delete", "abc", "--if-match", &version]);
    assert_eq!((deleted.status.code(), text(&deleted.stdout).trim()), (Some(0), "deleted abc"));
    for gone in [&["links", "show", "abc"][..], &["links", "edit", "abc", "--url", "https://example.com/"]] {
        assert_eq!(run(gone).status.code(), Some(5), "{gone:?}");
    }
    assert_eq!(
        [run(&["links", "delete", "abc"]), run(&["links", "qr", "abc"])].map(|end| end.status.code()),
        [Some(5); 2]
    );
    let generated = json(&run(&["links", "create", "https://example.com/3", "--json"]));
    assert_eq!(json(&run(&["links", "create", "https://example.com/3", "--find-existing", "--json"])), generated);
}

#[tokio::test]
async fn every_field_of_a_link_is_set_shown_and_cleared_from_the_shell() {
    let (_dir, node) = fresh_node();
    let (server, client) = (format!("http://{}", node.address()), node.client());
    let run = |arguments: &[&str]| {
        let output = waypost(&server, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        output
    };
    let options = [
        ["--title", "Spring"],
        ["--tag", "sale"],
        ["--tag", "big,2027"],
        ["--note", "first\nsecond"],
        ["--valid-since", "2020-01-01"],
        ["--valid-until", "2999-01-01"],
        ["--max-visits", "1000"],
        ["--expired-url", "https://example.com/over"],
        ["--redirect-status", "307"],
    ];
    let fields = [&options.concat()[..], &["--forward-query", "--forward-path", "--crawlable"]].concat();
    let rows = [
        ("title", "Spring"),
        ("tags", "sale, big, 2027"),
        ("note", "first"),
        ("valid since", "2020-01-01T00:00:00.000Z"),
        ("valid until", "2999-01-01T23:59:59.999Z"),
        ("visits at most", "1000"),
        ("expired URL", "https://example.com/over"),
        ("redirect status", "307"),
        ("forward query", "yes"),
        ("forward path", "yes"),
        ("crawlable", "yes"),
    ];
    run(&[&["shorten", "https://example.com/1", "--slug", "a"][..], &fields].concat());
    run(&["links", "create", "https://example.com/1", "--slug", "b"]);
    run(&[&["links", "edit", "b"][..], &fields].concat());
    for code in ["a", "b"] {
        let shown = run(&["links", "show", code]);
        for (name, value) in rows {
            assert_eq!(row(&shown, name).as_deref(), Some(value), "{code}: {}", text(&shown.stdout));
        }
        assert_eq!(row(&shown, "state"), None);
        let answer = client.get(&format!("/{code}/x?y=1")).await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (307, Some("https://example.com/1/x?y=1")));
        assert_eq!(row(&run(&["links", "show", code]), "visits left").as_deref(), Some("999"));
    }
    let fields = "title,tags,note,valid-since,valid-until,max-visits,expired-url,redirect-status,forward-query,forward-path,crawlable";
    let cleared = run(&["links", "edit", "a", "--clear", fields]);
    for (name, _) in rows {
        assert_eq!(row(&cleared, name), None, "{}", text(&cleared.stdout));
    }
    let plain = json(&run(&["links", "show", "a", "--json"]));
    assert_eq!(
        (&plain["title"], &plain["redirectStatus"], &plain["forwardPath"]),
        (&Value::Null, &302.into(), &false.into())
    );
}

#[tokio::test]
async fn rules_come_from_a_file_and_go_back_into_one() {
    let (dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| waypost(&server, arguments);
    let path = dir.path().join("rules.json");
    let file = path.to_str().unwrap();
    let rules = r#"[{"conditions":[{"type":"device","value":"ios"}],"longUrl":"https://example.com/ios"},{"longUrl":"https://example.com/all"}]"#;
    std::fs::write(&path, rules).unwrap();
    let made = run(&["links", "create", "https://example.com/1", "--slug", "abc", "--rules", file]);
    assert_eq!(
        row(&made, "rules").as_deref(),
        Some("1. device ios: https://example.com/ios"),
        "{}",
        text(&made.stderr)
    );
    assert!(text(&made.stdout).contains("2. all others: https://example.com/all"), "{}", text(&made.stdout));
    let resolved = run(&["resolve", "abc"]);
    assert_eq!((resolved.status.code(), text(&resolved.stdout).trim()), (Some(0), "https://example.com/1"));
    assert!(
        text(&resolved.stderr).contains("has rules, which lead some visitors elsewhere"),
        "{}",
        text(&resolved.stderr)
    );
    // What is shown as JSON can be given again.
    let shown = json(&run(&["links", "show", "abc", "--json"]))["rules"].clone();
    std::fs::write(&path, shown.to_string()).unwrap();
    run(&["links", "create", "https://example.com/1", "--slug", "other", "--rules", file]);
    assert_eq!(json(&run(&["links", "show", "other", "--json"]))["rules"], shown);
    let cleared = run(&["links", "edit", "abc", "--clear", "rules"]);
    assert_eq!((cleared.status.code(), row(&cleared, "rules")), (Some(0), None));
    assert_eq!(text(&run(&["resolve", "abc"]).stderr), "");
    std::fs::write(&path, r#"[{"conditions":[{"type":"device","value":"iphone"}],"longUrl":"https://example.com/"}]"#)
        .unwrap();
    let refused = run(&["links", "edit", "abc", "--rules", file]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("rule 1, condition 1: \"iphone\" is not a device"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(run(&["links", "edit", "abc", "--rules", "/nothing/here"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_password_comes_from_a_file_and_is_shown_nowhere() {
    let (dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| waypost(&server, arguments);
    let file = dir.path().join("password");
    std::fs::write(&file, "correct horse\r\nsecond line\n").unwrap();
    let file = file.display().to_string();
    let made = run(&["links", "create", "https://example.com/", "--slug", "abc", "--password-file", &file]);
    assert_eq!(
        (made.status.code(), row(&made, "password").as_deref()),
        (Some(0), Some("yes")),
        "{}",
        text(&made.stderr)
    );
    assert!(!text(&made.stdout).contains("correct horse"));
    let client = node.client();
    let unlock = |password: &'static str| {
        let request = client.request(reqwest::Method::POST, "/abc").body(format!("password={password}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        async { client.send(request).await.unwrap().status }
    };
    assert_eq!([unlock("correct+horse").await, unlock("correct").await], [303, 403]);
    let mut edit = Command::new(PROGRAM);
    edit.args(["links", "edit", "abc", "--password-file", "-", "--server", &server])
        .stdin(std::process::Stdio::piped());
    let mut edit = edit.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut edit.stdin.take().unwrap(), b"another").unwrap();
    assert_eq!(edit.wait().unwrap().code(), Some(0));
    assert_eq!([unlock("correct+horse").await, unlock("another").await], [403, 303]);
    let cleared = run(&["links", "edit", "abc", "--clear", "password"]);
    assert_eq!((cleared.status.code(), row(&cleared, "password")), (Some(0), None));
    std::fs::write(dir.path().join("password"), "\n").unwrap();
    for wrong in [file.as_str(), "/nothing/here"] {
        let refused = run(&["links", "edit", "abc", "--password-file", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    }
}

#[tokio::test]
async fn a_link_that_visitors_cannot_follow_says_why() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str]| waypost(&server, arguments);
    let made = run(&["links", "create", "https://example.com/1", "--slug", "abc", "--valid-since", "+1d"]);
    assert_eq!(row(&made, "state").as_deref(), Some("not yet valid"), "{}", text(&made.stderr));
    let unresolved = |why: &str| {
        let shown = run(&["resolve", "abc"]);
        assert_eq!((shown.status.code(), text(&shown.stdout)), (Some(5), String::new()));
        let expected = format!("the link \"abc\" {why}; it leads to https://example.com/1");
        assert!(text(&shown.stderr).contains(&expected), "{}", text(&shown.stderr));
    };
    unresolved("is not valid yet");
    assert_eq!(row(&run(&["links", "edit", "abc", "--disable"]), "state").as_deref(), Some("disabled"));
    unresolved("is disabled");
    assert_eq!(row(&run(&["links", "show", "abc"]), "state").as_deref(), Some("disabled"));
    let enabled = run(&["links", "edit", "abc", "--enable", "--clear", "valid-since"]);
    assert_eq!((enabled.status.code(), row(&enabled, "state")), (Some(0), None));
    assert_eq!(node.client().follow("abc").await.unwrap().as_deref(), Some("https://example.com/1"));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_or_contradicts_itself_is_a_mistake_of_the_caller() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    waypost(&server, &["shorten", "https://example.com/1", "--slug", "abc"]);
    for (options, part) in [
        (&[][..], "nothing to change"),
        (&["--clear", "valid-until", "--valid-until", "+1d"], "contradict each other"),
        (&["--clear", "tags", "--tag", "a"], "--clear tags and --tag contradict each other"),
        (&["--disable", "--enable"], "cannot be used with"),
        (&["--redirect-status", "303"], "possible values"),
        (&["--valid-since", "soon"], "--valid-since: \"soon\" is not a valid time"),
        (&["--clear", "slug"], "possible values"),
        (&["--valid-until", "soon"], "not a valid time"),
    ] {
        let refused = waypost(&server, &[&["links", "edit", "abc"], options].concat());
        assert_eq!(refused.status.code(), Some(2), "{options:?}");
        assert!(text(&refused.stderr).contains(part), "{options:?}: {}", text(&refused.stderr));
    }
}

/// The characters of a drawn code as an image in which text is `ink` and everything else the opposite, eight pixels a module.
fn image(drawn: &str, text_is_dark: bool) -> Vec<u8> {
    let lines: Vec<&str> = drawn.lines().collect();
    let (width, height) = (lines[0].chars().count(), lines.len() * 2);
    let mut image = format!("P5 {} {} 255\n", width * 8, height * 8).into_bytes();
    for line in lines {
        for half in ['▀', '▄'] {
            let row: Vec<u8> =
                line.chars().flat_map(|c| [if (c == '█' || c == half) == text_is_dark { 0 } else { 255 }; 8]).collect();
            assert_eq!(row.len(), width * 8);
            image.extend(row.repeat(8));
        }
    }
    image
}

#[tokio::test]
async fn a_code_in_the_terminal_is_read_on_dark_and_on_light_backgrounds() {
    let (dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    waypost(&server, &["shorten", "https://example.com/1", "--slug", "Spring-Sale"]);
    for (plain, text_is_dark) in [(&["--plain", "light"][..], true), (&["--plain", "dark"], false), (&[], false)] {
        for level in ["L", "H"] {
            let arguments = [&["links", "qr", "Spring-Sale", "--error-correction", level], plain].concat();
            let shown = waypost(&server, &arguments);
            assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
            let shown = text(&shown.stdout);
            let (drawn, short_url) = shown.trim_end_matches('\n').rsplit_once('\n').unwrap();
            assert_eq!(short_url, format!("{server}/Spring-Sale"));
            let file = dir.path().join("code.pgm");
            std::fs::write(&file, image(drawn, text_is_dark)).unwrap();
            let Ok(read) = Command::new("zbarimg").args(["--quiet", "--raw"]).arg(&file).output() else {
                return cannot_run("zbarimg is not installed");
            };
            assert_eq!(text(&read.stdout).trim(), short_url, "{plain:?}\n{drawn}");
        }
    }
}

#[tokio::test]
async fn files_with_a_code_are_those_of_the_server_and_overwrite_nothing() {
    let (dir, node) = fresh_node();
    let (server, client) = (format!("http://{}", node.address()), node.client());
    waypost(&server, &["shorten", "https://example.com/1", "--slug", "abc"]);
    let [svg, png] = ["code.svg", "code.png"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    let look = ["--size", "300", "--margin", "2", "--error-correction", "q", "--color", "#00f"];
    let write = [&["links", "qr", "abc", "--svg", &svg, "--png", &png][..], &look].concat();
    let written = waypost(&server, &write);
    assert_eq!((written.status.code(), text(&written.stdout)), (Some(0), String::new()), "{}", text(&written.stderr));
    for (file, format) in [(&svg, "svg"), (&png, "png")] {
        let query = format!("size=300&margin=2&errorCorrection=Q&color=00f&format={format}");
        let answer = client.get(&format!("/api/v1/links/abc/qr?{query}")).await.unwrap();
        assert!(answer.status == 200 && std::fs::read(file).unwrap() == answer.body, "{format}");
    }
    let again = waypost(&server, &write);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert_eq!(waypost(&server, &[&write[..], &["--force"]].concat()).status.code(), Some(0));
    let out = waypost(&server, &[&["links", "qr", "abc", "--svg", "-"][..], &look].concat());
    assert_eq!(out.stdout, std::fs::read(&svg).unwrap());
    for wrong in
        [["--size", "9"], ["--margin", "99"], ["--color", "fff"], ["--color", "red"], ["--error-correction", "X"]]
    {
        assert_eq!(
            waypost(&server, &[&["links", "qr", "abc"][..], &wrong].concat()).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}
