//! Why a run could not be started or finished. Failures of single requests are counted in the report instead.

use std::{io, net::SocketAddr, path::PathBuf};

/// What ends the program with a message.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The generator puts load on this machine only.
    #[error("{0} is not a loopback address; load is sent to loopback only")]
    NotLoopback(SocketAddr),
    /// An input or output file could not be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An input file holds nothing that can be requested.
    #[error("{} holds no usable line", .0.display())]
    Empty(PathBuf),
    /// A line of an input file cannot be put into a request.
    #[error("{}: line {line} cannot be used: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two options exclude each other, or a value is out of its range.
    #[error("{0}")]
    Usage(&'static str),
    /// No connection could be opened at the start.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// Where to.
        target: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The event loop itself failed.
    #[error("epoll: {0}")]
    Poll(#[from] nix::errno::Errno),
    /// The CPU time of a server process could not be read.
    #[error("cpu time of process {pid}: {why}")]
    Cpu {
        /// The process.
        pid: u32,
        /// What went wrong.
        why: String,
    },
    /// The result could not be printed.
    #[error("output: {0}")]
    Output(#[from] io::Error),
    /// The result could not be written as JSON.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// The latency histogram refused its bounds.
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}
