#!/usr/bin/env python3
"""What ten times as many links cost: starting, redirects of links that are not cached, and of those that are. See README.md beside this file."""

import itertools
import os
import random
import sys

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import median, ratio, say, show

# How long the generator may take for a link, whatever the machine.
PATIENCE_S = 1 / 1000


def arguments():
    parser = bench.common_arguments(__doc__, rounds=3, seconds=15)
    parser.add_argument("--links", type=int, default=10_000_000, help="links; the other store has a tenth")
    parser.add_argument("--asked", type=int, default=300_000, help="links that are asked for once, and then again and again")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections")
    return parser.parse_args()


def fill(run, data, links, acked):
    """Makes the links with all cores."""
    pinned, run.args.server_cpus = run.args.server_cpus, f"0-{os.cpu_count() - 1}"
    process, port, _ = run.start_waypost(data)
    report = run.load("create", "--target", f"127.0.0.1:{port}", "--connections", 256, "--count", links, "--seconds", 3600,
                      "--url-template", bench.URL_TEMPLATE, "--acked", acked, limit=links * PATIENCE_S)
    if report["right"] != links:
        raise bench.Failed(f"only {report['right']:,} of {links:,} links were created: {report['statuses']}")
    run.stop(process, patience=300)
    run.args.server_cpus = pinned
    say(f"  {links:,} links in {report['seconds']:.0f} s")


def sample(acked, links, asked, path):
    """Writes links from all over the store, each once, and neighbours apart."""
    with open(acked, encoding="ascii") as lines:
        chosen = list(itertools.islice(lines, 0, None, max(1, links // asked)))
    random.Random(1).shuffle(chosen)
    del chosen[asked:]
    path.write_text("".join(chosen), encoding="ascii")


def ask(run, server, codes, *more):
    process, port = server
    seconds = run.args.seconds
    report = run.load("redirect", "--target", f"127.0.0.1:{port}", "--connections", run.args.connections, "--seconds", seconds,
                      "--codes", codes, "--server-pid", process.pid, *more, limit=seconds)
    return report["right_per_server_cpu_second"], report["latency_us"]["p99"] / 1e3


def store(run, name, links):
    """Makes a store, and starts it again. Returns what was seen, the server, and its files of codes."""
    data, acked, asked = run.temp / name, run.temp / f"{name}-acked", run.temp / f"{name}-asked"
    fill(run, data, links, acked)
    sample(acked, links, run.args.asked, asked)
    process, port, ready = run.start_waypost(data)
    seen = {"links": links, "ready_s": ready, "rss_ready_bytes": bench.memory_bytes(process.pid)[1]}
    server = process, port
    report = run.load("redirect", "--target", f"127.0.0.1:{port}", "--connections", run.args.connections, "--once", "--seconds", 300,
                      "--codes", asked, "--server-pid", process.pid, limit=300)
    seen["misses_per_cpu_second"], seen["misses_p99_ms"] = report["right_per_server_cpu_second"], report["latency_us"]["p99"] / 1e3
    return seen, server, asked, acked


def main():
    args = arguments()
    run = bench.Bench("growth", args)
    bench.head(run)
    few, many = (store(run, name, links) for name, links in (("few", args.links // 10), ("many", args.links)))
    found = {"few": few[0], "many": many[0]}
    hits = {"few": [], "many": []}
    for number in range(args.rounds):
        for name, (_, server, asked, _) in sorted({"few": few, "many": many}.items(), reverse=number % 2 == 0):
            hits[name].append(ask(run, server, asked, "--seed", number + 1)[0])
    for name, rates in hits.items():
        found[name]["hits_per_cpu_second"] = median(rates)
    for name, (_, server, _, acked) in (("few", few), ("many", many)):
        # First those that come to stay in the cache.
        ask(run, server, acked, "--zipf", "1.0")
        zipf = [ask(run, server, acked, "--zipf", "1.0", "--seed", number + 2) for number in range(args.rounds)]
        found[name]["zipf_per_cpu_second"], found[name]["zipf_p99_ms"] = (median(each) for each in zip(*zipf))
        found[name]["rss_bytes"] = bench.memory_bytes(server[0].pid)[1]
    run.result.update(medians=found, hits=hits)
    table(found)
    run.save()


def table(found):
    few, many = found["few"], found["many"]
    say(f"\n| | {few['links']:,} links | {many['links']:,} | ratio |\n|---|---|---|---|")
    rows = [("ready after a stop, s", "ready_s", 1, 1),
            ("misses per CPU-second", "misses_per_cpu_second", 1, 0), ("their p99, ms", "misses_p99_ms", 1, 1),
            ("hits per CPU-second", "hits_per_cpu_second", 1, 0), ("Zipf 1.0, per CPU-second", "zipf_per_cpu_second", 1, 0),
            ("its p99, ms", "zipf_p99_ms", 1, 1), ("memory when ready, MiB (RSS)", "rss_ready_bytes", 1 << 20, 0),
            ("memory at the end, MiB (RSS)", "rss_bytes", 1 << 20, 0)]
    for text, key, unit, digits in rows:
        # A run that was too short has no figure.
        one, ten = (each[key] and each[key] / unit for each in (few, many))
        say(f"| {text} | {show(one, digits)} | {show(ten, digits)} | {show(ratio(ten, one), 2)} |")


if __name__ == "__main__":
    bench.main(main)
