"""What the comparison scripts share: processes that are always ended, readiness, CPU, memory and disk figures, reports.

Python 3.9 or newer, standard library only. Not a program: see redirect.py and create.py.
"""

import argparse
import atexit
import datetime
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# 60 bytes once {n} is a number of nine digits; the server normalises nothing in it, so it can be compared as it is.
URL_TEMPLATE = "https://www.example.com/articles/2026/worth-a-look/{n}"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The measurement cannot go on; the message says why."""


def common_arguments(description, rounds, seconds):
    """The parser with the options that both scripts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds; medians are printed")
    parser.add_argument("--seconds", type=float, default=seconds, help="length of a round")
    parser.add_argument("--waypost", help="binary to measure (built from this repository without it)")
    parser.add_argument("--load", help="waypost-load binary (built from this repository without it)")
    parser.add_argument("--workers", type=int, default=1, help="HTTP workers of waypost")
    parser.add_argument("--server-cpus", default="0", help="cores of the servers, as taskset takes them")
    parser.add_argument("--load-cpus", default="1", help="cores of the generator")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="further setting of waypost")
    parser.add_argument("--dir", help="where the temporary directory goes; a disk, not a tmpfs (bench-out without it)")
    parser.add_argument("--out", default=str(ROOT / "bench-out"), help="directory of the JSON results")
    return parser


class Bench:
    """One measurement: a temporary directory and the processes started, both gone at the end however it ends."""

    def __init__(self, name, args):
        self.name, self.args = name, args
        self.processes = []
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        need("taskset", "util-linux")
        if os.cpu_count() < 2:
            raise Failed("the generator needs a core of its own: at least 2 are needed")
        self.commit = commit()
        self.waypost = args.waypost or self.build("waypost", "dist")
        self.load_binary = args.load or self.build("waypost-load", "release")
        self.temp = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=args.dir or self.out))
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        self.result = {"bench": name, "machine": machine(self.temp), "commit": self.commit}
        self.result["parameters"] = {key: value for key, value in vars(args).items() if key not in ("out", "dir")}
        self.result["server_environment"] = self.environment()

    def build(self, package, profile):
        """Builds a program: waypost as it is packaged."""
        say(f"building {package} ({profile})")
        subprocess.run(["cargo", "build", "--profile", profile, "-p", package], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        return str(target / profile / package)

    def environment(self):
        """Settings of waypost that differ from its defaults."""
        settings = {"WAYPOST_HTTP_WORKERS": str(self.args.workers)}
        settings.update(item.split("=", 1) for item in self.args.env)
        return settings

    def start(self, command, environment=None, log="server.log"):
        """Starts a server on the servers' cores; it is ended by `stop` or at the end."""
        output = open(self.temp / log, "ab")
        process = subprocess.Popen(
            ["taskset", "-c", self.args.server_cpus, *command],
            cwd=self.temp, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **(environment or {})})
        output.close()
        process.log = self.temp / log
        self.processes.append(process)
        return process

    def start_waypost(self, data, environment=None):
        """Starts waypost on `data`, waits until it is ready. Returns process, port and seconds until ready."""
        port, admin = free_ports(2)
        command = [self.waypost, "serve", "--data-dir", str(data),
                   "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"]
        started = time.monotonic()
        process = self.start(command, {**self.environment(), **(environment or {})}, "waypost.log")
        wait_for(process, port, "/health/ready", 200, 120)
        return process, port, time.monotonic() - started

    def stop(self, process, number=signal.SIGTERM, patience=60):
        """Ends a process by its id and waits for it. Returns the seconds it took."""
        started = time.monotonic()
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                say(f"process {process.pid} did not end within {patience} s and is killed")
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)
        return time.monotonic() - started

    def load(self, *arguments, limit):
        """Runs the generator on its core and returns its report. `limit` bounds it in seconds."""
        command = ["taskset", "-c", self.args.load_cpus, self.load_binary, *map(str, arguments), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit + 60)
        if done.returncode not in (0, 1):
            raise Failed(f"waypost-load: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        if done.returncode == 1:
            kinds = ("statuses", "other_status", "wrong_content", "io_errors", "malformed", "timeouts", "unsent",
                     "connect_errors")
            faults = {key: report[key] for key in kinds if report[key]}
            say(f"  not every answer was as expected: {faults}")
        return report

    def load_and_pause(self, process, *arguments, limit):
        """Like `load`, on a server: its CPU includes a pause after the run (`--pause`), so that work put off (clicks) counts too."""
        before = cpu_seconds(process.pid)
        report = self.load(*arguments, limit=limit)
        time.sleep(self.args.pause)
        report["right_per_cpu_second_with_pause"] = ratio(report["right"], cpu_seconds(process.pid) - before)
        return report

    def save(self):
        """Writes the JSON result and says where."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        path = self.out / f"{self.name}-{now}.json"
        path.write_text(json.dumps(self.result, indent=2) + "\n")
        say(f"\nresult: {path}")

    def close(self):
        """Ends all processes that this script started and removes the temporary directory."""
        for process in list(self.processes):
            self.stop(process, patience=20)
        shutil.rmtree(self.temp, ignore_errors=True)


def say(text):
    """Prints at once, also into a pipe."""
    print(text, flush=True)


def need(program, package):
    """The path of a program, or an end that says what to install."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not path:
        raise Failed(f"{program} is missing; install it, on Debian or Ubuntu: apt-get install {package}")
    return path


def free_ports(count):
    """Ports that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return ports


def get(port, path, timeout=5):
    """Status, Location and body of one GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("location"), answer.read()
    finally:
        connection.close()


def wait_for(process, port, path, status, patience):
    """Waits until `path` answers with `status`, looking every 5 ms; the process must stay alive."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        if process.poll() is not None:
            tail = process.log.read_text(errors="replace")[-2000:]
            raise Failed(f"the server ended with {process.returncode}:\n{tail}")
        try:
            if get(port, path)[0] == status:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.005)
    raise Failed(f"no {status} from {path} within {patience} s")


def tree(pid):
    """A process and its descendants."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
            except OSError:
                continue
    found = [pid]
    for parent in found:
        found.extend(parents.get(parent, []))
    return found


def cpu_seconds(pid):
    """CPU seconds used so far by a process, its threads and its descendants."""
    ticks = 0
    for each in tree(pid):
        try:
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        except OSError:
            continue
    return ticks / CLOCK_TICKS


def memory_bytes(pid):
    """Memory of a process and its descendants: (proportional set size, resident set size)."""
    pss = rss = 0
    for each in tree(pid):
        try:
            text = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                pss += int(line.split()[1]) * 1024
            elif line.startswith("Rss:"):
                rss += int(line.split()[1]) * 1024
    return pss, rss


def disk_bytes(path):
    """Bytes that the files below `path` take on disk (holes do not count)."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total


def commit():
    """The commit that is measured, marked when the files differ from it."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    head = git("rev-parse", "--short=12", "HEAD")
    if head.returncode:
        return "not committed"
    return head.stdout.strip() + ("+changes" if git("status", "--porcelain").stdout.strip() else "")


def machine(path):
    """What the figures were measured on."""
    model = next((line.partition(":")[2].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith(("model name", "Model"))), platform.machine())
    # The longest mount point that is a prefix of the path is the file system that the data is on.
    mounts = [line.split()[1:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    inside = [(point, kind) for point, kind in mounts
              if os.path.commonpath([point, path]) == point]
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "filesystem": max(inside, key=lambda entry: len(entry[0]))[1] if inside else "unknown",
            "measured": datetime.date.today().isoformat()}


def head(bench):
    """Says what is measured, where and how."""
    result = bench.result
    parts = result["machine"]
    say(f"machine   {parts['cpu']}, {parts['cores']} cores, {parts['memory_mib']} MiB, Linux {parts['kernel']}, "
        f"{parts['filesystem']}")
    say(f"commit    {result['commit']}")
    say("settings  " + ", ".join(f"{key}={value}" for key, value in result["server_environment"].items()))
    given = {key: value for key, value in result["parameters"].items() if value not in (None, []) and key != "env"}
    say("options   " + ", ".join(f"{key}={value}" for key, value in given.items()))
    if parts["filesystem"] in ("tmpfs", "ramfs"):
        say("warning   the data is on a file system in memory: durable means nothing there (see --dir)")


def median(values):
    """Median of what is known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def show(value, digits=0):
    """A figure with separators, or a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def ratio(one, other):
    """one / other, when both are known."""
    return one / other if one is not None and other else None


def main(run):
    """Runs a script's main function; failures end with a message and code 1."""
    try:
        run()
    except (Failed, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
