//! What a machine can check of the project itself.

mod circles;
mod dependencies;

use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        ["src", "actors", "crates", "tests", "benches"].iter().map(|dir| Path::new(ROOT).join(dir)).collect();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            // What was built for fuzzing is not ours.
            if path.is_dir() && path.file_name().is_some_and(|name| name == "target") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50);
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with its purpose", path.display());
    }
}

/// A detached task that panics ends in silence, so tasks are started by `waypost-tasks`, which lists them all. What is awaited says so in the
/// line above.
#[test]
fn no_task_is_detached_that_the_list_of_tasks_does_not_have() {
    const WAYS: &[&str] = &[
        "tokio::spawn(",
        "actix::spawn(",
        "actix_rt::spawn(",
        "spawn_local(",
        "thread::spawn(",
        "thread::Builder",
        "engine.spawn(",
        "runtime.spawn(",
        "handle.spawn(",
    ];
    let product = |path: &Path| {
        let path = path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
        let ours = ["src/", "actors/", "crates/"].iter().any(|dir| path.starts_with(dir));
        let apart = ["crates/tasks/", "crates/testkit/"].iter().any(|dir| path.starts_with(dir));
        ours && !apart && !path.contains("/tests/") && !path.ends_with("tests.rs")
    };
    let mut started = 0;
    for path in sources().into_iter().filter(|path| product(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut before = "";
        for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
            let detached = WAYS.iter().any(|way| line.contains(way)) && !line.contains(".await");
            assert!(!detached || before.contains("// Awaited below"), "{}: {line}", path.display());
            started += usize::from(line.contains("Task::"));
            before = line;
        }
    }
    assert!(started > 20, "the search finds no tasks any more");
}

#[test]
fn the_application_layer_knows_neither_http_nor_a_dialect() {
    let layer = Path::new(ROOT).join("src/app");
    let files: Vec<PathBuf> = sources().into_iter().filter(|path| path.starts_with(&layer)).collect();
    assert!(files.len() > 4, "the search finds no files any more");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = || text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        for word in ["actix", "crate::http", "serde", "StatusCode", "HeaderName"] {
            assert!(!code().any(|line| line.contains(word)), "{} names {word}", path.display());
        }
    }
}

#[test]
fn each_engine_is_named_by_one_crate_only() {
    for (engine, gate) in [
        ("sled", "store"),
        ("openraft", "consensus"),
        ("prometheus", "telemetry"),
        ("opentelemetry", "telemetry"),
        ("rusqlite", "catalog"),
    ] {
        for manifest in ["src", "actors", "crates"].iter().flat_map(|dir| manifests(dir)) {
            let text = std::fs::read_to_string(&manifest).unwrap();
            let names = text
                .lines()
                .any(|line| line.starts_with(&format!("{engine}.")) || line.starts_with(&format!("{engine} ")));
            let is_gate = manifest.parent().is_some_and(|dir| dir.ends_with(gate));
            assert_eq!(names, is_gate, "{} and {engine}", manifest.display());
        }
    }
}

#[test]
fn no_actor_knows_another_actor() {
    for manifest in manifests("actors") {
        let text = std::fs::read_to_string(&manifest).unwrap();
        for other in ["key-allocator", "link-store", "redirector", "click-counter", "janitor", "transport"] {
            let own = text.contains(&format!("name = \"waypost-{other}\""));
            assert!(own || !text.contains(&format!("waypost-{other}")), "{} names {other}", manifest.display());
        }
    }
}

fn manifests(dir: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(Path::new(ROOT).join(dir)) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().join("Cargo.toml")).filter(|path| path.exists()).collect()
}
