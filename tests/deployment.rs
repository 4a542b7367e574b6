//! What lies in `deploy/`: the layout of its nodes, its secrets, and what each deployment tells the nodes. The tools that read the files look at
//! them in `make deploy-check`, and `make smoke` runs them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use waypost_testkit::Cluster;

use crate::PROGRAM;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// The tables of a configuration file for a cluster.
fn nodes(path: &str) -> Vec<toml::Table> {
    let file: toml::Table = toml::from_str(&read(path)).unwrap();
    file["node"].as_array().unwrap().iter().map(|node| node.as_table().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_of_compose_services_each_do_what_their_services_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    let (mut stores, mut edges) = (Vec::new(), Vec::new());
    for node in nodes("deploy/compose/services.toml") {
        let services = node["services"].to_string();
        let index = cluster.add(Some(&services)).unwrap();
        if services.contains("link_store") { stores.push(index) } else { edges.push(index) }
    }
    let all: Vec<usize> = stores.iter().chain(&edges).copied().collect();
    assert_eq!((stores.len(), edges.len()), (3, 2));
    cluster.start(&all).unwrap();
    cluster.settled(edges[0], 3).await.unwrap();
    let as_their_services_say = |view: &serde_json::Value| {
        view["nodes"].as_array().unwrap().iter().all(|node| {
            let keeps = node["services"].as_array().unwrap().iter().any(|service| service == "link_store");
            let groups = node["status"]["groups"].as_array().cloned().unwrap_or_default();
            groups.iter().filter(|group| group["group"] != 0).count() == if keeps { 16 } else { 0 }
        })
    };
    cluster.wait(edges[0], "stores hold every shard, and edges none", as_their_services_say).await.unwrap();

    let (edge, other) = (cluster.client(edges[0]), cluster.client(edges[1]));
    let code = edge.create("https://example.com/apart").await.unwrap();
    assert_eq!(other.follow(&code).await.unwrap().as_deref(), Some("https://example.com/apart"));
    assert_eq!(edge.get("/generate-key").await.unwrap().status, 200);
    let store = cluster.client(stores[0]);
    assert_eq!(store.follow(&code).await.unwrap(), None, "a store does not redirect");
    let since = Instant::now();
    while store.get(&format!("/analytics/{code}")).await.unwrap().json()["totalClicks"].as_u64() == Some(0) {
        assert!(since.elapsed() < Duration::from_secs(60), "the visit of an edge has to be counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn every_shipped_deployment_tells_the_nodes_what_visitors_type() {
    for file in ["deploy/compose.yml", "deploy/compose.services.yml"] {
        let text = read(file);
        assert!(
            text.contains("WAYPOST_HTTP_PUBLIC_URL: https://${PUBLIC_HOST:-localhost}:${HTTPS_PORT:-443}"),
            "{file}"
        );
        assert!(
            text.contains("PUBLIC_PORT: ${HTTPS_PORT:-443}"),
            "{file}: nginx has to send visitors to the same port"
        );
    }
    let kubernetes: toml::Table = toml::from_str(&read("deploy/kubernetes/base/cluster.toml")).unwrap();
    assert!(kubernetes["http"]["public_url"].as_str().unwrap().starts_with("https://"));
    // As systemd reads it, and as the node does.
    let environment = read("deploy/systemd/environment");
    let variables = environment.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let variables: Vec<(&str, &str)> = variables.map(|line| line.split_once('=').unwrap()).collect();
    assert!(variables.iter().any(|(name, url)| *name == "WAYPOST_HTTP_PUBLIC_URL" && url.starts_with("https://")));
    let checked = Command::new(PROGRAM).args(["config", "check"]).envs(variables).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(read("deploy/caddy/Caddyfile").contains("WAYPOST_HTTP_PUBLIC_URL"));
}

#[test]
fn secrets_of_a_deployment_get_into_no_commit_and_no_image() {
    for (file, root) in [(".gitignore", "/"), (".dockerignore", "")] {
        let text = read(file);
        for secret in ["deploy/secrets", "deploy/.env"] {
            assert!(text.lines().any(|line| line == format!("{root}{secret}")), "{file} does not name {secret}");
        }
    }
}

/// Programs that `secrets.sh` calls while it makes a file note what others could read at that moment.
#[test]
fn nobody_else_can_read_the_secrets_of_a_deployment_also_while_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (deploy, shims, seen) = (dir.path().join("deploy"), dir.path().join("bin"), dir.path().join("seen"));
    std::fs::create_dir(&deploy).unwrap();
    std::fs::create_dir(&shims).unwrap();
    for file in ["secrets.sh", ".env.example"] {
        std::fs::copy(Path::new(ROOT).join("deploy").join(file), deploy.join(file)).unwrap();
    }
    for program in ["head", "base64", "tr", "openssl", "cat", "mv", "cp", "chmod"] {
        let shim = shims.join(program);
        let text = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\nfind {deploy} -mindepth 1 ! -name secrets.sh ! -name .env.example -perm /077 \
             -printf '{program} %m %p\\n' >> {seen} 2>/dev/null\nexec {program} \"$@\"\n",
            deploy = deploy.display(),
            seen = seen.display()
        );
        std::fs::write(&shim, text).unwrap();
        std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let run = || {
        let path = format!("{}:/usr/sbin:/usr/bin:/bin", shims.display());
        let command = format!("umask 022; exec bash {}", deploy.join("secrets.sh").display());
        let made = Command::new("bash").args(["-c", &command]).env("PATH", path).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    run();
    let readable = std::fs::read_to_string(&seen).unwrap();
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    // Whoever is not root opens the files to the containers in the end, behind a directory that nobody else can enter.
    let window: Vec<&str> = readable.lines().filter(|line| root || !line.contains("/secrets/")).collect();
    assert_eq!(window, Vec::<&str>::new(), "others could read these, as that program was called");
    let mode = |path: &str| std::fs::metadata(deploy.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("secrets"), mode("secrets/tls"), mode(".env")), (0o700, 0o700, 0o600));
    assert_eq!(mode("secrets/tls/key.pem"), 0o600);
    for file in ["admin_key", "cluster_secret", "grafana_password"] {
        assert_eq!(mode(&format!("secrets/{file}")), if root { 0o600 } else { 0o444 }, "{file}");
    }
    // A second run changes none, and closes what somebody has opened.
    let key = std::fs::read(deploy.join("secrets/admin_key")).unwrap();
    std::fs::set_permissions(deploy.join(".env"), std::fs::Permissions::from_mode(0o644)).unwrap();
    run();
    assert_eq!(std::fs::read(deploy.join("secrets/admin_key")).unwrap(), key);
    assert_eq!(mode(".env"), 0o600);
}

#[test]
fn the_systemd_unit_keeps_secrets_out_of_core_dumps_and_variables_and_bounds_the_memory() {
    let unit = read("deploy/systemd/waypost.service");
    for line in [
        "LimitCORE=0",
        "MemoryMax=2G",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "LoadCredential=waypost.admin_key:waypost.admin_key",
        "LoadCredential=waypost.cluster_secret:waypost.cluster_secret",
    ] {
        assert!(unit.lines().any(|has| has == line), "{line}");
    }
}
