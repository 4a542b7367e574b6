//! Several nodes with one configuration file, each on a loopback address of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::RngExt;
use serde_json::Value;

use crate::{Client, Faults, Node, NodeBuilder, Proxies};

/// How long a cluster may take to settle.
const PATIENCE: Duration = Duration::from_secs(180);

/// The secret that the nodes share.
const SECRET: &str = "the-secret-of-all-clusters-of-tests";

/// A cluster of processes. Killed when it is dropped.
pub struct Cluster {
    program: PathBuf,
    dir: PathBuf,
    net: [u8; 2],
    environment: Vec<(String, String)>,
    names: Vec<String>,
    services: Vec<Option<String>>,
    nodes: Vec<Option<Node>>,
    proxies: Option<Proxies>,
    /// The faults of each node's machine, if any were asked for.
    faults: Option<Vec<Faults>>,
}

impl Cluster {
    /// A cluster without nodes; all its files are in `dir`. Each cluster takes a random part of 127.0.0.0/8, so that many can
    /// run at once on fixed ports.
    pub fn new(program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        let mut rng = rand::rng();
        let net = [rng.random_range(1..255), rng.random_range(1..255)];
        Self {
            program: program.into(),
            dir: dir.into(),
            net,
            environment: vec![("WAYPOST_CLUSTER_SECRET".to_owned(), SECRET.to_owned())],
            names: Vec::new(),
            services: Vec::new(),
            nodes: Vec::new(),
            proxies: None,
            faults: None,
        }
    }

    /// Puts proxies between the nodes. Needs a tokio runtime.
    #[must_use]
    pub fn behind_proxies(mut self) -> Self {
        self.proxies = Some(Proxies::new(self.net));
        self
    }

    /// Loads the fault library into the nodes, so that their disks and clocks can fail.
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = Some(Vec::new());
        self
    }

    /// The proxies between the nodes.
    pub fn proxies(&self) -> &Proxies {
        self.proxies.as_ref().expect("invariant: the cluster was made with proxies")
    }

    /// The faults of the machine of node `index`.
    pub fn faults(&self, index: usize) -> &Faults {
        &self.faults.as_ref().expect("invariant: the cluster was made with faults")[index]
    }

    /// Sets an environment variable for all nodes.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a node to the file without starting it. Returns its index.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, services: Option<&str>) -> Result<usize> {
        let index = self.names.len();
        self.names.push(format!("n{}", index + 1));
        self.services.push(services.map(str::to_owned));
        self.nodes.push(None);
        std::fs::write(self.file(), self.text())?;
        if let Some(proxies) = &self.proxies {
            proxies.start(index, 7400)?;
        }
        if let Some(faults) = &mut self.faults {
            faults.push(Faults::new(self.dir.join(format!("faults{index}")))?);
        }
        Ok(index)
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.dir.join("cluster.toml")
    }

    fn text(&self) -> String {
        let [a, b] = self.net;
        let node = |(index, name): (usize, &String)| {
            let ip = format!("127.{a}.{b}.{}", index + 1);
            let reached = self.proxies.as_ref().map_or(ip.clone(), |proxies| proxies.host(index).to_string());
            let services = self.services[index].as_deref().map_or(String::new(), |list| format!("services = {list}\n"));
            format!(
                "[[node]]\nname = \"{name}\"\nhttp = \"{ip}:8080\"\nadmin = \"{ip}:9090\"\npeer = \"{reached}:7400\"\npeer_listen = \"{ip}:7400\"\n{services}"
            )
        };
        "[cluster]\nname = \"test\"\n\n".to_owned() + &self.names.iter().enumerate().map(node).collect::<String>()
    }

    /// The builder with which node `index` is started.
    pub fn builder(&self, index: usize) -> NodeBuilder {
        let builder = self.plain_builder(index);
        match &self.faults {
            None => builder,
            Some(faults) => faults[index].load_into(builder),
        }
    }

    fn plain_builder(&self, index: usize) -> NodeBuilder {
        let name = &self.names[index];
        let builder = NodeBuilder::new(&self.program, self.data_dir(index)).of_file(&self.file(), name);
        self.environment.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    /// The data directory of node `index`.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        self.dir.join(&self.names[index])
    }

    /// Starts nodes, all at once, and waits until they are ready.
    ///
    /// # Errors
    /// When one ends before it is ready.
    pub fn start(&mut self, indexes: &[usize]) -> Result<()> {
        for index in indexes {
            self.nodes[*index] = Some(self.builder(*index).spawn()?);
        }
        for index in indexes {
            self.node_mut(*index).ready()?;
        }
        Ok(())
    }

    /// Adds a node that was spawned with [`Cluster::builder`], and waits until it is ready.
    ///
    /// # Errors
    /// When it ends before it is ready.
    pub fn take_over(&mut self, index: usize, node: Node) -> Result<()> {
        self.nodes[index].insert(node).ready()
    }

    /// Adds a node that is ready.
    pub fn take_over_ready(&mut self, index: usize, node: Node) {
        self.nodes[index] = Some(node);
    }

    /// The public address of node `index`.
    pub fn address(&self, index: usize) -> SocketAddr {
        let [a, b] = self.net;
        SocketAddr::from(([127, a, b, index as u8 + 1], 8080))
    }

    /// A running node.
    pub fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("invariant: the node was started")
    }

    /// A running node, mutable.
    pub fn node_mut(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("invariant: the node was started")
    }

    /// A client of node `index`.
    pub fn client(&self, index: usize) -> Client {
        self.node(index).client()
    }

    /// Kills a node with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        if let Some(mut node) = self.nodes[index].take() {
            node.kill()?;
        }
        Ok(())
    }

    /// The answer of node `index` to `GET /cluster`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn view(&self, index: usize) -> Result<Value> {
        let client = Client::new(self.node(index).admin());
        let key = self.environment.iter().find(|(name, _)| name == "WAYPOST_ADMIN_KEY");
        let client = key.into_iter().fold(client, |client, (_, key)| client.with_key(key));
        let answer = client.get("/cluster").await?;
        anyhow::ensure!(answer.status == 200, "{}", answer.status);
        Ok(answer.json())
    }

    /// Waits until the cluster, as node `seen_by` reports it, fulfils `condition`.
    ///
    /// # Errors
    /// If it takes too long; the error has the last report.
    pub async fn wait(&self, seen_by: usize, what: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.view(seen_by).await;
            if let Ok(view) = &seen
                && condition(view)
            {
                return seen;
            }
            if Instant::now() > deadline {
                bail!("{what}: not in time; last seen: {seen:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all groups have a leader and the intended members.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn settled(&self, seen_by: usize, voters: usize) -> Result<Value> {
        self.wait(seen_by, "the cluster settles", |view| {
            let empty = |list: &str| view[list].as_array().is_some_and(Vec::is_empty);
            empty("leaderless") && empty("moving") && leaders(view).iter().all(|(_, _, members)| *members == voters)
        })
        .await
    }

    /// The index of the node that leads a group, as `seen_by` reports it. Waits while the group changes its leader.
    ///
    /// # Errors
    /// If no node becomes its leader.
    pub async fn leader(&self, seen_by: usize, group: u64) -> Result<usize> {
        let led_by =
            |view: &Value| leaders(view).into_iter().find(|(_, led, _)| *led == group).map(|(name, _, _)| name);
        let view = self.wait(seen_by, "somebody leads the group", |view| led_by(view).is_some()).await?;
        let name = led_by(&view).context("no leader")?;
        self.names.iter().position(|known| *known == name).context("an unknown node leads")
    }

    /// The directory of the whole cluster.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// For each shard: the name of its leader, its group, and its number of voters.
pub fn leaders(view: &Value) -> Vec<(String, u64, usize)> {
    let mut found = Vec::new();
    for node in view["nodes"].as_array().into_iter().flatten() {
        for group in node["status"]["groups"].as_array().into_iter().flatten() {
            if group["leader"] == true && group["group"] != 0 {
                let voters = group["voters"].as_array().map_or(0, Vec::len);
                let name = node["name"].as_str().unwrap_or_default().to_owned();
                found.push((name, group["group"].as_u64().unwrap_or_default(), voters));
            }
        }
    }
    found
}
