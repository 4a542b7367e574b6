"""Three nodes behind the real nginx, scraped by the real Prometheus, under load: `make smoke`.

A node is killed and comes back; then two are, so that no group has a quorum. No client of nginx may see an error on a redirect, the
alerts for the node and for the groups without a leader have to fire and to end, and every query of the dashboard has to return data.
Everything runs on addresses of the loopback range and in a temporary directory, and is ended and removed afterwards. Takes about four
minutes.
"""

import argparse
import contextlib
import http.client
import json
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
NODES = ("a", "b", "c")
KEY = "smoke-test-admin-key-of-enough-length"
VISITOR = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Firefox/126.0"
# Redirects a second, below what nginx lets through from one address.
RATE = 150
LIMIT_S = 600


def say(text):
    print(time.strftime("%T"), text, flush=True)


def find(*names):
    for name in names:
        for place in (None, "/usr/sbin:/sbin"):
            if found := shutil.which(name, path=place):
                return found
    sys.exit(f"{names[0]} is not installed: bash deploy/tools.sh")


class Smoke:
    def __init__(self, waypost, work):
        self.waypost, self.work = waypost, work
        self.net = f"127.{random.randint(2, 250)}.{random.randint(2, 250)}"
        self.processes = {}
        self.deadline = time.monotonic() + LIMIT_S
        self.started, self.picture = time.time(), None

    def address(self, node, port):
        return f"{self.net}.{NODES.index(node) + 1}:{port}"

    @property
    def front(self):
        return f"{self.net}.10"

    @property
    def public_url(self):
        """What visitors type: nginx, on a port that is not the usual one."""
        return f"https://{self.front}:8443"

    def run(self, name, command, **more):
        log = open(self.work / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, **more)

    def wait(self, what, condition):
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            if time.monotonic() > self.deadline:
                raise RuntimeError(f"not in time: {what}")
            time.sleep(0.2)

    def get(self, url, headers=None):
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5) as answer:
            return answer.status, answer.read()

    # The parts.

    def start_node(self, node):
        environment = {"PATH": "/usr/bin:/bin", "WAYPOST_ADMIN_KEY": KEY, "WAYPOST_CLUSTER_SECRET": "smoke-test-secret-of-enough-length",
                       "WAYPOST_LOG_FORMAT": "json"}
        self.run(node, [self.waypost, "serve", "--config", self.work / "cluster.toml", "--node", node], env=environment)

    def start_nodes(self):
        tables = "".join(
            f'[[node]]\nname = "{node}"\nhttp = "{self.address(node, 8080)}"\nadmin = "{self.address(node, 9090)}"\n'
            f'peer = "{self.address(node, 7400)}"\ndata_dir = "{self.work / node}"\n\n' for node in NODES)
        (self.work / "cluster.toml").write_text(
            f'[cluster]\nname = "smoke"\n\n{tables}[http]\ntrusted_proxies = "127.0.0.0/8"\npublic_url = "{self.public_url}"\n')
        for node in NODES:
            self.start_node(node)
        for node in NODES:
            self.wait(f"{node} is ready", lambda: self.get(f"http://{self.address(node, 8080)}/health/ready")[0] == 200)
        self.wait("the cluster settles", self.settled)

    def settled(self):
        _, body = self.get(f"http://{self.address('b', 9090)}/cluster", {"X-Api-Key": KEY})
        view = json.loads(body)
        return not view["leaderless"] and not view["moving"] and all(node["status"] for node in view["nodes"])

    def start_nginx(self):
        certificate, key = self.work / "certificate.pem", self.work / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                        "-subj", "/CN=smoke", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        servers = " ".join(f"server {self.address(node, 8080)} max_fails=0;" for node in NODES)
        rendered = subprocess.run(
            [sys.executable, HERE / "render.py", HERE / "nginx/templates/default.conf.template", "RESOLVER=", f"WAYPOST_SERVERS={servers}",
             f"HTTP_PORT={self.front}:8081", f"HTTPS_PORT={self.front}:8443", f"PUBLIC_HOST={self.front}", "PUBLIC_PORT=8443",
             f"ACCESS_LOG={self.work}/access.log", f"ERROR_LOG={self.work}/nginx-front.log",
             f"TLS_CERTIFICATE={certificate}", f"TLS_KEY={key}"], check=True, capture_output=True, text=True).stdout
        (self.work / "waypost.conf").write_text(rendered)
        (self.work / "nginx.conf").write_text(
            f"daemon off;\nworker_processes 1;\npid {self.work}/nginx.pid;\nerror_log {self.work}/nginx-error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\nclient_body_temp_path {self.work}/body;\nproxy_temp_path {self.work}/proxy;\n"
            f"fastcgi_temp_path {self.work}/fastcgi;\nuwsgi_temp_path {self.work}/uwsgi;\nscgi_temp_path {self.work}/scgi;\n"
            f"include {self.work}/waypost.conf;\n}}\n")
        self.run("nginx", [find("nginx"), "-p", self.work, "-c", self.work / "nginx.conf"])
        self.wait("nginx answers", lambda: socket.create_connection((self.front, 8443), 1).close() is None)

    def start_caddy(self):
        """Caddy in front of node b, with the shipped file. Its addresses, and a certificate of its own, are all that differs."""
        own = f"{{\n\tadmin off\n\tskip_install_trust\n\tdefault_bind {self.net}.11\n"
        (self.work / "Caddyfile").write_text((HERE / "caddy/Caddyfile").read_text().replace("\n{\n", f"\n{own}", 1))
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.work), "XDG_DATA_HOME": str(self.work / "caddy"), "XDG_CONFIG_HOME": str(self.work / "caddy"),
                       "WAYPOST_HTTP_PUBLIC_URL": f"https://{self.net}.11:8443", "HTTP_PORT": "8081", "WAYPOST_LISTEN": self.address("b", 8080)}
        self.run("caddy", [find("caddy"), "run", "--adapter", "caddyfile", "--config", self.work / "Caddyfile"], env=environment)
        self.wait("Caddy answers", lambda: socket.create_connection((f"{self.net}.11", 8443), 1).close() is None)

    def start_prometheus(self):
        configuration = (HERE / "prometheus/prometheus.yml").read_text()
        for node in NODES:
            configuration = configuration.replace(f'"{node}:9090"', f'"{self.address(node, 9090)}"')
        configuration = configuration.replace("scrape_interval: 5s", "scrape_interval: 2s").replace(
            "evaluation_interval: 5s", "evaluation_interval: 2s")
        (self.work / "prometheus.yml").write_text(configuration)
        shutil.copytree(HERE / "prometheus/rules", self.work / "rules")
        self.run("prometheus", [find("prometheus"), f"--config.file={self.work}/prometheus.yml",
                                f"--storage.tsdb.path={self.work}/tsdb", f"--web.listen-address={self.front}:9190"])
        self.wait("Prometheus is ready", lambda: self.get(f"http://{self.front}:9190/-/ready")[0] == 200)

    def query(self, expression):
        expression = expression.replace("$__rate_interval", "30s")
        url = f"http://{self.front}:9190/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        return json.loads(self.get(url)[1])["data"]["result"]

    def firing(self, alert):
        return bool(self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'))

    def nginx(self, context):
        return http.client.HTTPSConnection(self.front, 8443, timeout=15, context=context)


class Visitors:
    """Follow links through nginx at a steady rate, and remember every answer that was no redirect to the right place."""

    def __init__(self, smoke, links, context):
        self.smoke, self.links, self.context = smoke, links, context
        self.stop, self.followed, self.errors = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.visit, daemon=True) for _ in range(6)]
        for thread in self.threads:
            thread.start()

    def visit(self):
        connection = self.smoke.nginx(self.context)
        while not self.stop.is_set():
            code, url = random.choice(self.links)
            try:
                connection.request("GET", f"/{code}", headers={"User-Agent": VISITOR})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 302 or answer.headers["Location"] != url:
                    self.errors.append(f"{time.strftime('%T')} {code} was answered {answer.status} {answer.headers['Location']}")
                self.followed += 1
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(f"{time.strftime('%T')} {code}: {error!r}")
                connection.close()
            time.sleep(len(self.threads) / RATE)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(20)


def ask(connection, method, path, headers=None, body=None):
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    answer.body = answer.read()
    return answer


def check_refusals(plain, public_url):
    """Over plain http short links are sent on to https, with the published port; API calls are refused, and so is whatever has a key."""
    moved = ask(plain(), "GET", "/code?a=b")
    assert moved.status == 308 and moved.headers["Location"] == f"{public_url}/code?a=b", (moved.status, moved.headers["Location"])
    for method, path, headers in (
            ("POST", "/shorten", {}), ("POST", "/shorten", {"X-Api-Key": KEY}), ("GET", "/api/v1/links/code", {"X-Api-Key": KEY}),
            ("GET", "/api/v1/stats", {}), ("GET", "//api/v1/stats", {}), ("GET", "/%61pi/v1/stats", {}), ("GET", "/generate-key", {}),
            ("DELETE", "/api/v1/links/code", {}), ("GET", "/code", {"Authorization": f"Bearer {KEY}"}), ("GET", "/code", {"x-api-key": KEY}),
            ("POST", "/code", {})):
        refused = ask(plain(), method, path, headers)
        assert refused.status == 403 and "Location" not in refused.headers, (method, path, refused.status)
        assert refused.headers["Content-Type"] == "application/problem+json", refused.headers["Content-Type"]
        assert json.loads(refused.body)["type"] == "urn:waypost:problem:https-required", refused.body


def check_long(smoke, front, connection):
    """A link whose target has 8192 bytes, made and followed through a front."""
    # The code is in the target, so that each has one of its own.
    for length in (7168, 8192):
        url = f"https://example.com/{front}/".ljust(length, "a")
        status, made = create(connection(), url)
        assert status == 201, (status, made)
        assert made["shortUrl"] == f"{smoke.public_url}/{made['shortCode']}", made["shortUrl"]
        found = ask(connection(), "GET", f"/{made['shortCode']}?token=of-a-visitor", {"User-Agent": VISITOR, "Referer": "https://from.example/"})
        assert found.status == 302 and found.headers["Location"] == url, (found.status, len(found.headers["Location"] or ""))


def check_front(smoke, context):
    """What nginx must not let through, and what it passes on."""
    def through(method, path, headers=None, body=None):
        return ask(smoke.nginx(context), method, path, headers, body)
    assert through("GET", "/metrics").status == 404
    assert through("GET", "/health/ready").status == 404
    assert through("GET", "/cluster").status == 404, "the administration is not reached through nginx"
    refused = through("POST", "/shorten", {"Content-Type": "text/plain"}, "https://example.com/no-key")
    assert refused.status == 401, refused.status
    check_refusals(lambda: http.client.HTTPConnection(smoke.front, 8081, timeout=5), smoke.public_url)
    assert len(through("GET", "/neverwas").headers["X-Request-Id"]) == 32, "nginx names each request"
    check_long(smoke, "nginx", lambda: smoke.nginx(context))
    # What a client says of itself does not get into its short URL.
    forged = {"X-Api-Key": KEY, "Content-Type": "text/plain", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher",
              "Forwarded": "host=evil.example;proto=gopher"}
    made = through("POST", "/shorten", forged, "https://example.com/forged")
    assert made.status == 201 and json.loads(made.body)["shortUrl"].startswith(smoke.public_url), made.body


def check_caddy(smoke, context):
    smoke.start_caddy()
    host = f"{smoke.net}.11"
    def through():
        return http.client.HTTPSConnection(host, 8443, timeout=15, context=context)
    check_refusals(lambda: http.client.HTTPConnection(host, 8081, timeout=5), f"https://{host}:8443")
    assert ask(through(), "GET", "/metrics").status == 404
    assert ask(through(), "GET", "/health/ready").status == 404
    check_long(smoke, "caddy", through)


def check_logs(smoke):
    """What the fronts log: each request, and nothing by which a visitor is known."""
    for name in ("access.log", "caddy.log"):
        lines = [line for line in (smoke.work / name).read_text().splitlines() if name == "access.log" or "handled request" in line]
        assert any("302" in line for line in lines), f"{name} has the redirects"
        for line in lines:
            for secret in ("127.0.0.1", "Mozilla", "from.example", "of-a-visitor", KEY):
                assert secret not in line, f"{name} has {secret}: {line}"
    for name in ("nginx-front.log", "nginx-error.log"):
        text = (smoke.work / name).read_text() if (smoke.work / name).exists() else ""
        assert "client: " not in text, f"{name} names visitors: {text}"


def create(connection, url):
    connection.request("POST", "/shorten", body=json.dumps({"longUrl": url}),
                       headers={"Content-Type": "application/json", "X-Api-Key": KEY})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, json.loads(body) if answer.status == 201 else body


def counters(smoke):
    """Redirects, and connections that the fast path has handed on, of all nodes together."""
    redirects = handed_on = 0.0
    for node in NODES:
        for line in smoke.get(f"http://{smoke.address(node, 9090)}/metrics")[1].decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("waypost_http_request_seconds_count{") and 'route="redirect"' in name:
                redirects += float(value)
            elif name == "waypost_http_connections_handed_on_total":
                handed_on += float(value)
    return redirects, handed_on


def check_fast_path(smoke):
    """nginx keeps redirects on connections that never leave the fast path."""
    before = counters(smoke)
    time.sleep(10)
    redirects, handed_on = (now - then for now, then in zip(counters(smoke), before))
    assert redirects > RATE, redirects
    assert handed_on < redirects / 100, (handed_on, redirects)
    say(f"  {redirects:.0f} redirects, and {handed_on:.0f} connections were handed on")


def lose_the_quorum(smoke, context):
    """Two of three nodes are killed: the third goes on with redirects, and says that nothing can be changed, until they are back."""
    for node in ("a", "c"):
        smoke.processes[node].kill()
        smoke.processes[node].wait()
    say("  nodes a and c are killed")
    ready = f"http://{smoke.address('b', 8080)}/health/ready"
    smoke.wait("b says that it refuses changes", lambda: json.loads(smoke.get(ready)[1])["writable"] is False)
    health = subprocess.run([smoke.waypost, "health", "--server", f"http://{smoke.address('b', 8080)}"], capture_output=True)
    assert health.returncode == 3, health
    smoke.wait("WaypostNoLeader fires", lambda: smoke.firing("WaypostNoLeader"))
    status, problem = create(smoke.nginx(context), "https://example.com/without-a-quorum")
    assert status in (502, 503, 504), (status, problem)
    say("  WaypostNoLeader fires; changes are refused, redirects go on")
    for node in ("a", "c"):
        smoke.start_node(node)
    smoke.wait("the cluster is whole again", smoke.settled)
    smoke.wait("WaypostNoLeader ends", lambda: not smoke.firing("WaypostNoLeader"))
    status, made = create(smoke.nginx(context), "https://example.com/with-a-quorum")
    assert status == 201, (status, made)
    smoke.wait("WaypostNodeDown ends", lambda: not smoke.firing("WaypostNodeDown"))
    say("  both are back, and the alerts have ended")


def scenario(smoke):
    say("three nodes, nginx, Prometheus")
    smoke.start_nodes()
    smoke.start_nginx()
    smoke.start_prometheus()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    connection, links = smoke.nginx(context), []
    for i in range(60):
        url = f"https://example.com/smoke/{i}"
        status, made = create(connection, url)
        assert status == 201, made
        assert made["shortUrl"] == f"{smoke.public_url}/{made['shortCode']}", made
        links.append((made["shortCode"], url))
    check_front(smoke, context)
    check_caddy(smoke, context)
    say("  nginx and Caddy: short URLs with the published port, targets of 8192 bytes, no API over plain http")
    for node in NODES:
        metrics = smoke.get(f"http://{smoke.address(node, 9090)}/metrics")[1]
        subprocess.run([find("promtool"), "check", "metrics"], input=metrics, check=True)
    say("  60 links made through nginx; the metrics of all nodes pass promtool")

    visitors = Visitors(smoke, links, context)
    try:
        smoke.wait("Prometheus has seen the load", lambda: len(smoke.query(
            'rate(waypost_http_request_seconds_count{route="redirect"}[30s]) > 0')) >= 3)
        check_fast_path(smoke)
        assert not smoke.firing("WaypostNodeDown")
        before = visitors.followed
        smoke.processes["a"].kill()
        smoke.processes["a"].wait()
        say("  node a is killed")
        smoke.wait("WaypostNodeDown fires", lambda: smoke.firing("WaypostNodeDown"))
        during = visitors.followed - before
        say(f"  WaypostNodeDown fires; {during} redirects meanwhile")
        assert during > RATE, "redirects go on"
        smoke.start_node("a")
        smoke.wait("the cluster is whole again", smoke.settled)
        smoke.wait("WaypostNodeDown ends", lambda: not smoke.firing("WaypostNodeDown"))
        say("  node a is back, and the alert has ended")
        lose_the_quorum(smoke, context)
        time.sleep(10)
    finally:
        visitors.end()
    if visitors.errors:
        raise RuntimeError(f"{len(visitors.errors)} of {visitors.followed} redirects failed, such as {visitors.errors[:3]}")
    say(f"  {visitors.followed} redirects through nginx, none failed")
    check_logs(smoke)
    say("  the logs of nginx and Caddy have no whole address, user agent, referrer, query or key")

    dashboard = json.loads((HERE / "grafana/dashboards/waypost.json").read_text())
    queries = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    empty = [title for title, expression in queries if not smoke.query(expression)]
    if empty:
        raise RuntimeError(f"panels without data: {', '.join(empty)}")
    say(f"  all {len(queries)} queries of the dashboard return data")
    if smoke.picture:
        # Only here, so that without a picture the plotter need not be there.
        import picture
        names = {smoke.address(node, 9090): node for node in NODES}
        picture.draw(f"http://{smoke.front}:9190", smoke.started, time.time(), names, smoke.picture)
        say(f"  the dashboard is drawn in {smoke.picture}")
    lines = [json.loads(line) for node in NODES for line in (smoke.work / f"{node}.log").read_text().splitlines() if line.startswith("{")]
    assert lines and all({"@timestamp", "log.level", "message", "service.node.name"} <= line.keys() for line in lines)
    say(f"  {len(lines)} log lines, each an event in the Elastic Common Schema")


def tell_failure(error, work):
    say(f"failed: {error!r}")
    for log in sorted(work.glob("*.log")):
        say(f"--- the end of {log.name}")
        say("\n".join(log.read_text(errors="replace").splitlines()[-15:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("waypost", type=pathlib.Path, help="the binary")
    parser.add_argument("--picture", type=pathlib.Path, help="draw the dashboard's panels, as their queries answer, into this file")
    arguments = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="waypost-smoke-"))
    # nginx' workers run as a user of their own.
    work.chmod(0o755)
    smoke = Smoke(arguments.waypost.resolve(), work)
    smoke.picture = arguments.picture
    failed = False
    try:
        scenario(smoke)
    except (RuntimeError, AssertionError, OSError, subprocess.CalledProcessError) as error:
        failed = True
        tell_failure(error, work)
    finally:
        for process in smoke.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in smoke.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(work, ignore_errors=True)
    say("the smoke test failed" if failed else "the smoke test passed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
