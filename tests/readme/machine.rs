//! A machine of a reader: a network namespace with a host name, an empty folder, and terminals in it.

use std::cell::RefCell;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::compare::Answer;
use crate::PROGRAM;

/// How long a block, a start or a stop may take. Generous: test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Ends when it is dropped, with all that it has started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

struct Server {
    process: Group,
    out: PathBuf,
    errors: PathBuf,
}

/// A machine. Dropping it ends everything on it.
pub(super) struct Machine {
    pub(super) name: String,
    /// What the reader does not see: scripts, and what they print.
    notes: TempDir,
    folder: TempDir,
    server: RefCell<Option<Server>>,
    shell: RefCell<(ChildStdin, u32)>,
    _shell: Group,
    holder: Group,
    _lan: Option<std::rc::Rc<Group>>,
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

fn succeed(program: &str, arguments: &[&str]) {
    let status = command(program, arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Something that keeps a namespace, with its own loopback, until it is dropped.
fn holder(name: &str) -> Group {
    let script = format!("hostname {name} && ip link set lo up && touch \"$0\" && exec sleep 3600");
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    let mut start = command("unshare", &["--net", "--uts", "bash", "-c", &script, up.to_str().unwrap()]);
    let held = Group(start.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").spawn().unwrap());
    wait("a network namespace", || up.exists());
    held
}

fn wait(what: &str, is: impl Fn() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Machines in one network, the first as 10.0.0.1.
pub(super) fn lan(names: &[&str]) -> Vec<Machine> {
    let lan = std::rc::Rc::new(holder("lan"));
    let on = |pid: u32, rest: &[&str]| {
        let pid = pid.to_string();
        succeed("nsenter", &[&["-t", &pid, "-n", "ip"], rest].concat());
    };
    on(lan.0.id(), &["link", "add", "lan", "type", "bridge"]);
    on(lan.0.id(), &["link", "set", "lan", "up"]);
    let machines = names.iter().enumerate().map(|(index, name)| {
        let mut machine = Machine::alone(name);
        let (pid, port, address) = (machine.holder.0.id(), format!("port{index}"), format!("10.0.0.{}/24", index + 1));
        on(lan.0.id(), &["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid.to_string()]);
        on(lan.0.id(), &["link", "set", &port, "master", "lan", "up"]);
        on(pid, &["addr", "add", &address, "dev", "eth0"]);
        on(pid, &["link", "set", "eth0", "up"]);
        machine._lan = Some(lan.clone());
        machine
    });
    machines.collect()
}

impl Machine {
    /// A machine that is in no network.
    pub(super) fn alone(name: &str) -> Self {
        let (notes, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(PROGRAM, notes.path().join("waypost")).unwrap();
        let holder = holder(name);
        let mut shell = Self::terminal(&holder, notes.path(), folder.path());
        let mut shell = Group(shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let mut input = shell.0.stdin.take().unwrap();
        writeln!(input, "trap 'echo $? >> \"$NOTES/failed\"' ERR").unwrap();
        Self {
            name: name.to_owned(),
            server: RefCell::default(),
            shell: RefCell::new((input, 0)),
            _shell: shell,
            holder,
            _lan: None,
            notes,
            folder,
        }
    }

    /// What the reader has in the terminal's folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn terminal(holder: &Group, notes: &Path, folder: &Path) -> Command {
        let pid = holder.0.id().to_string();
        let mut terminal = command("nsenter", &["-t", &pid, "-n", "-u", "bash", "--norc", "--noprofile"]);
        let path = format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", notes.display());
        // What the tester's own shell has set is not what a reader has.
        terminal.env_clear().env("PATH", path).env("HOME", notes).env("NOTES", notes).env("LANG", "C.UTF-8");
        terminal.current_dir(folder);
        terminal
    }

    fn note(&self, name: &str) -> PathBuf {
        self.notes.path().join(name)
    }

    /// Pastes a block into the terminal, where what earlier blocks have set is still so.
    pub(super) fn paste(&self, block: &str) -> Answer {
        let (input, count) = &mut *self.shell.borrow_mut();
        *count += 1;
        // The last line keeps the failure of the one before from being noted twice.
        std::fs::write(self.note("block"), format!("{block}\ntrue\n")).unwrap();
        let _ = std::fs::remove_file(self.note("failed"));
        let done = self.note(&format!("done{count}"));
        writeln!(input, "source $NOTES/block </dev/null >$NOTES/out 2>$NOTES/errors; touch {}", done.display())
            .unwrap();
        wait(block, || done.exists());
        let read =
            |name: &str| String::from_utf8_lossy(&std::fs::read(self.note(name)).unwrap_or_default()).into_owned();
        let failed = read("failed").lines().map(|code| code.parse().unwrap()).collect();
        Answer { out: read("out"), errors: read("errors"), failed }
    }

    /// Runs a block in a terminal of its own. A server that runs there already is stopped first, as with Ctrl-C.
    pub(super) fn serve(&self, block: &str) {
        if let Some(mut server) = self.server.take() {
            killpg(Pid::from_raw(server.process.0.id() as i32), Signal::SIGINT).unwrap();
            let since = Instant::now();
            while server.process.0.try_wait().unwrap().is_none() {
                assert!(since.elapsed() < PATIENCE, "the server does not stop");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let (out, errors, script) = (self.note("served"), self.note("served-errors"), self.note("server"));
        std::fs::write(&script, block).unwrap();
        let mut terminal = Self::terminal(&self.holder, self.notes.path(), self.folder.path());
        terminal
            .arg(&script)
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&errors).unwrap());
        let process = Group(terminal.spawn().unwrap());
        *self.server.borrow_mut() = Some(Server { process, out, errors });
    }

    /// What the server has printed when it is ready.
    pub(super) fn served(&self) -> Answer {
        let mut server = self.server.borrow_mut();
        let server = server.as_mut().expect("a server was started");
        let since = Instant::now();
        loop {
            let out = std::fs::read_to_string(&server.out).unwrap();
            let errors = String::from_utf8_lossy(&std::fs::read(&server.errors).unwrap()).into_owned();
            // The line after the one that says that it is ready.
            if out.contains("waypost dashboard: ") && out.ends_with('\n') {
                return Answer { out, errors, failed: Vec::new() };
            }
            let ended = server.process.0.try_wait().unwrap();
            assert!(
                ended.is_none() && since.elapsed() < PATIENCE,
                "{}: not ready: {ended:?} {out} {errors}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Brings the files of this machine's folder, without those below it, to another one.
    pub(super) fn copy_files_to(&self, other: &Self) {
        for entry in std::fs::read_dir(self.folder()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), other.folder().join(entry.file_name())).unwrap();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Before the folder that it writes to.
        self.server.take();
    }
}
