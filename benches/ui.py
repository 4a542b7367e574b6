#!/usr/bin/env python3
"""The dashboard with many links: bytes and requests of the first and the second visit of each view in Chromium, and the server's time for each
page. See README.md beside this file."""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True  # no __pycache__ in the repository
import bench
from bench import Failed, median, say, show

UI_TESTS = bench.ROOT / "tests/ui"
sys.path.insert(0, str(UI_TESTS))
KEY = "a-key-for-this-measurement"
AT_ONCE = 1000
TAGS = ["newsletter", "print", "social", "events", "team", "campaign", "shop", "press"]
WORDS = ["autumn", "light", "water", "harbour", "ferry", "night", "winter", "concert", "garden", "museum", "library", "station"]


def arguments():
    parser = bench.common_arguments(__doc__, rounds=50, seconds=0)
    parser.set_defaults(load="not used", server_cpus="0,1")
    parser.add_argument("--links", type=int, default=1_000_000)
    return parser.parse_args()


def with_playwright():
    """Goes on in an interpreter that has Playwright, which is installed into target/ui-tools as tests/ui does it."""
    tools, wanted = bench.ROOT / "target/ui-tools", UI_TESTS / "requirements.txt"
    python, installed = tools / "bin/python3", tools / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", tools], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", wanted], check=True)
        installed.write_bytes(wanted.read_bytes())
    if pathlib.Path(sys.prefix).resolve() != tools.resolve():
        os.execv(python, [str(python), *sys.argv])


def make(port, count):
    """Creates the links: different words, tags and hosts, so that filters and searches have something to do."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    headers = {"Content-Type": "application/json", "X-Api-Key": KEY}
    for first in range(0, count, AT_ONCE):
        links = []
        for number in range(first, min(first + AT_ONCE, count)):
            words = [WORDS[number * step % len(WORDS)] for step in (1, 5, 7)]
            links.append({"longUrl": f"https://www{number % 97}.example.com/{'/'.join(words)}/{number:08}",
                          "title": f"{words[0].title()} {words[1]} {number}", "tags": [TAGS[number % 8], f"year-{2000 + number % 27}"]})
        body = json.dumps({"items": [{"op": "create", "link": link} for link in links]})
        connection.request("POST", "/api/v1/bulk", body, headers)
        answer = connection.getresponse()
        result = json.loads(answer.read())
        if answer.status != 200 or result["failed"]:
            raise Failed(f"the links were not created: {str(result)[:500]}")
        if first % 100_000 == 0:
            say(f"  {first:,} links")
    connection.request("PUT", "/api/v1/links/measured", json.dumps({"longUrl": "https://example.com/", "tags": ["print"]}), headers)
    answer = connection.getresponse()
    answer.read()
    for number in range(300):
        connection.request("GET", "/measured", headers={"User-Agent": f"Mozilla/5.0 (X11; Linux x86_64; rv:{100 + number % 40}.0) Firefox/140.0"})
        connection.getresponse().read()


def listed(port, count):
    """Waits until the lists have all links."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    while True:
        connection.request("GET", "/api/v1/links?limit=1", headers={"X-Api-Key": KEY})
        if json.loads(connection.getresponse().read())["total"] >= count:
            return
        time.sleep(0.5)


VIEWS = {
    "Home": "/",
    "Links": "/links",
    "Links, filtered": "/links?tags=print&sort=-visits",
    "Links, search": "/links?q=harbour+ferry",
    "One link": "/link/measured",
    "Rules": "/link/measured/rules",
    "History": "/link/measured/history",
    "Statistics of a link": "/link/measured/stats",
    "QR code": "/link/measured/qr",
    "Statistics": "/statistics",
    "Tags": "/tags",
    "Domains": "/domains",
    "Sessions": "/sessions",
    "Cluster": "/cluster",
}


def server_times(port, cookies, path, rounds):
    """Milliseconds until the whole page has arrived, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": cookies, "Accept-Encoding": "gzip", "Accept-Language": "en"})
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - started) * 1000)
        if answer.status != 200:
            raise Failed(f"{path} was answered with {answer.status}")
    # The first is not counted: it opens the connection.
    return times[1:]


def traffic(context, url):
    """Requests that went over the network, and their bytes, of one visit to a page, and milliseconds until it was loaded."""
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    cached, received = set(), {}
    devtools.on("Network.requestServedFromCache", lambda event: cached.add(event["requestId"]))
    devtools.on("Network.loadingFinished", lambda event: received.update({event["requestId"]: event["encodedDataLength"]}))
    started = time.perf_counter()
    page.goto(url, wait_until="load")
    took = (time.perf_counter() - started) * 1000
    page.wait_for_timeout(300)
    page.close()
    sent = {request: size for request, size in received.items() if request not in cached and size}
    return {"requests": len(sent), "bytes": sum(sent.values()), "load_ms": took}


def main():
    args = arguments()
    with_playwright()
    from playwright.sync_api import sync_playwright

    from browser import launch
    run = bench.Bench("ui", args)
    bench.head(run)
    process, port, _ = run.start_waypost(run.temp / "data", {"WAYPOST_ADMIN_KEY": KEY})
    say(f"creating {args.links:,} links")
    make(port, args.links)
    listed(port, args.links)
    base = f"http://127.0.0.1:{port}/ui"
    say("\n| view | first visit: requests | bytes | second visit: requests | bytes | server: median | p99 |")
    say("|---|---|---|---|---|---|---|")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name, path in VIEWS.items():
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{base}/sign-in")
            page.get_by_label("Admin key").fill(KEY)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("navigation").first.wait_for()
            page.close()
            # Only the cookies are left of signing in.
            context.new_cdp_session(context.new_page()).send("Network.clearBrowserCache")
            first, second = traffic(context, base + path), traffic(context, base + path)
            cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in context.cookies())
            times = sorted(server_times(port, cookies, urllib.parse.urlsplit(base).path + path, args.rounds))
            context.close()
            p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
            run.result[name] = {"first": first, "second": second, "server_ms": times}
            say(f"| {name} | {first['requests']} | {show(first['bytes'])} | {second['requests']} | {show(second['bytes'])} | "
                f"{show(median(times), 1)} ms | {show(p99, 1)} ms |")
        browser.close()
    run.stop(process)
    run.save()


bench.main(main)
