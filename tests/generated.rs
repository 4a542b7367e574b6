//! Completions and manual pages: each command and option that `--help` shows is in them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use waypost_testkit::cannot_run;

use crate::PROGRAM;

fn waypost(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands below a command, as its help lists them.
fn below(path: &[String]) -> Vec<Vec<String>> {
    let help = help(path);
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let names = rest.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap()).filter(|name| *name != "help");
    names.map(|name| [path, &[name.to_owned()]].concat()).collect()
}

fn help(path: &[String]) -> String {
    waypost(&path.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>())
}

#[test]
fn who_reads_only_the_beginning_gets_no_error() {
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let mut child = Command::new(PROGRAM).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

/// All commands.
fn commands() -> Vec<Vec<String>> {
    let (mut found, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = open.pop() {
        open.extend(below(&path));
        found.push(path);
    }
    assert!(found.len() > 25, "the help lists its commands in another way: {found:?}");
    found
}

/// The long options that the help of a command describes.
fn options(path: &[String]) -> BTreeSet<String> {
    let help = help(path);
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = |line: &str| {
        line.split(|c: char| c.is_whitespace() || c == ',').find(|word| word.starts_with("--")).map(str::to_owned)
    };
    lines.filter_map(long).collect()
}

#[test]
fn there_is_a_manual_page_for_each_command_with_all_its_options() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man");
    let said = waypost(&["man", pages.to_str().unwrap()]);
    let commands = commands();
    assert!(said.starts_with(&format!("{} pages in ", commands.len())), "{said}");
    for path in &commands {
        let name = std::iter::once("waypost").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
        for option in options(path) {
            assert!(plain.contains(&option), "{name}: {option}");
        }
        complaints(&pages.join(format!("{name}.1")));
    }
    let main = waypost(&["man"]);
    assert_eq!(main, std::fs::read_to_string(pages.join("waypost.1")).unwrap());
    assert!(main.contains("\n\\&   0  success\n"), "the list of exit codes keeps its lines");
    assert!(main.contains("waypost\\-links(1)") && !main.contains("waypost\\-help"), "{main}");
}

/// Fails if roff does not understand a page.
fn complaints(page: &Path) {
    match Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(page).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display()),
        Err(_) => cannot_run("groff is not installed"),
    }
}

#[test]
fn completions_know_each_command_and_option() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = waypost(&["completions", shell]);
        for path in commands() {
            assert!(path.last().is_none_or(|name| script.contains(name.as_str())), "{shell}: {path:?}");
            for option in options(&path) {
                assert!(script.contains(option.trim_start_matches('-')), "{shell}: {path:?} {option}");
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("waypost.bash");
    std::fs::write(&file, waypost(&["completions", "bash"])).unwrap();
    // What bash offers after `waypost links s`.
    let ask =
        "source \"$1\"; COMP_WORDS=(waypost links s) COMP_CWORD=2; _waypost waypost s links; echo \"${COMPREPLY[*]}\"";
    let offered = Command::new("bash").args(["-c", ask, "bash"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&offered.stdout).trim(), "show", "{}", String::from_utf8_lossy(&offered.stderr));
}
