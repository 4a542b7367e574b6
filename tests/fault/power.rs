//! Power that goes while links are made: what was written and not synced is gone, or part of it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use waypost_testkit::Faults;

use crate::node_in_temp;

/// Creates at full speed for a while. Answers what was acknowledged.
async fn create_for(node: &waypost_testkit::Node, life: usize, while_: Duration) -> HashMap<String, String> {
    let clients = (0..8).map(|number| {
        let client = node.client();
        tokio::spawn(async move {
            let (mut acked, since) = (HashMap::new(), std::time::Instant::now());
            for i in 0.. {
                if since.elapsed() > while_ {
                    break;
                }
                let url = format!("https://example.com/{life}/{number}/{i}");
                let answer = client.shorten(json!({ "longUrl": url })).await.unwrap();
                assert_eq!(answer.status, 201);
                acked.insert(answer.text("shortCode"), url);
            }
            acked
        })
    });
    let mut all = HashMap::new();
    for client in clients.collect::<Vec<_>>() {
        all.extend(client.await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_link_survives_a_power_cut() {
    survives_power_cuts("0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_link_survives_a_power_cut_of_a_slow_disk_which_has_several_commits_at_the_same_time() {
    survives_power_cuts("4000").await;
}

async fn survives_power_cuts(commit_delay_us: &str) {
    let (dir, builder) = node_in_temp();
    let faults = Faults::new(dir.path().join("faults")).unwrap();
    // Checkpoints, purges and all, in a short time.
    let builder = faults.load_into(builder).env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB");
    let builder = builder.env("WAYPOST_STORAGE_COMMIT_DELAY_US", commit_delay_us);
    let mut acked: HashMap<String, String> = HashMap::new();
    let mut taken = 0;
    for (life, kept) in [0.0, 0.5, 0.0, 0.9, 0.0].into_iter().enumerate() {
        faults.watch_writes().unwrap();
        let mut node = builder.start().unwrap();
        for (code, url) in &acked {
            assert_eq!(node.client().follow(code).await.unwrap().as_ref(), Some(url), "{code} in life {life}");
        }
        acked.extend(create_for(&node, life, Duration::from_millis(400)).await);
        node.kill().unwrap();
        taken += faults.cut_power(builder.data_dir(), kept).unwrap();
    }
    let node = builder.start().unwrap();
    for (code, url) in &acked {
        assert_eq!(node.client().follow(code).await.unwrap().as_ref(), Some(url), "{code} at the end");
    }
    println!("{} acknowledged links, {taken} writes taken back", acked.len());
    assert!(taken > 0, "no power cut has taken anything back: this shows nothing");
}
