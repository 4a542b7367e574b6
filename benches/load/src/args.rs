//! The command line as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// HTTP load generator for a server on this machine, on one core.
#[derive(Debug, Parser)]
#[command(name = "waypost-load", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 every answer was as expected, 1 some were not, 2 the run could not be done.")]
pub struct Cli {
    /// What to load the server with.
    #[command(subcommand)]
    pub command: Command,
}

/// The kinds of load.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// GET /{code} for the codes of a file.
    Redirect(RedirectArgs),
    /// POST /shorten with one URL each.
    Create(CreateArgs),
    /// Redirects with creates and lists among them.
    Mix(MixArgs),
}

/// What all kinds share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// The server, an address of this machine such as 127.0.0.1:8080.
    #[arg(long)]
    pub target: SocketAddr,
    /// Connections, each with one request in flight (see --pipeline).
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// How long requests are sent, in seconds, up to an hour. With --count or --once, the limit.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Open loop: this many requests per second at fixed times, latency counted from those times.
    #[arg(long, conflicts_with = "closed")]
    pub rate: Option<f64>,
    /// Closed loop, for saturation (the default).
    #[arg(long)]
    pub closed: bool,
    /// Processes of the server, for requests per CPU-second; their threads and children are included.
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// A further header, as `Name: value`; may be repeated.
    #[arg(long)]
    pub header: Vec<String>,
}

/// Options of `redirect`.
#[derive(Debug, Clone, Args)]
pub struct RedirectArgs {
    /// Options of every load.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Codes to ask for: the first column of each line (a file written by `create --acked` will do).
    #[arg(long)]
    pub codes: PathBuf,
    /// The status that is right.
    #[arg(long, default_value_t = 302)]
    pub expect: u16,
    /// Lines of code, tab, URL: the Location header must be that URL.
    #[arg(long)]
    pub verify: Option<PathBuf>,
    /// Choose codes by popularity with this exponent, the first line being the most popular; uniform without it.
    #[arg(long, conflicts_with = "once")]
    pub zipf: Option<f64>,
    /// Ask for each code exactly once, in order, then end.
    #[arg(long)]
    pub once: bool,
    /// Seed of the choice.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// HTTP pipelining: write so many requests to a connection at once, and the next ones when all of them are answered.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), conflicts_with = "rate")]
    pub pipeline: u32,
}

/// Options of `mix`.
#[derive(Debug, Clone, Args)]
pub struct MixArgs {
    /// Options of every load.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Codes to ask for, chosen uniformly: the first column of each line.
    #[arg(long)]
    pub codes: PathBuf,
    /// Redirects in each round of the mix.
    #[arg(long, default_value_t = 100)]
    pub redirects: u32,
    /// Creates in each round of the mix.
    #[arg(long, default_value_t = 1)]
    pub creates: u32,
    /// Lists in each round of the mix: GET of --list-path.
    #[arg(long, default_value_t = 1)]
    pub lists: u32,
    /// What a list is.
    #[arg(long, default_value = "/api/v1/links")]
    pub list_path: String,
    /// So many of the connections send the creates and lists, and nothing else; 0: each connection sends requests of all kinds.
    #[arg(long, default_value_t = 0, conflicts_with = "rate")]
    pub api_connections: u32,
    /// URLs to shorten; {number} becomes a running number of nine digits.
    #[arg(long, default_value = "https://www.example.com/articles/2026/a-page-worth-reading/{number}")]
    pub url_template: String,
    /// Seed of the choice, and the millions of the first running number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Options of `create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Options of every load.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Send this many requests, then end. Without it, and without --urls, --seconds decides.
    #[arg(long)]
    pub count: Option<u64>,
    /// URLs to shorten; {number} becomes a running number of nine digits.
    // The short form {n} is taken as well, but clap would make a new line of it here.
    #[arg(
        long,
        default_value = "https://www.example.com/articles/2026/a-page-worth-reading/{number}",
        conflicts_with = "urls"
    )]
    pub url_template: String,
    /// The first running number.
    #[arg(long, default_value_t = 0)]
    pub start: u64,
    /// URLs to shorten, one a line, each once.
    #[arg(long)]
    pub urls: Option<PathBuf>,
    /// Write each acknowledged link as a line of code, tab, URL.
    #[arg(long)]
    pub acked: Option<PathBuf>,
    /// The status that is right.
    #[arg(long, default_value_t = 201)]
    pub expect: u16,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_of_the_template_shows_what_is_replaced() {
        let mut command = Cli::command();
        let create = command.find_subcommand_mut("create").expect("there is such a command");
        let help = create.render_help().to_string();
        assert!(help.contains("{number} becomes a running number"), "{help}");
        assert!(help.contains("worth-reading/{number}"), "{help}");
    }
}
