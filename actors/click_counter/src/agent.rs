//! By what a visit came: browser, system and device of a person, or the kind of a bot.
//!
//! Bots are told by `bots.txt` beside this file; browsers by woothee. What comes out are small numbers, so that a visit has a
//! fixed size; their names are in the tables here, to which a release may only add at the end.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use woothee::parser::Parser;

/// Names by number. 0 = not known.
const BROWSERS: &[&str] = &[
    "",
    "Chrome",
    "Firefox",
    "Safari",
    "Edge",
    "Opera",
    "Samsung Internet",
    "Internet Explorer",
    "Yandex Browser",
    "Vivaldi",
    "Webview",
    "DuckDuckGo",
    "UC Browser",
    "Other",
];
const SYSTEMS: &[&str] =
    &["", "Windows", "macOS", "iOS", "Android", "Linux", "ChromeOS", "FreeBSD", "Game console", "TV", "Other"];
const DEVICES: &[&str] = &["", "Desktop", "Mobile", "Tablet", "TV", "Game console", "Other"];
const BOTS: &[&str] = &["bot", "search engine", "preview", "assistant", "monitor", "security", "program", "prefetch"];

/// The bot that is none: a browser that fetches ahead.
const PREFETCH: u8 = 7;

/// The longest user agent that is looked at, in bytes.
const AGENT_BYTES_MAX: usize = 512;

/// By what a visit came. All zero: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agent {
    /// Whether it was a program, and no person. `browser` is its kind then.
    pub bot: bool,
    /// The number of the browser.
    pub browser: u8,
    /// The number of the operating system.
    pub os: u8,
    /// The number of the kind of device.
    pub device: u8,
}

struct Bots {
    finder: AhoCorasick,
    kinds: Vec<u8>,
}

static KNOWN_BOTS: LazyLock<Bots> = LazyLock::new(|| {
    let lines = include_str!("bots.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let (kinds, parts): (Vec<&str>, Vec<&str>) =
        lines.map(|line| line.split_once('\t').expect("invariant: each line of bots.txt has a tab")).unzip();
    let kinds = kinds.into_iter().map(|kind| number(BOTS, kind)).collect();
    let finder = AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).build(parts);
    Bots { finder: finder.expect("invariant: bots.txt is small enough for an automaton"), kinds }
});

fn number(names: &[&str], name: &str) -> u8 {
    names.iter().position(|known| *known == name).unwrap_or(0) as u8
}

impl Agent {
    /// A browser that fetches a page in case its user wants it.
    pub const PREFETCH: Self = Self { bot: true, browser: PREFETCH, os: 0, device: 0 };

    /// What the header `User-Agent` says.
    pub fn of(text: &str) -> Self {
        let mut end = text.len().min(AGENT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].trim();
        // Of all that fit, the first in the file.
        let bot = KNOWN_BOTS.finder.find_overlapping_iter(text).map(|found| found.pattern().as_usize()).min();
        if let Some(bot) = bot {
            return Self { bot: true, browser: KNOWN_BOTS.kinds[bot], os: 0, device: 0 };
        }
        let Some(found) = Parser::new().parse(text) else {
            // Not empty, and nobody's: such as "x" or "test".
            let other = if text.is_empty() { 0 } else { number(BROWSERS, "Other") };
            return Self { bot: false, browser: other, os: 0, device: 0 };
        };
        if found.category == "crawler" {
            return Self { bot: true, browser: number(BOTS, "bot"), os: 0, device: 0 };
        }
        let tablet = text.contains("iPad")
            || text.contains("Tablet")
            || found.os == "Android" && !text.contains("Mobile") && !text.contains("TV");
        let tv = ["SmartTV", "SMART-TV", "Smart TV", "AppleTV", "BRAVIA", "Web0S", "Tizen 2", "GoogleTV", "Android TV"]
            .iter()
            .any(|name| text.contains(name));
        let browser = match found.name {
            _ if text.contains("DuckDuckGo/") || text.contains("Ddg/") => "DuckDuckGo",
            _ if text.contains("UCBrowser/") => "UC Browser",
            _ if text.contains("SamsungBrowser/") => "Samsung Internet",
            "UNKNOWN" => "Other",
            name if BROWSERS.contains(&name) => name,
            _ => "Other",
        };
        let os = match found.os {
            _ if tv => "TV",
            os if os.starts_with("Windows") => "Windows",
            "Mac OSX" | "Mac OS Classic" => "macOS",
            "iPhone" | "iPad" | "iPod" | "iOS" => "iOS",
            "Android" => "Android",
            "Linux" => "Linux",
            "ChromeOS" => "ChromeOS",
            "BSD" => "FreeBSD",
            os if os.contains("PlayStation")
                || os.contains("Nintendo")
                || os.contains("Xbox")
                || os.contains("PSP") =>
            {
                "Game console"
            }
            "UNKNOWN" => "",
            _ => "Other",
        };
        let device = match found.category {
            _ if tv => "TV",
            "smartphone" | "mobilephone" | "pc" if tablet => "Tablet",
            "pc" => "Desktop",
            "smartphone" | "mobilephone" => "Mobile",
            "appliance" => "Game console",
            _ => "",
        };
        Self {
            bot: false,
            browser: number(BROWSERS, browser),
            os: number(SYSTEMS, os),
            device: number(DEVICES, device),
        }
    }
}

/// The name of the browser, or the kind of a bot.
pub(crate) fn browser_name(agent: Agent) -> &'static str {
    let names = if agent.bot { BOTS } else { BROWSERS };
    names.get(usize::from(agent.browser)).copied().unwrap_or("Other")
}

/// The name of the operating system.
pub(crate) fn os_name(agent: Agent) -> &'static str {
    SYSTEMS.get(usize::from(agent.os)).copied().unwrap_or("Other")
}

/// The name of the kind of device.
pub(crate) fn device_name(agent: Agent) -> &'static str {
    DEVICES.get(usize::from(agent.device)).copied().unwrap_or("Other")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kind (person or the kind of bot), browser, system, device, and the user agent as it was seen in the world.
    const SEEN: &str = include_str!("agents.txt");

    #[test]
    fn user_agents_of_the_world_are_what_they_are() {
        let mut wrong = Vec::new();
        let mut count = 0;
        for line in SEEN.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let parts: Vec<&str> = line.splitn(4, '\t').collect();
            let [browser, os, device, text] = parts[..] else { panic!("{line}") };
            let agent = Agent::of(text);
            let kind = if agent.bot { "bot: " } else { "" };
            let found = (format!("{kind}{}", browser_name(agent)), os_name(agent), device_name(agent));
            if found != (browser.to_owned(), os, device) {
                wrong.push(format!("{found:?} instead of ({browser}, {os}, {device}) for {text}"));
            }
            count += 1;
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count >= 60, "{count}");
    }

    #[test]
    fn the_list_of_bots_can_be_read() {
        for line in include_str!("bots.txt").lines().filter(|line| !line.starts_with('#')) {
            let (kind, part) = line.split_once('\t').unwrap_or_default();
            assert!(BOTS.contains(&kind) && !part.is_empty(), "{line:?}");
        }
        assert!(BOTS.len() <= 256 && BROWSERS.len() <= 256 && SYSTEMS.len() <= 64 && DEVICES.len() <= 16);
        assert_eq!(browser_name(Agent::PREFETCH), "prefetch");
    }

    proptest! {
        #[test]
        fn no_user_agent_makes_it_panic(text in "\\PC{0,600}") {
            Agent::of(&text);
        }
    }
}
