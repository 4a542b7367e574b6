"""The other pages, on one node: tags, domains, sessions, preferences, and the ways in from other applications."""

import json
import urllib.parse

from browser import main
from playwright.sync_api import expect
from server import eventually


def tags_are_renamed_and_removed(run):
    for number in range(3):
        run.server.create(f"https://example.com/{number}", customSlug=f"tagged{number}", tags=["Old name", "other"])
    run.server.listed("tagged2")
    visitor = run.visitor()
    visitor.expects(422)
    page = visitor.page
    visitor.go("/tags")
    row = visitor.page.get_by_role("row").filter(has_text="Old name")
    expect(row).to_contain_text("3")
    row.get_by_role("link", name=visitor.t("tags.edit")).click()
    visitor.field("tags.new-name").fill("x" * 60 + ",y")
    visitor.button("tags.rename").click()
    assert visitor.reason(visitor.field("tags.new-name"))
    visitor.field("tags.new-name").fill("New name")
    visitor.button("tags.rename").click()
    expect(page.get_by_text(visitor.t("bulk.did-rename", 3).replace("{tag}", "New name"))).to_be_visible()
    assert all("New name" in run.server.link(f"tagged{number}")["tags"] for number in range(3))
    visitor.link("bulk.back").click()
    visitor.field("tags.search").fill("other")
    visitor.field("tags.search").press("Enter")
    visitor.page.get_by_role("row").filter(has_text="other").get_by_role("link", name=visitor.t("tags.edit")).click()
    # Somebody is asked before, and there is a way back.
    visitor.button("tags.remove").click()
    assert "other" in run.server.link("tagged0")["tags"]
    visitor.button("bulk.untag").click()
    expect(page.get_by_text(visitor.t("bulk.did-untag", 3).replace("{tag}", "other"))).to_be_visible()
    assert run.server.link("tagged0")["tags"] == ["New name"]
    visitor.button("create.undo").click()
    expect(page.get_by_text(visitor.t("bulk.did-tag", 3).replace("{tag}", "other"))).to_be_visible()
    assert set(run.server.link("tagged0")["tags"]) == {"New name", "other"}


def domains_are_made_changed_and_removed(run):
    visitor = run.visitor()
    visitor.expects(409, 422)
    visitor.go("/domains")
    visitor.link("domains.new").click()
    visitor.field("domains.host").fill("not a host")
    visitor.button("domains.save").click()
    assert visitor.reason(visitor.field("domains.host"))
    expect(visitor.field("domains.host")).to_have_value("not a host")
    visitor.field("domains.host").fill("kurz.example")
    visitor.field("domains.base-url").fill("https://example.com/home")
    visitor.button("domains.save").click()
    visitor.sees("domains.made")
    row = visitor.page.get_by_role("row").filter(has_text="kurz.example")
    row.get_by_role("link", name=visitor.t("domains.edit")).click()
    visitor.field("domains.unknown-url").fill("https://example.com/lost")
    visitor.button("domains.save").click()
    visitor.sees("domains.saved")
    domains = run.server.ask("GET", "/api/v1/domains/kurz.example").json()
    assert domains["unknownUrl"] == "https://example.com/lost", domains
    # It can be chosen for a new link.
    visitor.go("/")
    visitor.page.get_by_text(visitor.t("create.more")).click()
    visitor.field("create.domain").select_option(label="kurz.example")
    visitor.field("create.slug").fill("there")
    visitor.field("create.url").fill("https://example.com/there")
    visitor.button("create.shorten").click()
    visitor.sees("create.made")
    assert run.server.link("there", "kurz.example")
    visitor.go("/domains")
    row.get_by_role("link", name=visitor.t("domains.edit")).click()
    visitor.link("domains.remove").click()
    visitor.button("domains.remove").click()
    visitor.sees("domains.removed")
    expect(row).to_have_count(0)


def sessions_are_listed_and_ended(run):
    one, two = run.visitor(), run.visitor(language="de-DE")
    one.go("/sessions")
    # There may be more, of other flows.
    expect(one.page.get_by_role("row").filter(has_text=one.t("sessions.own"))).to_have_count(1)
    one.button("sessions.end-others").click()
    expect(one.page.get_by_role("row")).to_have_count(2)
    two.expects(401)
    two.go("/links")
    expect(two.field("sign-in.key")).to_be_visible()


def theme_and_language_are_chosen_and_stay(run):
    visitor = run.visitor()
    html = visitor.page.locator("html")
    expect(html).to_have_attribute("lang", "en")
    def background():
        return visitor.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    light = background()
    visitor.page.get_by_text(visitor.t("layout.settings"), exact=True).click()
    visitor.button("layout.theme-dark").click()
    expect(html).to_have_attribute("data-theme", "dark")
    dark = background()
    assert dark != light, dark
    visitor.go("/links")
    assert background() == dark
    visitor.page.get_by_text(visitor.t("layout.settings"), exact=True).click()
    visitor.page.get_by_role("button", name="Deutsch").click()
    expect(html).to_have_attribute("lang", "de")
    visitor.go("/")
    expect(html).to_have_attribute("lang", "de")


def a_german_browser_gets_german_pages(run):
    run.server.create("https://example.com/deutsch", customSlug="deutsch")
    run.server.create_many([{"longUrl": f"https://example.com/de/{number}", "tags": ["viele"]} for number in range(1100)])
    eventually(lambda: len(run.server.found("/de/")) == 1000, "all links are listed")
    visitor = run.visitor(language="de-DE")
    expect(visitor.page.locator("html")).to_have_attribute("lang", "de")
    visitor.field("create.url").fill("https://example.com/neu")
    visitor.field("create.url").press("Enter")
    visitor.sees("create.made")
    visitor.go("/tags")
    # Numbers are written as in German.
    expect(visitor.page.get_by_role("row").filter(has_text="viele")).to_contain_text("1.100")


def urls_come_in_from_other_applications(run):
    visitor = run.visitor()
    shared = "https://example.com/shared?by=a+phone&x=ü"
    visitor.go(f"/new?{urllib.parse.urlencode({'url': shared})}")
    expect(visitor.field("create.url")).to_have_value(shared)
    # Nothing is made before somebody presses Enter: any page can link to this address.
    assert not run.server.found("by=a+phone")
    manifest = visitor.page.locator("link[rel=manifest]").get_attribute("href")
    answer = visitor.context.request.get(run.server.url + manifest)
    found = json.loads(answer.text())
    assert found["share_target"]["action"] and found["icons"], found
    for icon in found["icons"]:
        assert visitor.context.request.get(urllib.parse.urljoin(run.server.url + manifest, icon["src"])).ok, icon
    search = visitor.page.locator("link[rel=search]").get_attribute("href")
    answer = visitor.context.request.get(run.server.url + search)
    assert answer.ok and "{searchTerms}" in answer.text(), answer.text()


FLOWS = [
    tags_are_renamed_and_removed, domains_are_made_changed_and_removed, sessions_are_listed_and_ended, theme_and_language_are_chosen_and_stay,
    a_german_browser_gets_german_pages, urls_come_in_from_other_applications]

if __name__ == "__main__":
    main(FLOWS)
