//! What was printed, against what the page shows. Times, codes, versions and ids of requests are others each time; `…` stands for what the page
//! leaves out: a line of its own for lines, at the end of a line for the rest of it.

use super::page::Special;

/// What a block has printed.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) out: String,
    pub(super) errors: String,
    /// The exit codes of commands that failed.
    pub(super) failed: Vec<i32>,
}

/// Why what was printed is not what is shown; `None` if it is. What a command says on standard error is compared if it printed nothing else.
pub(super) fn differs(shown: &str, answer: &Answer, special: &Special) -> Option<String> {
    let printed = if answer.out.trim().is_empty() { &answer.errors } else { &answer.out };
    let printed = printed.replace('\r', "");
    // Headers come in any order.
    match (shown.split_once("\n\n"), printed.split_once("\n\n")) {
        (Some((head, body)), Some((head_printed, body_printed))) if head.starts_with("HTTP/") => {
            heads_differ(head, head_printed).or_else(|| texts_differ(body, body_printed, special))
        }
        (None, Some((head_printed, ""))) if shown.starts_with("HTTP/") => heads_differ(shown, head_printed),
        _ => texts_differ(shown, &printed, special),
    }
}

fn heads_differ(shown: &str, printed: &str) -> Option<String> {
    let has = |line: &&str| printed.lines().any(|header| fits(line, header, false));
    let all = shown.lines().any(|line| line == "…") || shown.lines().count() == printed.lines().count();
    match shown.lines().filter(|line| *line != "…").find(|line| !has(line)) {
        Some(missing) => Some(format!("this header is missing: {missing}")),
        None => (!all).then(|| "there are headers that the page does not show".to_owned()),
    }
}

fn texts_differ(shown: &str, printed: &str, special: &Special) -> Option<String> {
    let lines = |text| -> Vec<String> {
        let lines = str::lines(text).map(str::trim_end).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let (shown, printed) = (lines(shown), lines(printed));
    let (shown, printed): (Vec<&str>, Vec<&str>) =
        (shown.iter().map(String::as_str).collect(), printed.iter().map(String::as_str).collect());
    lines_differ(&shown, &printed, special.numbers)
}

fn lines_differ(shown: &[&str], printed: &[&str], numbers: bool) -> Option<String> {
    let Some((first, rest)) = shown.split_first() else {
        return printed.first().map(|line| format!("the page does not show this line: {line}"));
    };
    if *first == "…" {
        let mut why = None;
        for from in 0..=printed.len() {
            why = Some(lines_differ(rest, &printed[from..], numbers)?);
        }
        return why;
    }
    match printed.first() {
        None => Some(format!("this line is missing: {first}")),
        Some(line) if fits(first, line, numbers) => lines_differ(rest, &printed[1..], numbers),
        Some(line) => Some(format!("instead of this line: {first}\nthere is this one:    {line}")),
    }
}

fn fits(shown: &str, printed: &str, numbers: bool) -> bool {
    let (shown, cut) = shown.strip_suffix('…').map_or((shown, false), |shown| (shown, true));
    let (shown, printed) = (words(shown), words(printed));
    let enough = if cut { printed.len() >= shown.len() } else { printed.len() == shown.len() };
    enough
        && shown.iter().zip(&printed).enumerate().all(|(i, (shown_word, word))| {
            word_fits(shown_word, word, numbers) || cut && i + 1 == shown.len() && word.starts_with(shown_word.as_str())
        })
}

/// Words of letters and digits, and what is between them, with a time as one word.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = match time(rest) {
            0 if first.is_ascii_alphanumeric() => rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()),
            // How wide a column is follows from what is in it.
            0 if first == ' ' => rest.find(|c| c != ' ').unwrap_or(rest.len()),
            0 => first.len_utf8(),
            length => length,
        };
        words.push(if first == ' ' { " ".to_owned() } else { rest[..length].to_owned() });
        rest = &rest[length..];
    }
    words
}

/// The length of the date or time that a text begins with, in the forms of RFC 3339 and of HTTP; else 0.
fn time(text: &str) -> usize {
    let is = |text: &str, form: &str| {
        let same = |(form, byte): (u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_alphabetic(),
            form => form == byte,
        };
        text.len() >= form.len() && form.bytes().zip(text.bytes()).all(same)
    };
    if is(text, "AAA, 00 AAA 0000 00:00:00 GMT") {
        return "AAA, 00 AAA 0000 00:00:00 GMT".len();
    }
    if !is(text, "0000-00-00T00:00:00") {
        return if is(text, "0000-00-00") { 10 } else { 0 };
    }
    // With a fraction of any length, or none.
    let rest = &text[19..];
    let fraction = rest.strip_prefix('.').map_or(0, |digits| 1 + digits.bytes().take_while(u8::is_ascii_digit).count());
    if rest[fraction..].starts_with('Z') { 20 + fraction } else { 0 }
}

fn word_fits(shown: &str, word: &str, numbers: bool) -> bool {
    let all = |text: &str, of: fn(&u8) -> bool| text.bytes().all(|byte| of(&byte));
    let is_id = |text: &str| matches!(text.len(), 16 | 32) && all(text, u8::is_ascii_hexdigit);
    // A code on the page is one that cannot be taken for a word.
    let is_code = shown.len() == 7
        && all(shown, u8::is_ascii_alphanumeric)
        && shown.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let is_number = |text: &str| all(text, u8::is_ascii_digit);
    shown == word
        || time(shown) > 10 && time(word) > 10
        || time(shown) == 10 && time(word) == 10
        || is_code && word.len() == 7 && all(word, u8::is_ascii_alphanumeric)
        || is_id(shown) && is_id(word) && shown.len() == word.len()
        || numbers && is_number(shown) && is_number(word)
}

#[test]
fn what_is_others_each_time_fits_and_nothing_else() {
    let plain = |shown: &str, printed: &str| fits(shown, printed, false);
    assert!(plain("http://127.0.0.1:8080/Q6r1mKb", "http://127.0.0.1:8080/abcdefg"));
    assert!(!plain("http://127.0.0.1:8080/example", "http://127.0.0.1:8080/abcdefg"));
    assert!(plain("\"createdAt\":\"2026-11-21T04:43:13.802Z\"", "\"createdAt\":\"2027-01-02T00:00:00.000Z\""));
    assert!(plain("as of 2026-11-21T04:43:13.802Z", "as of 2027-01-02T00:00:00Z"));
    assert!(plain("as of 2026-11-21T04:43:13.802Z", "as of 2027-01-02T00:00:00.3Z"));
    assert!(plain("2026-11-21   1", "2027-01-02   1") && !plain("2026-11-21", "2027-01-02T00:00:00Z"));
    assert!(!plain("\"createdAt\":\"2026-11-21T04:43:13.802Z\"", "\"createdAt\":null"));
    assert!(plain("date: Wed, 25 Nov 2026 21:55:52 GMT", "date: Thu, 26 Nov 2026 00:00:00 GMT"));
    assert!(plain("x-request-id: a89cd1b8d6c7fe92", "x-request-id: 0000000000000000"));
    assert!(!plain("clicks 5", "clicks 6") && fits("clicks 5", "clicks   16", true));
    assert!(plain("wp_admin_…", "wp_admin_0123") && !plain("wp_admin_…", "other"));
    assert_eq!(lines_differ(&["a", "…", "c"], &["a", "b", "b", "c"], false), None);
    assert!(lines_differ(&["a", "…", "c"], &["a", "b", "d"], false).is_some());
    let head = "HTTP/1.1 302 Found\nlocation: /x\ncontent-length: 0";
    assert_eq!(heads_differ("HTTP/1.1 302 Found\ncontent-length: 0\nlocation: /x", head), None);
    assert_eq!(heads_differ("HTTP/1.1 302 Found\n…\nlocation: /x", head), None);
    assert!(heads_differ("HTTP/1.1 302 Found\nlocation: /x", head).is_some());
    assert!(heads_differ("HTTP/1.1 302 Found\n…\nlocation: /y", head).is_some());
    assert!(lines_differ(&["a"], &["a", "b"], false).is_some() && lines_differ(&["a", "b"], &["a"], false).is_some());
}
