#!/usr/bin/env python3
"""The dashboard with many links: bytes and requests of the first and the second visit of each view in Chromium, and the server's time for each
page. See README.md beside this file."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import socket
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
# Requests with new links that are on their way at the same time.
MAKERS = 4
DAY_MS = 24 * 3600 * 1000
# Visits are made on each of so many days, in so many steps a day.
DAYS, STEPS = 60, 24
# They are of every fiftieth link; a few have most of them.
VISITED_EVERY = 50
TAGS = ["newsletter", "print", "social", "events", "team", "campaign", "shop", "press"]
WORDS = ["autumn", "light", "water", "harbour", "ferry", "night", "winter", "concert", "garden", "museum", "library", "station"]


def arguments():
    parser = bench.common_arguments(__doc__, rounds=50, seconds=0)
    parser.set_defaults(load="not used", server_cpus="0,1")
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--visits", type=int, default=300_000, help="visits, over sixty days")
    parser.add_argument("--data", help="data directory of an earlier run, or a new one that stays for the next run")
    parser.add_argument("--no-browser", action="store_true", help="measure the server's times only")
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


def link(number):
    """A link: different words, tags and hosts, so that filters and searches have something to do. Those that are visited have codes that are known."""
    words = [WORDS[number * step % len(WORDS)] for step in (1, 5, 7)]
    made = {"longUrl": f"https://www{number % 97}.example.com/{'/'.join(words)}/{number:08}",
            "title": f"{words[0].title()} {words[1]} {number}", "tags": [TAGS[number % 8], f"year-{2000 + number % 27}"]}
    return made if number % VISITED_EVERY else {**made, "customSlug": f"visited{number}"}


def create(port, count):
    """Creates the links."""
    headers = {"Content-Type": "application/json", "X-Api-Key": KEY}

    def some(first):
        links = [link(number) for number in range(first, min(first + AT_ONCE, count))]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("POST", "/api/v1/bulk", json.dumps({"items": [{"op": "create", "link": link} for link in links]}), headers)
        answer = connection.getresponse()
        result = json.loads(answer.read())
        connection.close()
        if answer.status != 200 or result["failed"]:
            raise Failed(f"the links were not created: {str(result)[:500]}")
        if first % 100_000 == 0:
            say(f"  {first:,} links")

    makers = concurrent.futures.ThreadPoolExecutor(MAKERS)
    try:
        for done in [makers.submit(some, first) for first in range(0, count, AT_ONCE)]:
            done.result()
    finally:
        makers.shutdown(cancel_futures=True)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("PUT", "/api/v1/links/measured", json.dumps({"longUrl": "https://example.com/", "tags": ["print"]}), headers)
    connection.getresponse().read()


def visits(port, count, links, set_clock):
    """Visits of the last sixty days, by people with different browsers, languages and referrers."""
    chance = random.Random(20261126)
    a_step = max(1, count // (DAYS * STEPS))
    codes = [f"visited{number}" for number in range(0, links, VISITED_EVERY)]
    chance.shuffle(codes)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        for step in range(DAYS * STEPS, 0, -1):
            set_clock(-step * DAY_MS // STEPS)
            requests = []
            for _ in range(a_step):
                code = "measured" if chance.random() < 0.02 else codes[int(len(codes) * chance.random() ** 4)]
                requests.append(
                    f"GET /{code} HTTP/1.1\r\nHost: 127.0.0.1\r\nReferer: https://host{int(200 * chance.random() ** 3)}.example/\r\n"
                    f"Accept-Language: {chance.choice(('de', 'en', 'fr', 'ja', 'pl'))}\r\n"
                    f"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:{100 + chance.randrange(40)}.0) Firefox/140.0\r\n\r\n")
            stream.sendall("".join(requests).encode())
            answered, rest = 0, b""
            while answered < a_step:
                piece = stream.recv(1 << 16)
                if not piece:
                    raise Failed("visits are not answered")
                rest += piece
                answered += rest.count(b"HTTP/1.1 302")
                rest = rest[-11:]


def fill(run, data):
    """Makes the links and the visits, on a clock that a library sets back."""
    faults = run.temp / "faults"
    faults.mkdir()
    library = run.temp / "faults.so"
    source = bench.ROOT / "crates" / "testkit" / "src" / "faults.c"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, source], check=True)

    def set_clock(offset):
        new = faults / "clock.new"
        new.write_text(f"{offset} {offset}")
        new.rename(faults / "clock")
        time.sleep(0.025)  # it is read every 20 ms

    set_clock(-(DAYS + 1) * DAY_MS)
    process, port, _ = run.start_waypost(data, {
        "WAYPOST_ADMIN_KEY": KEY, "LD_PRELOAD": str(library), "FAULT_DIR": str(faults), "FAULT_DATA": str(data)})
    create(port, run.args.links)
    listed(port, run.args.links)
    visits(port, run.args.visits, run.args.links, set_clock)
    run.stop(process)


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
    "Statistics, compared": "/statistics?range=30d&compare=on",
    "Statistics of a tag": "/statistics?tag=print",
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


def signed_in(port):
    """The cookie of a new session."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    connection.request("POST", "/ui/sign-in", urllib.parse.urlencode({"key": KEY}), headers)
    answer = connection.getresponse()
    answer.read()
    cookie = answer.getheader("Set-Cookie")
    if answer.status != 303 or not cookie:
        raise Failed(f"signing in was answered with {answer.status}")
    return cookie.split(";")[0]


def visited_twice(browser, base, path):
    """The traffic of the first and of the second visit of a page, by somebody who has just signed in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{base}/sign-in")
    page.get_by_label("Admin key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation").first.wait_for()
    page.close()
    # Only the cookies are left of signing in.
    context.new_cdp_session(context.new_page()).send("Network.clearBrowserCache")
    both = [traffic(context, base + path) for _ in range(2)]
    context.close()
    return both


def all_traffic(base):
    """The traffic of all views, by their names."""
    from playwright.sync_api import sync_playwright

    from browser import launch
    with sync_playwright() as playwright:
        browser = launch(playwright)
        return {name: visited_twice(browser, base, path) for name, path in VIEWS.items()}


def main():
    args = arguments()
    if not args.no_browser:
        with_playwright()
    run = bench.Bench("ui", args)
    bench.head(run)
    data = pathlib.Path(args.data).resolve() if args.data else run.temp / "data"
    if not data.exists():
        say(f"creating {args.links:,} links and {args.visits:,} visits")
        fill(run, data)
    process, port, _ = run.start_waypost(data, {"WAYPOST_ADMIN_KEY": KEY})
    listed(port, args.links)
    loads = {} if args.no_browser else all_traffic(f"http://127.0.0.1:{port}/ui")
    cookie = signed_in(port)
    say("\n| view | first visit: requests | bytes | second visit: requests | bytes | server: median | p99 | processor |")
    say("|---|---|---|---|---|---|---|---|")
    for name, path in VIEWS.items():
        before = bench.cpu_seconds(process.pid)
        times = sorted(server_times(port, cookie, f"/ui{path}", args.rounds))
        cpu_ms = (bench.cpu_seconds(process.pid) - before) * 1000 / (args.rounds + 1)
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        unknown = {"requests": None, "bytes": None}
        first, second = loads.get(name, (unknown, unknown))
        run.result[name] = {"first": first, "second": second, "server_ms": times, "cpu_ms": cpu_ms}
        say(f"| {name} | {show(first['requests'])} | {show(first['bytes'])} | {show(second['requests'])} | {show(second['bytes'])} | "
            f"{show(median(times), 1)} ms | {show(p99, 1)} ms | {show(cpu_ms, 1)} ms |")
    run.stop(process)
    run.save()


bench.main(main)
