#!/usr/bin/env python3
"""What a link costs that does more than leading to its target: plain links, links with ten rules, links for a limited number of visits, and
the page of protected links, in turn on one server. See README.md beside this file."""

import http.client
import json
import sys

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import Failed, median, ratio, say, show

AT_ONCE = 1000

# None of them holds for the generator's visitor, so each of the ten is tried.
RULES = [{"conditions": [{"type": kind, **({"name": value} if kind == "query" else {"value": value})}], "longUrl": f"https://example.com/rule/{number}"}
         for number, (kind, value) in enumerate([
             ("device", "ios"), ("device", "android"), ("os", "windows"), ("browser", "safari"), ("language", "de"),
             ("language", "fr"), ("query", "campaign"), ("address", "203.0.113.0/24"),
             ("after", "2999-01-01T00:00:00Z"), ("device", "chromeos")])]

# Without one, a visitor counts as a program, and programs do not use up the visits of a limited link.
BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"

KINDS = {
    "plain": ({}, 302),
    "ten rules": ({"rules": RULES}, 302),
    "maxVisits": ({"maxVisits": 1_000_000_000}, 302),
    "password page": ({"password": "correct horse"}, 403),
}


def arguments():
    parser = bench.common_arguments(__doc__, rounds=10, seconds=4)
    parser.add_argument("--links", type=int, default=2000, help="links of each kind; of protected ones a tenth, since each password is hashed")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections")
    return parser.parse_args()


def make(run, port, kind, fields, count):
    """Creates links of a kind; returns the file with their codes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    path = run.temp / f"{kind.replace(' ', '-')}.codes"
    with open(path, "w", encoding="ascii") as codes:
        for first in range(0, count, AT_ONCE):
            links = [{"longUrl": f"https://example.com/{kind.replace(' ', '-')}/{number:08}/and/some/more/path", **fields}
                     for number in range(first, min(first + AT_ONCE, count))]
            items = {"items": [{"op": "create", "link": link} for link in links]}
            connection.request("POST", "/api/v1/bulk", json.dumps(items), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status != 200 or any("link" not in one for one in body["results"]):
                raise Failed(f"the links of the kind \"{kind}\" were not created: {str(body)[:500]}")
            for one in body["results"]:
                codes.write(f"{one['link']['shortCode']}\t{one['link']['longUrl']}\n")
    return path


def main():
    args = arguments()
    run = bench.Bench("kinds", args)
    bench.head(run)
    process, port, _ = run.start_waypost(run.temp / "data")
    codes = {kind: make(run, port, kind, fields, args.links // (10 if kind == "password page" else 1))
             for kind, (fields, _) in KINDS.items()}
    figures = {kind: [] for kind in KINDS}
    for number in range(args.rounds):
        kinds = list(KINDS)
        for kind in kinds if number % 2 == 0 else kinds[::-1]:
            report = run.load("redirect", "--target", f"127.0.0.1:{port}", "--connections", args.connections,
                              "--header", BROWSER, "--codes", codes[kind], "--expect", KINDS[kind][1], "--seconds", args.seconds,
                              "--server-pid", process.pid, limit=args.seconds)
            figures[kind].append(report["right_per_server_cpu_second"])
        say(f"  round {number + 1:>2}   " + "   ".join(f"{kind} {show(figures[kind][-1])}" for kind in kinds))
    say("\n| kind of link | answers per CPU-second of the server | of a plain redirect: median | smallest | largest |")
    say("|---|---|---|---|---|")
    for kind, own in figures.items():
        ratios = sorted(ratio(one, plain) for one, plain in zip(own, figures["plain"]))
        run.result[kind] = {"figures": own, "ratios": ratios}
        say(f"| {kind} | {show(median(own))} | {median(ratios):.3f} | {ratios[0]:.3f} | {ratios[-1]:.3f} |")
    run.stop(process)
    run.save()


if __name__ == "__main__":
    bench.main(main)
