#!/usr/bin/env python3
"""A cluster on this machine: failover, rolling restart, creates, redirects without a replica, idle cost, bringing up nodes.

See README.md beside this file.
"""

import http.client
import json
import pathlib
import signal
import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import median, ratio, say, show

HOST = "127.0.0.1"
# The nodes take in only those that know it.
SECRET = "the-secret-of-the-nodes-of-a-bench"


def arguments():
    parser = bench.common_arguments(__doc__, rounds=3, seconds=8)
    parser.add_argument("--kills", type=int, default=20, help="leaders to kill")
    parser.add_argument("--links", type=int, default=1_000_000, help="links that a new node is brought up to")
    parser.add_argument("--codes", type=int, default=50_000, help="links for the redirects without a replica")
    parser.add_argument("--parts", default="failover,rolling,creates,edge,idle,grow", help="what to measure, with commas")
    args = parser.parse_args()
    # A cluster shares what the machine has: three servers on one core would measure the core.
    args.server_cpus = args.load_cpus = "0-1" if args.server_cpus == "0" else args.server_cpus
    return args


class Cluster:
    """Nodes of one file, on ports of the loopback address."""

    def __init__(self, run, name, services):
        self.run, self.dir = run, run.temp / name
        self.dir.mkdir()
        self.names = [f"n{number + 1}" for number in range(len(services))]
        self.ports, text = {}, "[cluster]\nname = \"bench\"\n"
        for node, some in zip(self.names, services):
            http_port, admin, peer = bench.free_ports(3)
            self.ports[node] = http_port, admin
            text += (f"\n[[node]]\nname = \"{node}\"\nhttp = \"{HOST}:{http_port}\"\nadmin = \"{HOST}:{admin}\"\n"
                     f"peer = \"{HOST}:{peer}\"\ndata_dir = \"{node}\"\n")
            text += f"services = {json.dumps(some)}\n" if some else ""
        self.file = self.dir / "cluster.toml"
        self.file.write_text(text)
        self.processes = {}

    def start(self, *names):
        for node in names:
            command = [self.run.waypost, "serve", "--config", str(self.file), "--node", node,
                       "--data-dir", str(self.dir / node)]
            environment = {**self.run.environment(), "WAYPOST_CLUSTER_SECRET": SECRET}
            self.processes[node] = self.run.start(command, environment, f"{self.dir.name}-{node}.log")
        for node in names:
            bench.wait_for(self.processes[node], self.ports[node][0], "/health/ready", 200, 300)

    def kill(self, node, number=signal.SIGKILL):
        return self.run.stop(self.processes.pop(node), number)

    def view(self, node):
        return json.loads(bench.get(self.ports[node][1], "/cluster")[2])

    def settled(self, seen_by, patience=600):
        """Waits until all groups have their members and leaders are evened out. Returns the seconds it took."""
        started = time.monotonic()
        while time.monotonic() < started + patience:
            try:
                view = self.view(seen_by)
            except (OSError, http.client.HTTPException):
                continue
            led = [sum(group["leader"] for group in node["status"]["groups"] if group["group"])
                   for node in view["nodes"] if node["status"] and node["status"]["groups"][1:]]
            if not view["leaderless"] and not view["moving"] and led and max(led) - min(led) <= 1:
                return time.monotonic() - started
            time.sleep(0.05)
        raise bench.Failed(f"the cluster does not settle: {view}")

    def metric(self, node, name):
        for line in bench.get(self.ports[node][1], "/metrics")[2].decode().splitlines():
            if line.split(" ")[0] == name:
                return float(line.split(" ")[1])
        return 0.0

    def stop(self):
        for node in list(self.processes):
            self.kill(node, signal.SIGTERM)


class Writers:
    """Clients that create all the time on the nodes that are up, and note how long each create took."""

    def __init__(self, cluster, count):
        self.cluster, self.up, self.done = cluster, list(cluster.names), False
        self.notes, self.lock = [], threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        connections = {}
        turn = 0
        while not self.done:
            turn += 1
            up = list(self.up)
            # As a load balancer does: nothing is kept to a node that was taken out.
            connections = {name: kept for name, kept in connections.items() if name in up}
            node = up[(turn + number) % len(up)]
            body = json.dumps({"longUrl": f"https://example.com/{number}/{turn}"})
            started = time.monotonic()
            try:
                if node not in connections:
                    connections[node] = http.client.HTTPConnection(HOST, self.cluster.ports[node][0], timeout=10)
                connections[node].request("POST", "/shorten", body, {"Content-Type": "application/json"})
                answer = connections[node].getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connections.pop(node, None)
                status = 0
            # What was asked of a node while it went down says nothing of the others.
            if status or node in self.up:
                with self.lock:
                    self.notes.append((started, time.monotonic() - started, status))

    def end(self):
        self.done = True
        for thread in self.threads:
            thread.join()


def failover(run):
    """How long the slowest create took of those begun within three seconds after a leader was killed."""
    cluster = Cluster(run, "failover", [None] * 3)
    cluster.start(*cluster.names)
    cluster.settled("n1")
    pauses, failed, redirects = [], 0, 0
    for number in range(run.args.kills):
        victim = cluster.names[number % 3]
        others = [node for node in cluster.names if node != victim]
        writers = Writers(cluster, 24)
        time.sleep(1)
        writers.up = others
        time.sleep(0.3)
        at = time.monotonic()
        cluster.kill(victim)
        time.sleep(8)
        writers.end()
        after = [note for note in writers.notes if at - 0.05 <= note[0] <= at + 3]
        failed += sum(note[2] != 201 for note in after)
        pauses.append(max(note[1] for note in after))
        say(f"  kill {number + 1:>2} of {victim}: the slowest create took {pauses[-1]:.2f} s")
        cluster.start(victim)
        cluster.settled(victim)
    cluster.stop()
    return {"kills": len(pauses), "slowest_create_median_s": median(pauses), "slowest_create_worst_s": max(pauses),
            "creates_not_answered_201": failed}


def rolling(run):
    """Creates and redirects that failed on the nodes that were up, while each node was stopped and started."""
    cluster = Cluster(run, "rolling", [None] * 3)
    cluster.start(*cluster.names)
    cluster.settled("n1")
    writers = Writers(cluster, 16)
    for node in cluster.names:
        time.sleep(2)
        writers.up = [other for other in cluster.names if other != node]
        time.sleep(0.3)
        cluster.kill(node, signal.SIGTERM)
        cluster.start(node)
        cluster.settled(node)
        writers.up = list(cluster.names)
    time.sleep(2)
    writers.end()
    cluster.stop()
    return {"creates": len(writers.notes), "failed": sum(note[2] != 201 for note in writers.notes),
            "slowest_create_s": max(note[1] for note in writers.notes)}


def creates(run):
    """Creates a second through one node, alone and as one of three that share this machine."""
    rates = {}
    for size in (1, 3):
        cluster = Cluster(run, f"creates{size}", [None] * size)
        cluster.start(*cluster.names)
        cluster.settled("n1")
        number, reports = 0, []
        for _ in range(run.args.rounds):
            report = run.load("create", "--target", f"{HOST}:{cluster.ports['n1'][0]}", "--connections", 64, "--seconds",
                              run.args.seconds, "--url-template", bench.URL_TEMPLATE, "--start", number,
                              limit=run.args.seconds)
            number += report["requests"]
            reports.append(report)
        rates[size] = median(report["right_per_second"] for report in reports)
        p99 = median(report["latency_us"]["p99"] for report in reports) / 1e3
        say(f"  {size} node(s): {rates[size]:,.0f} creates/s, p99 {p99:.1f} ms")
        cluster.stop()
    return {"one_node_per_second": rates[1], "three_nodes_per_second": rates[3], "ratio": ratio(rates[3], rates[1])}


def edge(run):
    """Redirects through a node without replicas, each code asked once, against a node that has them."""
    cluster = Cluster(run, "edge", [None] * 3 + [["redirector", "click_counter"]])
    cluster.start(*cluster.names)
    cluster.settled("n1")
    acked = run.temp / "edge.tsv"
    run.load("create", "--target", f"{HOST}:{cluster.ports['n1'][0]}", "--connections", 64, "--count", run.args.codes,
             "--seconds", 600, "--acked", acked, limit=600)
    rates = {"n2": [], "n4": []}
    for _ in range(run.args.rounds):
        for node, found in rates.items():
            # What an edge node has cached it may use for a second only.
            time.sleep(1.5)
            report = run.load("redirect", "--target", f"{HOST}:{cluster.ports[node][0]}", "--codes", acked, "--verify", acked,
                              "--once", "--seconds", 120, limit=120)
            found.append(report["right_per_second"])
    local, far = median(rates["n2"]), median(rates["n4"])
    say(f"  local replica {local:,.0f}/s, no replica {far:,.0f}/s")
    cluster.stop()
    return {"local_per_second": local, "edge_per_second": far, "ratio": ratio(far, local)}


def idle(run):
    """What three nodes cost that have nothing to do."""
    cluster = Cluster(run, "idle", [None] * 3)
    cluster.start(*cluster.names)
    cluster.settled("n1")
    time.sleep(5)
    counts = lambda: sum(cluster.metric(node, "waypost_peer_requests_total") for node in cluster.names)
    used = lambda: sum(bench.cpu_seconds(process.pid) for process in cluster.processes.values())
    requests, cpu, seconds = counts(), used(), 30
    time.sleep(seconds)
    result = {"cpu_percent_of_a_core_per_node": 100 * (used() - cpu) / seconds / 3,
              "requests_per_second_per_node": (counts() - requests) / seconds / 3,
              "rss_mib_per_node": statistics.mean(
                  bench.memory_bytes(process.pid)[1] for process in cluster.processes.values()) / 2**20}
    cluster.stop()
    return result


def grow(run):
    """A node that is alone with its links, and two more that are brought up to them."""
    cluster = Cluster(run, "grow", [None] * 3)
    whole = cluster.file.read_text()
    cluster.file.write_text("\n[[node]]".join(whole.split("\n[[node]]")[:2]))
    cluster.start("n1")
    run.load("create", "--target", f"{HOST}:{cluster.ports['n1'][0]}", "--connections", 64, "--count", run.args.links,
             "--seconds", 1800, limit=1800)
    before = bench.memory_bytes(cluster.processes["n1"].pid)[1]
    cluster.file.write_text(whole)
    peak = {"n1": before, "n2": 0, "n3": 0}
    done = threading.Event()

    def watch():
        while not done.wait(0.2):
            for node, process in list(cluster.processes.items()):
                peak[node] = max(peak[node], bench.memory_bytes(process.pid)[1])

    writers = Writers(cluster, 4)
    writers.up = ["n1"]
    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    cluster.start("n2", "n3")
    cluster.settled("n1")
    took = time.monotonic() - started
    done.set()
    watcher.join()
    writers.end()
    links = [node["status"]["links"] for node in cluster.view("n1")["nodes"]]
    cluster.stop()
    return {"links": run.args.links, "links_of_each": links, "seconds_until_three_copies": took,
            "slowest_create_meanwhile_s": max(note[1] for note in writers.notes),
            "failed_creates_meanwhile": sum(note[2] != 201 for note in writers.notes),
            "rss_before_mib": before / 2**20, "rss_peak_mib": {node: value / 2**20 for node, value in peak.items()}}


def main():
    args = arguments()
    run = bench.Bench("cluster", args)
    bench.head(run)
    parts = {"failover": failover, "rolling": rolling, "creates": creates, "edge": edge, "idle": idle, "grow": grow}
    for name in args.parts.split(","):
        say(f"{name}: {parts[name].__doc__.splitlines()[0]}")
        run.result[name] = parts[name](run)
        for key, value in run.result[name].items():
            say(f"    {key:<36} {show(value, 2) if isinstance(value, (int, float)) else value}")
    run.save()


bench.main(main)
