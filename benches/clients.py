#!/usr/bin/env python3
"""Redirects as different clients ask for them: with the headers of a browser, pipelined, over few and many connections, on all cores, and among creates
and lists; beside nginx, and beside the least that a server can do. See README.md beside this file."""

import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
import redirect
from bench import Failed, median, ratio, say, show

# What a current browser sends when somebody follows a link, without `Host`, which each request has.
BROWSER = [
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Windows"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site: cross-site",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
]

SERVERS = ["waypost", "nginx map", "nginx return", "limit"]


def rows(args):
    """The clients: a name, connections, and further options of the generator."""
    return [
        ("64 connections", args.connections, []),
        ("the same, ten headers of a browser", args.connections, [part for header in BROWSER for part in ("--header", header)]),
        ("the same, 16 requests pipelined", args.connections, ["--pipeline", 16]),
        ("4 connections", 4, []),
        ("1,000 connections", 1000, []),
    ]


def arguments():
    parser = bench.common_arguments(__doc__, rounds=5, seconds=4)
    parser.add_argument("--links", type=int, default=1_000_000, help="links")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections, where a row does not say another number")
    parser.add_argument("--cache-bytes", default="512MiB", help="WAYPOST_CACHE_BYTES: large enough for all links")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds after a round whose CPU time still counts for it")
    parser.add_argument("--import-limit", type=float, default=1800, help="seconds that the import may take")
    return parser.parse_args()


def measure(run, server, kind, connections, seed, *options):
    """One run."""
    process, port = server
    return run.load_and_pause(process, kind, "--target", f"127.0.0.1:{port}", "--codes", run.temp / "codes", "--connections", connections,
                              "--seconds", run.args.seconds, "--seed", seed, *options, limit=run.args.seconds)


def compare(run, name, servers, kind, connections, options):
    """Rounds of all servers in turn; prints and keeps the reports of each."""
    reports = {server: [] for server in servers}
    for number in range(run.args.rounds):
        names = list(servers)
        # Who begins changes from round to round, so that a drift of the host favours nobody.
        for server in names[number % len(names):] + names[:number % len(names)]:
            reports[server].append(measure(run, servers[server], kind, connections, number + 1, *options))
    run.result.setdefault("rows", {})[name] = reports
    shown = ", ".join(f"{server} {show(median(one['right_per_cpu_second_with_pause'] for one in own))}" for server, own in reports.items())
    say(f"  {name}: {shown} per CPU-second")


def start_limit(run):
    """Compiles and starts the loop in C."""
    compiler = shutil.which("cc") or bench.need("gcc", "gcc")
    binary = run.temp / "limit"
    subprocess.run([compiler, "-O2", "-o", binary, bench.ROOT / "benches" / "limit.c"], check=True)
    (port,) = bench.free_ports(1)
    process = run.start([str(binary), str(port)], log="limit.log")
    bench.wait_for(process, port, "/", 302, 10)
    return process, port


def warm(run, servers):
    """One pass over all codes, so that they are in memory."""
    for process, port in servers:
        report = run.load("redirect", "--target", f"127.0.0.1:{port}", "--codes", run.temp / "codes", "--once", "--seconds", 600, limit=600)
        if report["right"] != report["requests"]:
            raise Failed(f"process {process.pid} did not redirect {report['requests'] - report['right']} of the links")


def on_all_cores(run, data, nginx, links):
    """The first row again, with all servers and the generator on all cores."""
    args, cores = run.args, os.cpu_count()
    args.server_cpus = args.load_cpus = f"0-{cores - 1}"
    waypost, port, _ = run.start_waypost(data, {"WAYPOST_HTTP_WORKERS": str(cores)})
    engine, engine_port, _, fixed_port = redirect.start_nginx(run, nginx, links, workers=cores)
    servers = {"waypost": (waypost, port), "nginx map": (engine, engine_port), "nginx return": (engine, fixed_port)}
    warm(run, [servers["waypost"], servers["nginx map"]])
    compare(run, f"64 connections, servers and generator on {cores} cores", servers, "redirect", args.connections, [])


def main():
    args = arguments()
    args.env.insert(0, f"WAYPOST_CACHE_BYTES={args.cache_bytes}")
    nginx = bench.need("nginx", "nginx-light")
    run = bench.Bench("clients", args)
    bench.head(run)
    data, acked = run.temp / "data", run.temp / "acked"
    waypost, port, _ = run.start_waypost(data)
    redirect.import_links(run, port, args.links, acked)
    links, _ = redirect.split_links(run, acked)
    engine, engine_port, _, fixed_port = redirect.start_nginx(run, nginx, links, connections=4096)
    for name, each in (("waypost", port), ("nginx", engine_port)):
        redirect.verify(run, each, name)
    servers = dict(zip(SERVERS, [(waypost, port), (engine, engine_port), (engine, fixed_port), start_limit(run)]))
    warm(run, [servers["waypost"], servers["nginx map"]])

    say(f"{args.rounds} rounds of {args.seconds:.0f} s of each, closed loop")
    for name, connections, options in rows(args):
        compare(run, name, servers, "redirect", connections, options)
    own = {"waypost": servers["waypost"]}
    compare(run, "100 redirects, 1 create, 1 list on each connection", own, "mix", args.connections, [])
    compare(run, "the same, creates and lists on 2 of the connections", own, "mix", args.connections, ["--api-connections", 2])
    for process in {process.pid: process for process, _ in servers.values()}.values():
        run.stop(process)
    on_all_cores(run, data, nginx, links)
    table(run.result["rows"])
    run.save()


def table(rows):
    """Prints the result in the form of README.md."""
    say("\n| client | waypost: per CPU-second (smallest to largest) | p99, ms | of nginx `map` | of nginx `return` | of the loop in C | p99 of nginx `map`, ms |")
    say("|---|---|---|---|---|---|---|")
    for name, reports in rows.items():
        rate = {server: median(one["right_per_cpu_second_with_pause"] for one in own) for server, own in reports.items()}
        own = [one["right_per_cpu_second_with_pause"] for one in reports["waypost"]]
        p99 = {server: median(one["latency_us"]["p99"] for one in own) / 1e3 for server, own in reports.items()}
        ratios = [show(ratio(rate["waypost"], rate.get(server)), 2) for server in SERVERS[1:]]
        say(f"| {name} | {show(rate['waypost'])} ({show(min(own))} to {show(max(own))}) | {show(p99['waypost'], 1)} | {' | '.join(ratios)} | "
            f"{show(p99.get('nginx map'), 1)} |")


if __name__ == "__main__":
    bench.main(main)
