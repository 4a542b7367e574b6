//! A node as a real process, on free ports, in a directory of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Client;

/// How long a start, a stop or a condition may take. Generous: test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a node is started.
#[derive(Clone)]
pub struct NodeBuilder {
    program: PathBuf,
    data_dir: PathBuf,
    listen: String,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    wrapper: Vec<OsString>,
}

impl NodeBuilder {
    /// A node of `program` with its data in `data_dir`, on free ports of the loopback address.
    pub fn new(program: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            data_dir: data_dir.into(),
            listen: "127.0.0.1:0".to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Listens on another address.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.to_owned();
        self
    }

    /// Listens where its entry in the configuration file says, as the node `name` of `file`.
    #[must_use]
    pub fn of_file(mut self, file: &Path, name: &str) -> Self {
        self.listen = String::new();
        self.arguments = ["--config", &file.display().to_string(), "--node", name].map(OsString::from).to_vec();
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Runs it under another program, such as a tracer.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it ends before that, with what it wrote to standard error.
    pub fn start(&self) -> Result<Node> {
        let mut node = self.spawn()?;
        node.wait_ready()?;
        Ok(node)
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn spawn(&self) -> Result<Node> {
        let errors = self.data_dir.with_extension("stderr");
        let stderr = File::options().create(true).append(true).open(&errors)?;
        let mut words = self.wrapper.clone();
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        // What the tester's own shell has set for a server must not leak into the one that is tested.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAYPOST_")) {
            command.env_remove(name);
        }
        let listen: &[&str] = match self.listen.as_str() {
            "" => &[],
            address => &["--listen", address, "--admin-listen", "127.0.0.1:0"],
        };
        command
            .args(&words[1..])
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(listen)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Node { builder: self.clone(), child, lines, printed: Vec::new(), errors, addresses: None })
    }
}

/// The key that the node with this data directory has made for the commands of its own account.
///
/// # Errors
/// When it has made none.
pub fn key_in(data_dir: &Path) -> Result<String> {
    let path = data_dir.join("cli.key");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.trim().to_owned())
}

/// A running node. Killed when it is dropped.
pub struct Node {
    builder: NodeBuilder,
    child: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
    errors: PathBuf,
    addresses: Option<(SocketAddr, SocketAddr)>,
}

impl Node {
    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let ready = line.strip_prefix("waypost is ready: http://").map(str::to_owned);
                    self.printed.push(line);
                    if let Some(ready) = ready {
                        let (public, admin) = ready.split_once(" (admin http://").context("unexpected ready line")?;
                        self.addresses = Some((public.parse()?, admin.trim_end_matches(')').parse()?));
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("not ready in time: {}", self.errors()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("ended with {status} before it was ready: {}", self.errors())
                }
            }
        }
    }

    /// Waits until a node that was spawned is ready.
    ///
    /// # Errors
    /// When it ends before that, or takes too long.
    pub fn ready(&mut self) -> Result<()> {
        self.wait_ready()
    }

    /// Stops it from running, without ending it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pause(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), Signal::SIGSTOP)?)
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resume(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), Signal::SIGCONT)?)
    }

    /// The public address.
    pub fn address(&self) -> SocketAddr {
        self.addresses.expect("invariant: the node was waited for").0
    }

    /// The admin address.
    pub fn admin(&self) -> SocketAddr {
        self.addresses.expect("invariant: the node was waited for").1
    }

    /// A client for its public address.
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// The key that it made for the commands of its own account; each start makes another one.
    ///
    /// # Errors
    /// When it has made none.
    pub fn key(&self) -> Result<String> {
        key_in(self.data_dir())
    }

    /// A client for its admin address, with its key.
    ///
    /// # Errors
    /// When it has made no key.
    pub fn admin_client(&self) -> Result<Client> {
        Ok(Client::new(self.admin()).with_key(&self.key()?))
    }

    /// Lines that it printed before it was ready.
    pub fn printed(&self) -> &[String] {
        &self.printed
    }

    /// What it wrote to standard error so far, in all its lives.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.builder.data_dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        let _ = self.child.kill();
        Ok(self.child.wait()?)
    }

    /// Ends it by SIGTERM and waits.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        self.wait_exit()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("it has not ended in time: {}", self.errors());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after it has ended; the ports may be others.
    ///
    /// # Errors
    /// As for [`NodeBuilder::start`].
    pub fn restart(&mut self) -> Result<()> {
        let next = self.builder.start()?;
        drop(std::mem::replace(self, next));
        Ok(())
    }

    /// How it is started, to start it differently.
    pub fn builder(&self) -> &NodeBuilder {
        &self.builder
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
