//! The documents as a reader sees them: tables that are whole, links that lead somewhere, and no name of what does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::PROGRAM;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Documents that tell users and developers what is so now. The change log tells what was.
const CURRENT: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/operations.md"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn files(dir: &str, fits: fn(&Path) -> bool) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![Path::new(ROOT).join(dir)]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten().filter(|entry| entry.file_name() != "target") {
            let path = entry.path();
            if path.is_dir() {
                open.push(path)
            } else if fits(&path) {
                found.push(path)
            }
        }
    }
    found
}

/// All documents, by their path from the root.
fn documents() -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = CURRENT
        .iter()
        .chain(&["CHANGELOG.md", "benches/README.md"])
        .map(|path| ((*path).to_owned(), read(path)))
        .collect();
    for path in files("docs", |path| path.extension().is_some_and(|extension| extension == "md")) {
        let name = path.strip_prefix(ROOT).unwrap().display().to_string();
        all.insert(name, std::fs::read_to_string(path).unwrap());
    }
    assert!(all.len() > 20);
    all
}

/// A block of code.
struct Block {
    /// What follows the backticks that open it, such as `sh`.
    kind: String,
    text: String,
}

/// A document without its blocks of code, and these.
fn parted(text: &str) -> (String, Vec<Block>) {
    let (mut prose, mut blocks, mut open) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            open = !open;
            if open {
                blocks.push(Block { kind: kind.trim().to_owned(), text: String::new() });
            }
            prose.push('\n');
        } else if open {
            let block: &mut Block = blocks.last_mut().unwrap();
            block.text.push_str(line);
            block.text.push('\n');
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    assert!(!open, "a block of code is not closed");
    (prose, blocks)
}

/// What stands between backticks.
fn code_spans(prose: &str) -> Vec<String> {
    let text = prose.replace('\n', " ");
    text.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The places of a row: a bar within code parts it as well, unless it is escaped.
fn cells(row: &str) -> usize {
    let row = row.trim().trim_start_matches('|');
    let row = row.strip_suffix('|').unwrap_or(row).replace("\\|", "");
    row.matches('|').count() + 1
}

/// What GitHub makes of a heading to link to.
fn anchor(heading: &str) -> String {
    let plain = heading.trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let (prose, _) = parted(text);
    prose.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_row_of_a_table_has_the_places_of_its_header() {
    let mut seen = 0;
    for (name, text) in documents() {
        let (prose, _) = parted(&text);
        let mut table: Vec<&str> = Vec::new();
        for line in prose.lines().chain([""]) {
            if line.starts_with('|') {
                table.push(line);
                continue;
            }
            if let Some(header) = table.first() {
                let rule = table.get(1).copied().unwrap_or_default();
                let is_rule = !rule.is_empty() && rule.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
                assert!(is_rule, "{name}: these lines are no table, since no header stands above them: {header}");
                for row in &table {
                    assert_eq!(cells(row), cells(header), "{name}: {row}");
                }
                assert!(!line.starts_with(|c: char| c.is_alphanumeric()), "{name}: this line becomes a row: {line}");
                seen += 1;
            }
            table.clear();
        }
    }
    assert!(seen > 15);
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let (all, mut seen) = (documents(), 0);
    for (name, text) in &all {
        let (prose, _) = parted(text);
        for (_, rest) in prose.match_indices("](").map(|(at, found)| (at, &prose[at + found.len()..])) {
            let target = rest.split(')').next().unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, heading) =
                target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
            let file = match path {
                "" => Path::new(ROOT).join(name),
                path => Path::new(ROOT).join(name).parent().unwrap().join(path),
            };
            assert!(file.exists(), "{name}: {target}");
            if let Some(heading) = heading {
                let there = anchors(&std::fs::read_to_string(file).unwrap());
                assert!(there.contains(heading), "{name}: {target}; there are {there:?}");
            }
        }
    }
    assert!(seen > 40);
}

/// All source of the product.
fn source() -> String {
    let is_source = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let ours = ["src", "actors", "crates"].iter().flat_map(|dir| files(dir, is_source));
    let product =
        ours.filter(|path| !path.to_string_lossy().contains("/tests/") && !path.starts_with("crates/testkit"));
    product.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn commands_of_a_document_can_be_pasted_as_they_stand() {
    for (name, text) in documents() {
        for block in parted(&text).1 {
            let with_prompt = block.text.lines().any(|line| line.starts_with("$ "));
            assert!(!with_prompt, "{name}: no prompt can be pasted: {}", block.text);
        }
    }
}

/// Words of a text that begin with one of these and have only such characters.
fn words<'a>(text: &'a str, begins: &[&str], has: fn(char) -> bool) -> BTreeSet<&'a str> {
    text.split(|c: char| !has(c)).filter(|word| begins.iter().any(|begin| word.starts_with(begin))).collect()
}

/// Names that look like those of metrics: the cookies of the dashboard.
const COOKIES: &[&str] = &[
    "waypost_columns",
    "waypost_keys",
    "waypost_language",
    "waypost_notice",
    "waypost_session",
    "waypost_theme",
    "waypost_zone",
];

fn metric_names(text: &str) -> BTreeSet<&str> {
    let all = words(text, &["waypost_", "process_"], |c| c.is_ascii_lowercase() || c == '_');
    all.into_iter().filter(|name| !name.ends_with('_') && !COOKIES.contains(name)).collect()
}

#[test]
fn the_handbook_explains_every_metric_once_and_no_other() {
    let source = source();
    let in_code = metric_names(&source);
    let in_code: BTreeSet<&str> = in_code.into_iter().filter(|name| source.contains(&format!("\"{name}\""))).collect();
    let handbook = read("docs/operations.md");
    let (_, metrics) = handbook.split_once("## Metrics").unwrap();
    let (metrics, _) = metrics.split_once("\n## ").unwrap();
    let mut rows = BTreeMap::new();
    for row in metrics.lines().filter(|line| line.starts_with("| `")) {
        *rows.entry(row.split('`').nth(1).unwrap()).or_insert(0) += 1;
    }
    let listed: BTreeSet<&str> = rows.keys().copied().collect();
    assert!(in_code.len() > 40, "{in_code:?}");
    assert_eq!(
        in_code.difference(&listed).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the handbook does not explain these"
    );
    assert_eq!(
        listed.difference(&in_code).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the handbook explains these, and there are none"
    );
    assert!(rows.values().all(|count| *count == 1), "{rows:?}");
    for name in metric_names(&handbook) {
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(in_code.contains(name) || in_code.contains(plain), "docs/operations.md names {name}");
    }
}

/// `[table] key` of the shipped file, which has every key.
fn keys() -> BTreeMap<String, BTreeSet<String>> {
    let shipped: toml::Table = toml::from_str(&read("cluster.toml")).unwrap();
    let of = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
    let table = |value: &toml::Value| value.as_table().map(of).unwrap_or_else(|| of(value[0].as_table().unwrap()));
    shipped.iter().map(|(name, value)| (name.clone(), table(value))).collect()
}

#[test]
fn documents_name_no_configuration_key_and_no_variable_that_does_not_exist() {
    let keys = keys();
    let known_words: BTreeSet<&str> = keys.values().flatten().map(String::as_str).collect();
    let services = ["key_allocator", "link_store", "click_counter"];
    let variables: BTreeSet<String> = (keys.iter().filter(|(table, _)| *table != "node"))
        .flat_map(|(table, keys)| keys.iter().map(move |key| format!("WAYPOST_{table}_{key}").to_uppercase()))
        .collect();
    let (source, mut seen) = (source(), 0);
    for name in CURRENT {
        let text = read(name);
        let (prose, _) = parted(&text);
        for span in code_spans(&prose) {
            let Some((table, rest)) = span.trim_start_matches('[').split_once(']').filter(|_| span.starts_with('['))
            else {
                let is_key =
                    span.trim_matches('_').contains('_') && span.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                let users = matches!(*name, "README.md" | "docs/operations.md");
                if is_key && users && metric_names(&span).is_empty() {
                    let known = known_words.contains(span.as_str()) || services.contains(&span.as_str());
                    assert!(known, "{name}: `{span}` is neither a key of cluster.toml nor a service");
                }
                continue;
            };
            if table.contains('"') {
                continue;
            }
            let Some(of_table) = keys.get(table) else { panic!("{name}: there is no [{table}] in cluster.toml") };
            let key = rest.trim_start_matches(']').split_whitespace().next();
            assert!(key.is_none_or(|key| of_table.contains(key)), "{name}: `{span}`");
            seen += 1;
        }
        for variable in words(&text, &["WAYPOST_"], |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            let known = variables.contains(variable) || source.contains(&format!("\"{variable}\""));
            assert!(known || variable == "WAYPOST_", "{name}: nothing reads {variable}");
        }
    }
    assert!(seen > 20);
}

#[test]
fn documents_name_no_command_no_option_and_no_file_that_does_not_exist() {
    let makefile = read("Makefile");
    let is_source = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let sources = ["src", "actors", "crates", "tests", "benches"].iter().flat_map(|dir| files(dir, is_source));
    let sources: BTreeSet<String> =
        sources.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut help_of = |words: &[&str]| {
        let key: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let ask = || {
            let out = Command::new(PROGRAM).args(words).arg("--help").output().unwrap();
            assert!(out.status.success(), "waypost {words:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        helps.entry(key).or_insert_with(ask).clone()
    };
    let mut seen = 0;
    for name in CURRENT {
        let (prose, blocks) = parted(&read(name));
        let commands = blocks.iter().filter(|block| block.kind == "sh").flat_map(|block| block.text.lines());
        let lines = commands.map(|line| line.split(" #").next().unwrap_or_default().to_owned());
        for command in code_spans(&prose).into_iter().chain(lines) {
            let mut of_command = command.split_whitespace();
            match of_command.next() {
                Some("make") => {
                    let target = of_command.next().unwrap_or_default();
                    assert!(makefile.contains(&format!("\n{target}:")), "{name}: {command}");
                }
                // What the server prints is no command.
                Some("waypost") if !command.starts_with("waypost is ready") => {
                    let arguments: Vec<&str> =
                        of_command.take_while(|word| !matches!(*word, "|" | ">" | "&")).collect();
                    let sub = |word: &&&str| {
                        word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-')
                    };
                    let has_more = ["cluster", "config", "domains", "links", "tags"];
                    let depth = if arguments.first().is_some_and(|first| has_more.contains(first)) { 2 } else { 1 };
                    let path: Vec<&str> = arguments.iter().take(depth).take_while(sub).copied().collect();
                    let help = help_of(&path);
                    for option in arguments.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                        let option = option.split('=').next().unwrap_or_default().trim_end_matches([',', '.', ';']);
                        assert!(help.contains(option) || option == "--help", "{name}: {command}: no {option}");
                    }
                    seen += 1;
                }
                Some(word) => {
                    let folders =
                        ["deploy/", "docs/", "tests/", "src/", "crates/", "actors/", "benches/", ".github/", ".ci/"];
                    let is_path =
                        folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', ':', '{', '<']);
                    let is_source = word.ends_with(".rs") && !word.contains(['/', '*', ':']);
                    assert!(!is_source || sources.contains(word), "{name}: there is no {word}");
                    let made = ["deploy/secrets", "deploy/.env"].iter().any(|made| word.starts_with(made));
                    assert!(!is_path || made || Path::new(ROOT).join(word).exists(), "{name}: there is no {word}");
                }
                None => {}
            }
        }
    }
    assert!(seen > 20);
}

#[test]
fn exit_codes_and_problem_types_are_those_of_the_code() {
    let exit = read("src/cli/exit.rs");
    let codes: BTreeSet<&str> = (exit.lines().filter(|line| line.contains("const ") && line.contains(": u8 = ")))
        .map(|line| line.rsplit("= ").next().unwrap().trim_end_matches(';'))
        .collect();
    assert!(codes.len() > 5, "{codes:?}");
    let handbook = read("docs/operations.md");
    let (_, section) = handbook.split_once("## Exit codes").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let listed: BTreeSet<&str> = (section.lines().filter(|line| line.starts_with("| ")))
        .filter_map(|line| line.split('|').nth(1).map(str::trim).filter(|code| code.parse::<u8>().is_ok()))
        .collect();
    assert_eq!(listed, codes);
    let of_server = files("src/http/problem", |path| path.extension().is_some_and(|extension| extension == "rs"));
    let of_server = of_server.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>();
    assert!(of_server.contains("\"link-not-found\""));
    let problems = of_server + &read("deploy/nginx/templates/default.conf.template");
    for name in CURRENT {
        let text = read(name);
        for (at, _) in text.match_indices("urn:waypost:problem:") {
            let kind = text[at..].split(|c: char| !(c.is_ascii_lowercase() || matches!(c, ':' | '-'))).next().unwrap();
            let last = kind.rsplit(':').next().unwrap();
            assert!(problems.contains(kind) || problems.contains(&format!("\"{last}\"")), "{name}: {kind}");
        }
    }
}
