//! The command line.

mod backup;
mod client;
mod cluster;
mod columns;
mod dashboard;
mod dates;
mod domains;
pub mod exit;
mod generated;
mod health;
mod import;
mod import_report;
mod key;
mod links;
mod partial;
mod reach;
mod record;
mod resolve;
mod rows;
mod stats;
mod table;
mod tags;
mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{self, Config, ConfigError, NodeConfig, Overrides, ServiceName, UnreadFile};
use crate::node::{self, NodeError};

/// A URL shortener in one binary: durable links, fast redirects.
#[derive(Debug, Parser)]
#[command(name = "waypost", version, about, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM or Ctrl-C
    #[command(after_help = WHO_MAY)]
    Serve(ServeArgs),
    /// Print a link that signs your browser in to the dashboard, and open it on a desktop
    Dashboard(dashboard::DashboardArgs),
    /// Shorten a URL
    Shorten(links::ShortenArgs),
    /// Show the target of a code, without following it
    Resolve(resolve::ResolveArgs),
    /// List, create, show, change and delete links, and draw their QR codes
    #[command(subcommand)]
    Links(links::LinksCommand),
    /// List tags; rename, merge and remove them in all links
    #[command(subcommand)]
    Tags(tags::TagsCommand),
    /// List, add, change and remove domains: hosts with links of their own
    #[command(subcommand)]
    Domains(domains::DomainsCommand),
    /// Show the visits of a link, or of all links: a chart, and tables of dimensions
    Stats(stats::StatsArgs),
    /// Shorten many URLs: a file with one URL a line, or CSV with the columns url, slug, title, tags, note, validSince, validUntil
    Import(import::ImportArgs),
    /// Write everything that a running cluster has stored to a file
    Backup(backup::BackupArgs),
    /// Make a new data directory from a backup, or from the data directories of lost nodes
    Restore(backup::RestoreArgs),
    /// Check the data of a stopped node, or a backup, for damage
    Check(CheckArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show and change a cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Check whether a node is ready (for container health checks)
    Health(health::HealthArgs),
    /// Print the completions for a shell
    Completions(generated::CompletionsArgs),
    /// Print the manual page, or write those of all commands into a directory
    Man(generated::ManArgs),
}

/// The end of `serve --help`.
const WHO_MAY: &str = "Who may create and change links:
  Without a key, on loopback: only this account on this machine; no other, no proxy, no web page.
  Elsewhere, or with [http] public_url: a key. The first start prints it; or set WAYPOST_ADMIN_KEY.
  Backups and changes of the cluster always need one: DATA/cli.key, for this account (--data-dir).
  A proxy or tunnel of this account looks like this account; with public_url it needs a key, too.
  Commands send WAYPOST_API_KEY, or the key in WAYPOST_API_KEY_FILE; cli.key to loopback only.";

#[derive(Debug, Args)]
struct FileArgs {
    /// The configuration file; default: the shipped configuration
    #[arg(long, value_name = "FILE", env = "WAYPOST_CONFIG")]
    config: Option<PathBuf>,
    /// Name of this node's [[node]] in the file; not needed if there is only one
    #[arg(long, value_name = "NAME", env = "WAYPOST_NODE")]
    node: Option<String>,
    /// The data directory; default: that of the file, or waypost-data
    #[arg(long, value_name = "DIR", env = "WAYPOST_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// The options for the file, and for the listen addresses, which override it.
#[derive(Debug, Args)]
struct NodeArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Address for redirects and the API: 127.0.0.1:8080, localhost:8080, or :8080 for all addresses of this machine
    #[arg(long, value_name = "ADDRESS", env = "WAYPOST_LISTEN", value_parser = |text: &str| config::parse_listen(text, 8080))]
    listen: Option<SocketAddr>,
    /// Address for metrics and health
    #[arg(long, value_name = "ADDRESS", env = "WAYPOST_ADMIN_LISTEN", value_parser = |text: &str| config::parse_listen(text, 9090))]
    admin_listen: Option<SocketAddr>,
}

impl NodeArgs {
    /// The configuration of the node that this describes, as it is started.
    fn load_to_serve(&self) -> Result<Config, ConfigError> {
        config::load_to_serve(&self.overrides(), &variables::of_keys()?)
    }

    fn overrides(&self) -> Overrides {
        Overrides { listen: self.listen, admin_listen: self.admin_listen, ..self.file.overrides() }
    }
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Check this backup instead
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ConfigCheckArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ConfigShowArgs {
    /// Print the effective configuration instead: the file with the changes of variables and options, without secrets
    #[arg(long)]
    effective: bool,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration, and show what a node would run
    Check(ConfigCheckArgs),
    /// Print the shipped cluster.toml, as a start for your own file
    Show(ConfigShowArgs),
}

impl FileArgs {
    fn overrides(&self) -> Overrides {
        Overrides {
            file: self.config.clone(),
            node: self.node.clone(),
            data_dir: self.data_dir.clone(),
            ..Overrides::default()
        }
    }
}

/// Loads the configuration for a command that works on a data directory and talks to no other node.
fn load_offline(file: &FileArgs) -> Result<Config, ConfigError> {
    config::load(&Overrides { offline: true, ..file.overrides() }, &variables::of_keys()?)
}

/// Prints a line to standard output; it is not an error if nobody reads it any more.
#[macro_export]
#[doc(hidden)]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Prints a line to standard error.
#[macro_export]
#[doc(hidden)]
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    waypost_transport::install_tls();
    let command = match variables::parse(Cli::command()).map(|matches| Cli::from_arg_matches(&matches)) {
        Ok(Ok(cli)) => cli.command,
        Ok(Err(error)) => error.exit(),
        Err(wrong) => return ExitCode::from(usage(&wrong)),
    };
    if matches!(command, Command::Serve(_) | Command::Check(_) | Command::Restore(_)) {
        node::keep_to_oneself();
    }
    let code = match command {
        Command::Serve(args) => serve(&args),
        Command::Check(CheckArgs { backup: Some(file), json, .. }) => backup::check(&file, json),
        Command::Check(args) => check(&args),
        Command::Backup(args) => client::block_on(backup::backup(args)),
        Command::Restore(args) => backup::run_restore(&args),
        Command::Config(ConfigCommand::Check(args)) => config_check(&args),
        Command::Config(ConfigCommand::Show(args)) => config_show(&args),
        Command::Dashboard(args) => client::block_on(dashboard::dashboard(args)),
        Command::Shorten(args) => client::block_on(links::shorten(args)),
        Command::Resolve(args) => client::block_on(resolve::resolve(args)),
        Command::Links(command) => client::block_on(links::run(command)),
        Command::Tags(command) => client::block_on(tags::run(command)),
        Command::Domains(command) => client::block_on(domains::run(command)),
        Command::Stats(args) => client::block_on(stats::stats(args)),
        Command::Health(args) => client::block_on(health::health(args)),
        Command::Cluster(command) => client::block_on(cluster::run(command)),
        Command::Import(args) => client::block_on(import::run(args)),
        Command::Completions(args) => client::ended(generated::completions(&args, Cli::command())),
        Command::Man(args) => client::ended(generated::man(&args, Cli::command())),
    };
    ExitCode::from(code)
}

fn serve(args: &ServeArgs) -> u8 {
    let config = match args.node.load_to_serve() {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    if let Err(error) = waypost_telemetry::init_logging(config.log_format, &config.log_level, &config.node.name) {
        complain!("waypost: [log] level: {error}");
        return exit::USAGE;
    }
    match args.node.file.overrides().unread_file() {
        Some(unread @ UnreadFile { differs: true }) => tracing::warn!("{unread}"),
        // The file has the default values anyway.
        Some(unread) => tracing::info!("{unread}"),
        None => {}
    }
    if let Some(endpoint) = &config.trace_endpoint
        && let Err(error) = waypost_telemetry::init_traces(endpoint, &config.node.name, env!("CARGO_PKG_VERSION"))
    {
        complain!("waypost: [traces] endpoint: {error}");
        return exit::USAGE;
    }
    waypost_telemetry::install_panic_hook();
    // Consensus and the store run on threads of their own; HTTP workers and actors on actix's.
    let engine = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(crate::threads::for_replication(config.workers))
        .thread_name("engine")
        .enable_all()
        .build()
    {
        Ok(engine) => engine,
        Err(error) => {
            complain!("waypost: cannot start threads: {error}");
            return exit::FAILURE;
        }
    };
    let handle = engine.handle().clone();
    let hint = DAMAGE_HINT.get_or_init(|| damage_hint(&config));
    let result = actix::System::new().block_on(node::run(config, handle, |_why| {
        // Work that is cut off when the process ends reports a failure.
        if ENDING.load(Ordering::Acquire) {
            return;
        }
        // The failure is in the log already. Nothing may be acknowledged from here on, so the process ends at once.
        let hint = DAMAGE_HINT.get().map_or("", String::as_str);
        complain!("waypost: the store has failed; the node stops (exit code {}){hint}", exit::STORAGE);
        std::process::exit(exit::STORAGE.into());
    }));
    ENDING.store(true, Ordering::Release);
    engine.shutdown_background();
    waypost_telemetry::flush_traces();
    match result {
        Ok(()) => exit::OK,
        Err(error) => {
            let code = failed(&error);
            if code == exit::STORAGE {
                complain!("waypost: the store cannot be used{hint}");
            }
            code
        }
    }
}

/// Set when the node has ended, for whatever reason: that decides the exit code.
static ENDING: AtomicBool = AtomicBool::new(false);

/// For the thread that finds the store broken.
static DAMAGE_HINT: OnceLock<String> = OnceLock::new();

/// The advice for a damaged store, besides repairing the disk.
fn damage_hint(config: &Config) -> String {
    let stores = |node: &&NodeConfig| node.services.contains(&ServiceName::LinkStore);
    // With fewer replicas, those of this node may be needed.
    let copied = config.nodes.iter().filter(stores).count() >= 3 && config.replicas >= 3 && stores(&&config.node);
    if !copied {
        return String::new();
    }
    format!(
        "\nThe other nodes have copies of all links: with a sound disk, move {} away (keep it: clicks that no shard has yet are in it) and start \
         this node again; it fetches everything from them.",
        config.node.data_dir.display()
    )
}

fn check(args: &CheckArgs) -> u8 {
    let config = match load_offline(&args.file) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    match crate::check::check(&config) {
        Ok(report) => {
            if args.json {
                say!("{}", serde_json::json!(report));
            } else {
                say!("groups       {}", report.groups);
                say!("links        {}", report.links);
                say!("records      {} verified", report.records);
                say!("log          {} records verified", report.log_records);
                say!("damaged      {}", report.damaged.len());
                for damage in &report.damaged {
                    say!("  {damage}");
                }
            }
            if report.is_sound() { exit::OK } else { exit::PARTLY }
        }
        Err(error) => failed(&error),
    }
}

fn config_check(args: &ConfigCheckArgs) -> u8 {
    if let Some(unread) = args.node.file.overrides().unread_file() {
        complain!("waypost: {unread}");
    }
    match args.node.load_to_serve() {
        Ok(config) if args.json => {
            say!(
                "{}",
                serde_json::json!({
                    "source": config.source, "cluster": config.cluster_name, "nodes": config.nodes.len(),
                    "node": config.node.name, "http": config.node.http, "admin": config.node.admin,
                    "dataDir": config.node.data_dir, "services": config.node.services,
                    "dashboard": config.dashboard.as_ref().map(|dashboard| &dashboard.path),
                })
            );
            exit::OK
        }
        Ok(config) => {
            say!("the configuration is valid ({})", config.source);
            say!("cluster   {} ({} shards, {} node(s))", config.cluster_name, config.shards, config.nodes.len());
            say!("node      {} (http {}, admin {})", config.node.name, config.node.http, config.node.admin);
            say!("data      {}", config.node.data_dir.display());
            say!("dashboard {}", config.dashboard.as_ref().map_or("none", |dashboard| &dashboard.path));
            exit::OK
        }
        Err(error) => usage(&error),
    }
}

fn config_show(args: &ConfigShowArgs) -> u8 {
    let text = match args.effective {
        true => variables::of_keys().and_then(|keys| config::effective(&args.node.overrides(), &keys)),
        false => Ok(config::SHIPPED.to_owned()),
    };
    match text {
        Ok(text) => {
            say!("{}", text.trim_end());
            exit::OK
        }
        Err(error) => usage(&error),
    }
}

fn usage(error: &ConfigError) -> u8 {
    complain!("waypost: {error}");
    exit::USAGE
}

fn failed(error: &NodeError) -> u8 {
    complain!("waypost: {error}");
    match error {
        NodeError::Unsupported(_) => exit::USAGE,
        NodeError::ServerEnded(..) => exit::SOFTWARE,
        NodeError::Store(waypost_store::StoreError::Locked { .. }) => exit::FAILURE,
        error if error.is_storage() => exit::STORAGE,
        _ => exit::FAILURE,
    }
}
