//! One client of a [`crate::Load`]: its requests, and what it concludes from the answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::history::{Clocks, Does, History, Tally};
use crate::life::Life;
use crate::{Answer, Client};

/// How long a link with an end lives.
const ENDS_AFTER: Duration = Duration::from_millis(2500);

/// The number of bytes by which a URL is made longer.
const LONG: usize = 2000;

/// The number of links with an end, and of changed links, that a client keeps at once.
const KEPT: usize = 40;

pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) does: Does,
    pub(crate) targets: Arc<Mutex<Vec<SocketAddr>>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) last: Arc<Mutex<Instant>>,
    pub(crate) aliases: Arc<AtomicU64>,
}

/// A link that ends.
struct Ending {
    code: String,
    end_ms: u64,
    /// How often clocks had been set when the link was created.
    set: u64,
}

/// How long a client that changes links waits before each request. Without it, clients take the whole machine, and what is tested
/// are few faults under an overload instead of many faults under load. With a shorter one, a long run has so many links soon that the snapshot
/// of each node that was away takes a minute.
const PAUSE: Duration = Duration::from_millis(25);

#[derive(Default)]
struct Own {
    /// Links that are never changed, with their targets.
    fixed: Vec<(String, String)>,
    lives: Vec<Life>,
    ending: Vec<Ending>,
}

/// The outcome of a change, as the answer states it.
enum Outcome {
    Done(Answer),
    /// Nothing was done, according to the node.
    Refused,
    Unknown,
    Unexpected(u16),
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// A time as RFC 3339 writes it.
fn rfc3339(ms: u64) -> String {
    let (days, of_day) = ((ms / 86_400_000) as i64, ms % 86_400_000);
    // Days from the beginning of March of the year 0, in eras of 400 years.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (hours, minutes, seconds, ms) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

impl Worker {
    pub(crate) async fn run(self) {
        let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
        let mut own = Own::default();
        for i in 0usize.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let targets = self.targets.lock().expect("invariant: no client panics").clone();
            if targets.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            if self.does == Does::Changes {
                tokio::time::sleep(PAUSE).await;
            }
            let address = targets[rand::random_range(0..targets.len())];
            let client = clients.entry(address).or_insert_with(|| Client::new(address)).clone();
            let changes = self.does == Does::Changes && i % 3 != 0;
            if changes {
                self.live(&client, address, i, &mut own).await;
            } else if i % 3 == 2 && !own.fixed.is_empty() {
                let (code, url) = &own.fixed[rand::random_range(0..own.fixed.len())];
                self.follow(&client, address, code, url).await;
            } else {
                self.create(&client, i, &mut own.fixed).await;
            }
        }
        self.history.lock().expect("invariant: no client panics").lives.append(&mut own.lives);
    }

    fn broken(&self, what: String) {
        self.history.lock().expect("invariant: no client panics").broken.push(what);
    }

    /// `GET /{code}`, counted.
    async fn visit(&self, client: &Client, code: &str) -> Result<Answer> {
        let answer = client.get(&format!("/{code}")).await;
        let mut tally = self.tally.lock().expect("invariant: no client panics");
        match &answer {
            Ok(answer) if answer.status == 302 => tally.visits += 1,
            Ok(_) => {}
            Err(_) => tally.visits_in_doubt += 1,
        }
        answer
    }

    async fn create(&self, client: &Client, i: usize, own: &mut Vec<(String, String)>) {
        let mut url = format!("https://example.com/{}/{i}", self.number);
        if self.does == Does::Changes {
            // Long URLs, so that a log is soon purged and a node that was away needs a snapshot.
            url += &format!("?{}", "x".repeat(LONG));
        }
        // Clients use the same aliases at about the same time.
        let slug = i.is_multiple_of(5).then(|| format!("alias{}", self.aliases.fetch_add(1, Ordering::Relaxed) / 3));
        let answer = client.shorten(json!({ "longUrl": url, "customSlug": slug })).await;
        if answer.is_err() {
            // The node is down: no need to retry as fast as the machine can.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut history = self.history.lock().expect("invariant: no client panics");
        let mut tally = self.tally.lock().expect("invariant: no client panics");
        match answer {
            Ok(answer) if answer.status == 201 => {
                let code = answer.text("shortCode");
                if let Some(other) = history.links.insert(code.clone(), url.clone()) {
                    history.broken.push(format!("{code} was given to {other} and to {url}"));
                }
                own.push((code, url));
                tally.acknowledged += 1;
                let mut last = self.last.lock().expect("invariant: no client panics");
                tally.longest_pause = tally.longest_pause.max(last.elapsed());
                *last = Instant::now();
            }
            Ok(answer) if answer.status == 409 => {}
            Ok(answer) if answer.status == 507 || answer.status == 503 && answer.problem() != "outcome-unknown" => {
                tally.refused += 1;
            }
            Ok(answer) if matches!(answer.status, 503 | 504) => {
                tally.unknown += 1;
                history.unknown.entry(slug.unwrap_or_default()).or_default().push(url);
            }
            Ok(answer) => history.broken.push(format!("a create was answered {}", answer.status)),
            // The node went down before or after it had done it.
            Err(_) => {
                tally.unknown += 1;
                history.unknown.entry(slug.unwrap_or_default()).or_default().push(url);
            }
        }
    }

    async fn follow(&self, client: &Client, address: SocketAddr, code: &str, url: &str) {
        let answer = self.visit(client, code).await;
        let up = self.targets.lock().expect("invariant: no client panics").contains(&address);
        let mut tally = self.tally.lock().expect("invariant: no client panics");
        match answer {
            Ok(answer) if answer.status == 302 && answer.header("location") == Some(url) => tally.redirects += 1,
            Ok(answer) if answer.status == 302 || answer.status == 404 => {
                let said =
                    format!("{code} was answered {} {:?} on {address}", answer.status, answer.header("location"));
                self.history.lock().expect("invariant: no client panics").broken.push(said);
            }
            Ok(answer) => {
                eprintln!("{code} was answered {} {} on {address}", answer.status, answer.problem());
                tally.missed += 1;
            }
            Err(error) if up => {
                eprintln!("{code} was not answered on {address}: {error}");
                tally.missed += 1;
            }
            Err(_) => {}
        }
    }

    /// One step for links that are changed, or that end.
    async fn live(&self, client: &Client, address: SocketAddr, i: usize, own: &mut Own) {
        let full = own.lives.len() >= KEPT;
        match rand::random_range(0..20) {
            0..2 if !full => self.begin(client, address, i, own).await,
            0..3 if own.ending.len() < KEPT => self.make_ending(client, i, own).await,
            3..6 if !own.ending.is_empty() => self.look_at_end(client, address, own).await,
            6..10 if !own.lives.is_empty() => {
                let at = rand::random_range(0..own.lives.len());
                self.change(client, address, i, &mut own.lives[at]).await;
                if own.lives[at].target().is_none() && full {
                    // A link whose last change is in doubt is not changed any more; it is checked at the end.
                    let life = own.lives.swap_remove(at);
                    self.history.lock().expect("invariant: no client panics").lives.push(life);
                }
            }
            _ if !own.lives.is_empty() => {
                let life = &own.lives[rand::random_range(0..own.lives.len())];
                self.look(client, address, life).await;
            }
            _ => self.begin(client, address, i, own).await,
        }
    }

    /// Creates a link that will be changed. Every other one has an alias of its own, which is claimed again after it was deleted.
    async fn begin(&self, client: &Client, address: SocketAddr, i: usize, own: &mut Own) {
        let url = format!("https://example.com/life/{}/{i}", self.number);
        let slug = i.is_multiple_of(2).then(|| format!("own-{}-{i}", self.number));
        let answer = client.shorten(json!({ "longUrl": url, "customSlug": slug })).await;
        match self.outcome(answer, 201).await {
            Outcome::Done(answer) => {
                let life = Life::new(answer.text("shortCode"), url);
                // When the create is answered, the link is visible on every node.
                self.look(client, address, &life).await;
                own.lives.push(life);
            }
            Outcome::Refused | Outcome::Unknown => {}
            Outcome::Unexpected(status) => self.broken(format!("a create was answered {status}")),
        }
    }

    async fn outcome(&self, answer: Result<Answer>, done: u16) -> Outcome {
        match answer {
            Ok(answer) if answer.status == done => Outcome::Done(answer),
            Ok(answer) if answer.status == 507 || answer.status == 503 && answer.problem() != "outcome-unknown" => {
                Outcome::Refused
            }
            Ok(answer) if matches!(answer.status, 503 | 504) => Outcome::Unknown,
            Ok(answer) => Outcome::Unexpected(answer.status),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Outcome::Unknown
            }
        }
    }

    /// Edits a link, deletes it, or claims its alias again.
    async fn change(&self, client: &Client, address: SocketAddr, i: usize, life: &mut Life) {
        let Some(now) = life.target() else { return };
        let url = format!("https://example.com/life/{}/{i}", self.number);
        let path = format!("/api/v1/links/{}", life.code);
        let (answer, done, target) = match now {
            Some(_) if rand::random_range(0..4) > 0 => {
                let request = client.request(Method::PATCH, &path).json(&json!({ "longUrl": url }));
                (client.send(request).await, 200, Some(url))
            }
            Some(_) => (client.send(client.request(Method::DELETE, &path)).await, 204, None),
            None => {
                let again = json!({ "longUrl": url, "customSlug": life.code });
                (client.shorten(again).await, 201, Some(url))
            }
        };
        match self.outcome(answer, done).await {
            Outcome::Done(_) => {
                {
                    let mut tally = self.tally.lock().expect("invariant: no client panics");
                    match (now.is_some(), target.is_some()) {
                        (true, true) => tally.edited += 1,
                        (true, false) => tally.deleted += 1,
                        (false, _) => tally.claimed_again += 1,
                    }
                }
                life.change(target, Instant::now(), address);
                // The node that answered shows the change at once.
                self.look(client, address, life).await;
            }
            Outcome::Refused => {}
            Outcome::Unknown => life.doubt(target),
            Outcome::Unexpected(status) => {
                self.broken(format!(
                    "{} could not be changed: {status}; it is {}",
                    life.code,
                    life.told(Instant::now())
                ));
            }
        }
    }

    /// Follows a link that is changed, and checks the answer.
    async fn look(&self, client: &Client, address: SocketAddr, life: &Life) {
        let asked = Instant::now();
        let Ok(answer) = self.visit(client, &life.code).await else { return };
        if !matches!(answer.status, 302 | 404) {
            self.tally.lock().expect("invariant: no client panics").missed += 1;
            return;
        }
        let target = answer.header("location").map(str::to_owned);
        if life.allows(&target, asked, address) {
            self.tally.lock().expect("invariant: no client panics").redirects += 1;
        } else {
            let (status, told) = (answer.status, life.told(asked));
            self.broken(format!("{} was answered {status} {target:?} on {address}; it is {told}", life.code));
        }
    }

    async fn make_ending(&self, client: &Client, i: usize, own: &mut Own) {
        let set = self.clocks.set.load(Ordering::SeqCst);
        let end_ms = wall_ms() + ENDS_AFTER.as_millis() as u64;
        let url = format!("https://example.com/ending/{}/{i}", self.number);
        let answer = client.shorten(json!({ "longUrl": url, "validUntil": rfc3339(end_ms) })).await;
        match self.outcome(answer, 201).await {
            Outcome::Done(answer) => own.ending.push(Ending { code: answer.text("shortCode"), end_ms, set }),
            // On a node whose clock is ahead, the end has passed already.
            Outcome::Refused | Outcome::Unknown | Outcome::Unexpected(_) => {}
        }
    }

    /// Follows a link that ends; an ended link is dropped.
    async fn look_at_end(&self, client: &Client, address: SocketAddr, own: &mut Own) {
        let at = rand::random_range(0..own.ending.len());
        let Ending { code, end_ms, set } = &own.ending[at];
        let asked = wall_ms();
        let Ok(answer) = self.visit(client, code).await else { return };
        let answered = wall_ms();
        let clocks_right = !self.clocks.wrong.load(Ordering::SeqCst) && self.clocks.set.load(Ordering::SeqCst) == *set;
        let right = match answer.status {
            302 => asked < *end_ms,
            410 => answered >= *end_ms,
            404 => false,
            _ => true,
        };
        if clocks_right && !right {
            let status = answer.status;
            self.broken(format!(
                "{code} ends at {end_ms} and was answered {status} on {address} from {asked} to {answered}"
            ));
        }
        if answer.status == 410 || !clocks_right {
            self.tally.lock().expect("invariant: no client panics").ended += u64::from(answer.status == 410);
            own.ending.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_written_as_the_product_reads_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_255_200_001), "2026-11-21T10:00:00.001Z");
    }
}
