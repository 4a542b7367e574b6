//! How long sessions last, and how their tokens are replaced, by a clock that is set.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use waypost_testkit::{Faults, Node};

use super::{Browser, KEY};
use crate::node_in_temp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A node with an admin key, and its machine.
fn node_with_clock(idle_s: u32, max_s: u32) -> (tempfile::TempDir, Faults, Node) {
    let (dir, builder) = node_in_temp();
    let faults = Faults::new(dir.path().join("faults")).unwrap();
    let builder = builder.env("WAYPOST_ADMIN_KEY", KEY).env("WAYPOST_DASHBOARD_SESSION_IDLE_S", &idle_s.to_string());
    let builder = builder.env("WAYPOST_DASHBOARD_SESSION_MAX_S", &max_s.to_string());
    let node = faults.load_into(builder).start().unwrap();
    (dir, faults, node)
}

/// Sets the clock of a machine.
async fn set(faults: &Faults, ms: i64) {
    faults.clock_off_by_ms(ms).unwrap();
    // It is looked up again after 20 ms (`faults.c`).
    tokio::time::sleep(Duration::from_millis(40)).await;
}

/// Waits until a browser is out.
async fn out(browser: &mut Browser) {
    let since = Instant::now();
    while browser.is_in().await {
        assert!(since.elapsed() < Duration::from_secs(60), "the session does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a browser gets another token than before; it has not used it then.
async fn renewed(browser: &mut Browser) {
    let (before, since) = (browser.cookie.clone(), Instant::now());
    while browser.cookie == before {
        assert!(browser.is_in().await, "the session has ended");
        assert!(since.elapsed() < Duration::from_secs(60), "the token is not replaced");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_session_that_is_not_used_ends() {
    let (_dir, faults, node) = node_with_clock(24 * 3600, 30 * 24 * 3600);
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    set(&faults, 23 * HOUR_MS).await;
    renewed(&mut browser).await;
    // Its use was noted, so it goes on for another day.
    assert!(browser.is_in().await);
    set(&faults, 46 * HOUR_MS).await;
    renewed(&mut browser).await;
    let idle = browser.clone();
    set(&faults, 71 * HOUR_MS).await;
    out(&mut idle.clone()).await;
}

#[tokio::test]
async fn a_session_that_is_used_all_the_time_ends_after_its_longest_time() {
    let (_dir, faults, node) = node_with_clock(2 * 3600, 5 * 3600);
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    for hours in [1, 2, 3, 4] {
        set(&faults, hours * HOUR_MS).await;
        renewed(&mut browser).await;
        assert!(browser.is_in().await);
    }
    set(&faults, 4 * HOUR_MS + 59 * MINUTE_MS).await;
    renewed(&mut browser).await;
    set(&faults, 5 * HOUR_MS + MINUTE_MS).await;
    out(&mut browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_replaced_while_requests_run_side_by_side_and_answers_are_lost() {
    let (_dir, faults, node) = node_with_clock(24 * 3600, 30 * 24 * 3600);
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    assert!(browser.is_in().await);
    let first = browser.clone();
    for turn in 1..=3 {
        let before = browser.cookie.clone();
        set(&faults, turn * 30 * MINUTE_MS).await;
        // Many at once, whose answers the browser never sees.
        let mut tabs: Vec<Browser> = (0..16).map(|_| browser.clone()).collect();
        assert!(join_all(tabs.iter_mut().map(Browser::is_in)).await.into_iter().all(|is_in| is_in), "turn {turn}");
        // It may have sent them long before it sees one.
        set(&faults, turn * 30 * MINUTE_MS + 15 * MINUTE_MS).await;
        assert!(browser.is_in().await, "turn {turn}: lost answers have ended the session");
        if browser.cookie == before {
            renewed(&mut browser).await;
        }
        // All of them get the same next token, and go on with it side by side.
        tabs.iter_mut().for_each(|tab| tab.cookie.clone_from(&browser.cookie));
        assert!(join_all(tabs.iter_mut().map(Browser::is_in)).await.into_iter().all(|is_in| is_in), "turn {turn}");
    }
    assert_ne!(first.cookie, browser.cookie);
    out(&mut first.clone()).await;
    assert!(browser.is_in().await && browser.others().await.is_empty());
}

#[tokio::test]
async fn the_token_before_is_accepted_for_two_minutes_after_the_new_one_was_used() {
    let (_dir, faults, node) = node_with_clock(24 * 3600, 30 * 24 * 3600);
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    let before = browser.clone();
    set(&faults, 11 * MINUTE_MS).await;
    renewed(&mut browser).await;
    // Nothing is replaced before the new one comes back.
    set(&faults, 20 * MINUTE_MS).await;
    assert!(before.clone().is_in().await);
    assert!(browser.is_in().await);
    assert!(before.clone().is_in().await, "a request that was on its way is refused");
    set(&faults, 23 * MINUTE_MS).await;
    out(&mut before.clone()).await;
    assert!(browser.is_in().await);
}
