//! `waypost-load`: HTTP load for the benchmarks. Closed loop for saturation and requests per CPU-second of the server,
//! open loop for latency. It uses one thread, so that it can be pinned to a core of its own, and talks to loopback only.

mod args;
mod cpu;
mod engine;
#[cfg(test)]
mod engine_tests;
mod error;
mod http;
mod links;
mod mix;
mod pace;
mod pick;
mod stats;
mod workload;

use std::{
    fs::File,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;

use crate::{
    args::{Cli, Command, CommonArgs, CreateArgs, MixArgs, RedirectArgs},
    engine::{Engine, Plan},
    error::LoadError,
    mix::{Mix, Shares},
    pace::{Pace, Schedule},
    pick::Pick,
    stats::{Report, Run},
    workload::{Creates, Redirects, Urls, Workload},
};

/// Limit of a run that ends by itself (`--count`, `--once`, `--urls`) when `--seconds` does not give one.
const SECONDS_DEFAULT_MAX: f64 = 900.0;
/// Longest run that can be asked for.
const SECONDS_MAX: f64 = 3_600.0;
/// Highest rate that can be asked for: far beyond what one core can send.
const RATE_MAX: f64 = 1e6;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nothing is left to do when stderr is gone.
            let _ = writeln!(io::stderr(), "waypost-load: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<bool, LoadError> {
    let (report, json) = match cli.command {
        Command::Redirect(args) => (redirect(&args)?, args.common.json),
        Command::Create(args) => (create(&args)?, args.common.json),
        Command::Mix(args) => (mix(&args)?, args.common.json),
    };
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        report.print(&mut out)?;
    }
    Ok(report.is_clean())
}

fn redirect(args: &RedirectArgs) -> Result<Report, LoadError> {
    let plan = Plan { pipeline: args.pipeline, ..plan(&args.common, args.once)? };
    let codes = links::read_codes(&args.codes)?;
    let targets = args.verify.as_deref().map(|path| links::read_targets(path, &codes)).transpose()?;
    let pick = match args.zipf {
        Some(exponent) if exponent.is_finite() && exponent >= 0.0 => Pick::zipf(codes.len(), exponent, args.seed),
        Some(_) => return Err(LoadError::Usage("--zipf must be a number from 0 up")),
        None if args.once => Pick::once(codes.len()),
        None => Pick::uniform(codes.len(), args.seed),
    };
    let mut workload =
        Redirects::new(&args.common.target.to_string(), &args.common.header, codes, targets, pick, args.expect);
    measure("redirect", plan, &args.common, &mut workload)
}

fn create(args: &CreateArgs) -> Result<Report, LoadError> {
    let plan = plan(&args.common, args.count.is_some() || args.urls.is_some())?;
    let count = args.count.unwrap_or(u64::MAX);
    let (urls, numbers) = match &args.urls {
        Some(path) => {
            let lines = links::read_urls(path)?;
            let numbers = 0..u64::from(lines.len()).min(count);
            (Urls::Lines(lines), numbers)
        }
        None => (pattern(&args.url_template)?, args.start..args.start.saturating_add(count)),
    };
    let file =
        |path: &std::path::PathBuf| File::create(path).map_err(|source| LoadError::File { path: path.clone(), source });
    let acked = args.acked.as_ref().map(file).transpose()?;
    let host = args.common.target.to_string();
    let mut workload = Creates::new(&host, &args.common.header, urls, numbers, args.expect, acked);
    let report = measure("create", plan, &args.common, &mut workload)?;
    if let Some(path) = &args.acked {
        workload.finish().map_err(|source| LoadError::File { path: path.clone(), source })?;
    }
    Ok(report)
}

fn pattern(template: &str) -> Result<Urls, LoadError> {
    if template.contains(['"', '\\']) || template.contains(char::is_control) {
        return Err(LoadError::Usage("--url-template must not need JSON escapes"));
    }
    let (before, after) = template
        .split_once("{number}")
        .or_else(|| template.split_once("{n}"))
        .ok_or(LoadError::Usage("--url-template must hold {number}"))?;
    Ok(Urls::Pattern(before.as_bytes().to_vec(), after.as_bytes().to_vec()))
}

fn mix(args: &MixArgs) -> Result<Report, LoadError> {
    let plan = plan(&args.common, false)?;
    let shares = Shares { redirects: args.redirects, creates: args.creates, lists: args.lists };
    if u64::from(args.redirects) + u64::from(args.creates) + u64::from(args.lists) == 0 {
        return Err(LoadError::Usage("a mix needs requests of some kind"));
    }
    if args.api_connections > 0 && (args.redirects == 0 || args.creates + args.lists == 0) {
        return Err(LoadError::Usage("--api-connections needs a mix of redirects with creates or lists"));
    }
    if args.api_connections >= args.common.connections {
        return Err(LoadError::Usage("--api-connections must leave connections for redirects"));
    }
    if !args.list_path.starts_with('/') || args.list_path.contains(|c: char| c.is_control() || c == ' ') {
        return Err(LoadError::Usage("--list-path must be a path"));
    }
    let (host, headers) = (args.common.target.to_string(), &args.common.header);
    let codes = links::read_codes(&args.codes)?;
    let pick = Pick::uniform(codes.len(), args.seed);
    let redirects = Redirects::new(&host, headers, codes, None, pick, 302);
    let first = args.seed.saturating_mul(1_000_000);
    let creates = Creates::new(&host, headers, pattern(&args.url_template)?, first..u64::MAX, 201, None);
    let mut list = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n", args.list_path);
    headers.iter().for_each(|header| list.extend([header, "\r\n"]));
    list.push_str("\r\n");
    let mut workload = Mix::new(redirects, creates, list.into_bytes(), shares, args.api_connections);
    measure("mix", plan, &args.common, &mut workload)
}

/// Checks what all kinds of load share; `ends` says that the workload ends by itself.
fn plan(args: &CommonArgs, ends: bool) -> Result<Plan, LoadError> {
    if !args.target.ip().is_loopback() {
        return Err(LoadError::NotLoopback(args.target));
    }
    if args.header.iter().any(|header| !header.contains(':') || header.contains(['\r', '\n'])) {
        return Err(LoadError::Usage("--header must be of the form 'Name: value'"));
    }
    let seconds = match args.seconds {
        Some(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => seconds,
        Some(_) => return Err(LoadError::Usage("--seconds must be above 0 and at most 3600")),
        None if ends => SECONDS_DEFAULT_MAX,
        None => return Err(LoadError::Usage("--seconds is needed: load is bounded in time")),
    };
    let pace = match args.rate {
        Some(rate) if rate > 0.0 && rate <= RATE_MAX => Pace::Open(Schedule::new(rate, seconds)),
        Some(_) => return Err(LoadError::Usage("--rate must be above 0 and at most 1000000")),
        None => Pace::Closed,
    };
    let duration = Duration::from_secs_f64(seconds);
    Ok(Plan { target: args.target, connections: args.connections, pipeline: 1, duration, pace })
}

fn measure<W: Workload>(
    mode: &'static str,
    plan: Plan,
    args: &CommonArgs,
    workload: &mut W,
) -> Result<Report, LoadError> {
    let pace = if matches!(plan.pace, Pace::Closed) { "closed" } else { "open" };
    let server = |pids: &[u32]| if pids.is_empty() { Ok(None) } else { cpu::seconds(pids).map(Some) };
    let own = [std::process::id()];
    let engine = Engine::connect(plan, workload)?;
    let (own_before, before) = (cpu::seconds(&own)?, server(&args.server_pid)?);
    let stats = engine.run()?;
    // A server that died during the run still deserves its report; only its CPU time is unknown then.
    let after = server(&args.server_pid).ok().flatten();
    let own_cpu = cpu::seconds(&own)? - own_before;
    let server_cpu = before.zip(after).map(|(before, after)| after - before);
    let run = Run { mode, pace, rate: args.rate, target: args.target.to_string(), connections: args.connections };
    Ok(stats.report(run, server_cpu, own_cpu))
}
