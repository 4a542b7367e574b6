//! Files that are damaged while the node is down: refused or mended, never served wrongly.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use waypost_testkit::Node;

use crate::{PROGRAM, fresh_node};

async fn filled() -> (tempfile::TempDir, Node, HashMap<String, String>) {
    let (dir, mut node) = fresh_node();
    let client = node.client();
    let mut links = HashMap::new();
    for i in 0..300 {
        let url = format!("https://example.com/some/longer/path/{i}");
        links.insert(client.create(&url).await.unwrap(), url);
    }
    node.terminate().unwrap();
    (dir, node, links)
}

fn check(node: &Node) -> (i32, String) {
    let output = Command::new(PROGRAM).args(["check", "--data-dir"]).arg(node.data_dir()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn file(node: &Node, name: &str) -> PathBuf {
    node.data_dir().join("store").join(name)
}

#[tokio::test]
async fn a_check_of_sound_data_counts_everything() {
    let (_dir, node, links) = filled().await;
    let (code, report) = check(&node);
    assert_eq!(code, 0, "{report}");
    assert!(report.contains("groups       17"), "{report}");
    assert!(report.contains(&format!("links        {}", links.len())), "{report}");
    assert!(report.contains("damaged      0"), "{report}");
}

#[tokio::test]
async fn a_torn_table_snapshot_is_mended_at_the_start() {
    let (_dir, mut node, links) = filled().await;
    std::fs::write(file(&node, "snap.FFFFFFFFFFFFFFF.generating"), b"torn").unwrap();
    node.restart().unwrap();
    let client = node.client();
    for (code, url) in &links {
        assert_eq!(client.follow(code).await.unwrap().as_ref(), Some(url));
    }
}

#[tokio::test]
async fn after_a_flipped_byte_a_node_is_refused_or_has_every_link() {
    let (dir, node, links) = filled().await;
    let path = file(&node, "db");
    let sound = std::fs::read(&path).unwrap();
    // Where the URLs of links lie in the file: what a flipped byte there would change is a target.
    let needle = b"example.com/some/longer/path/";
    let places: Vec<usize> =
        sound.windows(needle.len()).enumerate().filter(|(_, window)| window == needle).map(|(at, _)| at).collect();
    assert!(places.len() >= links.len(), "{}", places.len());
    let mut refused = 0;
    for place in places.iter().step_by(places.len() / 6) {
        let mut damaged = sound.clone();
        damaged[place + 3] ^= 0x20;
        let copy = dir.path().join(format!("copy-{place}"));
        std::fs::create_dir_all(copy.join("store")).unwrap();
        std::fs::copy(node.data_dir().join("committed"), copy.join("committed")).unwrap();
        for entry in std::fs::read_dir(node.data_dir().join("store")).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), copy.join("store").join(entry.file_name())).unwrap();
            }
        }
        std::fs::write(copy.join("store/db"), damaged).unwrap();
        let builder = waypost_testkit::NodeBuilder::new(PROGRAM, &copy);
        match builder.start() {
            Ok(node) => {
                let client = node.client();
                for (code, url) in &links {
                    // The byte may lie in a page that is not read any more.
                    assert_eq!(client.follow(code).await.unwrap().as_ref(), Some(url), "place {place}");
                }
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("74"), "{error}");
            }
        }
    }
    assert!(refused > 0, "at least the places in the log that is read at the start are noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_whose_scrub_comes_upon_damage_stops() {
    const LINKS: usize = 3000;
    let (_dir, builder) = crate::node_in_temp();
    // More than the cache of the database keeps, all in one shard, and read through in seconds.
    let mut node = builder
        .env("WAYPOST_CLUSTER_SHARDS", "1")
        .env("WAYPOST_STORAGE_CACHE_BYTES", "8MiB")
        .env("WAYPOST_JANITOR_INTERVAL_MS", "100")
        .start()
        .unwrap();
    let needle = "https://example.com/kept/";
    let makers = (0..8).map(|maker| {
        let client = node.client();
        tokio::spawn(async move {
            for i in (maker..LINKS).step_by(8) {
                client.create(&format!("{needle}{i}/{}", "x".repeat(7000))).await.unwrap();
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }
    let path = file(&node, "db");
    let bytes = std::fs::read(&path).unwrap();
    let db = std::fs::File::options().write(true).open(&path).unwrap();
    let places = bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle.as_bytes());
    for (place, _) in places {
        std::os::unix::fs::FileExt::write_all_at(&db, b"#", place as u64 + 3).unwrap();
    }
    let status = node.wait_exit().unwrap();
    assert_eq!(status.code(), Some(74), "{}", node.errors());
    assert!(node.errors().contains("the store has failed"), "{}", node.errors());
}
