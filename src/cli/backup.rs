//! `waypost backup`, `waypost restore`, and the check of a backup.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use waypost_protocol::UnixMs;
use waypost_store::StoreError;
use waypost_store::archive::{self, ArchiveHead};

use super::client::{Failed, Server, ServerArgs};
use super::{FileArgs, exit, failed, load_offline, usage};
use crate::node::NodeError;
use crate::restore::{Report, restore, source};
use crate::{complain, say};

/// How long a server may take for the next bytes: a large shard is written to a file first.
const SILENCE_MAX: Duration = Duration::from_secs(150);

#[derive(Debug, Args)]
#[command(
    after_help = "Everything that was acknowledged before it begins is in the backup: links, statistics, keys of the API. Any \
                        node of a cluster can be asked. Keep it as secret as the data directory. `waypost restore` makes a data directory of it."
)]
pub(super) struct BackupArgs {
    /// The file to write; it must not exist yet. - for standard output
    file: PathBuf,
    /// Print a summary of the backup as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The new data directory is that of a cluster of its own, of one node; the others join it when they are started \
                        with empty directories. Codes given out after the backup are not given again. Links made, changed \
                        or deleted after it are as they were."
)]
pub(super) struct RestoreArgs {
    /// A backup; or, after a disaster, the data directories of one or more stopped nodes
    #[arg(required = true, value_name = "BACKUP|DIR")]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
    /// Print a summary of the restored data as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn backup(args: BackupArgs) -> Result<u8, Failed> {
    let to_stdout = args.file == Path::new("-");
    if to_stdout && args.json {
        return Err(Failed::new(exit::USAGE, "--json and - both want standard output; write the backup to a file"));
    }
    let server = Server::new(&args.server)?;
    if !to_stdout && args.file.exists() {
        return Err(Failed::new(exit::USAGE, format!("{} exists already; choose another name", args.file.display())));
    }
    let failed = |error: std::io::Error| {
        Failed::new(exit::FAILURE, format!("{}: {}", args.file.display(), crate::account::told(&error)))
    };
    // A random name, so that two commands do not write into one file.
    let partial = args.file.with_added_extension(format!("{:08x}.partial", rand::random::<u32>()));
    let bar = bytes_bar(ProgressBar::new_spinner(), "{spinner} {bytes} read, {bytes_per_sec}");
    if to_stdout {
        let mut download = server.download("/api/v1/backup").await?;
        let mut out = std::io::stdout();
        while let Some(piece) = download.next(SILENCE_MAX).await? {
            out.write_all(&piece).map_err(failed)?;
            bar.inc(piece.len() as u64);
        }
        out.flush().map_err(failed)?;
        bar.finish_and_clear();
        return Ok(exit::OK);
    }
    // This comes before the request: a large backup is not made if it cannot be stored here.
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
    let mut whole = async || {
        let mut download = server.download("/api/v1/backup").await?;
        while let Some(piece) = download.next(SILENCE_MAX).await? {
            out.write_all(&piece).map_err(failed)?;
            bar.inc(piece.len() as u64);
        }
        out.sync_all().map_err(failed)?;
        // Checks the bytes on disk, not those that were sent.
        let (head, records) = verify(&partial)?;
        publish(&partial, &args.file).map_err(failed)?;
        let parent = args.file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        Ok((head, records))
    };
    let whole: Result<(ArchiveHead, u64), Failed> = whole().await;
    bar.finish_and_clear();
    let (head, records) = whole.inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })?;
    let bytes = fs::metadata(&args.file).map_or(0, |meta| meta.len());
    if args.json {
        say!("{}", json!({ "file": args.file, "bytes": bytes, "records": records, "cluster": head.name }));
    } else {
        say!("{}: {bytes} bytes, {records} records of \"{}\", read back and sound", args.file.display(), head.name);
    }
    Ok(exit::OK)
}

/// Gives a complete backup its final name, without replacing another file.
fn publish(partial: &Path, file: &Path) -> std::io::Result<()> {
    match fs::hard_link(partial, file) {
        Ok(()) => fs::remove_file(partial),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links.
        Err(_) => fs::rename(partial, file),
    }
}

fn bytes_bar(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn verify(path: &Path) -> Result<(ArchiveHead, u64), Failed> {
    let failed = |code: u8, error: String| Failed::new(code, format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| failed(exit::USAGE, crate::account::told(&error)))?;
    archive::verify(BufReader::new(file)).map_err(|error| match error {
        StoreError::Io(error) => failed(exit::FAILURE, error.to_string()),
        damaged => failed(exit::PARTLY, damaged.to_string()),
    })
}

/// Checks whether a backup is complete and sound.
pub(super) fn check(path: &Path, as_json: bool) -> u8 {
    match verify(path) {
        Ok((head, records)) => {
            let taken = time(head.created_at);
            if as_json {
                say!(
                    "{}",
                    json!({ "createdAt": taken, "version": head.version, "cluster": head.name, "groups": head.groups,
                            "records": records, "damaged": [] })
                );
            } else {
                say!("backup       of \"{}\", {taken}, by waypost {}", head.name, head.version);
                say!("groups       {}", head.groups);
                say!("records      {records} verified");
                say!("damaged      0");
            }
            exit::OK
        }
        Err(failed) => {
            complain!("waypost: {}", failed.message);
            failed.code
        }
    }
}

pub(super) fn run_restore(args: &RestoreArgs) -> u8 {
    let config = match load_offline(&args.file) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    let restored = source(&args.sources).and_then(|source| {
        restore(&config, &source, |file| {
            // The file is read once for the check and once for the restore.
            let bar = ProgressBar::new(file.metadata().map_or(0, |meta| meta.len()));
            bytes_bar(bar, "{wide_bar} {bytes}/{total_bytes}, {eta} left").wrap_read(file)
        })
    });
    let of_backup = matches!(args.sources.as_slice(), [file] if file.is_file());
    let Report { restored, backup_of } = match restored {
        Ok(report) => report,
        // The backup is damaged, not the store of a node.
        Err(NodeError::Store(error @ (StoreError::Corrupt { .. } | StoreError::UnknownVersion { .. })))
            if of_backup =>
        {
            complain!("waypost: {error}");
            return exit::PARTLY;
        }
        Err(error) => return failed(&error),
    };
    let data_dir = config.node.data_dir.display();
    let state_of = time(backup_of.unwrap_or(restored.last_change));
    if args.json {
        say!(
            "{}",
            json!({ "dataDir": config.node.data_dir, "links": restored.links, "stateOf": state_of, "cluster": restored.bootstrap.name })
        );
    } else {
        say!("restored     {} links of \"{}\", as of {state_of}", restored.links, restored.bootstrap.name);
        say!("data         {data_dir}");
        say!("next         start the node with --data-dir {data_dir}; other nodes join with empty directories");
    }
    exit::OK
}

fn time(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0 as i64).map_or_else(|_| format!("{} ms", at.0), |at| at.to_string())
}
