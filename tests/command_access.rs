//! What the commands say about keys, and about addresses where something else answers.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::{PROGRAM, fresh_node, node_in_temp};

const KEY: &str = "a-long-enough-key-for-the-tests";

/// Runs a command in an empty directory and with no variable of ours but these.
fn waypost(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAYPOST_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).current_dir(dir.path()).output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_command_without_a_key_is_told_where_it_takes_one_from() {
    let (dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let (server, admin) = (format!("http://{}", node.address()), format!("http://{}", node.admin()));
    let (file, urls) = (dir.path().join("a.backup"), dir.path().join("urls.txt"));
    std::fs::write(&urls, "https://example.com/1\nhttps://example.com/2\n").unwrap();
    for arguments in [
        &["shorten", "https://example.com/", "--server", &server][..],
        &["stats", "--server", &server],
        &["stats", "abc", "--server", &server],
        &["import", path(&urls), "--server", &server],
        &["backup", path(&file), "--server", &server],
        &["cluster", "drain", "a", "--admin", &admin],
        &["cluster", "drain", "a", "--wait", "0", "--admin", &admin],
        &["cluster", "undrain", "a", "--admin", &admin],
        &["cluster", "remove", "a", "--admin", &admin],
        &["cluster", "move-leader", "1", "a", "--admin", &admin],
    ] {
        let (code, said) = told(&waypost(arguments, &[]));
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        for name in ["WAYPOST_API_KEY", "WAYPOST_API_KEY_FILE", "--data-dir"] {
            assert!(said.contains(name), "{arguments:?}: {said}");
        }
        assert!(!said.contains("X-Api-Key") && !said.contains("Bearer"), "{arguments:?}: {said}");
        // One that the server does not know: it is said where it came from.
        let (code, said) = told(&waypost(arguments, &[("WAYPOST_API_KEY", "wp_admin_of_somewhere_else")]));
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains("does not know the key") && said.contains("WAYPOST_API_KEY"), "{arguments:?}: {said}");
        assert!(!said.contains("wp_admin_of_somewhere_else"), "the key is shown: {said}");
    }
    // What is typed counts more than a variable, and of two variables neither.
    let key_file = dir.path().join("key");
    std::fs::write(&key_file, KEY).unwrap();
    let shorten = |more: &[&str], variables: &[(&str, &str)]| {
        told(&waypost(&[&["shorten", "https://example.com/k", "--server", &server], more].concat(), variables))
    };
    let (file, wrong) = (path(&key_file), ("WAYPOST_API_KEY", "wp_admin_of_somewhere_else"));
    assert_eq!(shorten(&["--api-key-file", file], &[wrong]).0, Some(0));
    assert_eq!(shorten(&["--api-key", KEY], &[("WAYPOST_API_KEY_FILE", "/nothing/here")]).0, Some(0));
    let (code, said) = shorten(&[], &[wrong, ("WAYPOST_API_KEY_FILE", file)]);
    assert!(code == Some(2) && said.contains("WAYPOST_API_KEY and WAYPOST_API_KEY_FILE"), "{said}");
    let (code, said) = shorten(&["--api-key", KEY, "--api-key-file", file], &[]);
    assert!(code == Some(2) && said.contains("--api-key and --api-key-file"), "{said}");
    // A name that is not UTF-8 is possible.
    let name = std::os::unix::ffi::OsStringExt::from_vec(b"\xe9.txt".to_vec());
    let arguments: [std::ffi::OsString; 4] = ["import".into(), name, "--server".into(), server.clone().into()];
    let import = Command::new(PROGRAM).args(arguments).envs([wrong, ("WAYPOST_API_KEY_FILE", file)]).output().unwrap();
    let (code, said) = told(&import);
    assert!(code == Some(2) && said.contains("two sources of the key"), "{said}");
    let data = path(node.data_dir()).to_owned();
    let made = waypost(&["import", path(&urls), "--server", &server, "--data-dir", &data], &[]);
    assert_eq!(made.status.code(), Some(0), "{}", told(&made).1);
    assert_eq!(
        String::from_utf8_lossy(&made.stdout).trim(),
        "2 created, 0 existing, 0 failed",
        "some were made before"
    );
}

#[tokio::test]
async fn a_key_file_that_holds_no_key_is_named_with_what_is_wrong() {
    let (dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let server = format!("http://{}", node.address());
    let file = dir.path().join("key");
    let shorten = ["shorten", "https://example.com/", "--server", &server];
    for (content, part) in
        [("", "is empty"), ("\n", "is empty"), ("one\ntwo\n", "has a line break"), ("schlüssel", "no key has")]
    {
        std::fs::write(&file, content).unwrap();
        let (code, said) = told(&waypost(&shorten, &[("WAYPOST_API_KEY_FILE", path(&file))]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part) && said.contains(path(&file)) && said.contains("WAYPOST_API_KEY_FILE"), "{said}");
    }
    for unreadable in [dir.path().join("missing"), dir.path().to_owned()] {
        let (code, said) = told(&waypost(&shorten, &[("WAYPOST_API_KEY_FILE", path(&unreadable))]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("cannot be read") && said.contains(path(&unreadable)), "{said}");
    }
    let (code, said) = told(&waypost(&shorten, &[("WAYPOST_API_KEY", "")]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("WAYPOST_API_KEY") && said.contains("is empty"), "{said}");
    // As an editor leaves it.
    std::fs::write(&file, format!("{KEY}\r\n")).unwrap();
    let made = waypost(&shorten, &[("WAYPOST_API_KEY_FILE", path(&file))]);
    assert_eq!(made.status.code(), Some(0), "{}", told(&made).1);
    // One of a data directory whose server is another one.
    std::fs::write(dir.path().join("cli.key"), "wp_cli_of_an_earlier_start\n").unwrap();
    let (code, said) = told(&waypost(&shorten, &[("WAYPOST_DATA_DIR", path(dir.path()))]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cli.key") && said.contains("each start"), "{said}");
    // And one that has none.
    let (code, said) = told(&waypost(&shorten, &[("WAYPOST_DATA_DIR", "/nothing/here")]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nothing/here/cli.key"), "{said}");
}

#[tokio::test]
async fn a_command_that_reaches_the_wrong_port_is_told_which_it_is_and_where_the_other_one_is() {
    let (dir, node) = fresh_node();
    let (server, admin) = (format!("http://{}", node.address()), format!("http://{}", node.admin()));
    let (file, urls) = (dir.path().join("a.backup"), dir.path().join("urls.txt"));
    std::fs::write(&urls, "https://example.com/1\n").unwrap();
    for arguments in [
        &["shorten", "https://example.com/", "--server", &admin][..],
        &["resolve", "abc", "--server", &admin],
        &["stats", "--server", &admin],
        &["stats", "abc", "--server", &admin],
        &["import", path(&urls), "--server", &admin],
        &["backup", path(&file), "--server", &admin],
    ] {
        let (code, said) = told(&waypost(arguments, &[]));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("admin listener") && said.contains(&server), "{arguments:?}: {said}");
    }
    for arguments in [
        &["cluster", "status", "--admin", &server][..],
        &["cluster", "join", "a", "--admin", &server],
        &["cluster", "drain", "a", "--admin", &server],
        &["cluster", "undrain", "a", "--admin", &server],
        &["cluster", "remove", "a", "--admin", &server],
        &["cluster", "move-leader", "1", "a", "--admin", &server],
    ] {
        let (code, said) = told(&waypost(arguments, &[]));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("public listener") && said.contains(&admin), "{arguments:?}: {said}");
    }
    // A link whose name only begins like it is a link.
    let made = waypost(&["shorten", "https://example.com/", "--slug", "clusters", "--server", &server], &[]);
    assert_eq!(made.status.code(), Some(0), "{}", told(&made).1);
    assert!(node.client().follow("clusters").await.unwrap().is_some());
    // Whoever may not change links is not told where the admin listener is.
    let passed = node.client().request(reqwest::Method::GET, "/metrics").header("x-forwarded-for", "203.0.113.9");
    let answer = node.client().send(passed).await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (404, "wrong-listener"));
    assert!(!answer.text("detail").contains(&admin), "{}", answer.text("detail"));
}

#[test]
fn the_help_of_serve_says_who_is_served_without_a_key_and_how_that_ends() {
    let help = waypost(&["serve", "--help"], &[]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let lines: Vec<&str> = text.split("Who may create and change links:").nth(1).expect(&text).trim().lines().collect();
    // Five sentences, however wide the terminal is.
    assert_eq!(lines.iter().filter(|line| line.ends_with('.')).count(), 5, "{text}");
    for name in ["WAYPOST_ADMIN_KEY", "WAYPOST_API_KEY", "WAYPOST_API_KEY_FILE", "public_url", "cli.key", "--data-dir"]
    {
        assert!(lines.iter().any(|line| line.contains(name)), "{name} is not in\n{text}");
    }
}

#[test]
fn what_answers_no_http_is_not_taken_for_a_server_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A peer port reads a few bytes and hangs up.
            let _ = stream.read(&mut [0; 16]);
        }
    });
    let (code, said) = told(&waypost(&["shorten", "https://example.com/", "--server", &server], &[]));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("peer port"), "{said}");
}

#[tokio::test]
async fn messages_of_the_server_are_told_in_the_words_of_the_command_line() {
    let (_dir, node) = fresh_node();
    let server = format!("http://{}", node.address());
    let made = waypost(&["shorten", "https://example.com/taken", "--slug", "validUntil", "--server", &server], &[]);
    assert_eq!(made.status.code(), Some(0), "{}", told(&made).1);
    for (arguments, code, part) in [
        (&["shorten", "https://example.com/", "--valid-until", "2020-01-01"][..], 1, "--valid-until has to lie"),
        (
            &["shorten", "https://example.com/", "--max-visits", "5", "--redirect-status", "301"],
            1,
            "--max-visits and a permanent --redirect-status",
        ),
        // Somebody's own words stay as they are.
        (&["shorten", "https://example.com/", "--slug", "validUntil"], 1, "\"validUntil\" already names"),
        (&["stats", "--interval", "week"], 2, "hour, day, month"),
        (&["stats", "--bots", "no"], 2, "exclude, include, only"),
        (&["stats", "--tz", "Europe/Nope"], 2, "--tz: \"Europe/Nope\" is not a time zone"),
    ] {
        let (ended, said) = told(&waypost(&[arguments, &["--server", &server]].concat(), &[]));
        assert!(ended == Some(code) && said.contains(part), "{arguments:?}: {ended:?} {said}");
    }
}
