"""Upgrades a running cluster node by node, under load: `make upgrade`.

Three nodes of the old version are stopped and started as the new one, one after the other, while clients create and follow links on
those that are up. Nothing that was acknowledged may be lost, and no link may fail to be followed. While both versions run, `mixed.py` looks at what each node
does and refuses. Then a data directory that the old
version left without stopping in order is opened by the new one, and the new one's backup is restored.
"""

import argparse
import http.client
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from mixed import Mixed
from smoke import KEY, NODES, Smoke, say, tell_failure


class Upgrade(Smoke):
    def __init__(self, old, new, work):
        super().__init__(old, work)
        self.new = new

    def stop(self, node, how=signal.SIGTERM):
        self.processes[node].send_signal(how)
        return self.processes[node].wait(60)

    def version(self, node):
        _, body = self.get(f"http://{self.address(node, 9090)}/metrics")
        return next(line for line in body.decode().splitlines() if line.startswith("waypost_build_info"))

    def view(self):
        _, body = self.get(f"http://{self.address('a', 9090)}/cluster", {"X-Api-Key": KEY})
        return json.loads(body)

    def level(self):
        """The level of the cluster. Version 0.1 does not know of levels: that is level 0."""
        return self.view().get("level", 0)

    def understood(self):
        """What all nodes understand."""
        return min(node["status"].get("level", 0) for node in self.view()["nodes"])


class Clients:
    """Create links on any node that is up, and follow those that were acknowledged on any other."""

    def __init__(self, upgrade):
        self.upgrade, self.up = upgrade, set(NODES)
        self.links, self.refused, self.followed, self.errors, self.broken = {}, 0, 0, [], []
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(4)]
        for thread in self.threads:
            thread.start()

    def ask(self, node, method, path, body=None):
        host, port = self.upgrade.address(node, 8080).split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=15)
        headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
        if isinstance(body, str):
            # As the form of a page of the dashboard.
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        elif body is not None:
            body = json.dumps(body)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return answer.status, answer.headers, read

    def work(self, number):
        try:
            self.ask_on(number)
        except Exception as error:  # noqa: BLE001  (whatever it is, the rehearsal has failed)
            self.broken.append(repr(error))

    def ask_on(self, number):
        made = 0
        while not self.stop.is_set():
            node = random.choice(sorted(self.up))
            url = f"https://example.com/upgrade/{number}/{made}"
            made += 1
            try:
                status, _, body = self.ask(node, "POST", "/shorten", {"longUrl": url})
                if status == 201:
                    with self.lock:
                        self.links[json.loads(body)["shortCode"]] = url
                else:
                    self.refused += 1
            except (OSError, http.client.HTTPException):
                # The node was just taken away; what became of the link is not known.
                self.refused += 1
            with self.lock:
                code, url = random.choice(list(self.links.items())) if self.links else (None, None)
            node = random.choice(sorted(self.up))
            if code:
                try:
                    status, headers, _ = self.ask(node, "GET", f"/{code}")
                    self.followed += 1
                    if status != 302 or headers["Location"] != url:
                        self.errors.append(f"{code} was answered {status} by {node}")
                except (OSError, http.client.HTTPException) as error:
                    if node in self.up:
                        self.errors.append(f"{code} on {node}: {error!r}")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)


def every_link(clients, nodes):
    assert clients.links, "no link was made"
    for node in nodes:
        for code, url in clients.links.items():
            status, headers, _ = clients.ask(node, "GET", f"/{code}")
            assert status == 302 and headers["Location"] == url, f"{code} was answered {status} by {node}"


def scenario(upgrade):
    say("three nodes of the old version")
    upgrade.start_nodes()
    level, before = upgrade.level(), upgrade.version("a")
    clients = Clients(upgrade)
    mixed = Mixed(clients, upgrade.wait)
    try:
        time.sleep(3)
        for node in NODES:
            clients.up.discard(node)
            # Requests that were on their way to it end.
            time.sleep(1)
            acknowledged = len(clients.links)
            assert upgrade.stop(node) == 0
            upgrade.waypost = upgrade.new
            upgrade.start_node(node)
            upgrade.wait(f"{node} is ready", lambda: upgrade.get(f"http://{upgrade.address(node, 8080)}/health/ready")[0] == 200)
            upgrade.wait("the cluster is whole", upgrade.settled)
            clients.up.add(node)
            made = len(clients.links) - acknowledged
            say(f"  {node} is new; {made} links were made meanwhile")
            assert made > 0, "nothing could be created meanwhile"
            if node != NODES[-1]:
                while_mixed(upgrade, mixed, level, NODES[: NODES.index(node) + 1])
            time.sleep(1)
        # From a version with levels to one with the same there is nothing to rise.
        upgrade.wait("the level of the cluster has risen", lambda: upgrade.level() == upgrade.understood())
        say(f"  all nodes are new: the cluster is at level {upgrade.level()}")
        for node in NODES:
            mixed.old_operations(node, NODES)
            refused, gaps = mixed.new_operations(node, upgrade.level()), mixed.lists(node)
            assert refused == 0, f"{node} refuses {refused}"
            say(f"  {node} does everything; {gaps} lists named missing shards before one was whole")
        # What is stored and sent from here on opens again, too.
        for node in NODES:
            clients.up.discard(node)
            time.sleep(1)
            assert upgrade.stop(node) == 0
            upgrade.start_node(node)
            upgrade.wait(f"{node} is ready", lambda: upgrade.get(f"http://{upgrade.address(node, 8080)}/health/ready")[0] == 200)
            upgrade.wait("the cluster is whole", upgrade.settled)
            clients.up.add(node)
    finally:
        clients.end()
    say(f"  {before} -> {upgrade.version('a')}")
    assert clients.followed > len(NODES) and not clients.broken, f"{clients.followed} redirects, {clients.broken}"
    assert not clients.errors, f"{len(clients.errors)} of {clients.followed} failed, such as {clients.errors[:3]}"
    every_link(clients, NODES)
    say(f"  {len(clients.links)} links acknowledged, all there on every node; {clients.followed} redirects, none failed; "
        f"{clients.refused} creates refused or unknown")
    for node in NODES:
        assert upgrade.stop(node) == 0


def while_mixed(upgrade, mixed, level, new):
    """What the nodes do while some are new."""
    for node in NODES:
        mixed.old_operations(node, NODES)
    for node in new:
        refused, gaps = mixed.new_operations(node, level), mixed.lists(node)
        say(f"  {node}, which is new, refused {refused} of the new operations; {gaps} lists named missing shards before one was whole")
    for node in NODES[len(new):]:
        mixed.unknown_operations(node)
    assert upgrade.level() == level, "the level rose while a node of the old version was a member"


def left_by_the_old(old, new, work):
    """A node of the old version is killed; the new one opens what it left."""
    alone = Upgrade(old, new, work)
    alone.net = alone.net.rsplit(".", 1)[0] + ".251"
    file = work / "alone.toml"
    file.write_text(f'[[node]]\nname = "a"\nhttp = "{alone.address("a", 8080)}"\nadmin = "{alone.address("a", 9090)}"\n'
                    f'peer = "{alone.address("a", 7400)}"\ndata_dir = "{work / "alone"}"\n')
    environment = {"PATH": "/usr/bin:/bin", "WAYPOST_ADMIN_KEY": KEY}
    command = ["serve", "--config", file]
    ready = lambda: alone.get(f"http://{alone.address('a', 8080)}/health/ready")[0] == 200  # noqa: E731
    alone.run("a", [old, *command], env=environment)
    try:
        alone.wait("the old one is ready", ready)
        clients = Clients(alone)
        clients.up = {"a"}
        time.sleep(3)
        clients.end()
        alone.stop("a", signal.SIGKILL)
        alone.run("a", [new, *command], env=environment)
        alone.wait("the new one is ready", ready)
        every_link(clients, ["a"])
        say(f"  {len(clients.links)} links of a killed node of the old version, all there in the new one")
        backup = work / "a.backup"
        server = f"http://{alone.address('a', 8080)}"
        subprocess.run([new, "backup", backup, "--server", server, "--api-key", KEY], check=True, capture_output=True)
        alone.stop("a")
        shutil.rmtree(work / "alone")
        subprocess.run([new, "restore", backup, "--config", file], check=True, capture_output=True)
        alone.run("a", [new, *command], env=environment)
        alone.wait("the restored one is ready", ready)
        every_link(clients, ["a"])
        say("  and in a restored backup of it")
    finally:
        for process in alone.processes.values():
            process.kill()
            process.wait(20)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=pathlib.Path, help="the binary of the earlier version")
    parser.add_argument("new", type=pathlib.Path, help="the binary of this version")
    arguments = parser.parse_args()
    old, new = arguments.old.resolve(), arguments.new.resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="waypost-upgrade-"))
    upgrade, failed = Upgrade(old, new, work), False
    try:
        scenario(upgrade)
        left_by_the_old(old, new, work)
    except (RuntimeError, AssertionError, OSError, StopIteration, http.client.HTTPException, subprocess.SubprocessError) as error:
        failed = True
        tell_failure(error, work)
    finally:
        for process in upgrade.processes.values():
            process.kill()
            process.wait(20)
        shutil.rmtree(work, ignore_errors=True)
    say("the upgrade failed" if failed else "the upgrade passed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
