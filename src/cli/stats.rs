//! `waypost stats`: the visits of a link, or of all links, as a small chart and tables.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::Value;

use super::client::{Failed, Server, ServerArgs};
use super::domains::{DomainArgs, LinkArg};
use super::{dates, exit};
use crate::say;

/// The widest bar of the chart, in characters.
const BAR: u64 = 40;

/// The number of values of each dimension that are shown.
const VALUES: usize = 5;

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// The code, or the whole short URL; without it, all links
    code: Option<String>,
    #[command(flatten)]
    domain: DomainArgs,
    /// The first day or time: 2026-11-01, 2026-11-01T10:00 (both in the zone --tz), with an
    /// offset such as 2026-11-01T10:00:00+01:00, or relative to now, such as -7d or -12h; default: 30 days ago
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// The last day or time, in the same forms; default: now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// The length of a bar of the chart: hour, day or month
    #[arg(long, default_value = "day", value_parser = ["hour", "day", "month"], hide_possible_values = true)]
    interval: String,
    /// The time zone of the days, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Whether bots count: exclude, include or only
    #[arg(long, default_value = "exclude", value_parser = ["exclude", "include", "only"], hide_possible_values = true)]
    bots: String,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn stats(args: StatsArgs) -> Result<u8, Failed> {
    let server = Server::new(&args.server)?;
    let (path, domain) = match &args.code {
        None => ("/api/v1/stats".to_owned(), args.domain.given()?),
        Some(text) => {
            let LinkArg { code, host } = args.domain.link(text, &server).await?;
            (LinkArg { code, host: None }.path("/api/v1/links", "/stats"), host)
        }
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("interval", &args.interval).append_pair("tz", &args.tz).append_pair("bots", &args.bots);
    query.append_pair("by", "country,city,referrer,browser,os,device,language");
    if let Some(host) = domain {
        query.append_pair("domain", &host);
    }
    let zone = TimeZone::get(&args.tz).map_err(|_| {
        Failed::new(exit::USAGE, format!("--tz: \"{}\" is not a time zone; use a name such as Europe/Berlin", args.tz))
    })?;
    let now = Timestamp::now().to_zoned(zone);
    for (name, option, value) in [("from", "--from", &args.from), ("to", "--to", &args.to)] {
        if let Some(value) = value {
            query.append_pair(name, &dates::read(option, value, dates::Of::Day, &now)?);
        }
    }
    let path = format!("{path}?{}", query.finish());
    let answer = server.send(Method::GET, &path, None, None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    if args.json {
        say!("{}", answer.body);
    } else {
        print(&answer.body);
    }
    Ok(exit::OK)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn print(report: &Value) {
    let (from, to) = (text(&report["from"]), text(&report["to"]));
    say!("{} from {from} to {to}", report["shortCode"].as_str().unwrap_or("all links"));
    say!("");
    say!("clicks            {}", report["clicks"]);
    if let Some(visitors) = report["uniqueVisitors"].as_u64() {
        say!("unique visitors   {visitors}");
    }
    say!("clicks of bots    {}", report["botClicks"]);
    say!("clicks ever       {}", report["totalClicks"]);
    if let Some(days) = report["wholeDays"].as_object() {
        let day = |name: &str| text(&days[name]).to_owned();
        say!("");
        say!("visitors and the tables below cover whole UTC days, {} to {}", day("from"), day("to"));
    }
    if report["stale"] == true {
        say!("");
        say!("a shard has no leader now: its latest clicks may be missing");
    }
    let empty = Vec::new();
    let series = report["series"].as_array().unwrap_or(&empty);
    let most = series.iter().filter_map(|point| point["clicks"].as_u64()).max().unwrap_or(0);
    if most > 0 {
        say!("");
        let hours = report["interval"] == "hour";
        for point in series {
            let clicks = point["clicks"].as_u64().unwrap_or(0);
            let time = text(&point["time"]);
            let time = time.get(..if hours { 16 } else { 10 }).unwrap_or(time).replace('T', " ");
            // A value above zero is always visible.
            let bar = "█".repeat((clicks * BAR).div_ceil(most) as usize);
            say!("{time}  {clicks:>9}  {bar}");
        }
    }
    for (dimension, values) in report["by"].as_object().into_iter().flatten() {
        let values = values.as_array().unwrap_or(&empty);
        if values.iter().all(|value| value["value"].is_null()) {
            continue;
        }
        say!("");
        say!("{dimension}");
        for value in values.iter().take(VALUES) {
            say!("  {:<40} {:>9}", value["value"].as_str().unwrap_or("(unknown)"), value["clicks"]);
        }
        if values.len() > VALUES {
            say!("  {:<40} {:>9}", format!("and {} more", values.len() - VALUES), "");
        }
    }
    if let Some(why) = report["topOmitted"].as_str() {
        say!("");
        say!("most visited: {why}");
    }
    let top = report["top"].as_array().unwrap_or(&empty);
    if !top.is_empty() {
        say!("");
        say!("most visited");
        for link in top.iter().take(10) {
            say!("  {:<40} {:>9}", text(&link["shortCode"]), link["clicks"]);
        }
    }
}
