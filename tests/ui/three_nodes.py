"""Three nodes with replicas, seen through a fourth that has none: the main flows, and then again with one of the three killed."""

import os
import signal

from browser import main
from playwright.sync_api import expect
from server import eventually


def create_find_edit_and_delete(run, visitor, slug):
    """What somebody does with a link in its life."""
    visitor.go("/")
    visitor.page.get_by_text(visitor.t("create.more")).click()
    visitor.field("create.slug").fill(slug)
    visitor.field("create.url").fill(f"https://example.com/{slug}")
    visitor.field("create.url").press("Enter")
    visitor.sees("create.made")
    run.server.listed(slug)
    visitor.go(f"/links?q={slug}")
    visitor.page.get_by_role("row").filter(has_text=slug).get_by_role("link").first.click()
    visitor.field("link.field.title").fill(f"Title of {slug}")
    visitor.button("link.save").click()
    visitor.sees("link.saved")
    assert run.server.link(slug)["title"] == f"Title of {slug}"
    run.server.visit(slug)
    run.server.visits(slug, 1)
    visitor.go(f"/link/{slug}/stats")
    expect(visitor.page.locator("[data-people]")).to_have_text("1")
    visitor.link("link.delete").click()
    visitor.button("link.delete").click()
    visitor.sees("link.deleted")
    visitor.button("link.undo").click()
    visitor.sees("link.is-back")


def links_are_managed_through_a_node_without_replicas(run):
    create_find_edit_and_delete(run, run.visitor(), "all-nodes")


def they_are_while_another_node_is_down(run):
    visitor = run.visitor()
    os.kill(int(run.arguments.kill), signal.SIGKILL)
    # Its groups elect other leaders.
    eventually(lambda: all(run.server.ask("PUT", f"/api/v1/links/probe{number}", {"longUrl": "https://example.com/"}).status in (200, 201)
                           for number in range(40)), "all shards take changes again")
    create_find_edit_and_delete(run, visitor, "two-nodes")
    # The session was made before, and goes on; so does signing in.
    run.visitor().go("/links")
    visitor.go("/cluster")
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    for path in ("/", "/links", "/statistics", "/tags", "/domains", "/sessions"):
        visitor.go(path)
        expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
        # Nothing is missing: two nodes have everything.
        expect(visitor.page.get_by_text(visitor.t("partial.title"))).to_have_count(0)


if __name__ == "__main__":
    main([links_are_managed_through_a_node_without_replicas, they_are_while_another_node_is_down],
         more=[("--kill", "the process of the node that dies")])
