"""Makes a data directory for tests/golden.rs: `python3 tests/data/data_directory.py target/debug/waypost 0.1`.

Run it with each release, and keep the earlier ones: what a release has written, every later one opens. The node is killed at the
end, so that a part of it is in the log only.
"""

import http.client
import json
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PUBLIC, ADMIN = 18480, 18490
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"


def ask(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", PUBLIC, timeout=10)
    connection.request(method, path, body=json.dumps(body) if body else None,
                       headers={"Content-Type": "application/json", "User-Agent": BROWSER, **(headers or {})})
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, json.loads(read) if read.startswith(b"{") else read


def start(waypost, data):
    environment = {"WAYPOST_CLICKS_JOURNAL_RECORDS": "1000", "WAYPOST_HTTP_WORKERS": "1"}
    node = subprocess.Popen([waypost, "serve", "--data-dir", data, "--listen", f"127.0.0.1:{PUBLIC}", "--admin-listen",
                             f"127.0.0.1:{ADMIN}"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not node.stdout.readline().startswith("waypost is ready"):
        assert node.poll() is None, "the node has ended"
    return node


def shorten(links, **body):
    status, made = ask("POST", "/shorten", body)
    assert status == 201, made
    links[made["shortCode"]] = made["longUrl"]
    return made["shortCode"]


def main():
    waypost, version = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    links, data = {}, pathlib.Path(tempfile.mkdtemp()) / "data"
    node = start(waypost, data)
    for url in (HERE / "urls.txt").read_text().split():
        shorten(links, longUrl=url)
    named = shorten(links, longUrl="https://example.com/named", customSlug="golden")
    shorten(links, longUrl="https://example.com/until", customSlug="until-2099", validUntil="2099-01-01T00:00:00Z")
    removed = shorten(links, longUrl="https://example.com/removed", customSlug="removed")
    assert ask("DELETE", f"/api/v1/links/{removed}")[0] == 204
    del links[removed]
    edited = shorten(links, longUrl="https://example.com/before")
    assert ask("PATCH", f"/api/v1/links/{edited}", {"longUrl": "https://example.com/after"})[0] == 200
    links[edited] = "https://example.com/after"
    for number in range(25):
        assert ask("GET", f"/{named}", headers={"Referer": f"https://referrer{number % 5}.example/"})[0] == 302
    deadline = time.monotonic() + 30
    while ask("GET", f"/analytics/{named}")[1]["totalClicks"] < 25:
        assert time.monotonic() < deadline, "the visits are not counted"
        time.sleep(0.1)
    node.send_signal(signal.SIGTERM)
    assert node.wait(60) == 0
    node = start(waypost, data)
    for number in range(20):
        shorten(links, longUrl=f"https://example.com/in/the/log/{number}")
    for _ in range(5):
        assert ask("GET", f"/{named}")[0] == 302
    node.kill()
    node.wait()
    expected = {"links": links, "gone": [removed], "visits": {named: 30}, "referrers": {named: 5}}
    (HERE / f"data-directory-{version}.json").write_text(json.dumps(expected, indent=0) + "\n")
    with tarfile.open(HERE / f"data-directory-{version}.tar.gz", "w:gz") as archive:
        archive.add(data, "data", filter=lambda info: info.replace(uid=0, gid=0, uname="", gname="", deep=False))


if __name__ == "__main__":
    main()
