//! The imports between the files of a crate form no circle: each file can be read after those that it names.
//!
//! What counts is what a file names of another one: in a `use`, or by a path that begins with `crate`, `super` or a module below. A re-export in
//! `lib.rs` or `mod.rs` is an address and no import: who uses the name imports the file that defines it. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The circles that are left. ARCHITECTURE.md says why; they may shrink, and no file may join one.
const KNOWN: &[(&str, &[&str])] = &[
    ("src", &["cli/mod.rs", "cli/backup.rs"]),
    ("src", &["cli/client.rs", "cli/key.rs", "cli/reach.rs"]),
    ("src", &["cluster/leave.rs", "cluster/placement_controller.rs", "cluster/service.rs"]),
    (
        "src",
        &[
            "config/mod.rs",
            "config/check.rs",
            "config/environment.rs",
            "config/explain.rs",
            "config/files.rs",
            "config/origin.rs",
            "config/secret.rs",
            "config/valid.rs",
        ],
    ),
    ("src", &["http/account/mod.rs", "http/account/proc_net.rs", "http/account/sock_diag.rs"]),
    ("actors/link_store/src", &["shard.rs", "stats.rs"]),
    ("crates/protocol/src", &["command/base.rs", "command/shard.rs"]),
];

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    let mut imports = 0;
    for root in crates() {
        let name = root.strip_prefix(super::ROOT).unwrap().to_string_lossy().into_owned();
        let graph = Crate::read(&root).imports();
        imports += graph.values().map(BTreeSet::len).sum::<usize>();
        for circle in circles(&graph) {
            let within = |files: &[&str]| circle.iter().all(|file| files.contains(&file.as_str()));
            if !KNOWN.iter().any(|(of, files)| *of == name && within(files)) {
                found.push(format!("{name}: {}", circle.join(", ")));
            }
        }
    }
    assert!(imports > 500, "the search finds no imports any more");
    assert!(found.is_empty(), "files import each other in circles:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_through_braces_re_exports_and_paths() {
    let files = |files: &[(&str, &str)]| Crate {
        files: files.iter().map(|(path, text)| (module_of(path), File::parse(path, text))).collect(),
    };
    let circle = |given: &[(&str, &str)]| circles(&files(given).imports());
    // By a use with braces, and by a path in the code.
    let given = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::{b::{self, B}, c};\npub struct A;"),
        ("b.rs", "pub struct B;\nfn f() { crate::a::A; }"),
    ];
    assert_eq!(circle(&given), [["a.rs", "b.rs"]]);
    // Through what lib.rs re-exports; a comment and a test are no imports.
    let given = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B as Bee;\n"),
        ("a.rs", "use crate::Bee;\npub struct A;"),
        ("b.rs", "use super::A;\npub struct B;"),
    ];
    assert_eq!(circle(&given), [["a.rs", "b.rs"]]);
    let given = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
        ("a.rs", "// use crate::b::B;\npub struct A;\n#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}\n"),
        ("b.rs", "use crate::A;\npub struct B;"),
    ];
    assert!(circle(&given).is_empty());
    // A module and what is below it.
    let given = [
        ("lib.rs", "mod room;\n"),
        ("room/mod.rs", "mod a;\npub trait T {}\nfn f() -> u8 { a::VERSION }"),
        ("room/a.rs", "use super::T;\npub const VERSION: u8 = 1;"),
    ];
    assert_eq!(circle(&given), [["room/a.rs", "room/mod.rs"]]);
}

/// The `src` directories of all crates.
fn crates() -> Vec<PathBuf> {
    let mut found = vec![Path::new(super::ROOT).join("src")];
    for floor in ["actors", "crates"] {
        found.extend(super::manifests(floor).iter().map(|manifest| manifest.with_file_name("src")));
    }
    found
}

type Module = Vec<String>;

/// The files of a crate, by module.
struct Crate {
    files: BTreeMap<Module, File>,
}

struct File {
    path: String,
    /// Paths that the file names, as they are written.
    names: Vec<Vec<String>>,
    /// Names that it re-exports, with the paths that they stand for.
    re_exports: BTreeMap<String, Vec<String>>,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        for path in super::sources().into_iter().filter(|path| path.starts_with(root)) {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if relative.ends_with("tests.rs") || relative.contains("tests/") || relative.starts_with("bin/") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            files.insert(module_of(&relative), File::parse(&relative, &text));
        }
        Self { files }
    }

    /// For each file, the files that it imports.
    fn imports(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut graph = BTreeMap::new();
        for (module, file) in &self.files {
            let imported = file.names.iter().filter_map(|path| self.resolve(module, path, 0));
            let imported = imported.map(|to| self.files[&to].path.clone()).filter(|to| *to != file.path);
            graph.insert(file.path.clone(), imported.collect());
        }
        graph
    }

    /// The module that defines what a path in another module names.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut module = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (module, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    module.pop()?;
                    rest = &rest[1..];
                }
            }
            child => {
                self.files.contains_key(&join(&module, child)).then_some(())?;
            }
        }
        while let Some(part) = rest.first() {
            if let Some(stands_for) = self.files.get(&module)?.re_exports.get(part) {
                // No name is re-exported in a ring; the bound is for a crate that does not compile.
                let resolved = (depth < 10).then(|| self.resolve(&module, stands_for, depth + 1)).flatten();
                return resolved;
            }
            let below = join(&module, part);
            if !self.files.contains_key(&below) {
                break;
            }
            module = below;
            rest = &rest[1..];
        }
        self.files.contains_key(&module).then_some(module)
    }
}

impl File {
    fn parse(path: &str, text: &str) -> Self {
        let mut code = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod tests")) {
                break;
            }
            code.push_str(line.split("//").next().unwrap_or_default());
            code.push('\n');
        }
        let is_root = path.ends_with("lib.rs") || path.ends_with("mod.rs");
        let (mut names, mut re_exports) = (Vec::new(), BTreeMap::new());
        let tokens = tokens(&code);
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map_or(";", |before| tokens[before].as_str());
            if tokens[at] == "use" && matches!(before, ";" | "{" | "}" | "]" | "pub" | ")") {
                let public = matches!(before, "pub" | ")");
                let mut leaves = Vec::new();
                at = leaves_of(&tokens, at + 1, &mut Vec::new(), &mut leaves);
                for (path, name) in leaves {
                    if public && is_root {
                        re_exports.insert(name, path);
                    } else {
                        names.push(path);
                    }
                }
            } else if before != "::" {
                let mut path = vec![tokens[at].clone()];
                while tokens.get(at + 1).is_some_and(|token| token == "::") && at + 2 < tokens.len() {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                if path.len() > 1 {
                    names.push(path);
                }
                at += 1;
            } else {
                at += 1;
            }
        }
        Self { path: path.to_owned(), names, re_exports }
    }
}

/// Reads the tree of a `use` from a token on: each path, with the name that it brings. Answers where it ends.
fn leaves_of(
    tokens: &[String],
    mut at: usize,
    prefix: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let depth = prefix.len();
    while at < tokens.len() {
        match tokens[at].as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" && tokens[at] != ";" {
                    at = leaves_of(tokens, at, prefix, leaves);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                prefix.truncate(depth);
                return at + 1;
            }
            "as" => {
                if let (Some((_, name)), Some(alias)) = (leaves.last_mut(), tokens.get(at + 1)) {
                    name.clone_from(alias);
                }
                at += 2;
            }
            "," | "}" | ";" => break,
            part => {
                if part != "self" || prefix.is_empty() {
                    prefix.push(part.to_owned());
                }
                at += 1;
                if tokens.get(at).is_none_or(|next| next != "::") {
                    leaves.push((prefix.clone(), prefix.last().cloned().unwrap_or_default()));
                }
            }
        }
    }
    prefix.truncate(depth);
    at
}

/// Words, `::`, and single signs.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if c == ':' && chars.peek() == Some(&':') {
            chars.next();
            tokens.push("::".to_owned());
        } else if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens
}

fn module_of(path: &str) -> Module {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" || path == "mod" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn join(module: &Module, part: &str) -> Module {
    let mut joined = module.clone();
    joined.push(part.to_owned());
    joined
}

/// The groups of files of which each leads to each other one.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&String> = graph[from].iter().collect();
        while let Some(file) = open.pop() {
            if reached.insert(file.clone()) {
                open.extend(&graph[file]);
            }
        }
        reached
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|file| (file, reached(file))).collect();
    let mut found = BTreeSet::new();
    for (file, of) in &reach {
        if of.contains(*file) {
            found.insert(of.iter().filter(|other| reach[other].contains(*file)).cloned().collect::<Vec<_>>());
        }
    }
    found.into_iter().collect()
}
