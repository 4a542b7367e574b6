#!/usr/bin/env python3
"""Creates, and redirects of links that are not cached, beside questions for years of statistics: see README.md beside this file."""

import datetime
import http.client
import os
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import median, say, show

DAY_MS = 24 * 3600 * 1000


def arguments():
    parser = bench.common_arguments(__doc__, rounds=3, seconds=8)
    parser.add_argument("--links", type=int, default=50_000, help="links; the cache holds a few hundred of them")
    parser.add_argument("--visited", type=int, default=400, help="links with statistics of years")
    parser.add_argument("--years", type=int, default=3, help="years of statistics")
    parser.add_argument("--every-days", type=int, default=7, help="days between two visits of a link")
    parser.add_argument("--connections", type=int, default=64, help="connections of each kind")
    return parser.parse_args()


def codes_of(run, links, port, pid):
    run.load("create", "--target", f"127.0.0.1:{port}", "--connections", 64, "--count", run.args.links,
             "--url-template", bench.URL_TEMPLATE, "--acked", links, "--server-pid", pid, limit=600)
    with open(links, encoding="ascii") as lines:
        return [line.split()[0] for line in lines]


def years_of_visits(run, data):
    """Makes the links, and follows some of them through the years: on a machine whose clock a library turns back."""
    faults = run.temp / "faults"
    faults.mkdir()
    library = run.temp / "faults.so"
    source = bench.ROOT / "crates" / "testkit" / "src" / "faults.c"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, source], check=True)

    def set_clock(days_ago):
        new = faults / "clock.new"
        new.write_text(str(-days_ago * DAY_MS))
        new.rename(faults / "clock")

    set_clock(365 * run.args.years)
    process, port, _ = run.start_waypost(data, {
        "LD_PRELOAD": str(library), "FAULT_DIR": str(faults), "FAULT_DATA": str(data),
        "WAYPOST_CLICKS_INTERVAL_MS": "100", "WAYPOST_LINKS_EXPIRED_RETENTION_DAYS": "4000"})
    links = run.temp / "links.txt"
    codes = codes_of(run, links, port, process.pid)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for days_ago in range(365 * run.args.years, -1, -run.args.every_days):
        set_clock(days_ago)
        time.sleep(0.15)  # a clock that is read now and then, and the clicks on their way
        for code in codes[:run.args.visited]:
            connection.request("GET", f"/{code}", headers={"Referer": f"https://host{days_ago % 40}.example/"})
            connection.getresponse().read()
    run.stop(process)
    return links, codes[:run.args.visited]


class Askers:
    """Connections that ask for years of many links, one after the other, as fast as they are answered."""

    def __init__(self, port, codes, years, count):
        first = datetime.date.today() - datetime.timedelta(days=365 * years)
        self.paths = [f"/api/v1/links/{code}/stats?from={first}&interval=month&by=referrer" for code in codes]
        self.port, self.stopped, self.statuses, self.lock = port, threading.Event(), {}, threading.Lock()
        self.threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def ask(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stopped.is_set():
            try:
                connection.request("GET", self.paths[number % len(self.paths)])
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except OSError:
                connection.close()
                status = "broken"
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 503:
                time.sleep(0.1)  # as a client that was told to come back later, only sooner
            number += 7

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        return {str(key): value for key, value in sorted(self.statuses.items(), key=str)}


def main():
    args = arguments()
    run = bench.Bench("years", args)
    bench.head(run)
    data = run.temp / "data"
    say(f"making {args.links:,} links and {args.years} years of visits of {args.visited:,} of them")
    links, visited = years_of_visits(run, data)
    # The smallest cache, so that nearly every redirect is read from the store.
    process, port, _ = run.start_waypost(data, {"WAYPOST_CACHE_BYTES": "1MiB"})
    number = 0
    rounds = []
    for round_number in range(args.rounds):
        for kind in ("create", "redirect"):
            for beside in (False, True):
                askers = Askers(port, visited, args.years, args.connections) if beside else None
                target = ["--target", f"127.0.0.1:{port}", "--connections", args.connections, "--seconds", args.seconds,
                          "--server-pid", process.pid]
                if kind == "create":
                    report = run.load("create", *target, "--url-template", bench.URL_TEMPLATE, "--start",
                                      args.links + number, limit=args.seconds)
                    number += report["requests"]
                else:
                    report = run.load("redirect", *target, "--codes", links, limit=args.seconds)
                answers = askers.stop() if askers else {}
                rounds.append({"kind": kind, "beside": beside, "statistics": answers, "report": report})
                say(f"  round {round_number + 1} {kind:>8} {'beside statistics' if beside else 'alone':>17} "
                    f"{report['right_per_second']:>9,.0f}/s  p99 {report['latency_us']['p99'] / 1e3:.2f} ms  {answers or ''}")
    run.stop(process)
    run.result["rounds"] = rounds
    say("\n| | alone, per second | beside statistics | p99 ms alone | beside | answers of statistics, per second |")
    say("|---|---|---|---|---|---|")
    for kind in ("create", "redirect"):
        alone, beside = ([entry for entry in rounds if entry["kind"] == kind and entry["beside"] == which]
                         for which in (False, True))
        rate, p99 = ([median(entry["report"][key] for entry in entries) if key == "right_per_second" else
                      median(entry["report"]["latency_us"]["p99"] for entry in entries) for entries in (alone, beside)]
                     for key in ("right_per_second", "p99"))
        asked = median(entry["statistics"].get("200", 0) / args.seconds for entry in beside)
        say(f"| {kind}s | {show(rate[0])} | {show(rate[1])} | {show(p99[0] / 1e3, 2)} | {show(p99[1] / 1e3, 2)} | {show(asked)} |")
    run.save()


if __name__ == "__main__":
    bench.main(main)
