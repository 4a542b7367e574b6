#!/usr/bin/env python3
"""Two builds of waypost side by side: redirects and creates in turn, pair by pair. See README.md beside this file."""

import sys

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import Failed, median, ratio, say, show


def arguments():
    parser = bench.common_arguments(__doc__, rounds=10, seconds=4)
    parser.add_argument("before", help="the binary to compare with")
    parser.add_argument("after", help="the binary that is compared")
    parser.add_argument("--only", choices=["redirects", "creates"], help="measure only these")
    parser.add_argument("--links", type=int, default=100_000, help="links of each server")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections")
    return parser.parse_args()


class Side:
    """One of the two servers, on a store of its own."""

    def __init__(self, run, name, binary):
        self.run, self.name, self.made = run, name, 0
        run.waypost = binary
        self.process, self.port, _ = run.start_waypost(run.temp / name)
        self.codes = run.temp / f"{name}.codes"
        links = run.args.links
        report = self.create("--count", links, "--acked", self.codes, seconds=600)
        if report["right"] < 0.99 * links:
            raise Failed(f"only {report['right']:,} of {links:,} links were created by {name}: {report['statuses']}")
        self.figures = {"redirects": [], "creates": []}

    def create(self, *extra, seconds):
        report = self.run.load("create", "--target", f"127.0.0.1:{self.port}", "--connections",
                               self.run.args.connections, "--seconds", seconds, "--url-template", bench.URL_TEMPLATE,
                               "--start", self.made, "--server-pid", self.process.pid, *extra, limit=seconds)
        self.made += report["requests"]
        return report

    def redirect(self):
        seconds = self.run.args.seconds
        return self.run.load("redirect", "--target", f"127.0.0.1:{self.port}", "--connections",
                             self.run.args.connections, "--codes", self.codes, "--seconds", seconds,
                             "--server-pid", self.process.pid, limit=seconds)


def main():
    args = arguments()
    args.waypost = args.after  # nothing is built
    run = bench.Bench("paired", args)
    bench.head(run)
    sides = [Side(run, "before", args.before), Side(run, "after", args.after)]
    kinds = [args.only] if args.only else ["redirects", "creates"]
    for number in range(args.rounds):
        # Who comes first changes, so that a machine that grows slower or faster favours neither.
        order = sides if number % 2 == 0 else sides[::-1]
        for kind in kinds:
            for side in order:
                report = side.redirect() if kind == "redirects" else side.create(seconds=args.seconds)
                if report["right"] != report["requests"]:
                    say(f"  {side.name}: {report['requests'] - report['right']} answers were not as expected")
                side.figures[kind].append(report["right_per_server_cpu_second"])
        pairs = [f"{kind} {show(ratio(sides[1].figures[kind][-1], sides[0].figures[kind][-1]), 3)}" for kind in kinds]
        say(f"  pair {number + 1:>2}   {'   '.join(pairs)}")
    say("\n| per CPU-second of the server | before | after | ratio, median of the pairs | smallest | largest |")
    say("|---|---|---|---|---|---|")
    for kind in kinds:
        before, after = (side.figures[kind] for side in sides)
        ratios = sorted(ratio(one, other) for one, other in zip(after, before))
        run.result[kind] = {"before": before, "after": after, "ratios": ratios}
        say(f"| {kind} | {show(median(before))} | {show(median(after))} | {median(ratios):.3f} | {ratios[0]:.3f} | {ratios[-1]:.3f} |")
    for side in sides:
        run.stop(side.process)
    run.save()


if __name__ == "__main__":
    bench.main(main)
