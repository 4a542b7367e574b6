//! `waypost cluster`: shows the state of the cluster and changes it. Talks to the admin listener of any node.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Failed, Server};
use super::key::KeyArgs;
use super::{exit, reach};
use crate::say;

/// How often a waiting command asks for the state of the cluster.
const LOOK: Duration = Duration::from_millis(400);

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show the nodes, what they hold and lead, and what needs attention
    Status(StatusArgs),
    /// Wait until a started node has joined and holds its share; show what is missing until then
    Join(WaitArgs),
    /// Move all replicas and leaders away from a node, so that it can be removed; wait until it is empty
    Drain(WaitArgs),
    /// Let a drained node hold replicas again
    Undrain(NodeArgs),
    /// Remove a node from the cluster. A running node is emptied first, and its clicks are sent to the shards
    Remove(WaitArgs),
    /// Make another node the leader of a group
    MoveLeader(MoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// Address of the admin listener of any node. Default: where `serve` would have it with the
    /// same variables, or http://127.0.0.1:9090
    #[arg(long, value_name = "URL", env = "WAYPOST_ADMIN")]
    admin: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print the node's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// Name or id of the node
    node: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// How long to wait, in seconds; 0 = do not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    wait: u64,
}

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    /// The group: 0 is the cluster's own, n is shard n - 1
    group: u32,
    /// The new leader's name or id
    to: String,
    #[command(flatten)]
    admin: AdminArgs,
}

fn server(args: AdminArgs) -> Result<Server, Failed> {
    Server::at(reach::admin(args.admin.as_deref())?, &args.key)
}

fn accepted(answer: &Answer, done: &str) -> Result<u8, Failed> {
    if answer.status.is_success() {
        say!("{done}");
        return Ok(exit::OK);
    }
    let code = if answer.status.as_u16() == 404 { exit::NOT_FOUND } else { exit::FAILURE };
    Err(Failed::new(code, answer.problem()))
}

pub(super) async fn run(command: ClusterCommand) -> Result<u8, Failed> {
    match command {
        ClusterCommand::Status(args) => status(args).await,
        ClusterCommand::Join(args) => {
            let name = args.node.node;
            let look = |seen: &Seen| match seen {
                Seen { member: false, .. } => Some(format!(
                    "{name} is not a member yet: add it to cluster.toml and start `waypost serve --config FILE --node {name}` there"
                )),
                Seen { up: false, .. } => Some(format!("{name} is a member, but does not answer")),
                Seen { moving: 0, .. } => None,
                Seen { moving, holds, .. } => {
                    Some(format!("{name} holds {holds} shards; {moving} groups are being moved"))
                }
            };
            wait(&server(args.node.admin)?, &name, args.wait, look).await?;
            say!("{name} is a member and holds its share");
            Ok(exit::OK)
        }
        ClusterCommand::Drain(args) => {
            let name = args.node.node;
            let server = server(args.node.admin)?;
            if args.wait == 0 {
                let answer = server.send(Method::POST, &format!("/cluster/nodes/{name}/drain"), None, None).await?;
                return accepted(&answer, "the node is being emptied; `waypost cluster status` shows the progress");
            }
            drain(&server, &name, args.wait).await?;
            say!("{name} is empty: `waypost cluster remove {name}` removes it from the cluster");
            Ok(exit::OK)
        }
        ClusterCommand::Undrain(args) => {
            let path = format!("/cluster/nodes/{}/undrain", args.node);
            let answer = server(args.admin)?.send(Method::POST, &path, None, None).await?;
            accepted(&answer, "the node may hold replicas again")
        }
        ClusterCommand::Remove(args) => {
            let name = args.node.node;
            let server = server(args.node.admin)?;
            let seen = look_at(&server, &name).await?;
            if seen.up && seen.holds > 0 {
                drain(&server, &name, args.wait).await?;
            }
            let answer = server.send(Method::DELETE, &format!("/cluster/nodes/{name}"), None, None).await?;
            accepted(&answer, "the node is no longer a member; remove it from cluster.toml, and stop it")
        }
        ClusterCommand::MoveLeader(args) => {
            let body = json!({ "group": args.group, "to": args.to });
            let answer = server(args.admin)?.send(Method::POST, "/cluster/move-leader", Some(&body), None).await?;
            accepted(&answer, "done; if leaders are unevenly spread, they are moved again after a while")
        }
    }
}

/// The state of one node, as far as it is known.
struct Seen {
    member: bool,
    up: bool,
    holds: usize,
    leads: usize,
    /// Groups of the whole cluster that are being moved.
    moving: usize,
}

impl Seen {
    fn of(view: &Value, name: &str) -> Self {
        let node =
            view["nodes"].as_array().into_iter().flatten().find(|node| node["name"] == name || node["id"] == name);
        let groups = node.and_then(|node| node["status"]["groups"].as_array()).map_or(&[][..], Vec::as_slice);
        Self {
            member: node.is_some(),
            up: node.is_some_and(|node| !node["status"].is_null()),
            holds: groups.iter().filter(|group| group["group"] != 0).count(),
            leads: groups.iter().filter(|group| group["leader"] == true).count(),
            moving: view["moving"].as_array().map_or(0, Vec::len),
        }
    }
}

/// Asks the cluster for the state of a node.
async fn look_at(server: &Server, name: &str) -> Result<Seen, Failed> {
    let answer = server.send(Method::GET, "/cluster", None, None).await?;
    match answer.status.is_success() {
        true => Ok(Seen::of(&answer.body, name)),
        false => Err(Failed::new(exit::FAILURE, answer.problem())),
    }
}

/// Drains a node, and waits until it is empty.
async fn drain(server: &Server, name: &str, seconds: u64) -> Result<(), Failed> {
    let answer = server.send(Method::POST, &format!("/cluster/nodes/{name}/drain"), None, None).await?;
    if !answer.status.is_success() {
        return accepted(&answer, "").map(|_| ());
    }
    let look = |seen: &Seen| match seen {
        Seen { up: false, .. } => Some(format!("{name} does not answer; remove it if it will not come back")),
        Seen { holds: 0, leads: 0, moving: 0, .. } => None,
        Seen { holds, moving, .. } => Some(format!("{name} holds {holds} shards; {moving} groups are being moved")),
    };
    wait(server, name, seconds, look).await
}

/// Asks for the state of the cluster until `missing` returns `None`; shows the text that it returns meanwhile.
async fn wait(
    server: &Server,
    name: &str,
    seconds: u64,
    missing: impl Fn(&Seen) -> Option<String>,
) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(200));
    // Nothing is moved to a node that has just joined yet: the state counts as settled when it stays so for a moment.
    let mut settled = 0;
    loop {
        let still = missing(&look_at(server, name).await?);
        settled = if still.is_none() { settled + 1 } else { 0 };
        if settled >= 3 {
            spinner.finish_and_clear();
            return Ok(());
        }
        if Instant::now() >= deadline {
            spinner.finish_and_clear();
            let why = still.unwrap_or_else(|| "not yet settled".to_owned());
            return Err(Failed::new(exit::PARTLY, format!("timed out: {why}")));
        }
        if let Some(still) = still {
            spinner.set_message(still);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn status(args: StatusArgs) -> Result<u8, Failed> {
    let answer = server(args.admin)?.send(Method::GET, "/cluster", None, None).await?;
    if !answer.status.is_success() {
        return Err(Failed::new(exit::FAILURE, answer.problem()));
    }
    let view = &answer.body;
    if args.json {
        say!("{view}");
    } else {
        print(view);
    }
    let empty = |list: &str| view[list].as_array().is_none_or(Vec::is_empty);
    let all_up = view["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| !node["status"].is_null()));
    Ok(if empty("leaderless") && all_up { exit::OK } else { exit::PARTLY })
}

fn print(view: &Value) {
    say!("cluster {} ({}), {} shards", text(&view["name"]), text(&view["cluster"]), view["shards"]);
    say!("");
    say!(
        "{:<14} {:<10} {:<10} {:<22} {:>5} {:>5} {:>10} {:>9}  services",
        "NODE",
        "STATE",
        "ZONE",
        "HTTP",
        "HOLDS",
        "LEADS",
        "LINKS",
        "FREE"
    );
    let mut nodes: Vec<&Value> = view["nodes"].as_array().into_iter().flatten().collect();
    nodes.sort_by_key(|node| text(&node["name"]));
    for node in nodes {
        let status = &node["status"];
        let groups = status["groups"].as_array().map_or(&[][..], Vec::as_slice);
        let holds = groups.iter().filter(|group| group["group"] != 0).count();
        let leads = groups.iter().filter(|group| group["leader"] == true).count();
        let state = match status {
            Value::Null => "down",
            _ if status["stopping"] == true => "stopping",
            _ if node["drain"] == true => "draining",
            _ if status["readOnly"] == true => "read-only",
            _ if status["memory"]["short"] == true => "no-memory",
            _ => "up",
        };
        let services: Vec<&str> = node["services"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let services = if services.len() == 5 { "all".to_owned() } else { services.join(", ") };
        let links = status["links"].as_u64().map_or("-".to_owned(), |links| links.to_string());
        say!(
            "{:<14} {:<10} {:<10} {:<22} {:>5} {:>5} {:>10} {:>9}  {}",
            text(&node["name"]),
            state,
            text(&node["zone"]),
            text(&node["http"]),
            holds,
            leads,
            links,
            free(&status["disk"]),
            services
        );
    }
    say!("");
    for (list, what) in [
        ("leaderless", "groups without a leader"),
        ("moving", "groups whose members are being changed"),
        ("underreplicated", "groups with fewer replicas than configured"),
    ] {
        let groups: Vec<String> = view[list].as_array().into_iter().flatten().map(Value::to_string).collect();
        if !groups.is_empty() {
            say!("{what}: {}", groups.join(", "));
        }
    }
    for node in view["nodes"].as_array().into_iter().flatten() {
        if let Some(line) = catalog(&node["status"]["catalog"]) {
            say!("catalog of {}: {line}", text(&node["name"]));
        }
    }
    for warning in view["warnings"].as_array().into_iter().flatten() {
        say!("warning: {}", text(warning));
    }
}

/// The free space of a node's disk, such as `12.3 GiB`.
fn free(disk: &Value) -> String {
    disk["freeBytes"].as_u64().map_or("-".to_owned(), |bytes| indicatif::BinaryBytes(bytes).to_string())
}

/// What a node's catalog does not have yet; `None` if nothing is missing, or the node keeps none.
fn catalog(report: &Value) -> Option<String> {
    let number = |member: &str| report[member].as_u64();
    let (held, complete) = (number("held")?, number("complete")?);
    let failure = report["failure"].as_str().filter(|why| !why.is_empty());
    if complete >= held && failure.is_none() {
        return None;
    }
    let reading = number("reading").map(|shard| {
        let percent = 100 * number("read").unwrap_or(0) / number("links").unwrap_or(0).max(1);
        format!("; {} % of shard {shard} is read", percent.min(100))
    });
    let failure = failure.map(|why| format!("; it cannot be used: {why}"));
    Some(format!("{complete} of {held} shards{}{}", reading.unwrap_or_default(), failure.unwrap_or_default()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_shown_as_long_as_something_of_it_is_missing() {
        let report = |complete: u32, reading: Value, failure: &str| {
            json!({
                "held": 16, "complete": complete, "reading": reading, "read": 50, "links": 200, "failure": failure,
            })
        };
        assert_eq!(catalog(&Value::Null), None, "it keeps none, or is down");
        assert_eq!(catalog(&report(16, Value::Null, "")), None);
        assert_eq!(catalog(&report(3, json!(7), "")).unwrap(), "3 of 16 shards; 25 % of shard 7 is read");
        assert_eq!(
            catalog(&report(0, Value::Null, "no space")).unwrap(),
            "0 of 16 shards; it cannot be used: no space"
        );
    }
}
