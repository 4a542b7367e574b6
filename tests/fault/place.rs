//! Data directories that a node cannot use, though no disk has failed.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::Uid;
use waypost_testkit::cannot_run;

use super::disk::SmallDisk;
use crate::{PROGRAM, fresh_node, node_in_temp};

/// An account that owns nothing.
const NOBODY: u32 = 65534;

fn serve(data_dir: &Path, account: Option<u32>) -> Output {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAYPOST_")) {
        command.env_remove(name);
    }
    if let Some(account) = account {
        command.uid(account).gid(account);
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    command.env("WAYPOST_CLICKS_JOURNAL_RECORDS", "1000").current_dir("/").output().unwrap()
}

/// It is refused with 1, the path, the account and each of these.
fn refused(output: &Output, path: &Path, account: u32, parts: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [&*path.display().to_string(), &format!("uid {account}"), "--data-dir"].iter().chain(parts) {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("disk or file system failed") && !told.contains("the store cannot be used"), "{told}");
}

fn own() -> u32 {
    Uid::effective().as_raw()
}

#[test]
fn a_data_directory_that_the_account_may_not_use_is_refused_with_the_account_and_is_no_failed_disk() {
    // Root may do everything, so the node runs as somebody else then.
    let account = Uid::effective().is_root().then_some(NOBODY);
    let who = account.unwrap_or_else(own);
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(dir.path(), 0o755);
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    mode(&closed, 0o555);
    refused(&serve(&closed, account), &closed, who, &["is not writable", "chown"]);
    refused(&serve(&closed.join("new/data"), account), &closed.join("new/data"), who, &["is not writable", "mkdir -p"]);
    mode(&closed, 0o000);
    refused(&serve(&closed, account), &closed, who, &["is not readable"]);
    mode(&closed, 0o755);
    // It ran as root once: the directory is the account's, and what is in it is not.
    let (_dir, mut node) = fresh_node();
    node.terminate().unwrap();
    if let Some(account) = account {
        let data = node.data_dir();
        mode(data.parent().unwrap(), 0o755);
        chown(data, Some(account), Some(account)).unwrap();
        refused(&serve(data, Some(account)), data, account, &["belongs to", "chown -R"]);
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    refused(&serve(&file, None), &file, own(), &["it is a file"]);
    refused(&serve(&file.join("data"), None), &file, own(), &["is a file"]);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nothing"), &link).unwrap();
    refused(&serve(&link, None), &link, own(), &["symbolic link"]);
}

#[test]
fn a_file_system_that_is_read_only_or_full_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let (read_only, full) = (dir.path().join("read-only"), dir.path().join("full"));
    let Some(_read_only) = SmallDisk::mount(&read_only, "1m,ro") else { return };
    refused(&serve(&read_only, None), &read_only, own(), &["read-only"]);
    refused(&serve(&read_only.join("data"), None), &read_only, own(), &["read-only"]);
    let Some(_full) = SmallDisk::mount(&full, "256k") else { return };
    let data = full.join("data");
    let told = serve(&data, None);
    assert!(String::from_utf8_lossy(&told.stderr).contains("too little free space"), "{told:?}");
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    // Room for the database, and not for the journals.
    let small = dir.path().join("small");
    let Some(_small) = SmallDisk::mount(&small, "24m") else { return };
    let told = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(small.join("data"))
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("too little free space"), "{told:?}");
}

#[test]
fn a_data_directory_that_is_in_use_is_told_with_the_process_that_has_it() {
    let (_dir, node) = fresh_node();
    let second = serve(node.data_dir(), None);
    refused(&second, node.data_dir(), own(), &["in use by another process", &format!("process id {}", node.pid())]);
}

#[test]
fn a_file_of_a_command_that_cannot_be_used_is_refused_by_path_and_account() {
    if !Uid::effective().is_root() {
        cannot_run("a second account is needed (it needs root)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(dir.path(), 0o755);
    let key = "an-admin-key-for-this-test";
    let (_data, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let server = format!("http://{}", node.address());
    let run = |arguments: &[&str], account: u32| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("WAYPOST_API_KEY", key).uid(account).gid(account).current_dir("/").output().unwrap()
    };
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (open, secret, new) = (path("open.backup"), path("secret.backup"), path("new"));
    assert_eq!(run(&["backup", &open, "--server", &server], own()).status.code(), Some(0));
    std::fs::copy(&open, &secret).unwrap();
    let list = path("list.txt");
    std::fs::write(&list, "https://example.com/\n").unwrap();
    mode(Path::new(&open), 0o644);
    mode(Path::new(&secret), 0o600);
    for (arguments, path, code) in [
        (vec!["restore", &secret, "--data-dir", &new], &secret, 1),
        (vec!["restore", &open, "--data-dir", &new], &new, 1),
        (vec!["check", "--backup", &secret], &secret, 2),
        (vec!["import", &secret, "--server", &server], &secret, 2),
        (vec!["import", &list, "--report", &new, "--server", &server], &new, 2),
        (vec!["backup", &new, "--server", &server], &new, 1),
    ] {
        let told = run(&arguments, NOBODY);
        let errors = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(path) && errors.contains(&format!("uid {NOBODY}")), "{arguments:?}: {errors}");
    }
    let checked = run(&["check", "--data-dir", node.data_dir().to_str().unwrap()], NOBODY);
    let errors = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.code() == Some(1) && errors.contains(&format!("uid {NOBODY}")), "{errors}");
}
