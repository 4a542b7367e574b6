//! Who may join: nobody without the secret of the cluster, also on the same machine.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use waypost_testkit::NodeBuilder;

use crate::PROGRAM;

/// Addresses of two nodes on a loopback network of their own.
struct Two {
    dir: tempfile::TempDir,
    net: [u8; 2],
}

impl Two {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), net: [rand::random_range(1..255), rand::random_range(1..255)] }
    }

    fn peer(&self, index: u8) -> String {
        format!("127.{}.{}.{index}:7400", self.net[0], self.net[1])
    }

    /// The file of the first so many nodes.
    fn file(&self, count: u8) -> PathBuf {
        let node = |index: u8| {
            let ip = format!("127.{}.{}.{index}", self.net[0], self.net[1]);
            format!(
                "[[node]]\nname = \"n{index}\"\nhttp = \"{ip}:8080\"\nadmin = \"{ip}:9090\"\npeer = \"{ip}:7400\"\n"
            )
        };
        let path = self.dir.path().join(format!("{count}.toml"));
        std::fs::write(&path, (1..=count).map(node).collect::<String>()).unwrap();
        path
    }

    fn builder(&self, file: &Path, index: u8) -> NodeBuilder {
        let name = format!("n{index}");
        NodeBuilder::new(PROGRAM, self.dir.path().join(&name)).of_file(file, &name)
    }
}

const SECRET: &str = "a-secret-that-only-the-nodes-know";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_secret_has_no_peer_port_and_lets_nobody_join() {
    let two = Two::new();
    let alone = two.builder(&two.file(1), 1).env("WAYPOST_ADMIN_KEY", SECRET).start().unwrap();
    assert!(TcpStream::connect(two.peer(1)).is_err(), "something listens at {}", two.peer(1));
    assert!(alone.errors().contains("WAYPOST_CLUSTER_SECRET"), "{}", alone.errors());
    // Nor does one start that would join without.
    let refused = two.builder(&two.file(2), 2).start().map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("exit status: 2") && refused.contains("WAYPOST_CLUSTER_SECRET"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret_does_not_join_and_names_the_variable() {
    let two = Two::new();
    let first = two.builder(&two.file(1), 1).env("WAYPOST_CLUSTER_SECRET", SECRET).start().unwrap();
    let file = two.file(2);
    let wrong =
        two.builder(&file, 2).env("WAYPOST_CLUSTER_SECRET", "another-secret-of-enough-letters").spawn().unwrap();
    let since = Instant::now();
    while !wrong.errors().contains("does not know the secret") {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", wrong.errors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(wrong.errors().contains("WAYPOST_CLUSTER_SECRET"), "{}", wrong.errors());
    assert!(!wrong.errors().contains("[cluster] secret"), "{}", wrong.errors());
    assert!(wrong.printed().is_empty());
    drop(wrong);
    // With the secret, in clear, it joins.
    let second = two.builder(&file, 2).env("WAYPOST_CLUSTER_SECRET", SECRET).start().unwrap();
    let code = first.client().create("https://example.com/").await.unwrap();
    assert!(second.client().follow(&code).await.unwrap().is_some());
}
