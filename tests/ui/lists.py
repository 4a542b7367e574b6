"""Many links, on one node: they are found, sorted, paged through, selected and changed."""

import csv
import io
import pathlib
import time
import urllib.parse

from browser import main
from playwright.sync_api import expect
from server import eventually

LINKS = 260
TOPICS = ["harbour", "ferry", "garden", "library"]


def prepare(run):
    """Links to look for, once for all flows."""
    if run.server.link("n000"):
        return
    answer = run.server.ask("POST", "/api/v1/domains", {"host": "go.example"})
    assert answer.status == 201, answer.body
    run.server.create_many([{
        "longUrl": f"https://example.com/{TOPICS[number % 4]}/{number}", "customSlug": f"n{number:03}",
        "title": f"{TOPICS[number % 4].title()} number {number:03}", "tags": [TOPICS[number % 4], "even" if number % 2 == 0 else "odd"],
        "disabled": number % 50 == 7} for number in range(LINKS)])
    run.server.create("https://example.com/other", customSlug="elsewhere", domain="go.example", title="In another domain")
    for _ in range(3):
        run.server.visit("n042")
    run.server.visits("n042", 3)
    # Lists by visits may be a minute old, but those of a link that is changed are those of that moment.
    assert run.server.ask("PATCH", "/api/v1/links/n042", {"note": "Visited"}).status == 200
    first = lambda: run.server.ask("GET", "/api/v1/links?sort=-visits&limit=1").json()["items"][0]["shortCode"]
    eventually(lambda: first() == "n042", "lists know of the visits", 150)
    eventually(lambda: len(run.server.found("")) >= LINKS + 1, "all links are listed")


def rows(visitor):
    """The rows of links that are shown."""
    return visitor.page.locator("tbody").get_by_role("row")


def query(visitor):
    """The query of the address."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(visitor.page.url).query))


def links_are_found_while_one_types(run):
    prepare(run)
    visitor = run.visitor()
    visitor.go("/links")
    search = visitor.field("links.search")
    search.press_sequentially("harbour 004", delay=20)
    expect(rows(visitor)).to_have_count(1)
    expect(rows(visitor)).to_contain_text("Harbour number 004")
    # The place is in the address: it can be loaded anew, and sent to others.
    visitor.page.wait_for_url("**q=harbour*")
    visitor.page.reload()
    expect(search).to_have_value("harbour 004")
    expect(rows(visitor)).to_have_count(1)
    search.fill("nothing of this kind")
    visitor.sees("links.none-fit")


def links_are_filtered_and_sorted(run):
    prepare(run)
    visitor = run.visitor()
    visitor.go("/links")
    filters = visitor.page.get_by_role("search")
    filters.get_by_label(visitor.t("column.state")).select_option(label=visitor.t("state.disabled"))
    visitor.sees("links.total", 6)
    visitor.page.get_by_text(visitor.t("links.filter"), exact=True).click()
    tags = filters.get_by_label(visitor.t("column.tags"), exact=True)
    tags.fill("odd, garden")
    tags.press("Enter")
    visitor.page.wait_for_url("**tags=odd*")
    visitor.sees("links.total", 6)
    visitor.field("links.all-tags").check()
    visitor.sees("links.none-fit")
    visitor.link("links.no-filter").click()
    visitor.sees("links.total", LINKS + 1)
    visitor.page.get_by_text(visitor.t("links.filter"), exact=True).click()
    filters.get_by_label(visitor.t("column.domain")).select_option(label="go.example")
    expect(rows(visitor)).to_have_count(1)
    visitor.link("links.no-filter").click()
    # Sorting by a head, and back.
    head = visitor.page.get_by_role("columnheader", name=visitor.t("column.clicks"))
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(rows(visitor).first).to_contain_text("number 042")
    assert query(visitor)["sort"] == "-visits"
    # The focus stays, and the field has the same order: also the next search has it.
    expect(head.get_by_role("link")).to_be_focused()
    expect(visitor.field("links.sort")).to_have_value("-visits")
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(visitor.field("links.sort")).to_have_value("visits")
    visitor.field("links.search").fill("ferry")
    expect(rows(visitor).first).to_contain_text("Ferry")
    eventually(lambda: query(visitor).get("q") == "ferry", "the search is in the address")
    assert query(visitor)["sort"] == "visits"
    head = visitor.page.get_by_role("columnheader", name=visitor.t("column.link"), exact=True)
    head.get_by_role("link").click()
    expect(rows(visitor).first).to_contain_text("Ferry number 001")
    expect(head).to_have_attribute("aria-sort", "ascending")


def columns_are_chosen_and_stay(run):
    prepare(run)
    visitor = run.visitor()
    visitor.go("/links")
    visitor.page.get_by_text(visitor.t("links.columns"), exact=True).click()
    box = visitor.page.get_by_role("checkbox", name=visitor.t("column.note"))
    shown = rows(visitor).count()
    box.check()
    # The choice is found without going to the end of the list, which would make it longer.
    assert rows(visitor).count() == shown < LINKS, shown
    visitor.button("links.columns-show").click()
    expect(visitor.page.get_by_role("columnheader", name=visitor.t("column.note"))).to_be_visible()
    visitor.go("/links?q=garden")
    expect(visitor.page.get_by_role("columnheader", name=visitor.t("column.note"))).to_be_visible()


def a_long_list_goes_on_by_itself_and_keeps_its_place(run):
    prepare(run)
    visitor = run.visitor()
    visitor.go("/links?q=number&sort=slug")
    first = rows(visitor).count()
    assert first < LINKS
    def to_the_end():
        rows(visitor).last.scroll_into_view_if_needed()
        visitor.page.mouse.wheel(0, 4000)
        return rows(visitor).count() >= LINKS
    eventually(to_the_end, "all links are shown")
    texts = rows(visitor).locator("[data-open]").all_inner_texts()
    assert len(texts) == len(set(texts)) == LINKS, len(texts)
    # One of a later page, and back to it.
    later = visitor.page.get_by_role("link", name="number 200")
    later.scroll_into_view_if_needed()
    eventually(lambda: "cursor" in query(visitor), "the address has the place")
    # The link's page is slow to come, and the list was still moving.
    def slowly(route):
        time.sleep(0.5)
        route.continue_()
    visitor.page.route("**/links/n200*", slowly)
    later.evaluate("row => { scrollBy(0, -9); document.dispatchEvent(new Event('scroll')); row.click(); }")
    expect(visitor.field("link.field.target")).to_have_value("https://example.com/harbour/200")
    visitor.page.unroute("**/links/n200*")
    visitor.page.go_back()
    expect(visitor.page.get_by_role("link", name="number 200")).to_be_in_viewport()


def selected_links_are_changed_and_changed_back(run):
    prepare(run)
    visitor = run.visitor()

    def choose(*numbers):
        visitor.go("/links?q=n01&sort=slug")
        for number in numbers:
            rows(visitor).filter(has_text=f"number {number}").get_by_role("checkbox").check()
        expect(visitor.page.get_by_text(f"{len(numbers)} {visitor.t('bulk.selected')}")).to_be_visible()

    def has_tag(number):
        return "chosen" in run.server.link(f"n{number}")["tags"]

    visitor.go("/links?q=n01&sort=slug")
    # What cannot be used yet is not in the way.
    expect(visitor.button("bulk.tag")).to_be_hidden()
    choose("011", "012")
    visitor.page.get_by_label(visitor.t("bulk.tag-name"), exact=True).fill("chosen")
    visitor.button("bulk.tag").click()
    expect(visitor.page.get_by_text(visitor.t("bulk.did-tag", 2).replace("{tag}", "chosen"))).to_be_visible()
    assert has_tag("011") and has_tag("012") and not has_tag("013")
    visitor.button("create.undo").click()
    expect(visitor.page.get_by_text(visitor.t("bulk.did-untag", 2).replace("{tag}", "chosen"))).to_be_visible()
    assert not has_tag("011")
    visitor.link("bulk.back").click()
    expect(rows(visitor)).to_have_count(10)
    choose("011", "014")
    visitor.button("bulk.disable").click()
    visitor.sees("bulk.did-disable", 2)
    assert run.server.link("n011")["disabled"] and run.server.link("n014")["disabled"]
    choose("014")
    visitor.button("bulk.enable").click()
    visitor.sees("bulk.did-enable", 1)
    assert not run.server.link("n014")["disabled"]
    choose("015", "016")
    with visitor.page.expect_download() as download:
        visitor.button("bulk.export").click()
    exported = list(csv.DictReader(io.StringIO(pathlib.Path(download.value.path()).read_text())))
    assert sorted(row["shortCode"] for row in exported) == ["n015", "n016"], exported
    # What cannot be taken back is asked about before.
    choose("017", "018")
    visitor.button("bulk.delete").click()
    visitor.sees("bulk.ask-delete", 2)
    assert run.server.link("n017")
    visitor.link("bulk.cancel").click()
    choose("017", "018")
    visitor.button("bulk.delete").click()
    visitor.button("bulk.delete").click()
    visitor.sees("bulk.did-delete", 2)
    assert run.server.link("n017") is None and run.server.link("n019")


def all_links_that_fit_are_changed(run):
    run.server.create_many([{"longUrl": f"https://example.com/sweep/{number}", "customSlug": f"sweep{number}"} for number in range(150)])
    eventually(lambda: len(run.server.found("sweep")) == 150, "all links are listed")
    visitor = run.visitor()
    visitor.go("/links?q=sweep")
    assert rows(visitor).count() < 150
    rows(visitor).first.get_by_role("checkbox").check()
    visitor.page.get_by_role("checkbox", name=visitor.t("bulk.all", 150)).check()
    visitor.button("bulk.disable").click()
    visitor.sees("bulk.ask-disable", 150)
    visitor.button("bulk.disable").click()
    visitor.sees("bulk.did-disable", 150)
    assert all(run.server.link(f"sweep{number}")["disabled"] for number in (0, 77, 149))
    visitor.button("create.undo").click()
    visitor.sees("bulk.did-enable", 150)


def the_whole_list_is_exported(run):
    prepare(run)
    visitor = run.visitor()
    visitor.go("/links?tags=harbour")
    with visitor.page.expect_download() as download:
        visitor.link("links.export").click()
    exported = list(csv.DictReader(io.StringIO(pathlib.Path(download.value.path()).read_text())))
    assert len(exported) == LINKS // 4, len(exported)


def keys_lead_through_the_pages(run):
    prepare(run)
    visitor = run.visitor()
    page = visitor.page
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name=visitor.t("keys.title"))
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("/")
    expect(visitor.field("links.search")).to_be_focused()
    page.keyboard.type("library 003")
    expect(rows(visitor)).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    expect(rows(visitor).get_by_role("checkbox")).to_be_checked()
    page.keyboard.press("Enter")
    expect(visitor.field("link.field.target")).to_have_value("https://example.com/library/3")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("n")
    expect(visitor.field("create.url")).to_be_focused()
    # They can be switched off, for those who speak to their computer.
    page.get_by_text(visitor.t("layout.settings"), exact=True).click()
    visitor.button("keys.off").click()
    page.get_by_text(visitor.t("layout.settings"), exact=True).click()
    expect(visitor.button("keys.off")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("heading", level=1).first.click()
    for key in ("n", "?", "/"):
        page.keyboard.press(key)
    expect(dialog).to_be_hidden()
    expect(visitor.field("create.url")).not_to_be_focused()


def a_link_is_made_found_edited_and_deleted_by_keyboard_only(run):
    prepare(run)
    visitor = run.visitor()
    page = visitor.page

    def tab_to(target, most=80):
        for _ in range(most):
            if target.evaluate("it => it === document.activeElement"):
                # What has the focus is seen: it is not covered, and has a ring.
                expect(target).to_be_in_viewport()
                assert target.evaluate("it => getComputedStyle(it).outlineStyle !== 'none'"), target
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"not reached by Tab: {target}")

    page.keyboard.type("https://example.com/keyboard")
    more = page.locator("summary").filter(has_text=visitor.t("create.more"))
    tab_to(more)
    page.keyboard.press("Enter")
    tab_to(visitor.field("create.slug"))
    page.keyboard.type("keyboard")
    page.keyboard.press("Enter")
    visitor.sees("create.made")
    run.server.listed("keyboard")
    tab_to(visitor.link("layout.links"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/links")
    tab_to(visitor.field("links.search"))
    page.keyboard.type("example.com/keyboard")
    expect(rows(visitor)).to_have_count(1)
    tab_to(rows(visitor).locator("[data-open]"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/link/keyboard*")
    tab_to(visitor.field("link.field.title"))
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    visitor.sees("link.saved")
    tab_to(visitor.link("link.delete"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/delete*")
    tab_to(visitor.button("link.delete"))
    page.keyboard.press("Enter")
    visitor.sees("link.deleted")
    assert run.server.link("keyboard") is None


FLOWS = [
    links_are_found_while_one_types, links_are_filtered_and_sorted, columns_are_chosen_and_stay, a_long_list_goes_on_by_itself_and_keeps_its_place,
    selected_links_are_changed_and_changed_back, all_links_that_fit_are_changed, the_whole_list_is_exported, keys_lead_through_the_pages, a_link_is_made_found_edited_and_deleted_by_keyboard_only]

if __name__ == "__main__":
    main(FLOWS)
