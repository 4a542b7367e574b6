//! Visits: counted exactly once, told truly, and nothing kept of who they were.

mod exactly_once;
mod hostile;
mod monotonic;
mod statistics;
mod told;

use std::time::Duration;

use waypost_testkit::Client;

/// How long clicks may take to be told. Generous: test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// All visits of all links, of people and bots.
async fn sum(client: &Client) -> u64 {
    let answer = client.get("/api/v1/stats?bots=include").await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["totalClicks"].as_u64().unwrap()
}

/// Waits until at least so many visits are told, and then until no more come.
async fn settled_sum(client: &Client, least: u64) -> u64 {
    let since = std::time::Instant::now();
    let mut last = sum(client).await;
    let mut quiet = 0;
    while quiet < 4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = sum(client).await;
        quiet = if now == last && (now >= least || since.elapsed() > PATIENCE) { quiet + 1 } else { 0 };
        last = now;
        assert!(since.elapsed() < PATIENCE * 2, "{last} visits are told, {least} were made");
    }
    last
}
