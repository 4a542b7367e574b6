//! What earlier versions have written: each release opens the data directory of every earlier one.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use waypost_testkit::NodeBuilder;

use crate::PROGRAM;

/// Made by `tests/data/data_directory.py`: the directory, and what is in it.
const LEFT_BY: &[(&str, &str)] = &[("0.1", include_str!("data/data-directory-0.1.json"))];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_directory_of_every_earlier_version_opens_as_it_was_left() {
    for (version, expected) in LEFT_BY {
        let dir = tempfile::tempdir().unwrap();
        let archive = format!("{}/tests/data/data-directory-{version}.tar.gz", env!("CARGO_MANIFEST_DIR"));
        let unpacked = Command::new("tar").args(["-xzf", &archive, "-C"]).arg(dir.path()).status().unwrap();
        assert!(unpacked.success());
        let expected: Value = serde_json::from_str(expected).unwrap();
        // Twice: what the start has made of it has to open as well.
        for _ in 0..2 {
            let mut node = NodeBuilder::new(PROGRAM, dir.path().join("data")).start().unwrap();
            let client = node.client();
            let links = expected["links"].as_object().unwrap();
            assert!(links.len() > 300);
            for (code, url) in links.iter().filter(|(code, _)| expected["visits"].get(code.as_str()).is_none()) {
                assert_eq!(client.follow(code).await.unwrap().as_deref(), url.as_str(), "{code} of version {version}");
            }
            for code in expected["gone"].as_array().unwrap() {
                assert_eq!(client.follow(code.as_str().unwrap()).await.unwrap(), None);
            }
            for (code, visits) in expected["visits"].as_object().unwrap() {
                // Those of the last moments are in a journal, and are counted after the start.
                let since = Instant::now();
                loop {
                    let seen = &client.get(&format!("/analytics/{code}")).await.unwrap().json()["totalClicks"];
                    if seen == visits {
                        break;
                    }
                    assert!(since.elapsed() < Duration::from_secs(60), "{seen} of {visits} visits, version {version}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let path = format!("/api/v1/links/{code}/stats?from=2026-11-01&to=2027-11-01&by=referrer");
                let stats = client.get(&path).await.unwrap();
                assert_eq!(stats.status, 200, "{}", stats.problem());
                let told = stats.json();
                let referrers =
                    told["by"]["referrer"].as_array().unwrap().iter().filter(|one| one["value"].is_string());
                assert_eq!(referrers.count() as u64, expected["referrers"][code].as_u64().unwrap(), "{told}");
            }
            assert_eq!(node.terminate().unwrap().code(), Some(0));
        }
    }
}
