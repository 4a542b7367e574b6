//! README.md as a new user reads it: from an empty folder, every block of commands is pasted as it stands, in order, and what it prints is compared
//! with what the page shows.
//!
//! The commands run in network namespaces of their own, so the page's addresses are free, and the three machines of its cluster are there. A comment
//! before a block, which readers do not see, says what is special about it (`Special`).

mod compare;
mod machine;
mod page;

use std::time::{Duration, Instant};

use compare::{Answer, differs};
use machine::{Machine, lan};
use page::{Step, steps};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// How long totals may take to follow: generous, since the machine may be busy.
const EVENTUALLY: Duration = Duration::from_secs(60);

#[test]
fn every_block_of_the_readme_can_be_pasted_as_it_stands_and_does_what_it_shows() {
    let steps = steps(&std::fs::read_to_string(PAGE).unwrap());
    let skipped = steps.iter().filter(|step| step.special.skip.is_some()).count();
    assert!(skipped <= 5, "{skipped} blocks cannot run");
    if let Some(why) = cannot_run_here() {
        return waypost_testkit::cannot_run(why);
    }
    let own = Machine::alone("reader");
    let lan = lan(&["a", "b", "c"]);
    let machine = |name: &str| lan.iter().find(|machine| machine.name == name).unwrap();
    let mut ran = 0;
    for step in steps.iter().filter(|step| step.special.skip.is_none()) {
        let special = &step.special;
        ran += 1;
        match (&step.kind[..], special.machine.as_deref()) {
            // A file of the page is named by its first line.
            ("toml", _) => {
                let name = step.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or("checked.toml");
                for machine in lan.iter().chain([&own]) {
                    std::fs::write(machine.folder().join(name), &step.text).unwrap();
                }
                let secret = "export WAYPOST_CLUSTER_SECRET=for-this-check-0123456789";
                let node = step.text.matches("[[node]]").count().min(1);
                let node = if node == 1 { " --node a" } else { "" };
                let checked = own.paste(&format!("({secret}; waypost config check --config {name}{node})"));
                assert_eq!(checked.failed, Vec::<i32>::new(), "{}: {checked:?}", step.place());
            }
            (_, Some("all")) => {
                // As the page says, the files of the first one are brought to the others.
                for other in &lan[1..] {
                    lan[0].copy_files_to(other);
                }
                for machine in &lan {
                    machine.serve(&step.text);
                }
                for machine in &lan {
                    compare_shown(step, &machine.served());
                }
            }
            (_, Some(name)) => run(step, machine(name)),
            (_, None) => run(step, &own),
        }
    }
    assert!(ran >= 20, "only {ran} blocks were run");
}

fn cannot_run_here() -> Option<&'static str> {
    let works = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--net", "--uts", "sh", "-c", script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
    };
    match (
        works("ip link set lo up"),
        works("curl --version >/dev/null && openssl version >/dev/null && nsenter --version >/dev/null"),
    ) {
        (false, _) => Some("the commands of the README need network namespaces: root, and ip (iproute2)"),
        (_, false) => Some("the commands of the README need curl, openssl and nsenter (util-linux)"),
        _ => None,
    }
}

fn run(step: &Step, machine: &Machine) {
    if step.special.server {
        machine.serve(step.special.instead.as_deref().unwrap_or(&step.text));
        return compare_shown(step, &machine.served());
    }
    let expected: Vec<i32> = step.special.exit.into_iter().collect();
    let shows = |answer: &Answer| {
        let shown = step.shown.as_ref();
        answer.failed == expected && shown.is_none_or(|shown| differs(shown, answer, &step.special).is_none())
    };
    let since = Instant::now();
    let mut answer = machine.paste(&step.text);
    while step.special.eventually && !shows(&answer) && since.elapsed() < EVENTUALLY {
        std::thread::sleep(Duration::from_millis(200));
        answer = machine.paste(&step.text);
    }
    assert_eq!(answer.failed, expected, "{}: {answer:?}", step.place());
    compare_shown(step, &answer);
}

fn compare_shown(step: &Step, answer: &Answer) {
    let difference = step.shown.as_ref().and_then(|shown| differs(shown, answer, &step.special));
    if let Some(difference) = difference {
        panic!(
            "{}: {difference}\n--- the page shows\n{}\n--- it was\n{}{}",
            step.place(),
            step.shown.as_ref().unwrap(),
            answer.out,
            answer.errors
        );
    }
}
