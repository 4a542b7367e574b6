//! `robots.txt`: what crawlers may fetch. Each domain has a file of its own, which lists its links that are `crawlable`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use waypost_protocol::messages::GetCrawlable;
use waypost_protocol::{CallError, Code, Domain};

use super::origin::escaped;
use crate::app::App;

/// The longest file, in bytes: crawlers read no more than 500 KiB of it (RFC 9309). That is room for about 25,000 generated codes; of more links, some are not
/// listed, which is to say that they are not crawled.
const BYTES_MAX: usize = 500 << 10;

/// The most domains whose files are kept: 32 MiB, if all are as long as they may be. Of more, the one that nobody has asked for the longest is made anew.
const FILES_MAX: usize = 64;

/// How long a file is answered before the shards are asked again.
const KEEP: Duration = Duration::from_secs(10);

/// How long a failure is answered, if there is no earlier file.
const RETRY: Duration = Duration::from_secs(1);

/// Services that show a preview of a posted link may fetch all links. All others may fetch those that are listed here: other links lead to sites that have rules of
/// their own, and a crawler that tries codes would find private links.
const HEAD: &str = "\
# Previews of links that people share are welcome. Other crawlers may follow the links that are listed at the end.
User-agent: Twitterbot
User-agent: facebookexternalhit
User-agent: meta-externalfetcher
User-agent: LinkedInBot
User-agent: Slackbot
User-agent: Slackbot-LinkExpanding
User-agent: Slack-ImgProxy
User-agent: Discordbot
User-agent: TelegramBot
User-agent: WhatsApp
User-agent: SkypeUriPreview
User-agent: MicrosoftPreview
User-agent: Pinterestbot
User-agent: redditbot
User-agent: Mastodon
User-agent: Embedly
User-agent: Iframely
User-agent: vkShare
User-agent: Viber
User-agent: Line-Poker
User-agent: Snap URL Preview Service
User-agent: Bluesky Cardyb
User-agent: Tumblr
User-agent: bitlybot
Disallow:

User-agent: *
";

/// What ends the file: everything that is not listed.
const TAIL: &str = "Disallow: /\n";

/// The files of a node, each made when it is asked for.
#[derive(Default)]
pub struct Robots(Mutex<BTreeMap<Domain, Place>>);

/// The place of a domain's file.
struct Place {
    file: Arc<AsyncMutex<Option<Kept>>>,
    asked_at: Instant,
}

struct Kept {
    until: Instant,
    file: Result<Bytes, CallError>,
}

impl Robots {
    /// The file of a domain. Requests that come while it is being made wait for it.
    pub(super) async fn file(&self, app: &App, domain: Domain) -> Result<Bytes, CallError> {
        let place = self.place(domain, Instant::now());
        let mut kept = place.lock().await;
        if let Some(Kept { file, .. }) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return file.clone();
        }
        let made = app.crawlable(domain, BYTES_MAX).await.map(|codes| Bytes::from(text(&codes)));
        // An earlier file is better than none: a crawler takes that for a site that does not want to be read.
        let before = kept.take().and_then(|kept| kept.file.ok());
        let keep = if made.is_ok() { KEEP } else { RETRY };
        let file = made.or_else(|error| before.ok_or(error));
        *kept = Some(Kept { until: Instant::now() + keep, file: file.clone() });
        file
    }

    /// Where the file of a domain is, or is to be. At most [`FILES_MAX`] places are kept.
    fn place(&self, domain: Domain, now: Instant) -> Arc<AsyncMutex<Option<Kept>>> {
        let mut places = self.0.lock();
        if !places.contains_key(&domain) && places.len() >= FILES_MAX {
            let oldest = places.iter().min_by_key(|(_, place)| place.asked_at).map(|(domain, _)| *domain);
            oldest.and_then(|oldest| places.remove(&oldest));
        }
        let place = places.entry(domain).or_insert_with(|| Place { file: Arc::default(), asked_at: now });
        place.asked_at = now;
        place.file.clone()
    }
}

/// The file of a host that has no links.
pub(super) fn without_links() -> Bytes {
    Bytes::from(text(&[]))
}

/// The file with these codes. A code is allowed by itself, and not as the beginning of another one.
fn text(codes: &[Code]) -> String {
    let mut text = String::with_capacity(HEAD.len() + TAIL.len() + codes.len() * (GetCrawlable::CODE_BYTES + 8));
    text.push_str(HEAD);
    for code in codes {
        let code = escaped(code.as_str());
        if text.len() + code.len() + GetCrawlable::CODE_BYTES + TAIL.len() > BYTES_MAX {
            break;
        }
        text.extend(["Allow: /", &code, "$\n"]);
    }
    text.push_str(TAIL);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_domains_has_its_file_kept_and_each_has_its_own() {
        let (robots, began) = (Robots::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let first = robots.place(Domain(0), at(0));
        assert!(!Arc::ptr_eq(&first, &robots.place(Domain(1), at(1))));
        for number in 2..FILES_MAX as u32 {
            robots.place(Domain(number), at(2));
        }
        assert!(Arc::ptr_eq(&first, &robots.place(Domain(0), at(3))));
        // The one that was asked for the longest ago makes room.
        let second = robots.place(Domain(2), at(4));
        robots.place(Domain(FILES_MAX as u32), at(5));
        assert_eq!(robots.0.lock().len(), FILES_MAX);
        assert!(!robots.0.lock().contains_key(&Domain(1)));
        assert!(Arc::ptr_eq(&first, &robots.place(Domain(0), at(6))));
        assert!(Arc::ptr_eq(&second, &robots.place(Domain(2), at(6))));
    }

    #[test]
    fn a_robots_file_welcomes_previews_and_nobody_else() {
        let robots = text(&[]);
        let groups: Vec<&str> = robots.split("\n\n").collect();
        let [previews, others] = groups[..] else { panic!("{robots}") };
        assert!(previews.contains("User-agent: Twitterbot\n") && previews.ends_with("\nDisallow:"), "{previews}");
        assert_eq!(others, "User-agent: *\nDisallow: /\n");
        assert!(!robots.to_lowercase().contains("googlebot"));
    }

    #[test]
    fn a_robots_file_allows_listed_links_and_no_others_that_begin_like_them() {
        let codes = ["abc", "x-1", "zürich"].map(|code| Code::parse_slug(code).unwrap());
        let robots = text(&codes);
        let end = "\n\nUser-agent: *\nAllow: /abc$\nAllow: /x-1$\nAllow: /z%C3%BCrich$\nDisallow: /\n";
        assert!(robots.ends_with(end), "{robots}");
    }

    #[test]
    fn a_robots_file_is_as_long_as_crawlers_read_and_keeps_its_end() {
        let codes: Vec<Code> = (0..40_000).map(|n| Code::parse_slug(&format!("{n:07}")).unwrap()).collect();
        let robots = text(&codes);
        assert!((BYTES_MAX - 50..=BYTES_MAX).contains(&robots.len()), "{}", robots.len());
        assert!(robots.ends_with("$\nDisallow: /\n"));
    }
}
