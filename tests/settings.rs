//! What people set: variables, addresses, levels, files and times, as they type them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{PROGRAM, fresh_node, node_in_temp};

/// The program with these variables of its own, and no others of this kind.
fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAYPOST_")) {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(variables).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", errors(output)))
}

/// A file whose nodes listen there.
fn file(dir: &Path, nodes: &[(&str, &str, &str)]) -> String {
    let node = |(number, (name, http, admin)): (usize, &(&str, &str, &str))| {
        let peer = 7401 + number;
        let data = dir.join("data");
        format!(
            "[[node]]\nname = \"{name}\"\nhttp = \"{http}\"\nadmin = \"{admin}\"\npeer = \"127.0.0.1:{peer}\"\ndata_dir = \"{}\"\n",
            data.display()
        )
    };
    let path = dir.join("cluster.toml");
    std::fs::write(&path, nodes.iter().enumerate().map(node).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn commands_find_the_node_that_serve_would_run_with_the_same_variables() {
    let (dir, node) = fresh_node();
    let everywhere = |of: SocketAddr| format!("0.0.0.0:{}", of.port());
    let (http, admin) = (node.address().to_string(), node.admin().to_string());
    let health = |variables: &[(&str, &str)]| run(&["health"], variables);
    for listen in [&http, &everywhere(node.address()), &format!(":{}", node.address().port())] {
        let found = health(&[("WAYPOST_LISTEN", listen)]);
        assert_eq!(found.status.code(), Some(0), "{listen}: {}", errors(&found));
    }
    let made = run(&["shorten", "https://example.com/v", "--slug", "v"], &[("WAYPOST_LISTEN", &http)]);
    assert_eq!(made.status.code(), Some(0), "{}", errors(&made));
    // What is given on the command line, or for it, wins.
    let nobody = ("WAYPOST_LISTEN", "127.0.0.1:1");
    assert_eq!(health(&[nobody]).status.code(), Some(4));
    assert_eq!(health(&[nobody, ("WAYPOST_SERVER", &format!("http://{http}"))]).status.code(), Some(0));
    assert_eq!(run(&["resolve", "v", "--server", &format!("http://{http}/")], &[nobody]).status.code(), Some(0));
    let mistyped = health(&[("WAYPOST_LISTN", &http)]);
    assert_eq!(mistyped.status.code(), Some(2), "{}", errors(&mistyped));
    for refused in [mistyped, run(&["config", "check"], &[("WAYPOST_LISTN", &http)])] {
        assert!(errors(&refused).contains("did you mean \"WAYPOST_LISTEN\"?"), "{}", errors(&refused));
    }
    // Also of the key, and when the server is named.
    let mistyped = run(&["health", "--server", &format!("http://{http}")], &[("WAYPOST_API_KYE", "x")]);
    assert_eq!(mistyped.status.code(), Some(2), "{}", errors(&mistyped));
    assert!(errors(&mistyped).contains("did you mean \"WAYPOST_API_KEY\"?"), "{}", errors(&mistyped));
    // An address of this machine needs no scheme, as with `serve --listen`.
    let port = node.address().port();
    for server in [http.clone(), format!("localhost:{port}"), format!(":{port}"), format!("0.0.0.0:{port}")] {
        let found = run(&["health", "--server", &server], &[]);
        assert_eq!(found.status.code(), Some(0), "{server}: {}", errors(&found));
    }
    for (arguments, part) in [
        (["health", "--server", "go.example"].as_slice(), "--server go.example: write it as http://host:port"),
        (&["cluster", "status", "--admin", "go.example:9090"], "--admin go.example:9090: write it as http://host:port"),
        (&["cluster", "status", "--server", &http], "--admin http://HOST:9090"),
        (&["links", "list", "--admin", &admin], "--server http://HOST:8080"),
        (&["config", "check", "my.toml"], "--config FILE"),
        (&["check", "a.backup"], "--backup FILE"),
    ] {
        let refused = run(arguments, &[]);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", errors(&refused));
        assert!(errors(&refused).contains(part), "{arguments:?}: {}", errors(&refused));
    }
    let status = run(&["cluster", "status", "--admin", &admin], &[]);
    assert!(!matches!(status.status.code(), Some(2 | 4)), "{}", errors(&status));
    let plain = run(&["health", "--server", &format!("https://{http}")], &[]);
    assert_eq!(plain.status.code(), Some(4));
    assert!(errors(&plain).contains("answers, but not with TLS"), "{}", errors(&plain));
    // Of a file the entry that is chosen, and any where they are all alike.
    let two = file(dir.path(), &[("a", "127.0.0.1:1", "127.0.0.1:2"), ("b", &everywhere(node.address()), &admin)]);
    assert_eq!(health(&[("WAYPOST_CONFIG", &two), ("WAYPOST_NODE", "b")]).status.code(), Some(0));
    assert_eq!(health(&[("WAYPOST_CONFIG", &two), ("WAYPOST_NODE", "a")]).status.code(), Some(4));
    let which = health(&[("WAYPOST_CONFIG", &two)]);
    assert_eq!(which.status.code(), Some(2));
    assert!(errors(&which).contains("WAYPOST_NODE (a, b)"), "{}", errors(&which));
    // The key of the server's own account is in its data directory.
    let backup = dir.path().join("backup");
    let made = run(&["backup", backup.to_str().unwrap()], &[("WAYPOST_CONFIG", &two), ("WAYPOST_NODE", "b")]);
    assert_eq!(made.status.code(), Some(0), "{}", errors(&made));
    let status = run(&["cluster", "status"], &[("WAYPOST_CONFIG", &two), ("WAYPOST_NODE", "b")]);
    assert!(!matches!(status.status.code(), Some(2 | 4)), "{}", errors(&status));
    let status = run(&["cluster", "status"], &[("WAYPOST_ADMIN_LISTEN", &everywhere(node.admin()))]);
    assert!(!matches!(status.status.code(), Some(2 | 4)), "{}", errors(&status));
    let alike =
        file(dir.path(), &[("a", &everywhere(node.address()), &admin), ("b", &everywhere(node.address()), &admin)]);
    assert_eq!(health(&[("WAYPOST_CONFIG", &alike)]).status.code(), Some(0));
    let unknown_port = health(&[("WAYPOST_LISTEN", "127.0.0.1:0")]);
    assert!(
        unknown_port.status.code() == Some(2) && errors(&unknown_port).contains("--server"),
        "{}",
        errors(&unknown_port)
    );
    let checked =
        run(&["config", "check", "--json"], &[("WAYPOST_LISTEN", ":81"), ("WAYPOST_ADMIN_LISTEN", "localhost:82")]);
    assert_eq!((&json(&checked)["http"], &json(&checked)["admin"]), (&"0.0.0.0:81".into(), &"127.0.0.1:82".into()));
}

#[test]
fn an_empty_variable_is_as_one_that_is_not_set_and_an_empty_secret_is_refused() {
    let empty = [
        "WAYPOST_CONFIG",
        "WAYPOST_NODE",
        "WAYPOST_DATA_DIR",
        "WAYPOST_LISTEN",
        "WAYPOST_ADMIN_LISTEN",
        "WAYPOST_SERVER",
        "WAYPOST_ADMIN",
        "WAYPOST_LOG_LEVEL",
        "WAYPOST_HTTP_WORKERS",
        "WAYPOST_CACHE_BYTES",
        "WAYPOST_CLICKS_RECORD",
        "WAYPOST_HTTP_PUBLIC_URL",
    ];
    let all: Vec<(&str, &str)> = empty.iter().map(|name| (*name, "")).collect();
    let checked = run(&["config", "check"], &all);
    assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
    let (_dir, builder) = node_in_temp();
    // The test's own options stand for those of the command line.
    let node = all.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start().unwrap();
    let health = run(&["health", "--server", &format!("http://{}", node.address())], &all);
    assert_eq!(health.status.code(), Some(0), "{}", errors(&health));
    for secret in
        ["WAYPOST_ADMIN_KEY", "WAYPOST_ADMIN_KEY_FILE", "WAYPOST_CLUSTER_SECRET", "WAYPOST_CLUSTER_SECRET_FILE"]
    {
        let refused = run(&["config", "check"], &[(secret, "")]);
        assert_eq!(refused.status.code(), Some(2), "{secret}");
        assert!(errors(&refused).contains(&format!("{secret}:")), "{}", errors(&refused));
    }
    for secret in ["WAYPOST_API_KEY", "WAYPOST_API_KEY_FILE"] {
        let refused = run(&["shorten", "https://example.com/"], &[(secret, "")]);
        assert_eq!(refused.status.code(), Some(2), "{secret}: {}", errors(&refused));
        assert!(errors(&refused).contains(secret), "{}", errors(&refused));
    }
}

#[test]
fn serve_and_config_check_refuse_the_same_files_with_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let (config, text) = (dir.path().join("node.toml"), dir.path().join("some.txt"));
    std::fs::write(&text, "no database, and no certificate").unwrap();
    let (config, text) = (config.to_str().unwrap(), text.to_str().unwrap());
    let geo = |path: &str| format!("[clicks]\n\ngeo_database = \"{path}\"");
    let tls = |path: &str| format!("[peer]\ntls_ca = \"{path}\"\ntls_cert = \"{text}\"\ntls_key = \"{text}\"");
    for (toml, line, part) in [
        ("[log]\nlevel = \"loud\"".to_owned(), 2, "error, warn, info, debug, trace or off"),
        ("[log]\nlevel = \"warning\"".to_owned(), 2, "error, warn, info, debug, trace or off"),
        ("[log]\nlevel = \"info,openraft\"".to_owned(), 2, "\"openraft\" is not a log level"),
        (geo("/does/not/exist.mmdb"), 3, "GeoLite2-City.mmdb"),
        (geo(text), 3, "GeoLite2-City.mmdb"),
        (geo("/"), 3, "GeoLite2-City.mmdb"),
        (tls("/does/not/exist.pem"), 2, "/does/not/exist.pem"),
        (tls(text), 2, "PEM file"),
        ("[[node]]\nhttp = \"8080\"".to_owned(), 2, "127.0.0.1:8080 for this machine only"),
        ("[[node]]\nname = \"a\"\nzone = \"\"".to_owned(), 3, "1 to 63 letters"),
    ] {
        std::fs::write(config, &toml).unwrap();
        let data = dir.path().join("data");
        let checked = run(&["config", "check", "--config", config], &[]);
        let served = run(&["serve", "--config", config, "--data-dir", data.to_str().unwrap()], &[]);
        let told = errors(&checked);
        assert_eq!(
            (checked.status.code(), served.status.code()),
            (Some(2), Some(2)),
            "{toml}: {told} {}",
            errors(&served)
        );
        assert_eq!(told, errors(&served), "{toml}");
        assert!(told.starts_with(&format!("waypost: {config}:{line}: ")) && told.contains(part), "{toml}: {told}");
        assert!(!data.exists(), "{toml}: something was made before it was refused");
    }
    let of_variable = run(&["serve"], &[("WAYPOST_CLICKS_GEO_DATABASE", "/does/not/exist.mmdb")]);
    assert!(errors(&of_variable).starts_with("waypost: WAYPOST_CLICKS_GEO_DATABASE: "), "{}", errors(&of_variable));
}

#[test]
fn a_configuration_file_in_the_working_directory_is_not_read_and_that_is_said_once() {
    let (dir, builder) = node_in_temp();
    std::fs::write(dir.path().join("cluster.toml"), "[cluster]\nname = \"mine\"\n").unwrap();
    let here = |arguments: &[&str]| command(&[]).args(arguments).current_dir(dir.path()).output().unwrap();
    let checked = here(&["config", "check"]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(errors(&checked).contains("cluster.toml in this directory is not read"), "{}", errors(&checked));
    assert!(errors(&checked).contains("--config cluster.toml"), "{}", errors(&checked));
    assert_eq!(errors(&here(&["config", "check", "--config", "cluster.toml"])), "");
    let mut serving = command(&[])
        .args(["serve", "--listen", "localhost:0", "--admin-listen", "localhost:0", "--data-dir"])
        .arg(builder.data_dir())
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = BufReader::new(serving.stdout.take().unwrap()).lines().next();
    serving.kill().unwrap();
    let output = serving.wait_with_output().unwrap();
    assert!(ready.is_some_and(|line| line.unwrap().starts_with("waypost is ready: http://127.0.0.1:")));
    assert_eq!(errors(&output).matches("is not read").count(), 1, "{}", errors(&output));
}

#[test]
fn an_address_that_cannot_be_listened_on_is_refused_with_an_example_and_the_variable_it_is_from() {
    for (text, part) in [
        ("8080", "127.0.0.1:8080 for this machine only, or :8080 for all"),
        ("::1", "[::1]:8080"),
        ("localhost", "localhost:8080"),
        ("http://127.0.0.1:8080", "write the address alone: 127.0.0.1:8080"),
        ("go.example:8080", "127.0.0.1:8080"),
    ] {
        let by_option = run(&["serve", "--listen", text], &[]);
        assert_eq!(by_option.status.code(), Some(2));
        assert!(errors(&by_option).contains(part) && errors(&by_option).contains("--listen"), "{}", errors(&by_option));
        assert!(!errors(&by_option).contains("WAYPOST_LISTEN"), "{}", errors(&by_option));
        for command in [["serve"].as_slice(), &["config", "check"], &["health"]] {
            let by_variable = run(command, &[("WAYPOST_LISTEN", text)]);
            assert_eq!(by_variable.status.code(), Some(2), "{command:?}");
            assert!(errors(&by_variable).contains(part), "{}", errors(&by_variable));
            assert!(errors(&by_variable).contains("WAYPOST_LISTEN"), "{}", errors(&by_variable));
        }
    }
}

#[tokio::test]
async fn times_are_read_as_people_type_them_in_their_own_time_zone() {
    let (dir, node) = fresh_node();
    let server = ("WAYPOST_SERVER", &*format!("http://{}", node.address()));
    let until = |text: &str, zone: &str| {
        let made = run(&["shorten", "https://example.com/t", "--valid-until", text, "--json"], &[server, ("TZ", zone)]);
        assert_eq!(made.status.code(), Some(0), "{text}: {}", errors(&made));
        json(&made)["validUntil"].as_str().unwrap_or_else(|| panic!("{}", json(&made))).to_owned()
    };
    for (text, zone, time) in [
        ("2099-12-31", "UTC", "2099-12-31T23:59:59"),
        ("2099-12-31", "Europe/Berlin", "2099-12-31T22:59:59"),
        ("2099-12-31", "America/New_York", "2100-01-01T04:59:59"),
        ("2099-12-31T18:00", "Europe/Berlin", "2099-12-31T17:00:00"),
        ("2099-12-31 18:00:00", "UTC", "2099-12-31T18:00:00"),
        ("2099-12-31T18:00:00+01:00", "America/New_York", "2099-12-31T17:00:00"),
    ] {
        assert!(until(text, zone).starts_with(time), "{text} in {zone}: {}", until(text, zone));
    }
    assert!(until("+30d", "UTC").as_str() > "2026");
    for (text, zone, part) in [
        ("tomorrow", "UTC", "2030-12-31T18:00"),
        ("31.12.2099", "UTC", "+30d"),
        ("2099-12-31", "Mars/Base", "TZ: \"Mars/Base\""),
    ] {
        let refused = run(&["shorten", "https://example.com/t", "--valid-until", text], &[server, ("TZ", zone)]);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(errors(&refused).contains(part), "{}", errors(&refused));
    }
    for arguments in [
        ["--from", "-7d"],
        ["--from", "2026-11-01"],
        ["--from", "2026-11-01T10:00"],
        ["--to", "+1d"],
        ["--from=-7d", "--to=-1d"],
    ] {
        let told = run(&[["stats", "--json"], arguments].concat(), &[server]);
        assert_eq!(told.status.code(), Some(0), "{arguments:?}: {}", errors(&told));
    }
    let refused = run(&["stats", "--from", "yesterday"], &[server]);
    assert!(
        refused.status.code() == Some(2) && errors(&refused).contains("--from: \"yesterday\""),
        "{}",
        errors(&refused)
    );
    let rows = dir.path().join("rows.csv");
    std::fs::write(&rows, "url,slug,expires\nhttps://example.com/i,imported,2099-12-31\n").unwrap();
    let imported = run(&["import", rows.to_str().unwrap()], &[server, ("TZ", "Europe/Berlin")]);
    assert_eq!(imported.status.code(), Some(0), "{}", errors(&imported));
}

#[test]
fn the_effective_configuration_is_a_file_that_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("WAYPOST_HTTP_WORKERS", "3"), ("WAYPOST_LISTEN", ":81"), ("WAYPOST_DATA_DIR", "/srv/x")];
    let shown = run(&["config", "show", "--effective"], &variables);
    let path = dir.path().join("shown.toml");
    std::fs::write(&path, &shown.stdout).unwrap();
    let checked = run(&["config", "check", "--json", "--config", path.to_str().unwrap()], &[]);
    assert_eq!((&json(&checked)["http"], &json(&checked)["dataDir"]), (&"0.0.0.0:81".into(), &"/srv/x".into()));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("workers = 3"));
    let again = run(&["config", "show", "--effective", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(again.stdout, shown.stdout);
    let wrong = run(&["config", "show", "--effective"], &[("WAYPOST_LOG_LEVEL", "loud")]);
    assert!(
        wrong.status.code() == Some(2) && errors(&wrong).starts_with("waypost: WAYPOST_LOG_LEVEL"),
        "{}",
        errors(&wrong)
    );
}

#[test]
fn the_help_of_every_command_fits_a_narrow_terminal() {
    let commands = "serve|dashboard|shorten|resolve|links|links create|links show|links edit|links delete|links qr|stats|import|backup|restore|check|config|config check|config show|cluster|cluster status|cluster join|\
                    cluster drain|cluster undrain|cluster remove|cluster move-leader|health|completions|man";
    for name in std::iter::once("").chain(commands.split('|')) {
        let mut arguments: Vec<&str> = name.split_whitespace().collect();
        arguments.push("--help");
        let help = run(&arguments, &[("COLUMNS", "80"), ("WAYPOST_NODE", "a-name-of-mine")]);
        assert_eq!(help.status.code(), Some(0), "{name}");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        assert!(!help.contains("a-name-of-mine"), "{name}: {help}");
    }
    // A list that is broken anew by the terminal loses its columns.
    let help = String::from_utf8_lossy(&run(&["--help"], &[("COLUMNS", "80")]).stdout).into_owned();
    let codes = help.split_once("Exit codes:").unwrap().1;
    for line in codes.lines().filter(|line| !line.is_empty() && *line != "Examples:") {
        assert!(line.starts_with("  "), "{line}");
    }
}
