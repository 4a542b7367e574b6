//! The running server keeps to its own document: Schemathesis makes requests from it, and judges the answers.

use std::path::Path;
use std::process::Command;

use waypost_testkit::cannot_run;

use crate::node_in_temp;
use crate::python_tools::python_tools;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn no_answer_is_an_error_of_the_server_or_differs_from_the_document() {
    let Some(tools) = python_tools("tests/conformance/requirements.txt", "conformance-tools") else {
        return cannot_run("Schemathesis cannot be installed: it needs Python with venv, and a package index");
    };
    let key = "a-long-enough-key-for-the-tests";
    let (dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let config = Path::new(ROOT).join("tests/conformance/schemathesis.toml");
    // One worker: Python 3.11 cannot compile in several threads at the same time without errors now and then.
    let done = Command::new(tools.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("http://{}/openapi.json", node.address()), "--seed", "1", "--no-color"])
        .args(["--header", &format!("X-Api-Key: {key}")])
        // It keeps what it has found in the working directory.
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    // Generated bodies may be long.
    let short: Vec<String> = said.lines().map(|line| line.chars().take(400).collect()).collect();
    assert!(done.status.success(), "{}\n{}", short.join("\n"), node.errors());
    // Otherwise it would be satisfied with a document that it cannot use.
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")).and_then(|n| n.trim().parse().ok());
    assert!(tested.is_some_and(|tested: u32| tested >= 30), "{}", short.join("\n"));
    assert!(!node.errors().contains("panic"), "{}", node.errors());
}
