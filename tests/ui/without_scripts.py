"""The dashboard in a browser that runs no scripts: signing in, creating, finding, editing and deleting."""

from browser import main
from playwright.sync_api import expect


def everything_essential_works_without_scripts(run):
    visitor = run.visitor(javascript=False)
    visitor.expects(409, 412, 422)
    page = visitor.page
    # Create: refused at first.
    visitor.go("/")
    visitor.field("create.url").fill("no address")
    visitor.button("create.shorten").click()
    assert visitor.reason(visitor.field("create.url"))
    expect(visitor.field("create.url")).to_have_value("no address")
    page.get_by_text(visitor.t("create.more")).click()
    visitor.field("create.slug").fill("plain-page")
    visitor.field("create.name").fill("A page without scripts")
    visitor.field("create.url").fill("https://example.com/plain")
    visitor.button("create.shorten").click()
    visitor.sees("create.made")
    assert run.server.link("plain-page")["title"] == "A page without scripts"
    # Find.
    run.server.listed("plain-page")
    visitor.link("layout.links").click()
    visitor.field("links.search").fill("without scripts")
    visitor.button("links.find").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="A page without scripts").click()
    # Edit: refused at first.
    visitor.field("link.field.target").fill("ftp://example.com/")
    visitor.button("link.save").click()
    assert visitor.reason(visitor.field("link.field.target"))
    visitor.field("link.field.target").fill("https://example.com/plainer")
    visitor.button("link.save").click()
    visitor.sees("link.saved")
    assert run.server.link("plain-page")["longUrl"] == "https://example.com/plainer"
    # Delete, and the way back.
    visitor.link("link.delete").click()
    visitor.button("link.delete").click()
    visitor.sees("link.deleted")
    assert run.server.link("plain-page") is None
    visitor.button("link.undo").click()
    visitor.sees("link.is-back")
    assert run.server.link("plain-page")
    visitor.sign_out()


def every_page_can_be_read_without_scripts(run):
    run.server.create("https://example.com/readable", customSlug="readable", tags=["readable"])
    run.server.visit("readable")
    run.server.visits("readable", 1)
    visitor = run.visitor(javascript=False)
    for path in ("/", "/links", "/link/readable", "/link/readable/rules", "/link/readable/history", "/link/readable/stats",
                 "/link/readable/qr", "/link/readable/delete", "/statistics", "/tags", "/domains", "/sessions", "/cluster"):
        visitor.go(path)
        expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
        # What needs a script is not offered.
        assert visitor.page.locator(".js-only").and_(visitor.page.locator(":visible")).count() == 0, path


if __name__ == "__main__":
    main([everything_essential_works_without_scripts, every_page_can_be_read_without_scripts])
