"""What a cluster does while its nodes run two versions: a part of `upgrade.py`.

What the earlier version has goes on through every node. What it does not understand is refused with the reason by every new node, until all nodes are new. A list
through a new node has every link, or says which shards are missing.
"""

import json
import time
import urllib.parse

from smoke import KEY

# What a link, or a request, needs of a cluster: the level, the request, and the status once all nodes are new.
LINK = {"longUrl": "https://example.com/mixed"}
NEEDED = (
    (2, "POST", "/api/v1/links", {**LINK, "title": "A title", "tags": ["mixed"]}, 201),
    (3, "POST", "/api/v1/links", {**LINK, "maxVisits": 5}, 201),
    (3, "POST", "/shorten", {**LINK, "password": "correct horse"}, 201),
    (3, "POST", "/api/v1/links", {**LINK, "rules": [{"conditions": [{"type": "device", "value": "ios"}], "longUrl": "https://example.com/ios"}]}, 201),
    (3, "PATCH", "/api/v1/links/{alias}", {"maxVisits": 1000}, 200),
    (3, "GET", "/api/v1/links/{alias}/history", None, 200),
    (3, "POST", "/api/v1/domains", {"host": "{alias}.example"}, 201),
    (3, "POST", "/ui/sign-in", f"key={urllib.parse.quote(KEY)}", 303),
)
LISTS = ("/api/v1/links", "/api/v1/links?state=endsSoon", "/api/v1/tags")


class Mixed:
    def __init__(self, clients, wait):
        self.clients, self.wait, self.made = clients, wait, 0

    def ask(self, node, method, path, body=None):
        status, headers, read = self.clients.ask(node, method, path, body)
        document = json.loads(read) if "json" in (headers["Content-Type"] or "") else {}
        return status, headers, document

    def old_operations(self, node, others):
        """A link is made, followed, edited and deleted through a node, and each change is seen through the others."""
        self.made += 1
        alias = f"old-{node}-{self.made}"
        status, _, made = self.ask(node, "POST", "/shorten", {"longUrl": "https://example.com/first", "customSlug": alias})
        assert status == 201 and made["shortCode"] == alias, f"{node} answered a create with {status}"
        for other in others:
            self.leads(other, alias, 302, "https://example.com/first")
        status, _, _ = self.ask(node, "PATCH", f"/api/v1/links/{alias}", {"longUrl": "https://example.com/second"})
        assert status == 200, f"{node} answered an edit with {status}"
        status, _, link = self.ask(node, "GET", f"/api/v1/links/{alias}?consistency=strong")
        assert (status, link["longUrl"]) == (200, "https://example.com/second"), (node, status)
        status, _, counted = self.ask(node, "GET", f"/analytics/{alias}")
        assert status == 200 and counted, f"{node} answered the statistics of a link with {status}"
        # Within a second, everywhere.
        for other in others:
            self.wait(f"{other} has the edit", lambda: self.target(other, alias) == (302, "https://example.com/second"))
        assert self.ask(node, "DELETE", f"/api/v1/links/{alias}")[0] == 204, f"{node} does not delete"
        for other in others:
            self.wait(f"{other} has the deletion", lambda: self.target(other, alias)[0] == 404)

    def target(self, node, alias):
        status, headers, _ = self.clients.ask(node, "GET", f"/{alias}")
        return status, headers["Location"]

    def leads(self, node, alias, status, url):
        found = self.target(node, alias)
        assert found == (status, url), f"{alias} was answered {found} by {node}"

    def new_operations(self, node, level):
        """What needs a higher level is refused with the reason, and changes nothing; the rest is done. Returns how many were refused."""
        self.made += 1
        alias, refused = f"new-{node}-{self.made}", 0
        assert self.ask(node, "POST", "/shorten", {**LINK, "customSlug": alias})[0] == 201
        for needed, method, path, body, done in NEEDED:
            path = path.replace("{alias}", alias)
            if isinstance(body, dict):
                body = {key: value.replace("{alias}", alias) if isinstance(value, str) else value for key, value in body.items()}
            status, _, answer = self.ask(node, method, path, body)
            if needed <= level:
                assert status == done, f"{node} answered {method} {path} with {status}: {answer}"
                continue
            refused += 1
            assert status == 409, f"{node} answered {method} {path} with {status}: {answer}"
            # The dashboard answers with a page.
            assert not answer or answer["type"] == "urn:waypost:problem:not-yet-supported" and "cluster status" in answer["detail"], answer
        status, _, link = self.ask(node, "GET", f"/api/v1/links/{alias}?consistency=strong")
        assert status == 200 and link["maxVisits"] == (1000 if level >= 3 else None), link
        return refused

    def unknown_operations(self, node):
        """An earlier version refuses what it does not know, whatever it is, and stays what it was."""
        for method, path, body in (("GET", "/api/v1/links", None), ("GET", "/api/v1/tags", None), ("POST", "/api/v1/domains", {"host": "b.example"})):
            status, _, _ = self.ask(node, method, path, body)
            assert status < 500, f"{node} answered {method} {path} with {status}"

    def walk(self, node, query=""):
        """All pages of a list: the short codes, and the shards that are missing."""
        codes, partial, cursor = [], set(), ""
        while cursor is not None:
            status, _, page = self.ask(node, "GET", f"/api/v1/links?limit=1000&sort=createdAt{query}{cursor}")
            assert status == 200, f"{node} answered a list with {status}: {page}"
            codes += [link["shortCode"] for link in page["items"]]
            partial.update(page.get("partial", ()))
            assert not page.get("partial") or page["totalIsMinimum"], "a list without some shards says that it is whole"
            cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
        assert len(codes) == len(set(codes)), "a link is on two pages"
        return set(codes), partial

    def lists(self, node):
        """A list has every link that is older than a second, or says what is missing; soon it has all. Returns how many answers said that something is missing."""
        for path in LISTS:
            status, _, answer = self.ask(node, "GET", path)
            assert status == 200, f"{node} answered {path} with {status}: {answer}"
        with_gaps = 0

        def is_whole():
            nonlocal with_gaps
            with self.clients.lock:
                expected = set(self.clients.links)
            time.sleep(1.2)
            codes, partial = self.walk(node)
            missing = expected - codes
            assert partial or not missing, f"{node} says that the list is whole, and {len(missing)} of {len(expected)} are missing"
            with_gaps += bool(partial)
            return not partial
        self.wait(f"{node} lists every link", is_whole)
        return with_gaps
