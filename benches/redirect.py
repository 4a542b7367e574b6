#!/usr/bin/env python3
"""Redirects of waypost against nginx `map` holding the same links: see README.md beside this file."""

import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import Failed, median, ratio, say, show

NGINX = """\
worker_processes {workers};
daemon off;
pid {temp}/nginx.pid;
error_log {temp}/nginx.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    {paths}
    keepalive_requests 4000000000;
    keepalive_timeout 1h;
    map_hash_bucket_size 256;
    map_hash_max_size {slots};
    map $uri $target {{ default ""; include {temp}/links.map; }}
    server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 302 $target; }} }}
    server {{ listen 127.0.0.1:{fixed_port} backlog=1024; location / {{ return 302 {fixed}; }} }}
}}
"""


def arguments():
    parser = bench.common_arguments(__doc__, rounds=6, seconds=10)
    parser.add_argument("--links", type=int, default=1_000_000, help="links")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections")
    parser.add_argument("--cache-bytes", default="512MiB", help="WAYPOST_CACHE_BYTES: large enough for all links")
    parser.add_argument("--zipf", type=float, help="choose links by popularity with this exponent (uniform without it)")
    parser.add_argument("--pause", type=float, default=2.0,
                        help="seconds after a round whose CPU time still counts for it")
    parser.add_argument("--latency-seconds", type=float, default=15, help="length of the open-loop runs")
    parser.add_argument("--settle", type=float, default=30, help="seconds before the second look at the disk")
    parser.add_argument("--import-limit", type=float, default=1800, help="seconds that the import may take")
    return parser.parse_args()


def import_links(run, port, count, path):
    """Creates `count` links and leaves their codes and URLs in `path`."""
    say(f"importing {count:,} links")
    report = run.load("create", "--target", f"127.0.0.1:{port}", "--connections", 64, "--count", count,
                      "--url-template", bench.URL_TEMPLATE, "--acked", path, "--seconds", run.args.import_limit,
                      limit=run.args.import_limit)
    # A busy server may turn some away; a set that is nearly complete measures the same.
    if report["right"] < 0.99 * count:
        raise Failed(f"only {report['right']:,} of {count:,} links were created: {report['statuses']}")
    say(f"  {report['right']:,} links in {report['seconds']:.1f} s ({report['right_per_second']:,.0f}/s)")
    run.result["import"] = report


def split_links(run, acked):
    """Writes the codes that both servers can hold, the nginx map and a sample. nginx ignores the case of keys, so codes
    that differ only by case are left out of both. Returns the number of links and the mean length of code and URL."""
    links = [line.split("\t") for line in acked.read_text().splitlines()]
    seen = {}
    for code, _ in links:
        seen[code.lower()] = seen.get(code.lower(), 0) + 1
    kept = [(code, url) for code, url in links if seen[code.lower()] == 1]
    run.result["links"] = {"created": len(links), "measured": len(kept)}
    say(f"  {len(links) - len(kept)} left out because nginx would confuse them")
    (run.temp / "codes").write_text("".join(f"{code}\t{url}\n" for code, url in kept))
    (run.temp / "links.map").write_text("".join(f'/{code} "{url}";\n' for code, url in kept))
    step = max(1, len(kept) // 1000)
    (run.temp / "sample").write_text("".join(f"{code}\t{url}\n" for code, url in kept[::step]))
    return len(links), sum(len(code) + len(url) for code, url in links) / len(links)


def start_nginx(run, nginx, links, workers=1, connections=1024):
    """Starts nginx on the links and waits until it answers. Returns process, port, seconds until ready, and the port at which every request
    gets the same redirect."""
    version = subprocess.run([nginx, "-V"], capture_output=True, text=True).stderr
    run.result["nginx"] = version.splitlines()[0].partition(": ")[2]
    # Its compiled-in temporary directories belong to root; the module decides which of them exist.
    kinds = [kind for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
             if f"--without-http_{kind}_module" not in version]
    paths = " ".join(f"{kind}_temp_path {run.temp}/nginx-{kind};" for kind in kinds)
    port, fixed_port = bench.free_ports(2)
    config = run.temp / "nginx.conf"
    config.write_text(NGINX.format(temp=run.temp, paths=paths, port=port, slots=max(2048, 4 * links), workers=workers, connections=connections, fixed_port=fixed_port,
                                   fixed=bench.URL_TEMPLATE.format(n="000000000")))
    started = time.monotonic()
    process = run.start([nginx, "-e", str(run.temp / "nginx.log"), "-c", str(config)], log="nginx.log")
    bench.wait_for(process, port, "/", 302, 180)
    return process, port, time.monotonic() - started, fixed_port


def verify(run, port, name):
    """Every Location of the sample must be exactly the URL."""
    sample = run.temp / "sample"
    report = run.load("redirect", "--target", f"127.0.0.1:{port}", "--connections", 8, "--codes", sample,
                      "--verify", sample, "--once", "--seconds", 60, limit=60)
    asked = len(sample.read_text().splitlines())
    if report["right"] != asked:
        raise Failed(f"{name} sent {asked - report['right']} of {asked} visitors elsewhere")
    say(f"  {name}: {asked} sampled redirects are exact")


def clicks(port, codes):
    """Sum of the clicks that waypost counted for some codes, or None when it does not say. The load generator names no browser, so they
    are a program's."""
    total = 0
    for code in codes:
        status, _, body = bench.get(port, f"/analytics/{code}")
        found = re.findall(rb'"(?:totalClicks|botClicks)"\s*:\s*(\d+)', body)
        if status != 200 or not found:
            return None
        total += sum(map(int, found))
    return total


def clicks_arrive(run, port):
    """Whether one visit to each sampled code is counted once, waiting up to 30 s for the counter."""
    codes = [line.split("\t")[0] for line in (run.temp / "sample").read_text().splitlines()[:100]]
    # Clicks of earlier visits may still be under way: wait until the sum stands still.
    before, stable = clicks(port, codes), 0
    limit = time.monotonic() + 30
    while before is not None and stable < 5 and time.monotonic() < limit:
        time.sleep(0.5)
        now = clicks(port, codes)
        before, stable = now, stable + 1 if now == before else 0
    if before is None:
        return None
    for code in codes:
        bench.get(port, f"/{code}")
    while time.monotonic() < limit + 30:
        now = clicks(port, codes)
        if now is None or now >= before + len(codes):
            return now == before + len(codes)
        time.sleep(0.25)
    return False


def measure(run, process, port, seed, *extra):
    """One run."""
    args = run.args
    seconds = args.latency_seconds if extra else args.seconds
    choice = ["--zipf", args.zipf] if args.zipf is not None else []
    return run.load_and_pause(process, "redirect", "--target", f"127.0.0.1:{port}", "--codes", run.temp / "codes", "--connections",
                              args.connections, "--seconds", seconds, "--seed", seed, "--server-pid", process.pid,
                              *choice, *extra, limit=seconds)


def rounds(run, servers):
    """Alternating closed-loop rounds; returns the medians by server."""
    reports = {name: [] for name in servers}
    for number in range(run.args.rounds):
        # The first of a pair changes from round to round, so that a drift of the host favours nobody.
        for name in sorted(servers, reverse=number % 2 == 0):
            process, port = servers[name]
            report = measure(run, process, port, number + 1)
            reports[name].append(report)
            say(f"  round {number + 1} {name:8} {report['right_per_second']:>9,.0f}/s  "
                f"{show(report['right_per_cpu_second_with_pause']):>9} per CPU-second  "
                f"generator busy {report['generator_cpu_seconds'] / report['seconds']:.0%}")
    run.result["rounds"] = reports
    everything = [entry for entries in reports.values() for entry in entries]
    if any(entry["generator_cpu_seconds"] > 0.97 * entry["seconds"] for entry in everything):
        say("  the generator's core was full: requests/s are its limit; requests per CPU-second still hold")
    return {name: {
        "requests_per_second": median(entry["right_per_second"] for entry in entries),
        "requests_per_cpu_second": median(entry["right_per_cpu_second_with_pause"] for entry in entries),
        "requests_per_cpu_second_without_pause": median(entry["right_per_server_cpu_second"] for entry in entries),
    } for name, entries in reports.items()}


def latency(run, servers, saturation):
    """Open loop at half of waypost's saturation, for both servers."""
    rate = max(1.0, saturation / 2)
    found = {}
    for name, (process, port) in servers.items():
        report = measure(run, process, port, 99, "--rate", f"{rate:.0f}")
        found[name] = {"rate": rate, "faults": report["requests"] - report["right"] + report["unsent"],
                       **report["latency_us"]}
    return found


def restarts(run, process, data):
    """Seconds until ready after a clean stop and after SIGKILL; the sample must still be exact. Returns the process."""
    found = {"stop_seconds": run.stop(process)}
    process, port, found["after_stop_seconds"] = run.start_waypost(data)
    verify(run, port, "waypost after a restart")
    run.stop(process, signal.SIGKILL)
    process, port, found["after_kill_seconds"] = run.start_waypost(data)
    verify(run, port, "waypost after SIGKILL")
    run.result["restart"] = found
    return process


def main():
    args = arguments()
    args.env.insert(0, f"WAYPOST_CACHE_BYTES={args.cache_bytes}")
    nginx = bench.need("nginx", "nginx-light")
    run = bench.Bench("redirect", args)
    bench.head(run)
    data, acked = run.temp / "data", run.temp / "acked"
    waypost, port, _ = run.start_waypost(data)
    import_links(run, port, args.links, acked)
    disk = {"after_load": bench.disk_bytes(data)}
    created, mean_length = split_links(run, acked)

    say("starting a copy that does not count clicks, to see what counting costs")
    run.stop(waypost)
    shutil.copytree(data, run.temp / "uncounted")
    waypost, port, _ = run.start_waypost(data)
    uncounted, uncounted_port, _ = run.start_waypost(run.temp / "uncounted", {"WAYPOST_CLICKS_RECORD": "false"})
    say("starting nginx on the same links")
    engine, engine_port, engine_seconds, _ = start_nginx(run, nginx, created)
    verify(run, port, "waypost")
    verify(run, engine_port, "nginx")
    say("one pass over all codes")
    for target in (port, engine_port, uncounted_port):
        run.load("redirect", "--target", f"127.0.0.1:{target}", "--codes", run.temp / "codes", "--once",
                 "--seconds", 600, limit=600)

    servers = {"waypost": (waypost, port), "nginx": (engine, engine_port)}
    say(f"{args.rounds} rounds of {args.seconds:.0f} s, {args.connections} connections, closed loop")
    medians = rounds(run, {**servers, "uncounted": (uncounted, uncounted_port)})
    run.stop(uncounted)
    for name, (process, _) in servers.items():
        medians[name]["pss_bytes"], medians[name]["rss_bytes"] = bench.memory_bytes(process.pid)
    say("open loop at half of waypost's saturation")
    for name, found in latency(run, servers, medians["waypost"]["requests_per_second"]).items():
        medians[name]["latency_us"] = found
    run.stop(engine)
    medians["nginx"]["start_seconds"] = engine_seconds
    counted = clicks_arrive(run, port)

    disk["after_rounds"] = bench.disk_bytes(data)
    time.sleep(args.settle)
    disk["after_settle"] = bench.disk_bytes(data)
    waypost = restarts(run, waypost, data)
    disk["after_restarts"] = bench.disk_bytes(data)
    run.stop(waypost)
    per_link = {key: value / created for key, value in disk.items()}
    run.result.update(medians=medians, clicks_counted=counted, disk_bytes=disk, disk_bytes_per_link=per_link,
                      disk_bytes_per_link_floor=4 * (mean_length + 64))
    run.result["ratios"] = {key: ratio(medians["waypost"][key], medians["nginx"][key])
                            for key in ("requests_per_second", "requests_per_cpu_second", "pss_bytes", "rss_bytes")}
    run.result["ratios"]["counted_against_uncounted"] = ratio(
        medians["waypost"]["requests_per_cpu_second"], medians["uncounted"]["requests_per_cpu_second"])
    table(run.result)
    run.save()


def table(result):
    """Prints the result in the form of README.md."""
    ours, theirs, ratios = result["medians"]["waypost"], result["medians"]["nginx"], result["ratios"]

    def row(what, one, other="", quotient="", floor=""):
        say(f"| {what} | {one} | {other} | {quotient} | {floor} |")

    say("")
    row("what", "waypost", "nginx `map`", "ratio", "floor")
    say("|---|---|---|---|---|")
    row("links", show(result["links"]["measured"]), show(result["links"]["measured"]))
    row("requests/s, saturated", show(ours["requests_per_second"]), show(theirs["requests_per_second"]),
        show(ratios["requests_per_second"], 2))
    row("requests per CPU-second", show(ours["requests_per_cpu_second"]), show(theirs["requests_per_cpu_second"]),
        show(ratios["requests_per_cpu_second"], 2), "≥ 1.0")
    row("the same, clicks not recorded", show(result["medians"]["uncounted"]["requests_per_cpu_second"]), "",
        show(ratios["counted_against_uncounted"], 3), "≥ 0.97")
    row("memory, MiB (PSS)", show(ours["pss_bytes"] / 2**20), show(theirs["pss_bytes"] / 2**20),
        show(ratios["pss_bytes"], 2), "≤ 0.6")
    row("memory, MiB (sum of RSS)", show(ours["rss_bytes"] / 2**20), show(theirs["rss_bytes"] / 2**20),
        show(ratios["rss_bytes"], 2))
    one, other = ours["latency_us"], theirs["latency_us"]
    for name, key, floor in (("p50", "p50", ""), ("p99", "p99", "≤ 5"), ("p99.9", "p999", "")):
        row(f"{name} at {one['rate']:,.0f}/s, ms", show(one[key] / 1e3, 2), show(other[key] / 1e3, 2),
            show(ratio(one[key], other[key]), 2), floor)
    restart = result["restart"]
    row("ready after a stop, s", show(restart["after_stop_seconds"], 2), show(theirs["start_seconds"], 2), "", "≤ 5")
    row("ready after SIGKILL, s", show(restart["after_kill_seconds"], 2), "", "", "≤ 5")
    per_link = result["disk_bytes_per_link"]
    row("disk per link after load, B", show(per_link["after_load"]))
    row("disk per link, settled, B", show(per_link["after_settle"]), "", "",
        f"≤ {show(result['disk_bytes_per_link_floor'])}")
    row("clicks counted", {True: "yes", False: "NO", None: "unknown"}[result["clicks_counted"]])


if __name__ == "__main__":
    bench.main(main)
