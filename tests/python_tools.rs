//! Programs for tests that are written in Python: pinned with hashes, and installed into `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Several tests may need the same tools.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The folder `target/NAME` with the packages of `list` (a path from the root of the project), installed once for each version of the list; `None` if there is no Python or
/// no package index.
pub(crate) fn python_tools(list: &str, name: &str) -> Option<PathBuf> {
    let _one_at_a_time = INSTALLING.lock();
    let list = Path::new(ROOT).join(list);
    let wanted = std::fs::read(&list).unwrap();
    let tools = Path::new(ROOT).join("target").join(name);
    let installed = tools.join("requirements.txt");
    if std::fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Some(tools);
    }
    let _ = std::fs::remove_dir_all(&tools);
    let run = |program: &Path, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|done| done.status.success())
    };
    let made = run(Path::new("python3"), &["-m", "venv", &tools.display().to_string()]);
    let list = list.display().to_string();
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--requirement", &list];
    if !made || !run(&tools.join("bin/python3"), &pip) {
        return None;
    }
    std::fs::write(installed, wanted).unwrap();
    Some(tools)
}
