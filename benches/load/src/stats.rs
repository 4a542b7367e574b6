//! What a run counted, and the report made of it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::LoadError;

/// Longest latency told apart: longer than any request is waited for.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// Counts of one run.
#[derive(Debug)]
pub struct Stats {
    latency_ns: Histogram<u64>,
    statuses: Vec<u64>,
    elapsed_ns: u64,
    behind_ns_max: u64,
    requests: u64,
    timeouts: u64,
    unsent: u64,
    /// Answers as expected.
    pub right: u64,
    /// Answers with another status.
    pub other_status: u64,
    /// Answers with the expected status and wrong content.
    pub wrong: u64,
    /// Requests lost because the connection broke.
    pub io_errors: u64,
    /// Answers that could not be understood.
    pub malformed: u64,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// Attempts to open a connection that failed.
    pub connect_errors: u64,
}

impl Stats {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// Never with the bounds used; the histogram's constructor can fail in general.
    pub fn new() -> Result<Self, LoadError> {
        Ok(Self {
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
            statuses: vec![0; 1_000],
            elapsed_ns: 0,
            behind_ns_max: 0,
            requests: 0,
            timeouts: 0,
            unsent: 0,
            right: 0,
            other_status: 0,
            wrong: 0,
            io_errors: 0,
            malformed: 0,
            reconnects: 0,
            connect_errors: 0,
        })
    }

    /// A request was sent, `behind_ns` after it was meant to be.
    pub fn sent(&mut self, behind_ns: u64) {
        self.requests += 1;
        self.behind_ns_max = self.behind_ns_max.max(behind_ns);
    }

    /// An answer came, `latency_ns` after its request was sent or was due.
    pub fn answered(&mut self, status: u16, latency_ns: u64) {
        self.latency_ns.saturating_record(latency_ns);
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
    }

    /// A request was given up after `latency_ns`.
    pub fn timed_out(&mut self, latency_ns: u64) {
        self.latency_ns.saturating_record(latency_ns);
        self.timeouts += 1;
    }

    /// A request that was due `latency_ns` ago could not be sent, as all connections were busy.
    pub fn never_sent(&mut self, latency_ns: u64) {
        self.latency_ns.saturating_record(latency_ns);
        self.unsent += 1;
    }

    /// The run is over, and no answer is in flight any more.
    pub fn close(&mut self, now_ns: u64) {
        self.elapsed_ns = now_ns;
    }

    /// The report; `server_cpu` and `own_cpu` are the CPU seconds of the run.
    #[must_use]
    pub fn report(&self, run: Run, server_cpu: Option<f64>, own_cpu: f64) -> Report {
        let seconds = self.elapsed_ns as f64 / 1e9;
        let micros = |ns: u64| ns as f64 / 1e3;
        let at = |quantile: f64| micros(self.latency_ns.value_at_quantile(quantile));
        let statuses = (0_u16..).zip(&self.statuses).filter(|(_, count)| **count > 0);
        Report {
            run,
            seconds,
            requests: self.requests,
            right: self.right,
            right_per_second: if seconds > 0.0 { self.right as f64 / seconds } else { 0.0 },
            server_cpu_seconds: server_cpu,
            // Below a tenth of a second the clock of ten milliseconds says nothing.
            right_per_server_cpu_second: server_cpu.filter(|cpu| *cpu >= 0.1).map(|cpu| self.right as f64 / cpu),
            generator_cpu_seconds: own_cpu,
            latency_us: Latency {
                mean: self.latency_ns.mean() / 1e3,
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: micros(self.latency_ns.max()),
            },
            behind_us_max: micros(self.behind_ns_max),
            statuses: statuses.map(|(status, count)| (status.to_string(), *count)).collect(),
            other_status: self.other_status,
            wrong_content: self.wrong,
            io_errors: self.io_errors,
            malformed: self.malformed,
            timeouts: self.timeouts,
            unsent: self.unsent,
            reconnects: self.reconnects,
            connect_errors: self.connect_errors,
        }
    }
}

/// What was run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// `redirect`, `create` or `mix`.
    pub mode: &'static str,
    /// `closed`, or `open` with latency from the intended time.
    pub pace: &'static str,
    /// Requests per second wished, in the open loop.
    pub rate: Option<f64>,
    /// The server.
    pub target: String,
    /// Connections.
    pub connections: u32,
}

/// Latency in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Longest.
    pub max: f64,
}

/// The result of a run, as printed; `--json` prints these fields.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    #[serde(flatten)]
    pub run: Run,
    /// From the first request to the end of the last one.
    pub seconds: f64,
    /// Requests sent.
    pub requests: u64,
    /// Answers as expected.
    pub right: u64,
    /// Answers as expected per second.
    pub right_per_second: f64,
    /// CPU seconds of the server processes.
    pub server_cpu_seconds: Option<f64>,
    /// Answers as expected per CPU second of the server.
    pub right_per_server_cpu_second: Option<f64>,
    /// CPU seconds of the generator: near `seconds` means that it was the limit (in the open loop it polls and always is).
    pub generator_cpu_seconds: f64,
    /// Latency: from sending in the closed loop, from the intended time in the open loop.
    pub latency_us: Latency,
    /// Longest time that a request was sent after its intended time, in microseconds.
    pub behind_us_max: f64,
    /// Answers by status.
    pub statuses: BTreeMap<String, u64>,
    /// Answers with another status than expected.
    pub other_status: u64,
    /// Answers with the expected status and wrong content.
    pub wrong_content: u64,
    /// Requests lost because the connection broke.
    pub io_errors: u64,
    /// Answers that could not be understood.
    pub malformed: u64,
    /// Requests without an answer within ten seconds.
    pub timeouts: u64,
    /// Requests that were due and could not be sent.
    pub unsent: u64,
    /// Connections opened again.
    pub reconnects: u64,
    /// Failed attempts to open a connection.
    pub connect_errors: u64,
}

impl Report {
    /// Whether every request was answered as expected.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.requests > 0
            && self.right == self.requests
            && self.other_status + self.wrong_content + self.io_errors + self.malformed == 0
            && self.timeouts + self.unsent + self.connect_errors == 0
    }

    /// Prints the report for people.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Run { mode, pace, rate, target, connections } = &self.run;
        let rate = rate.map_or_else(String::new, |rate| format!(" at {rate:.0}/s"));
        writeln!(out, "{mode} {target}, {connections} connections, {pace} loop{rate}, {:.2} s", self.seconds)?;
        writeln!(
            out,
            "  as expected   {:>12}  ({:.0}/s) of {} sent",
            self.right, self.right_per_second, self.requests
        )?;
        if let Some(cpu) = self.server_cpu_seconds {
            let per = self
                .right_per_server_cpu_second
                .map_or_else(|| "too short to say".to_owned(), |per| format!("{per:.0}"));
            writeln!(out, "  server CPU    {cpu:>10.2} s  ({per} per CPU-second)")?;
        }
        writeln!(out, "  generator CPU {:>10.2} s", self.generator_cpu_seconds)?;
        let Latency { mean, p50, p90, p99, p999, max } = self.latency_us;
        writeln!(
            out,
            "  latency µs    mean {mean:.0}  p50 {p50:.0}  p90 {p90:.0}  p99 {p99:.0}  p99.9 {p999:.0}  max {max:.0}"
        )?;
        let statuses: Vec<String> = self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(out, "  statuses      {}", statuses.join(", "))?;
        writeln!(
            out,
            "  faults        other status {}, wrong content {}, io {}, malformed {}, timeouts {}, unsent {}, \
             reconnects {}, connect errors {}",
            self.other_status,
            self.wrong_content,
            self.io_errors,
            self.malformed,
            self.timeouts,
            self.unsent,
            self.reconnects,
            self.connect_errors
        )
    }
}
