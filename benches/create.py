#!/usr/bin/env python3
"""Durable creates of waypost by number of connections, also with slow commits: see README.md beside this file."""

import sys

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import median, ratio, say, show

DELAY = "WAYPOST_STORAGE_COMMIT_DELAY_US"


def arguments():
    parser = bench.common_arguments(__doc__, rounds=3, seconds=8)
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")],
                        default=[1, 16, 64, 256], help="numbers of connections, with commas")
    parser.add_argument("--delay-us", type=int, default=5000, help=f"{DELAY} of the second part")
    return parser.parse_args()


def part(run, name, environment):
    """All numbers of connections in turn, round by round, on one fresh store. Returns the medians by connections."""
    data = run.temp / name
    process, port, _ = run.start_waypost(data, environment)
    reports = {connections: [] for connections in run.args.connections}
    number = 0
    for round_number in range(run.args.rounds):
        for connections in run.args.connections:
            report = run.load("create", "--target", f"127.0.0.1:{port}", "--connections", connections,
                              "--seconds", run.args.seconds, "--url-template", bench.URL_TEMPLATE, "--start", number,
                              "--server-pid", process.pid, limit=run.args.seconds)
            number += report["requests"]
            reports[connections].append(report)
            say(f"  round {round_number + 1} {connections:>4} connections {report['right_per_second']:>9,.0f}/s  "
                f"{show(report['right_per_server_cpu_second']):>9} per CPU-second  "
                f"p99 {report['latency_us']['p99'] / 1e3:.2f} ms")
    run.stop(process)
    run.result.setdefault("rounds", {})[name] = {str(key): value for key, value in reports.items()}
    return {str(connections): {
        "creates_per_second": median(entry["right_per_second"] for entry in entries),
        "creates_per_cpu_second": median(entry["right_per_server_cpu_second"] for entry in entries),
        "p50_us": median(entry["latency_us"]["p50"] for entry in entries),
        "p99_us": median(entry["latency_us"]["p99"] for entry in entries),
        "faults": sum(entry["requests"] - entry["right"] for entry in entries),
    } for connections, entries in reports.items()}


def main():
    args = arguments()
    run = bench.Bench("create", args)
    bench.head(run)
    say("commits as fast as the disk")
    fast = part(run, "fast", {})
    say(f"commits delayed by {args.delay_us} µs")
    slow = part(run, "delayed", {DELAY: str(args.delay_us)})
    gain = {name: ratio(*(medians.get(key, {}).get("creates_per_second") for key in ("64", "1")))
            for name, medians in (("fast", fast), ("delayed", slow))}
    run.result.update(medians={"fast": fast, "delayed": slow}, gain_64_against_1=gain)
    table(run.result)
    run.save()


def table(result):
    """Prints the result in the form of README.md."""
    say("\n| connections | creates/s | per CPU-second | p50 ms | p99 ms | creates/s, slow commits | p50 ms | faults |")
    say("|---|---|---|---|---|---|---|---|")
    for connections, fast in result["medians"]["fast"].items():
        slow = result["medians"]["delayed"][connections]
        say(f"| {connections} | {show(fast['creates_per_second'])} | {show(fast['creates_per_cpu_second'])} "
            f"| {show(fast['p50_us'] / 1e3, 2)} | {show(fast['p99_us'] / 1e3, 2)} "
            f"| {show(slow['creates_per_second'])} | {show(slow['p50_us'] / 1e3, 2)} "
            f"| {fast['faults'] + slow['faults']} |")
    gain = result["gain_64_against_1"]
    say(f"\n64 against 1 connection: {show(gain['fast'], 1)} ×; with slow commits {show(gain['delayed'], 1)} × "
        "(floor 20 ×). Floor per CPU-second at 64 connections: 8,000.")


if __name__ == "__main__":
    bench.main(main)
