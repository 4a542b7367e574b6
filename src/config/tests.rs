//! Common errors in the file, and their messages.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    with(text, &[], Overrides::default())
}

fn with(text: &str, environment: &[(&str, &str)], overrides: Overrides) -> Result<Config, ConfigError> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let raw = environment::overlay(explain::parse(text, "cluster.toml")?, &environment)?;
    let origins = Origins::new("cluster.toml", text, &environment);
    Config::build(raw, &overrides, &environment, "cluster.toml", &origins)
}

fn mistake(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_shipped_file_says_exactly_what_the_defaults_are() {
    let shipped = explain::parse(SHIPPED, "cluster.toml").unwrap();
    let mut defaults = Raw::default();
    defaults.node.push(raw::Node::default());
    assert_eq!(shipped, defaults);
    assert!(parse("").is_ok());
}

#[test]
fn the_shipped_file_names_every_key() {
    let shipped: toml::Table = SHIPPED.parse().unwrap();
    for (section, keys) in toml::Table::try_from(Raw::default()).unwrap() {
        for key in keys.as_table().into_iter().flat_map(toml::Table::keys) {
            assert!(shipped[&section].get(key).is_some(), "[{section}] {key} is not in cluster.toml");
        }
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_valid_one() {
    assert_eq!(
        mistake("# comment\n[cluster]\nshard = 4\n"),
        "cluster.toml:3: unknown key \"shard\" in [cluster]; did you mean \"shards\"?"
    );
    assert_eq!(mistake("[htp]\n"), "cluster.toml:1: unknown key \"htp\"; did you mean \"http\"?");
}

#[test]
fn wrong_values_say_what_is_possible() {
    for (text, part) in [
        ("[cluster]\nshards = 0", "use 1 to 256"),
        ("[cluster]\nshards = \"many\"", "cluster.toml:2: invalid type"),
        ("[cache]\nbytes = \"lots\"", "write one like \"256MiB\""),
        ("[http]\npublic_url = \"go.example\"", "https://go.example"),
        ("[http]\npublic_url = \"https://go.example/x\"", "without a path"),
        ("[[node]]\nhttp = \"here\"", "127.0.0.1:8080"),
        ("[[node]]\nadmin = \"127.0.0.1:8080\"", "is used twice"),
        ("[[node]]\nhttp = \":9090\"", "0.0.0.0:9090 and 127.0.0.1:9090 are the same port"),
        ("[[node]]\nhttp = \"[::]:9090\"", "are the same port"),
        ("[http]\npublic_url = \"https://a..b\"", "is not a public URL"),
        ("[[node]]\nname = \"a\"\n[[node]]\nname = \"a\"", "is used twice"),
        ("[[node]]\npeer = \"one node:7400\"", "links-1.example:7400"),
        ("[[node]]\npeer = \"links-1.example\"", "links-1.example:7400"),
        ("[[node]]\npeer_listen = \"links-1.example:7400\"", "127.0.0.1:7400"),
        ("[[node]]\nservices = [\"janitr\"]", "did you mean \"janitor\"?"),
        ("[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"", "each node needs its own"),
        ("[[node]]\npeer = \"0.0.0.0:7400\"\n[[node]]\nname = \"b\"", "other nodes cannot reach this address"),
        ("[[node]]\nservices = []", "at least one"),
        ("[[node]]\nservices = [\"redirector\", \"key_allocator\"]", "no node runs \"link_store\""),
        ("[[node]]\nservices = [\"link_store\"]", "no node runs \"key_allocator\""),
        ("[storage]\nfree_space_high = 1", "at least free_space_low"),
        ("[limits]\nmemory = \"much\"", "write \"auto\", \"off\" or a size"),
        ("[limits]\nmemory = \"1MiB\"", "[limits] memory: 1048576 is out of range"),
        ("[clicks]\nexcluded_networks = \"10.0.0.0/8, here\"", "10.0.0.0/8, 2001:db8::/32"),
        ("[log]\nformat = \"xml\"", "\"human\" or \"json\""),
        ("[dashboard]\nlistener = \"peer\"", "\"public\", \"admin\" or \"both\""),
        ("[dashboard]\nhost = \"dash.example:80\"", "without a scheme, a port or a path"),
        ("[dashboard]\nsession_idle_s = 10", "use 60 to"),
        ("[dashboard]\nsession_max_s = 3600", "at least session_idle_s"),
        ("[log]\nlevel = \"loud\"", "error, warn, info, debug, trace or off"),
        ("[log]\nlevel = \"warning\"", "error, warn, info, debug, trace or off"),
        ("[[node]]\nhttp = \":80800\"", "ports are numbers up to 65535"),
        ("[cluster", "cluster.toml:1"),
    ] {
        let message = mistake(text);
        assert!(message.contains(part), "{text:?}: {message}");
    }
}

#[test]
fn the_dashboard_is_at_a_path_that_no_link_can_have() {
    let path =
        |path: &str| parse(&format!("[dashboard]\npath = \"{path}\"")).map(|config| config.dashboard.unwrap().path);
    for right in ["/ui", "/ui/x", "/admin", "/settings", "/-/ui", "/_ui", "/ui-", "/~ui", "/-", "/ui/a.b/c~d"] {
        assert_eq!(path(right), Ok(right.to_owned()));
    }
    let long = format!("/ui/{}", "x".repeat(64));
    for wrong in [
        "", "/", "ui", "/ui/", "//ui", "/dash", "/UI", "/api", "/health", "/login", "/a.b", "/.ui", "/../ui", "/ui/..",
        "/ui x", "/ü", &long,
    ] {
        let told = path(wrong).unwrap_err().to_string();
        assert!(told.starts_with("cluster.toml:2: [dashboard] path") && told.contains("\"/-/ui\""), "{wrong}: {told}");
    }
}

#[test]
fn the_dashboard_is_off_or_on_the_listeners_and_the_host_that_are_named() {
    assert_eq!(parse("[dashboard]\nenabled = false").unwrap().dashboard, None);
    let shipped = parse("").unwrap().dashboard.unwrap();
    assert_eq!((shipped.listener, shipped.host), (DashboardListener::Both, None));
    assert_eq!((shipped.session_idle.as_secs(), shipped.session_max.as_secs()), (24 * 3600, 30 * 24 * 3600));
    let some = parse("[dashboard]\nlistener = \"admin\"\nhost = \"Dash.Example\"\n").unwrap().dashboard.unwrap();
    assert_eq!((some.listener, some.host.unwrap().as_str()), (DashboardListener::Admin, "dash.example"));
}

#[test]
fn a_mistake_is_told_with_the_line_the_variable_or_the_option_that_it_is_in() {
    for (text, place) in [
        ("# note\n[cluster]\nname = \"x\"\nshards = 0\n", "cluster.toml:4: [cluster] shards"),
        ("[log]\n\nlevel = \"loud\"", "cluster.toml:3: [log] level"),
        ("log.level = \"loud\"", "cluster.toml:1: [log] level"),
        ("[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\nhttp = \"8080\"", "cluster.toml:5: [[node]] http of \"b\""),
        ("[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\nzone = \"ö\"", "cluster.toml:5: [[node]] zone of \"b\""),
        ("[http]\n[[node]]\nservices = []", "cluster.toml:3: [[node]] services"),
        ("[peer]\ntls_cert = \"x\"", "cluster.toml:2: [peer]"),
        ("[storage]\nfree_space_low = \"1GiB\"", "cluster.toml:2: [storage] free_space_high"),
        ("[clicks]\nexcluded_networks = \"here\"", "cluster.toml:2: [clicks] excluded_networks"),
        ("[traces]\nendpoint = \"x\"", "cluster.toml:2: [traces] endpoint"),
    ] {
        let message = mistake(text);
        assert!(message.starts_with(place), "{text:?}: {message}");
    }
    for (name, value) in [
        ("WAYPOST_CLUSTER_SHARDS", "0"),
        ("WAYPOST_LOG_LEVEL", "warning"),
        ("WAYPOST_LOG_FORMAT", "xml"),
        ("WAYPOST_STORAGE_FREE_SPACE_LOW", "1TiB"),
        ("WAYPOST_HTTP_PUBLIC_URL", "go.example"),
        ("WAYPOST_PEER_TLS_CERT", "x"),
    ] {
        let message = with("", &[(name, value)], Overrides::default()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{name}: ")), "{message}");
    }
    let twice = Overrides { listen: Some(([127, 0, 0, 1], 9090).into()), ..Overrides::default() };
    let twice = with("", &[], twice).unwrap_err().to_string();
    assert!(twice.contains("--listen") && twice.contains("127.0.0.1:9090 is used twice"), "{twice}");
}

#[test]
fn an_empty_variable_is_as_one_that_is_not_set_unless_it_is_for_a_secret() {
    let set = |name: &str, value: &[u8]| {
        let value = std::os::unix::ffi::OsStringExt::from_vec(value.to_vec());
        environment::variables_set([(name.into(), value)].into_iter())
    };
    for name in
        ["WAYPOST_HTTP_WORKERS", "WAYPOST_LOG_LEVEL", "WAYPOST_CACHE_BYTES", "WAYPOST_NO_SUCH_KEY", "WAYPOST_DATA_DIR"]
    {
        for empty in ["", " ", "\n"] {
            assert_eq!(set(name, empty.as_bytes()), Ok(BTreeMap::new()), "{name}");
        }
    }
    assert_eq!(set("HOME", b"/root"), Ok(BTreeMap::new()));
    for name in environment::SECRETS.iter().filter(|name| !name.starts_with("WAYPOST_API_KEY")) {
        assert_eq!(set(name, b"").unwrap().len(), 1, "{name}");
        let message = with("", &[(name, "")], Overrides::default()).unwrap_err().to_string();
        assert!(message.starts_with(name), "{message}");
    }
    assert!(set("WAYPOST_LOG_LEVEL", b"\xff").unwrap_err().to_string().contains("WAYPOST_LOG_LEVEL: it is not UTF-8"));
}

#[test]
fn of_several_nodes_one_has_to_be_chosen() {
    let file = "[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\nhttp = \"127.0.0.1:8081\"\npeer = \"127.0.0.1:7401\"\n";
    assert!(mistake(file).contains("select one of a, b"));
    let secret = [("WAYPOST_CLUSTER_SECRET", "0123456789012345678901")];
    let chosen = with(file, &secret, Overrides { node: Some("b".to_owned()), ..Overrides::default() }).unwrap();
    assert_eq!((chosen.node.name.as_str(), chosen.node.http.port(), chosen.nodes.len()), ("b", 8081, 2));
    let unknown = with(file, &[], Overrides { node: Some("c".to_owned()), ..Overrides::default() }).unwrap_err();
    assert!(unknown.to_string().contains("there is no node \"c\""));
}

#[test]
fn a_node_can_be_reached_by_name() {
    let nodes = |peer: &str| {
        format!("[[node]]\nname = \"a\"\npeer = \"{peer}\"\n[[node]]\nname = \"b\"\npeer = \"127.0.0.1:7499\"\n")
    };
    let node = |peer: &str, environment: &[(&str, &str)]| {
        with(&nodes(peer), environment, Overrides { node: Some("a".to_owned()), ..Overrides::default() })
    };
    let near = node("localhost:7401", &[("WAYPOST_CLUSTER_SECRET", "0123456789012345678901")]).unwrap().node;
    assert_eq!(
        (near.peer.to_string().as_str(), near.peer_listen.to_string().as_str()),
        ("localhost:7401", "127.0.0.1:7401")
    );
    let secret = [("WAYPOST_CLUSTER_SECRET", "0123456789012345678901"), ("WAYPOST_PEER_ALLOW_PLAINTEXT", "true")];
    let far = node("links-1.example:7400", &secret).unwrap().node;
    assert_eq!((far.peer.is_loopback(), far.peer_listen.to_string().as_str()), (false, "0.0.0.0:7400"));
    assert!(node("links-1.example:7400", &[]).unwrap_err().to_string().contains("WAYPOST_CLUSTER_SECRET"));
    assert_eq!(node("[::1]:7400", &secret[..1]).unwrap().node.peer.to_string(), "[::1]:7400");
}

#[test]
fn several_nodes_need_a_secret_or_certificates_also_on_one_machine() {
    let file = "[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\nhttp = \"127.0.0.1:8081\"\npeer = \"127.0.0.1:7401\"\n";
    let node = |more: &str, environment: &[(&str, &str)]| {
        let overrides = Overrides { node: Some("b".to_owned()), ..Overrides::default() };
        with(&format!("{file}{more}"), environment, overrides)
    };
    let refused = node("", &[]).unwrap_err().to_string();
    assert!(refused.contains("WAYPOST_CLUSTER_SECRET") && refused.contains("also on one machine"), "{refused}");
    // What only reads or makes a data directory asks nobody.
    let offline = Overrides { node: Some("b".to_owned()), offline: true, ..Overrides::default() };
    assert!(with(file, &[], offline).is_ok());
    // Plain TCP, but not for everybody: allowed on one machine only.
    assert!(node("", &[("WAYPOST_CLUSTER_SECRET", "0123456789012345678901")]).is_ok());
    assert!(node("[peer]\ntls_ca = \"ca\"\ntls_cert = \"cert\"\ntls_key = \"key\"\n", &[]).is_ok());
}

#[test]
fn no_secret_is_shown_by_debug_output() {
    let secrets = [
        ("WAYPOST_ADMIN_KEY", "wp_admin_0123456789abcdefghijkl"),
        ("WAYPOST_CLUSTER_SECRET", "the-secret-of-all-nodes-of-this-cluster"),
    ];
    let config = with("", &secrets, Overrides::default()).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(secrets.iter().all(|(_, secret)| !shown.contains(secret)), "{shown}");
    assert!(!format!("{:?}", Config { admin_key: None, ..config }).is_empty());
}

#[test]
fn a_secret_that_cannot_be_one_is_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let by_file = file.display().to_string();
    for (content, part) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("0123456789012345678901\n0123456789012345678901\n", "has a line break in it"),
        ("0123456789 0123456789 01", "characters that no key has"),
        ("short", "is too short; use at least 22"),
    ] {
        std::fs::write(&file, content).unwrap();
        let told = with("", &[("WAYPOST_ADMIN_KEY_FILE", &by_file)], Overrides::default()).unwrap_err().to_string();
        assert!(told.contains(part) && told.contains(&by_file) && told.contains("WAYPOST_ADMIN_KEY_FILE"), "{told}");
    }
    std::fs::write(&file, "\u{feff}0123456789012345678901\r\n").unwrap();
    let config = with("", &[("WAYPOST_ADMIN_KEY_FILE", &by_file)], Overrides::default()).unwrap();
    assert_eq!(config.admin_key.unwrap().reveal(), "0123456789012345678901");
}

#[test]
fn the_environment_overrides_the_file_and_the_command_line_both() {
    let file = "[http]\nworkers = 3\n[cache]\nbytes = \"1GiB\"\n";
    let environment = [("WAYPOST_HTTP_WORKERS", "5"), ("WAYPOST_CACHE_BYTES", "2MiB"), ("HOME", "/root")];
    let config = with(
        file,
        &environment,
        Overrides {
            listen: Some(([127, 0, 0, 1], 1234).into()),
            data_dir: Some("elsewhere".into()),
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!((config.workers, config.cache_bytes), (5, 2 << 20));
    assert_eq!((config.node.http.port(), config.node.data_dir), (1234, PathBuf::from("elsewhere")));
}

#[test]
fn memory_is_guarded_by_what_the_system_says_by_a_size_or_not_at_all() {
    for (text, budget) in [
        ("", MemoryBudget::Auto),
        ("[limits]\nmemory = \"off\"", MemoryBudget::Off),
        ("[limits]\nmemory = \"2GiB\"", MemoryBudget::Bytes(2 << 30)),
        ("[limits]\nmemory = 1073741824", MemoryBudget::Bytes(1 << 30)),
    ] {
        assert_eq!(parse(text).unwrap().memory, budget, "{text}");
    }
    let config = with("", &[("WAYPOST_LIMITS_MEMORY", "512MiB")], Overrides::default()).unwrap();
    assert_eq!(config.memory, MemoryBudget::Bytes(512 << 20));
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, part) in [
        ("WAYPOST_HTTP_WORKER", "5", "did you mean \"WAYPOST_HTTP_WORKERS\"?"),
        ("WAYPOST_HTTP_WORKERS", "five", "WAYPOST_HTTP_WORKERS: \"five\" is not a whole number"),
        ("WAYPOST_CACHE_BYTES", "x", "WAYPOST_CACHE_BYTES:"),
        ("WAYPOST_ADMIN_KEY", "short", "at least 22"),
        ("WAYPOST_ADMIN_KEY_FILE", "/does/not/exist", "/does/not/exist"),
    ] {
        let message = with("", &[(name, value)], Overrides::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn secrets_come_from_the_service_manager_where_no_variable_gives_them() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("waypost.admin_key"), "wp_admin_0123456789abcdefghij\n").unwrap();
    let handed = ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap());
    let config = with("", &[handed], Overrides::default()).unwrap();
    assert_eq!(config.admin_key.unwrap().reveal(), "wp_admin_0123456789abcdefghij");
    assert!(config.cluster_secret.is_empty(), "there is no credential for it");
    let named = ("WAYPOST_ADMIN_KEY", "wp_admin_of-the-environment");
    let config = with("", &[handed, named], Overrides::default()).unwrap();
    assert_eq!(config.admin_key.unwrap().reveal(), "wp_admin_of-the-environment");
    std::fs::write(directory.path().join("waypost.cluster_secret"), "short").unwrap();
    let message = with("", &[handed], Overrides::default()).unwrap_err().to_string();
    assert!(message.contains("WAYPOST_CLUSTER_SECRET") && message.contains("at least 22"), "{message}");
}

#[test]
fn sizes_are_read_as_people_write_them() {
    for (text, bytes) in [("0", 0), ("12", 12), ("64KiB", 65_536), ("1 MB", 1_000_000), (" 2gib ", 2 << 30)] {
        assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)));
    }
    for text in ["", "MiB", "-1", "1.5GiB", "1 XB", "99999999999999999999", "99999999TiB"] {
        assert_eq!(ByteSize::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(\\[\\[?[a-z]{1,8}\\]?\\]?\n|[a-z_]{1,9} = [\"0-9a-zA-Zü/.-]{0,9}\n|.*\n){0,8}") {
        let _ = parse(&text);
    }
}
