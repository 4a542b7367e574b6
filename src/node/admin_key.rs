//! The admin key: set from the configuration, or made at the first start that needs one, and shown once.
//!
//! A key that the cluster has and that nobody ever saw would lock its owner out. So a key that is made lies in a file until it was
//! shown: before the cluster hears of it, and also if the answer is lost or the process dies in between.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use waypost_consensus::Groups;
use waypost_protocol::command::SetAdminKey;
use waypost_protocol::digest::KeyDigest;

use super::error::NodeError;
use super::private::{random_base62, renew_cli_key};
use crate::app::{Authenticator, KEY_PREFIX};
use crate::config::Config;
use crate::limits::NOTE_KEY_MAX;

/// How often it is looked whether this node has heard of the key.
const LOOK: Duration = Duration::from_millis(20);

/// Decides who may change links, making an admin key where one is needed and there is none.
pub(super) async fn authenticator(
    config: &Config,
    local: bool,
    groups: &Arc<Groups>,
) -> Result<Authenticator, NodeError> {
    let of_cluster = groups.clone();
    let stored = move || of_cluster.cluster().read(|machine| machine.state().admin_key);
    let unseen = Unseen::new(&config.node.data_dir);
    if let Some(key) = &config.admin_key {
        let digest = KeyDigest::of(key.reveal());
        if stored().is_none_or(|stored| !stored.matches(&digest)) {
            set(groups, digest, true, NOTE_KEY_MAX).await?;
        }
        unseen.forget()?;
    } else if let Some(key) = unseen.read()?
        && let Some(stored) = stored()
    {
        unseen.settle(&key, &stored)?;
    } else if stored().is_none() && !local {
        let key = match unseen.read()? {
            Some(key) => key,
            None => unseen.keep(format!("{KEY_PREFIX}{}", random_base62()))?,
        };
        let set = settled(groups, KeyDigest::of(&key), &stored).await?;
        unseen.settle(&key, &set)?;
    }
    // A disk that is full keeps no command from being run with the admin key, and no redirect from being answered.
    let command_line = renew_cli_key(&config.node.data_dir)
        .inspect_err(|error| tracing::warn!(%error, "there is no key for the commands: cli.key cannot be written"));
    Ok(Authenticator::new(local, stored).with_command_line(command_line.ok().map(|key| KeyDigest::of(&key))))
}

/// The key that the cluster has, after this one was proposed. Another node may have been quicker: then that one's key counts.
async fn settled(
    groups: &Groups,
    digest: KeyDigest,
    stored: &impl Fn() -> Option<KeyDigest>,
) -> Result<KeyDigest, NodeError> {
    let deadline = Instant::now() + NOTE_KEY_MAX;
    // What a proposal answers does not matter: it may be lost, or say that there is a key, which may be this one.
    let mut answer = set(groups, digest, false, NOTE_KEY_MAX).await;
    loop {
        if let Some(stored) = stored() {
            return Ok(stored);
        }
        if Instant::now() >= deadline {
            let why =
                answer.err().map_or_else(|| "this node does not hear of it".to_owned(), |error| error.to_string());
            return Err(NodeError::Start(format!(
                "the admin key was not noted in time ({why}); the next start goes on"
            )));
        }
        tokio::time::sleep(LOOK).await;
        if answer.is_err() {
            answer = set(groups, digest, false, deadline - Instant::now()).await;
        }
    }
}

async fn set(groups: &Groups, digest: KeyDigest, replace: bool, within: Duration) -> Result<(), NodeError> {
    let applied = groups.cluster().propose_anywhere(SetAdminKey { digest, replace }, within).await;
    applied.map(|_| ()).map_err(|error| NodeError::Start(error.to_string()))
}

/// A key that was made and perhaps not shown yet, in a file that only the node's account can read.
struct Unseen {
    dir: PathBuf,
    path: PathBuf,
}

impl Unseen {
    fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.to_owned(), path: data_dir.join("admin-key") }
    }

    fn read(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|key| key.starts_with(KEY_PREFIX))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Durable when it returns.
    fn keep(&self, key: String) -> io::Result<String> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        std::fs::File::open(&self.dir)?.sync_all()?;
        Ok(key)
    }

    fn forget(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => std::fs::File::open(&self.dir)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Shows the key if it is that of the cluster. It is forgotten when it was shown, or is of no use.
    fn settle(&self, key: &str, stored: &KeyDigest) -> io::Result<()> {
        if KeyDigest::of(key).matches(stored)
            && let Err(error) = show(key)
        {
            tracing::error!(%error, file = %self.path.display(), "the admin key cannot be printed; it is in the file, and shown at the next start");
            return Ok(());
        }
        self.forget()
    }
}

/// To the person who starts the server, and never into the log.
fn show(key: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "This server can be reached from other machines, so changes need a key. This is the admin key; it is shown only \
         once:\n\n    {key}\n\nSend it as `X-Api-Key: {KEY_PREFIX}…`, or set WAYPOST_API_KEY for the waypost commands.\n"
    )?;
    out.flush()
}
