//! The user agent of a visit: browser, system and device of a person, or the kind of a bot.
//!
//! Bots are recognised by the words in `bots.txt` beside this file, except for the names in `persons.txt`; browsers by woothee. The results are small
//! numbers, so that a visit has a fixed size; their names are in the tables here, to which a release may only add at the end.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Match, MatchKind};
use woothee::parser::Parser;

/// Names by number. 0 = unknown.
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

/// The kind of a bot that does not identify itself.
const PROGRAM: u8 = 6;

/// The kind of a prefetch: a browser that loads a page in advance.
const PREFETCH: u8 = 7;

/// The longest part of a user agent that is examined, in bytes.
const AGENT_BYTES_MAX: usize = 512;

/// The class of a user agent. All zero: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agent {
    /// Whether it is a program and not a person. Then `browser` is the kind of bot.
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
    known: Vec<Known>,
}

/// One line of `bots.txt`.
struct Known {
    kind: u8,
    /// Whether it must be at the beginning of the user agent.
    first: bool,
    /// Whether a word has to begin, and to end, with it.
    whole: (bool, bool),
}

static KNOWN_BOTS: LazyLock<Bots> = LazyLock::new(|| {
    let lines = include_str!("bots.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = |line: &'static str| {
        let (kind, part) = line.split_once('\t').expect("invariant: each line of bots.txt has a tab");
        let text = part.trim_start_matches(['^', '*']).trim_end_matches('*');
        let word = |end: Option<char>| end.is_some_and(char::is_alphanumeric);
        let whole = (
            word(text.chars().next()) && !part.starts_with('*'),
            word(text.chars().next_back()) && !part.ends_with('*'),
        );
        (Known { kind: number(BOTS, kind), first: part.starts_with('^'), whole }, text)
    };
    let (known, parts): (Vec<Known>, Vec<&str>) = lines.map(read).unzip();
    let finder = AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).build(parts);
    Bots { finder: finder.expect("invariant: bots.txt is small enough for an automaton"), known }
});

/// Whether a word looks like the name of a bot, but is not one.
fn is_persons_word(word: &str) -> bool {
    let mut lines = include_str!("persons.txt").lines().filter(|line| !line.starts_with('#'));
    lines.any(|known| known.eq_ignore_ascii_case(word))
}

/// Whether a word ends and another begins at an offset of a text. Between letters this is only where a capital letter follows a small one.
fn is_boundary(text: &str, at: usize) -> bool {
    let (before, after) = (text[..at].chars().next_back(), text[at..].chars().next());
    match (before, after) {
        (Some(before), Some(after)) => {
            !before.is_alphanumeric()
                || !after.is_alphanumeric()
                || after.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit())
        }
        _ => true,
    }
}

/// The part in which a browser names its device: a phone may have any name.
/// `Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus Build/PPR1) …`
fn device(text: &str) -> Range<usize> {
    let named = || {
        let comment = text.strip_prefix("Mozilla/")?.find('(')? + "Mozilla/".len() + 1;
        let end = text[comment..].find(')').map_or(text.len(), |end| comment + end);
        let inside = &text[comment..end];
        let android = inside.find("Android")?;
        let of_a_bot = ["compatible", "http", "@"].iter().any(|word| inside.contains(word));
        (!of_a_bot).then_some(comment + android..end)
    };
    named().unwrap_or(0..0)
}

/// A user agent in which each word that only looks like a bot is replaced by as many `-`.
fn without_persons_words(text: &str) -> Cow<'_, str> {
    let device = device(text);
    let mut plain = Cow::Borrowed(text);
    let mut at = 0;
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let place = at..at + word.len();
        at = place.end + text[place.end..].chars().next().map_or(0, char::len_utf8);
        let ends_like_one = || {
            let word = word.to_ascii_lowercase();
            ["bot", "bots", "spider", "crawler"].iter().any(|end| word.ends_with(end))
        };
        let in_device = || device.contains(&place.start) && !text[place.end..].starts_with('/');
        if is_persons_word(word) || in_device() && ends_like_one() {
            plain.to_mut().replace_range(place, &"-".repeat(word.len()));
        }
    }
    plain
}

/// The kind of bot, by `bots.txt`: the first line that matches counts.
fn known_bot(text: &str) -> Option<u8> {
    let device = device(text);
    let fits = |found: &Match| {
        let Known { first, whole, .. } = KNOWN_BOTS.known[found.pattern().as_usize()];
        let (start, end) = (found.start(), found.end());
        let product = || text[..end].ends_with('/') || text[end..].starts_with('/');
        (!first || start == 0)
            && (!whole.0 || is_boundary(text, start))
            && (!whole.1 || is_boundary(text, end))
            && (!device.contains(&start) || product())
    };
    let found =
        KNOWN_BOTS.finder.find_overlapping_iter(text).filter(fits).map(|found| found.pattern().as_usize()).min()?;
    Some(KNOWN_BOTS.known[found].kind)
}

fn number(names: &[&str], name: &str) -> u8 {
    names.iter().position(|known| *known == name).unwrap_or(0) as u8
}

impl Agent {
    /// A browser that loads a page in advance.
    pub const PREFETCH: Self = Self { bot: true, browser: PREFETCH, os: 0, device: 0 };

    /// A request without a user agent: every browser sends one.
    pub const UNNAMED: Self = Self { bot: true, browser: PROGRAM, os: 0, device: 0 };

    /// Classifies the header `User-Agent`.
    pub fn of(text: &str) -> Self {
        let mut end = text.len().min(AGENT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].trim();
        // Every browser identifies itself.
        if !text.contains(char::is_alphanumeric) {
            return Self::UNNAMED;
        }
        let text = &*without_persons_words(text);
        if let Some(kind) = known_bot(text) {
            return Self { bot: true, browser: kind, os: 0, device: 0 };
        }
        let Some(found) = Parser::new().parse(text) else {
            // An unknown name, such as "x" or "test".
            return Self { bot: false, browser: number(BROWSERS, "Other"), os: 0, device: 0 };
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

/// All names but that of the unknown.
fn named(names: &'static [&'static str]) -> impl Iterator<Item = &'static str> + Clone {
    names.iter().copied().filter(|name| !name.is_empty())
}

impl Agent {
    /// The names of all browsers.
    pub fn browsers() -> impl Iterator<Item = &'static str> + Clone {
        named(BROWSERS)
    }

    /// The names of all operating systems.
    pub fn systems() -> impl Iterator<Item = &'static str> + Clone {
        named(SYSTEMS)
    }

    /// The name of the browser, or the kind of a bot.
    pub fn browser_name(self) -> &'static str {
        let names = if self.bot { BOTS } else { BROWSERS };
        names.get(usize::from(self.browser)).copied().unwrap_or("Other")
    }

    /// The name of the operating system.
    pub fn os_name(self) -> &'static str {
        SYSTEMS.get(usize::from(self.os)).copied().unwrap_or("Other")
    }

    /// The name of the kind of device.
    pub fn device_name(self) -> &'static str {
        DEVICES.get(usize::from(self.device)).copied().unwrap_or("Other")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kind (person or kind of bot), browser, system, device, and a user agent from real traffic.
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
            let found = (format!("{kind}{}", agent.browser_name()), agent.os_name(), agent.device_name());
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
        assert_eq!(Agent::PREFETCH.browser_name(), "prefetch");
        assert_eq!(Agent::UNNAMED.browser_name(), "program");
        for line in include_str!("persons.txt").lines().filter(|line| !line.starts_with('#')) {
            assert!(!line.is_empty() && line.bytes().all(|byte| byte.is_ascii_lowercase()), "{line:?}");
        }
    }

    #[test]
    fn who_does_not_say_what_it_is_is_no_person() {
        for text in ["", " ", "\t", "-", "()", "//"] {
            assert_eq!(Agent::of(text), Agent::UNNAMED, "{text:?}");
        }
    }

    #[test]
    fn only_whole_words_make_a_bot() {
        for (text, kind) in [
            ("rust/1.0", "program"),
            ("my-rust-client 2", "program"),
            ("Rust", "program"),
            ("NetcraftSurveyAgent/1.0", "security"),
            ("unknownbot", "bot"),
            ("UnknownBot 2", "bot"),
            ("some bot", "bot"),
            ("SOMEBOT/1.0", "bot"),
            ("robot", "bot"),
            ("LinkChecker/10", "bot"),
            ("newscrawler/1", "bot"),
            ("Firecrawl/1", "bot"),
            ("WhatsApp/2.23.20.0 A", "preview"),
            ("Mozilla/5.0 (Linux; Android 9; SomeBot/1.0) AppleWebKit/537.36", "bot"),
            ("Mozilla/5.0 (Linux; Android 9; compatible; SomeBot) AppleWebKit/537.36", "bot"),
            ("Mozilla/5.0 (Linux; Android 9; CUBOT) AppleWebKit/537.36 (compatible; SomeBot/1.0)", "bot"),
        ] {
            let agent = Agent::of(text);
            assert_eq!((agent.bot, agent.browser_name()), (true, kind), "{text}");
        }
        for text in [
            "Trustly/4.1 (iPhone; iOS 17.5; Scale/3.00)",
            "TRUSTLY/4.1",
            "Trust/9.5 (iPhone)",
            "TrustWallet/8.0",
            "iRobot/6.5.1 (iPhone; iOS 17.5)",
            "CUBOT",
            "Botswana/1",
            "Roboto/1",
            "Robotics/2",
            "Bottega/1.0",
            "Superlative/1",
            "Terrssa/2",
            "Previewer/1",
            "Harvest (Talbot)",
        ] {
            assert!(!Agent::of(text).bot, "{text} is a {}", Agent::of(text).browser_name());
        }
    }

    proptest! {
        #[test]
        fn no_user_agent_makes_it_panic(text in "\\PC{0,600}") {
            Agent::of(&text);
        }
    }
}
