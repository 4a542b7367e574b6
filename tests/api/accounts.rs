//! Which account of this machine a request comes from, and what needs a key whoever asks.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use waypost_testkit::{Client, Node, NodeBuilder, cannot_run};

use crate::{PROGRAM, fresh_node, node_in_temp};

/// An account that is not the tester's.
const ACCOUNT: u32 = 4242;

/// The words before a command that run it under another account.
const AS_ACCOUNT: [&str; 6] = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"];

/// A server of another account than the tester's, and a copy of the program that this account can run.
struct Foreign {
    node: Node,
    program: PathBuf,
    _dir: TempDir,
}

impl Foreign {
    fn start(listen: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("waypost");
        let runs =
            || Command::new(AS_ACCOUNT[0]).args(&AS_ACCOUNT[1..]).arg("true").status().is_ok_and(|s| s.success());
        if chown(dir.path(), Some(ACCOUNT), Some(ACCOUNT)).is_err() || !runs() {
            cannot_run("a process under another account needs root and setpriv");
            return None;
        }
        std::fs::copy(PROGRAM, &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let builder = NodeBuilder::new(&program, dir.path().join("data")).listen(listen).under(&AS_ACCOUNT);
        Some(Self { node: builder.start().unwrap(), program, _dir: dir })
    }

    /// Runs a command of the program under the server's account.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(AS_ACCOUNT[0]);
        command.args(&AS_ACCOUNT[1..]).arg(&self.program).args(arguments).current_dir("/");
        command.output().unwrap()
    }
}

/// Passes requests on as a bare nginx does: with the address of the server as `Host`, and no word of whom they are from.
fn bare_proxy(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || pass_on(client, upstream));
        }
    });
    address
}

fn pass_on(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let kept = head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("connection") && !line.is_empty()
    });
    let passed: String = kept.map(|line| format!("{line}\r\n")).collect();
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(format!("{passed}Host: {upstream}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

/// Everything that is not for all.
fn guarded(code: &str) -> Vec<(Method, String)> {
    [
        (Method::POST, "/shorten"),
        (Method::GET, "/generate-key"),
        (Method::GET, "/api/v1/backup"),
        (Method::GET, "/api/v1/links/CODE"),
        (Method::POST, "/api/v1/links"),
        (Method::POST, "/api/v1/bulk"),
        (Method::PUT, "/api/v1/links/CODE"),
        (Method::PATCH, "/api/v1/links/CODE"),
        (Method::DELETE, "/api/v1/links/CODE"),
        (Method::GET, "/api/v1/links/CODE/stats"),
        (Method::DELETE, "/api/v1/links/CODE/stats"),
        (Method::GET, "/api/v1/links/CODE/stats/live"),
        (Method::GET, "/api/v1/stats"),
        (Method::GET, "/api/v1/stats/orphans"),
        (Method::GET, "/api/v1/stats/live"),
    ]
    .into_iter()
    .map(|(method, path)| (method, path.replace("CODE", code)))
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_another_account_gets_nothing_without_a_key_and_the_own_account_all_as_before() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let Some(server) = Foreign::start(listen) else { return };
        let address = server.node.address();
        let url = format!("http://{address}");
        let made = server.run(&["shorten", "https://example.com/", "--slug", "own", "--server", &url]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if address.is_ipv4() {
            // The same address, written as that of IPv6.
            let mapped = format!("http://[::ffff:127.0.0.1]:{}", address.port());
            let made = server.run(&["shorten", "https://example.com/", "--server", &mapped]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let own = url.trim_start_matches("http://");
        for client in [Client::new(bare_proxy(address)), Client::new(address)] {
            for (method, path) in guarded("own") {
                let asked = client.request(method.clone(), &path).header("host", own).body("https://example.com/x");
                let refused = client.send(asked).await.unwrap();
                assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthorized"), "{method} {path}");
                let backup = path == "/api/v1/backup";
                assert_eq!(refused.text("reason"), if backup { "always" } else { "other-account" }, "{method} {path}");
                assert!(refused.text("detail").contains("WAYPOST_ADMIN_KEY"), "{}", refused.text("detail"));
            }
            assert_eq!(client.follow("own").await.unwrap().as_deref(), Some("https://example.com/"));
            assert_eq!(client.get("/health/ready").await.unwrap().status, 200);
        }
        // A command of another account is told the same in its own words.
        let told = Command::new(PROGRAM).args(["shorten", "https://example.com/", "--server", &url]).output().unwrap();
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(1), "{said}");
        assert!(said.contains("another account") && said.contains("WAYPOST_API_KEY"), "{said}");
        // The own account can still make a backup, by the key that the server has made for it.
        let (data, file) = (server.node.data_dir().display().to_string(), server._dir.path().join("a.backup"));
        let backup = server.run(&["backup", &file.display().to_string(), "--server", &url, "--data-dir", &data]);
        assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
        // Root could read the key as well. Whoever else has it has found it out.
        let (root, key) = (Client::new(address), server.node.key().unwrap());
        let with_key = root.request(Method::GET, "/api/v1/backup").header("x-api-key", &key);
        assert_eq!(root.send(with_key).await.unwrap().status, 200);
        let found_out = status_for_account("4243", address, &key);
        assert!(found_out.contains(" 401 "), "{found_out}");
    }
}

/// The first line of the answer to an account that asks for a backup with a key.
fn status_for_account(account: &str, address: SocketAddr, key: &str) -> String {
    const ASK: &str = r#"exec 3<>"/dev/tcp/$IP/$PORT"
printf 'GET /api/v1/backup HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: %s\r\nConnection: close\r\n\r\n' "$KEY" >&3
head -n 1 <&3"#;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", account, "--regid", account, "--clear-groups", "bash", "-c", ASK]).current_dir("/");
    command.env("IP", address.ip().to_string()).env("PORT", address.port().to_string()).env("KEY", key);
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

#[tokio::test]
async fn backups_and_changes_of_the_cluster_need_a_key_also_from_the_own_account() {
    let (_dir, node) = fresh_node();
    let (client, admin) = (node.client(), Client::new(node.admin()));
    assert!(client.create("https://example.com/").await.is_ok(), "the own account may make links");
    let asked = [
        (&client, Method::GET, "/api/v1/backup"),
        (&admin, Method::POST, "/cluster/nodes/a/drain"),
        (&admin, Method::POST, "/cluster/nodes/a/undrain"),
        (&admin, Method::DELETE, "/cluster/nodes/a"),
        (&admin, Method::POST, "/cluster/move-leader"),
    ];
    for (client, method, path) in &asked {
        let refused = client.send(client.request(method.clone(), path)).await.unwrap();
        assert_eq!((refused.status, refused.text("reason").as_str()), (401, "always"), "{path}");
        let wrong = client.request(method.clone(), path).header("x-api-key", "wp_cli_of_an_earlier_start");
        let refused = client.send(wrong).await.unwrap();
        assert_eq!((refused.status, refused.text("reason").as_str()), (401, "unknown"), "{path}");
    }
    let key = node.key().unwrap();
    for (client, method, path) in &asked {
        let taken = client.send(client.request(method.clone(), path).header("x-api-key", &key)).await.unwrap();
        assert_ne!(taken.status, 401, "{path}");
    }
    // Looking is for all who reach the admin listener.
    assert_eq!(admin.get("/cluster").await.unwrap().status, 200);
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn each_start_makes_a_key_for_the_commands_that_only_the_own_account_can_read() {
    let (dir, builder) = node_in_temp();
    // As an earlier version, or a person, has made it.
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut node = builder.start().unwrap();
    let first = node.key().unwrap();
    let mut open = vec![data.clone()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
        seen += 1;
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        }
    }
    assert!(seen > 5, "there is nothing in the data directory");
    // A second start in the same directory fails, and leaves the key of the node that runs.
    assert!(builder.start().is_err());
    assert_eq!(node.key().unwrap(), first);
    assert!(!node.errors().contains(&first), "the key is in the log");
    node.terminate().unwrap();
    node.restart().unwrap();
    assert_ne!(node.key().unwrap(), first);
    let old = node.client().with_key(&first);
    assert_eq!(old.get("/api/v1/backup").await.unwrap().status, 401);
    let new = node.client().with_key(&node.key().unwrap());
    assert_eq!(new.get("/api/v1/backup").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_key_for_the_commands_is_taken_beside_an_admin_key() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", "a-long-enough-key-for-the-tests").start().unwrap();
    let url = format!("http://{}", node.address());
    let shorten = ["shorten", "https://example.com/", "--server", &url, "--data-dir"];
    let made = Command::new(PROGRAM).args(shorten).arg(node.data_dir()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // By a variable that names the file, too.
    let file = node.data_dir().join("cli.key");
    let made = Command::new(PROGRAM).args(&shorten[..4]).env("WAYPOST_API_KEY_FILE", file).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn no_body_is_awaited_of_who_has_no_key() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", "a-long-enough-key-for-the-tests").start().unwrap();
    let (client, admin) = (node.client(), Client::new(node.admin()));
    for (client, head) in [
        (&client, "POST /shorten"),
        (&client, "POST /api/v1/links"),
        (&client, "PUT /api/v1/links/x"),
        (&client, "PATCH /api/v1/links/x"),
        (&client, "DELETE /api/v1/links/x"),
        (&admin, "POST /cluster/move-leader"),
    ] {
        let head = format!(
            "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
        );
        let answer = client.raw(head.as_bytes()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{head}: {answer:?}");
    }
    // Nor is what comes without a key judged.
    let long = client.request(Method::POST, "/shorten").body("x".repeat(100_000));
    assert_eq!(client.send(long).await.unwrap().status, 401);
    let wrong = client.request(Method::PATCH, "/api/v1/links/x").json(&json!({ "no": "field" }));
    assert_eq!(client.send(wrong).await.unwrap().status, 401);
}
