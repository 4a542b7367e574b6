"""A cluster in which each shard is on one node only: pages say what is missing while a node is down, and show the rest."""

import os
import signal

from browser import main
from playwright.sync_api import expect
from server import eventually

LINKS = 60


def pages_say_that_something_is_missing(run):
    run.server.create_many([{"longUrl": f"https://example.com/{number}", "customSlug": f"p{number}", "tags": ["part"]} for number in range(LINKS)])
    eventually(lambda: len(run.server.found("example")) == LINKS, "all links are listed")
    visitor = run.visitor()
    visitor.expects(503)
    visitor.go("/links?q=example")
    visitor.sees("links.total", LINKS)
    expect(visitor.page.get_by_text(visitor.t("partial.title"))).to_have_count(0)
    os.kill(int(run.arguments.kill), signal.SIGKILL)
    eventually(lambda: len(run.server.found("example")) < LINKS, "links are missing")
    left = {link["shortCode"] for link in run.server.found("example")}
    assert left
    for path in ("/", "/links?q=example", "/tags"):
        visitor.go(path)
        visitor.sees("partial.title")
    lost = next(f"p{number}" for number in range(LINKS) if f"p{number}" not in left)
    # A link of the node that is down: the page says that it cannot be shown now, and not that it does not exist.
    visitor.go(f"/link/{lost}")
    visitor.sees("failure.busy")
    visitor.go(f"/link/{next(iter(left))}")
    expect(visitor.field("link.field.target")).to_be_visible()


if __name__ == "__main__":
    main([pages_say_that_something_is_missing], more=[("--kill", "the process of the node that dies")])
