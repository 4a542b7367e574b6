//! What is needed and what is named fits: each dependency that a `Cargo.toml` names is named in the sources of its crate, and the image gets all
//! that the build reads.

use std::path::{Path, PathBuf};

use super::ROOT;

#[test]
fn each_dependency_is_used() {
    let mut unused = Vec::new();
    let mut looked = 0;
    for manifest in manifests() {
        let root = manifest.parent().unwrap();
        let (product, all) = (code(root, &["src"]), code(root, &["src", "tests", "benches", "examples"]));
        for (name, of) in dependencies(&std::fs::read_to_string(&manifest).unwrap()) {
            looked += 1;
            // What tests alone need belongs under [dev-dependencies].
            let text = if of == "dev-dependencies" { &all } else { &product };
            if !names(text, &name.replace('-', "_")) {
                unused.push(format!("{} [{of}]: {name}", manifest.strip_prefix(super::ROOT).unwrap().display()));
            }
        }
    }
    assert!(looked > 150, "the search finds no dependencies any more");
    assert!(unused.is_empty(), "dependencies that nothing uses:\n{}", unused.join("\n"));
}

/// The commit threads pin the epoch that sled frees its memory by. Another version of the library would have an epoch of its own, and pin nothing.
#[test]
fn sled_and_the_commit_thread_share_one_epoch() {
    let lock = std::fs::read_to_string(Path::new(ROOT).join("Cargo.lock")).unwrap();
    assert_eq!(lock.matches("name = \"crossbeam-epoch\"\n").count(), 1, "there are several versions");
    let sled = lock.split("[[package]]").find(|package| package.contains("name = \"sled\"")).unwrap();
    assert!(sled.contains("\"crossbeam-epoch\","), "sled frees its memory by something else now");
}

/// A version that no crate takes from the workspace is left over.
#[test]
fn each_dependency_of_the_workspace_is_taken_by_a_crate() {
    let root = std::fs::read_to_string(Path::new(super::ROOT).join("Cargo.toml")).unwrap();
    let taken: Vec<String> = manifests()
        .iter()
        .flat_map(|manifest| dependencies(&std::fs::read_to_string(manifest).unwrap()))
        .map(|(name, _)| name)
        .collect();
    let section = root.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let left: Vec<String> = section.lines().filter_map(name_of).filter(|name| !taken.contains(name)).collect();
    assert!(left.is_empty(), "no crate takes {left:?}");
}

#[test]
fn a_dependency_is_found_by_its_whole_name_in_the_code() {
    assert!(names("use tokio::time;", "tokio") && names("#[tokio::test]", "tokio"));
    assert!(!names("use tokio_util::codec;", "tokio") && !names("use my_tokio::x;", "tokio"));
    let manifest = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\n# c = 1\n\n[dev-dependencies]\nd = \"1\"\n[lints]\nworkspace = true\n";
    let found: Vec<(String, String)> = dependencies(manifest);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(found, [("a", "dependencies"), ("b", "dependencies"), ("d", "dev-dependencies")]);
}

fn manifests() -> Vec<PathBuf> {
    let root = Path::new(super::ROOT).join("Cargo.toml");
    let below = ["actors", "crates", "benches"].iter().flat_map(|dir| super::manifests(dir));
    std::iter::once(root).chain(below).collect()
}

/// The dependencies of a manifest, each with its section.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').rsplit('.').next().unwrap_or_default();
            // Versions and features only, see above.
            section = if header.starts_with("workspace.") { "" } else { section };
        } else if section.ends_with("dependencies")
            && let Some(name) = name_of(line)
        {
            found.push((name, section.to_owned()));
        }
    }
    found
}

/// The name that a line of a section of dependencies begins with.
fn name_of(line: &str) -> Option<String> {
    let end = line.find(['.', ' ', '='])?;
    let name = &line[..end];
    (!name.is_empty() && !name.starts_with('#')).then(|| name.to_owned())
}

/// The code of all files in some directories of a crate, without comments.
fn code(root: &Path, dirs: &[&str]) -> String {
    let files = super::sources().into_iter().filter(|path| dirs.iter().any(|dir| path.starts_with(root.join(dir))));
    let mut text = String::new();
    for path in files {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            text.push_str(line.split("//").next().unwrap_or_default());
            text.push('\n');
        }
    }
    text
}

/// Whether a text names something by its whole name.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// The image is built from what the Dockerfile copies. A crate or a file for the compiler that it forgets breaks only the image, which few build.
#[test]
fn the_image_gets_every_file_that_the_build_reads() {
    let text = |name: &str| std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
    let dockerfile = text("Dockerfile");
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| line.split_whitespace())
        .map(|path| path.trim_end_matches('/'))
        .collect();
    // What only checks and formats, or selects a compiler that the image has.
    let unused = ["clippy.toml", "deny.toml", "rustfmt.toml", "rust-toolchain.toml"];
    let mut needed: Vec<String> = vec!["Cargo.lock".to_owned(), "src".to_owned()];
    for entry in std::fs::read_dir(ROOT).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".toml") && !unused.contains(&name.as_str()) {
            needed.push(name);
        }
    }
    for room in ["crates", "actors"] {
        needed.push(room.to_owned());
        for entry in std::fs::read_dir(Path::new(ROOT).join(room)).unwrap().flatten() {
            needed.push(format!("{room}/{}/Cargo.toml", entry.file_name().into_string().unwrap()));
        }
    }
    for path in needed {
        assert!(copied.contains(&path.as_str()), "the Dockerfile does not copy {path}");
    }
}
