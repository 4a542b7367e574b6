//! Everything at once: nodes are killed, stopped, parted from the others and held up, clocks jump, snapshots and backups are made, while clients
//! create, edit, delete, claim again and follow links.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use waypost_testkit::{Client, Cluster, Load, Rule, key_in, pick};

use super::{addresses, others, writes_go_on};

/// How long a cluster may take to be whole again, and visits to be told. Generous: test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// What happens to a node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed,
    KilledForLong,
    Restarted,
    Parted,
    NotHeard,
    HeldUp,
    Reset,
    ClockAhead,
    ClockBehind,
}

const FAULTS: [Fault; 9] = [
    Fault::Killed,
    Fault::KilledForLong,
    Fault::Restarted,
    Fault::Parted,
    Fault::NotHeard,
    Fault::HeldUp,
    Fault::Reset,
    Fault::ClockAhead,
    Fault::ClockBehind,
];

/// A number from the environment, which says how long a run is to be.
fn given(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Takes backups, one after the other, from whichever nodes are up.
struct Backups {
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Backups {
    fn start(nodes: Vec<(SocketAddr, PathBuf)>) -> Self {
        let (stop, taken): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let (stopped, count) = (stop.clone(), taken.clone());
        let task = tokio::spawn(async move {
            for turn in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (address, data_dir) = &nodes[turn % nodes.len()];
                // Each start of the node makes another key.
                let client = Client::new(*address).with_key(&key_in(data_dir).unwrap_or_default());
                let begun = Instant::now();
                let backup = client.get("/api/v1/backup").await;
                count.fetch_add(u64::from(backup.is_ok_and(|answer| answer.status == 200)), Ordering::Relaxed);
                // They read all links, so that many links would leave no time for anything else.
                tokio::time::sleep((4 * begun.elapsed()).max(Duration::from_secs(1))).await;
            }
        });
        Self { stop, taken, task }
    }

    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.taken.load(Ordering::Relaxed)
    }
}

/// Waits until a node knows that it shows what was acknowledged: it is ready, and none of its copies is old.
async fn fresh(cluster: &Cluster, node: usize) {
    let (client, admin) = (cluster.client(node), Client::new(cluster.node(node).admin()));
    let since = Instant::now();
    loop {
        let ready = client.get("/health/ready").await.is_ok_and(|answer| answer.status == 200);
        let metrics = admin.get("/metrics").await.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
        if ready && metrics.is_ok_and(|text| text.lines().any(|line| line == "waypost_shards_stale 0")) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "node {node} is not fresh again: {}", cluster.node(node).errors());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Does something to a node while clients work with the others, and undoes it.
async fn strike(cluster: &mut Cluster, load: &Load, fault: Fault, victim: usize) {
    let rest = addresses(cluster, &others(victim));
    let pause = Duration::from_millis(pick(300..2500));
    match fault {
        Fault::Killed | Fault::KilledForLong => {
            // Clients are at it when it dies.
            cluster.kill(victim).unwrap();
            load.aim(&rest);
            writes_go_on(load).await;
            if matches!(fault, Fault::KilledForLong) {
                // What it misses is longer than the log that the others keep.
                let acknowledged = load.tally().acknowledged;
                let since = Instant::now();
                while load.tally().acknowledged < acknowledged + 250 && since.elapsed() < PATIENCE / 2 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            cluster.start(&[victim]).unwrap();
        }
        Fault::Restarted => {
            load.aim(&rest);
            tokio::time::sleep(Duration::from_millis(100)).await;
            cluster.node_mut(victim).terminate().unwrap();
            tokio::time::sleep(pause).await;
            cluster.start(&[victim]).unwrap();
        }
        Fault::Parted | Fault::NotHeard => {
            // Behind a partition a node answers with what it has, however old: nobody is to ask it.
            load.aim(&rest);
            for other in others(victim) {
                cluster.proxies().set(victim, other, Rule::Cut);
                if matches!(fault, Fault::Parted) {
                    cluster.proxies().set(other, victim, Rule::Cut);
                }
            }
            tokio::time::sleep(pause).await;
            writes_go_on(load).await;
            cluster.proxies().heal();
        }
        Fault::HeldUp => {
            // It answers nothing meanwhile, and nothing old afterwards.
            cluster.node(victim).pause().unwrap();
            load.aim(&rest);
            tokio::time::sleep(pause).await;
            writes_go_on(load).await;
            load.aim(&addresses(cluster, &[0, 1, 2]));
            cluster.node(victim).resume().unwrap();
        }
        Fault::Reset => {
            for _ in 0..3 {
                cluster.proxies().reset();
                tokio::time::sleep(pause / 3).await;
            }
        }
        Fault::ClockAhead | Fault::ClockBehind => {
            load.clocks_are_right(false);
            let hours = pick(1..2000) as i64 * if matches!(fault, Fault::ClockAhead) { 1 } else { -1 };
            cluster.faults(victim).clock_off_by_ms(hours * 3_600_000).unwrap();
            tokio::time::sleep(pause).await;
            cluster.faults(victim).clock_off_by_ms(0).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            load.clocks_are_right(true);
        }
    }
}

async fn visits(client: &Client) -> u64 {
    let answer = client.get("/api/v1/stats?bots=include").await.unwrap();
    answer.json()["totalClicks"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_changes_and_visits_survive_all_faults_together() {
    // More for a long run: see `make soak-cluster`.
    let faults = given("TEST_FAULTS", 9);
    let dir = tempfile::tempdir().unwrap();
    // Checkpoints so often that whoever is away for a while gets a snapshot.
    let mut cluster = Cluster::new(crate::PROGRAM, dir.path())
        .behind_proxies()
        .with_faults()
        .env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB")
        // Less than a node lacks that was away for long, so that it is sent snapshots.
        .env("WAYPOST_STORAGE_LOG_KEPT_BYTES", "64KiB")
        .env("WAYPOST_CLUSTER_SHARDS", "2");
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    let all = addresses(&cluster, &[0, 1, 2]);
    let load = Load::start_with_changes(8, &all);
    let backups = Backups::start((0..3).map(|node| (all[node], cluster.data_dir(node))).collect());
    let mut struck = [0; FAULTS.len()];
    for round in 0..faults {
        // Each kind comes as often as any other; which node it meets is chance.
        let (fault, victim) = (FAULTS[round % FAULTS.len()], pick(0..3) as usize);
        println!("fault {round}: node {victim} is {fault:?}; {:?}", load.tally());
        strike(&mut cluster, &load, fault, victim).await;
        struck[round % FAULTS.len()] += 1;
        let seen_by = others(victim)[0];
        cluster.settled(seen_by, 3).await.unwrap();
        for node in 0..3 {
            fresh(&cluster, node).await;
        }
        load.aim(&addresses(&cluster, &[0, 1, 2]));
        writes_go_on(&load).await;
        // Each is named together with the fault that it came with.
        load.check().unwrap_or_else(|broken| panic!("after fault {round}, node {victim} {fault:?}: {broken}"));
    }
    let backups = backups.finish().await;
    let tally = load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    let client = cluster.client(0);
    let since = Instant::now();
    let (mut counted, mut quiet) = (0, 0);
    while quiet < 4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = visits(&client).await;
        quiet = if now == counted && (now >= tally.visits || since.elapsed() > PATIENCE / 2) { quiet + 1 } else { 0 };
        counted = now;
        assert!(since.elapsed() < PATIENCE, "{counted} visits are told of {}", tally.visits);
    }
    println!("{faults} faults, {backups} backups: {tally:?}; {counted} visits counted");
    let possible = tally.visits..=tally.visits + tally.visits_in_doubt;
    assert!(possible.contains(&counted), "{counted} visits were counted, of {possible:?}");
    // The run was what it says: a tenth or less of what a busy machine of two cores has done.
    let least = faults as u64;
    for (what, done, least) in [
        ("links were created", tally.acknowledged, 10 * least),
        ("visits were redirected", tally.visits, 50 * least),
        ("links were edited", tally.edited, 2 * least),
        ("links were deleted", tally.deleted, least.div_ceil(2)),
        ("aliases were claimed again", tally.claimed_again, least.div_ceil(4)),
        ("links ended", tally.ended, least),
        ("backups were taken", backups, least.div_ceil(20)),
    ] {
        assert!(done >= least, "{done} {what}, at least {least} were expected: {tally:?}, {backups} backups");
    }
    for (kind, struck) in FAULTS.iter().zip(struck) {
        assert!(struck >= faults / FAULTS.len(), "{kind:?} came {struck} times in {faults} faults");
    }
    let installed = (0..3).any(|node| cluster.node(node).errors().contains("a snapshot was installed"));
    assert!(installed || faults < 2, "no node was sent a snapshot");
}
