"""The server that is tested, as programs see it: its API, and visits to its links."""

import http.client
import json
import time
import urllib.parse

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"


class Answer:
    """An answer: status, headers, body."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        """The body as JSON."""
        return json.loads(self.body)


class Server:
    """A node, by its address."""

    def __init__(self, url, key):
        self.url, self.key = url, key
        self.host = urllib.parse.urlsplit(url).netloc

    def ask(self, method, path, body=None, headers=None):
        """One request on a connection of its own; redirects are not followed."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        given = {"X-Api-Key": self.key, **(headers or {})}
        if body is not None and not isinstance(body, (bytes, str)):
            body, given = json.dumps(body), {"Content-Type": "application/json", **given}
        connection.request(method, path, body.encode() if isinstance(body, str) else body, given)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def create(self, long_url, **fields):
        """Creates a link and returns it."""
        answer = self.ask("POST", "/api/v1/links", {"longUrl": long_url, **fields})
        assert answer.status in (200, 201), answer.body
        return answer.json()

    def link(self, code, domain=None):
        """A link, or `None`."""
        query = f"?domain={urllib.parse.quote(domain)}" if domain else ""
        answer = self.ask("GET", f"/api/v1/links/{urllib.parse.quote(code)}{query}")
        return answer.json() if answer.status == 200 else None

    def create_many(self, links):
        """Creates links, each given by its fields."""
        for start in range(0, len(links), 500):
            items = [{"op": "create", "link": link} for link in links[start:start + 500]]
            answer = self.ask("POST", "/api/v1/bulk", {"items": items})
            assert answer.status == 200 and answer.json()["failed"] == 0, answer.body[:2000]

    def visit(self, code, agent=FIREFOX, referrer=None, language="en", address=None, method="GET"):
        """A visit. Returns the status of its answer."""
        headers = {"User-Agent": agent, "Accept-Language": language}
        if referrer:
            headers["Referer"] = referrer
        if address:
            headers["X-Forwarded-For"] = address
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request(method, f"/{urllib.parse.quote(code)}", headers=headers)
        status = Answer(connection.getresponse()).status
        connection.close()
        return status

    def visits(self, code, wanted, patience=60):
        """Waits until a link has so many visits by people."""
        eventually(lambda: ((self.link(code) or {}).get("visits") or {}).get("people") == wanted, f"{code} has {wanted} visits", patience)

    def listed(self, *codes, patience=60):
        """Waits until lists have these links."""
        def all_there():
            return all(any(link["shortCode"] == code for link in self.found(code)) for code in codes)
        eventually(all_there, f"{codes} are listed", patience)

    def found(self, words, **more):
        """The links that a search finds, 1,000 at most."""
        query = urllib.parse.urlencode({"q": words, "limit": 1000, **more})
        answer = self.ask("GET", f"/api/v1/links?{query}")
        assert answer.status == 200, answer.body
        return answer.json()["items"]


def eventually(holds, what, patience=60):
    """Waits until something holds."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {patience} s: {what}")
        time.sleep(0.05)
