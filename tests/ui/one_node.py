"""What people do with links, on one node."""

import csv
import io
import pathlib
import shutil
import subprocess
import tempfile
import urllib.parse

from browser import main, say
from playwright.sync_api import expect
from server import FIREFOX, eventually

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def read_qr(png):
    """The text of a QR code on a picture; `None` without zbarimg."""
    if not shutil.which("zbarimg"):
        say("zbarimg is not installed: QR codes are not read")
        return None
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(png)
        file.flush()
        done = subprocess.run(["zbarimg", "--quiet", "--raw", file.name], capture_output=True, text=True)
    return done.stdout.strip()


def signs_in_with_the_key_and_out_again(run):
    visitor = run.visitor(signed_in=False)
    visitor.expects(401, 403, 422, 429)
    visitor.go("/links?q=spring")
    field = visitor.field("sign-in.key")
    field.fill("a-key-that-is-wrong")
    field.press("Enter")
    visitor.sees("sign-in.wrong")
    visitor.field("sign-in.key").fill(run.server.key)
    visitor.field("sign-in.key").press("Enter")
    # It goes on to where somebody wanted to go.
    expect(visitor.page).to_have_url(f"{run.server.url}{run.base}/links?q=spring")
    cookies = {cookie["name"]: cookie for cookie in visitor.context.cookies()}
    session = next(cookie for name, cookie in cookies.items() if "session" in name)
    assert session["httpOnly"] and session["sameSite"] == "Lax", session
    visitor.sign_out()
    # Nothing of what was shown is left in the browser.
    visitor.page.go_back()
    expect(visitor.field("sign-in.key")).to_be_visible()
    visitor.context.add_cookies([session])
    visitor.go("/")
    expect(visitor.field("sign-in.key")).to_be_visible()


def signs_in_with_a_link_of_the_command_once(run):
    command = [run.arguments.program, "dashboard", "--no-open", "--server", run.server.url, "--data-dir", run.arguments.data_dir]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    assert url.startswith(f"{run.server.url}{run.base}/sign-in/"), url
    visitor = run.visitor(signed_in=False)
    visitor.page.goto(url)
    # Chats and browsers open links that nobody has clicked: that does not use it up.
    visitor.page.reload()
    visitor.button("sign-in.submit").click()
    expect(visitor.link("layout.home")).to_be_visible()
    late = run.visitor(signed_in=False)
    late.expects(401, 403, 404, 410, 422)
    late.page.goto(url)
    late.sees("sign-in.link-over")


def makes_a_short_link_with_one_enter(run):
    visitor = run.visitor()
    target = "https://example.com/a/long/address?with=parameters&and=more"
    first = not run.server.found("")
    # The cursor is in the field already.
    visitor.page.keyboard.insert_text(target)
    visitor.page.keyboard.press("Enter")
    visitor.sees("create.made")
    if first:
        expect(visitor.page.get_by_text(visitor.t("home.first"))).to_be_hidden()
    result = visitor.page.get_by_role("status").filter(has_text=visitor.t("create.made"))
    short_url = result.get_by_role("link").first.get_attribute("href")
    code = short_url.rsplit("/", 1)[1]
    assert run.server.link(code)["longUrl"] == target
    result.get_by_role("button", name=visitor.t("layout.copy")).click()
    visitor.sees("layout.copied")
    assert visitor.page.evaluate("navigator.clipboard.readText()") == short_url
    picture = result.get_by_role("img", name=visitor.t("layout.qr"))
    assert visitor.page.evaluate("async image => { await image.decode(); return image.naturalWidth > 0; }", picture.element_handle())
    assert read_qr(picture.screenshot(scale="device")) in (short_url, None)
    # What one wants to see next is one click away.
    for link, address in ((picture, f"/link/{code}/qr"), (result.get_by_role("link", name=visitor.t("link.tab.statistics")), f"/link/{code}/stats")):
        link.click()
        expect(visitor.page).to_have_url(f"{run.server.url}{run.base}{address}")
        visitor.go(f"/?made={code}&new=1")
    visitor.button("create.undo").click()
    visitor.sees("create.undone")
    assert run.server.link(code) is None


def says_what_is_wrong_with_a_new_link_and_keeps_what_was_typed(run):
    run.server.create("https://example.com/taken", customSlug="taken-slug")
    visitor = run.visitor()
    visitor.expects(400, 409, 422)
    visitor.field("create.url").fill("https://example.com/new")
    visitor.page.get_by_text(visitor.t("create.more")).click()
    for field, wrong in (("create.slug", "a b"), ("create.slug", "taken-slug"), ("create.slug", "x" * 65)):
        visitor.field(field).fill(wrong)
        visitor.button("create.shorten").click()
        expect(visitor.page.get_by_role("alert")).to_be_visible()
        assert visitor.reason(visitor.field(field)), wrong
        expect(visitor.field(field)).to_have_value(wrong)
        expect(visitor.field("create.url")).to_have_value("https://example.com/new")
    visitor.field("create.slug").fill("fresh-slug")
    visitor.field("create.name").fill("A new page")
    visitor.field("create.tags").fill("print, Spring 2027")
    visitor.field("create.url").fill("javascript:alert(1)")
    visitor.button("create.shorten").click()
    expect(visitor.field("create.url")).to_have_attribute("aria-invalid", "true")
    expect(visitor.field("create.tags")).to_have_value("print, Spring 2027")
    visitor.field("create.url").fill("https://example.com/new")
    visitor.button("create.shorten").click()
    visitor.sees("create.made")
    link = run.server.link("fresh-slug")
    assert (link["title"], sorted(link["tags"])) == ("A new page", ["Spring 2027", "print"]), link


def edits_every_field_of_a_link(run):
    run.server.create("https://example.com/edited", customSlug="edited")
    visitor = run.visitor()
    visitor.expects(409, 412, 422)
    visitor.go("/link/edited")
    values = [
        ("link.field.target", "ftp://example.com/", "https://example.com/edited/again", "longUrl"),
        ("link.field.title", "t" * 513, "A title", "title"),
        ("link.field.tags", "t" * 65, "one, two", "tags"),
        ("link.field.note", "n" * 4097, "Two\nlines", "note"),
        ("link.field.until", "2001-01-01T10:00", "2099-12-31T23:59", "validUntil"),
        ("link.field.since", "2199-01-01T10:00", "2026-01-01T08:30", "validSince"),
        ("link.field.limit", "-3", "1000", "maxVisits"),
        ("link.field.expired-url", "https:// no", "https://example.com/over", "expiredUrl"),
    ]
    for label, wrong, right, _ in values:
        field = visitor.field(label)
        # What the browser itself does not let in is taken out of the way: the server has to refuse it.
        field.evaluate("field => field.removeAttribute('maxlength')")
        field.fill(wrong)
        visitor.button("link.save").click()
        expect(visitor.page.get_by_role("alert")).to_be_visible()
        field = visitor.field(label)
        assert visitor.reason(field).strip(), label
        expect(field).to_have_value(wrong)
        field.fill(right)
    visitor.page.get_by_label(visitor.t("link.field.query")).check()
    visitor.page.get_by_label(visitor.t("link.field.path")).check()
    visitor.page.get_by_label(visitor.t("link.field.crawlable")).check()
    visitor.field("link.field.status").select_option("307")
    visitor.page.get_by_label(visitor.t("link.password.set"), exact=True).check()
    visitor.field("link.password.new").fill("abc")
    visitor.button("link.save").click()
    assert visitor.reason(visitor.field("link.password.new")).strip()
    visitor.page.get_by_label(visitor.t("link.password.set"), exact=True).check()
    visitor.field("link.password.new").fill("night ferry")
    visitor.button("link.save").click()
    visitor.sees("link.saved")
    link = run.server.link("edited")
    wanted = {"longUrl": "https://example.com/edited/again", "title": "A title", "tags": ["one", "two"], "note": "Two\nlines",
              # The visitor is in Berlin.
              "validUntil": "2099-12-31T22:59:00.000Z", "validSince": "2026-01-01T07:30:00.000Z", "maxVisits": 1000,
              "expiredUrl": "https://example.com/over", "forwardQuery": True, "forwardPath": True, "crawlable": True,
              "redirectStatus": 307, "protected": True}
    assert {name: link[name] for name in wanted} == wanted, link
    # All of it can be taken away again.
    for label, *_ in values[1:]:
        visitor.field(label).fill("")
    visitor.page.get_by_label(visitor.t("link.field.query")).uncheck()
    visitor.page.get_by_label(visitor.t("link.password.remove"), exact=True).check()
    visitor.button("link.save").click()
    visitor.sees("link.saved")
    link = run.server.link("edited")
    left = [link[name] for name in ("title", "note", "validUntil", "validSince", "maxVisits", "expiredUrl")]
    assert left == [None] * 6 and link["tags"] == [] and not link["forwardQuery"] and not link["protected"], link


def two_people_edit_one_link(run):
    run.server.create("https://example.com/shared", customSlug="shared", title="Before", note="Before")
    one, two = run.visitor(), run.visitor()
    two.expects(409, 412)
    one.go("/link/shared")
    two.go("/link/shared")
    one.field("link.field.title").fill("From one")
    one.button("link.save").click()
    one.sees("link.saved")
    # Different fields: both changes stay, or the second is asked.
    two.field("link.field.title").fill("From two")
    two.field("link.field.note").fill("A note from two")
    two.button("link.save").click()
    two.sees("link.conflict.title")
    title = two.page.get_by_role("group", name=two.t("link.field.title"))
    expect(title.get_by_text("From one")).to_be_visible()
    expect(title.get_by_text("From two")).to_be_visible()
    two.button("link.conflict.save").click()
    two.sees("link.saved")
    link = run.server.link("shared")
    assert (link["title"], link["note"]) == ("From two", "A note from two"), link


def rules_are_edited_and_tried_out(run):
    run.server.create("https://example.com/everybody", customSlug="ruled")
    visitor = run.visitor()
    visitor.expects(422)
    page = visitor.page
    visitor.go("/link/ruled/rules")
    visitor.button("rules.add-rule").click()
    rule = page.get_by_role("region", name=visitor.t("rules.rule", "1"))
    rule.get_by_label(visitor.t("rules.new-condition")).select_option(label=visitor.t("rules.type.language"))
    rule.get_by_role("button", name=visitor.t("rules.add"), exact=True).click()
    language = rule.get_by_label(visitor.t("rules.type.language"), exact=True)
    target = rule.get_by_label(visitor.t("link.field.target"), exact=True)
    language.fill("not a language!")
    target.fill("nonsense")
    for field, wrong, right in ((language, "not a language!", "de"), (target, "nonsense", "https://example.com/deutsch")):
        visitor.button("rules.save").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert visitor.reason(field).strip()
        expect(field).to_have_value(wrong)
        field.fill(right)
    # What would happen can be asked before it is saved.
    tester = page.get_by_role("region", name=visitor.t("rules.test"))
    tester.get_by_label(visitor.t("stats.by.language"), exact=True).fill("de-CH,de;q=0.9")
    visitor.button("rules.ask").click()
    expect(tester.get_by_role("status").get_by_text("https://example.com/deutsch")).to_be_visible()
    assert run.server.link("ruled")["rules"] == []
    visitor.button("rules.save").click()
    visitor.sees("rules.saved")
    assert run.server.link("ruled")["rules"] == [
        {"conditions": [{"type": "language", "value": "de"}], "longUrl": "https://example.com/deutsch"}]
    tester.get_by_label(visitor.t("stats.by.language"), exact=True).fill("fr")
    visitor.button("rules.ask").click()
    expect(tester.get_by_role("status").get_by_text("https://example.com/everybody")).to_be_visible()


def a_qr_code_is_downloaded(run):
    run.server.create("https://example.com/qr", customSlug="qr-code")
    visitor = run.visitor()
    visitor.expects(422)
    visitor.go("/link/qr-code/qr")
    short_url = f"{run.server.url}/qr-code"
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="PNG").click()
    assert read_qr(pathlib.Path(download.value.path()).read_bytes()) in (short_url, None)
    # The browser would not let this in.
    visitor.field("qr.size").evaluate("field => field.removeAttribute('min')")
    visitor.field("qr.size").fill("12")
    visitor.button("qr.draw").click()
    assert visitor.reason(visitor.field("qr.size")).strip()
    visitor.field("qr.size").fill("300")
    visitor.button("qr.draw").click()
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="SVG").click()
    assert b"<svg" in pathlib.Path(download.value.path()).read_bytes()
    assert read_qr(visitor.page.get_by_role("img", name=visitor.t("qr.alt", short_url)).screenshot()) in (short_url, None)


def a_former_target_is_restored_from_the_history(run):
    run.server.create("https://example.com/first", customSlug="restored")
    assert run.server.ask("PATCH", "/api/v1/links/restored", {"longUrl": "https://example.com/second"}).status == 200
    visitor = run.visitor()
    visitor.go("/link/restored/history")
    row = visitor.page.get_by_role("row").filter(has_text="https://example.com/first")
    row.get_by_role("button", name=visitor.t("history.restore")).click()
    visitor.sees("history.restored")
    assert run.server.link("restored")["longUrl"] == "https://example.com/first"


def a_link_is_deleted_and_comes_back(run):
    run.server.create("https://example.com/deleted", customSlug="deleted", title="A link to delete", password="night ferry")
    visitor = run.visitor()
    visitor.go("/link/deleted")
    visitor.link("link.delete").click()
    # Nothing has happened yet.
    assert run.server.link("deleted")
    visitor.button("link.delete").click()
    visitor.sees("link.deleted")
    assert run.server.link("deleted") is None
    visitor.button("link.undo").click()
    visitor.sees("link.is-back")
    link = run.server.link("deleted")
    assert (link["title"], link["protected"]) == ("A link to delete", True), link


def loses_its_session(run, visitor):
    """Ends the session of a visitor elsewhere, as somebody does who looks at the list of sessions."""
    other = run.visitor()
    other.go("/sessions")
    other.button("sessions.end-others").click()
    expect(other.page.get_by_role("row")).to_have_count(2)
    visitor.expects(401)


def what_was_typed_is_there_again_after_the_session_has_ended(run):
    run.server.create("https://example.com/typed", customSlug="typed", title="Before")
    visitor = run.visitor()
    visitor.go("/link/typed")
    visitor.field("link.field.title").fill("A title that took long")
    visitor.field("link.field.note").fill("Two\nlines & more")
    visitor.page.get_by_label(visitor.t("link.password.set"), exact=True).check()
    visitor.field("link.password.new").fill("night ferry")
    loses_its_session(run, visitor)
    visitor.button("link.save").click()
    visitor.sees("draft.ended")
    assert "night ferry" not in visitor.page.content()
    visitor.field("sign-in.key").fill(run.server.key)
    visitor.button("sign-in.submit").click()
    visitor.sees("draft.title")
    expect(visitor.page.get_by_text("A title that took long")).to_be_visible()
    assert run.server.link("typed")["title"] == "Before"
    visitor.field("draft.password").fill("night ferry")
    visitor.button("draft.send").click()
    visitor.sees("link.saved")
    link = run.server.link("typed")
    assert (link["title"], link["note"], link["protected"]) == ("A title that took long", "Two\nlines & more", True), link


def a_new_link_is_kept_too_although_a_script_sends_it(run):
    visitor = run.visitor()
    visitor.field("create.url").fill("https://example.com/typed-first")
    loses_its_session(run, visitor)
    visitor.field("create.url").press("Enter")
    visitor.sees("draft.ended")
    # Signed in anew in another window.
    other = visitor.context.new_page()
    other.goto(run.base + "/sign-in")
    other.get_by_label(visitor.t("sign-in.key"), exact=True).fill(run.server.key)
    other.get_by_role("button", name=visitor.t("sign-in.submit"), exact=True).click()
    expect(other.get_by_role("navigation").first).to_be_visible()
    other.close()
    visitor.button("draft.send").click()
    visitor.sees("create.made")
    run.server.listed(*[link["shortCode"] for link in run.server.found("typed-first")])


def visits_are_shown_and_bots_apart(run):
    run.server.create("https://example.com/visited", customSlug="visited", tags=["Counted"])
    visitor = run.visitor()
    visitor.go("/link/visited/stats")
    people = visitor.page.locator("[data-people]")
    expect(people).to_have_text("0")
    for agent, referrer, language in ((FIREFOX, "https://news.example.org/today", "de"), (CHROME, None, "en"), (CHROME, None, "en")):
        assert run.server.visit("visited", agent=agent, referrer=referrer, language=language) == 302
    run.server.visit("visited", agent=BOT)
    run.server.visit("no-such-code")
    # The counter lives: the page was not loaded again.
    expect(people).to_have_text("3")
    run.server.visits("visited", 3)
    visitor.page.reload()
    for label, number in (("stats.clicks", "3"), ("stats.visitors", "2"), ("stats.bots", "1")):
        figure = visitor.page.get_by_role("definition").filter(has=visitor.page.locator("xpath=preceding-sibling::dt[normalize-space()=%r]" % visitor.t(label)))
        expect(figure.first).to_have_text(number)
    referrers = visitor.page.get_by_role("region", name=visitor.t("stats.by.referrer"), exact=True)
    expect(referrers.get_by_role("listitem").filter(has_text="news.example.org")).to_be_visible()
    browsers = visitor.page.get_by_role("region", name=visitor.t("stats.by.browser"), exact=True)
    expect(browsers.get_by_role("listitem").filter(has_text="Firefox")).to_be_visible()
    with visitor.page.expect_download() as download:
        visitor.link("stats.csv-values").click()
    rows = list(csv.reader(io.StringIO(pathlib.Path(download.value.path()).read_text())))
    assert ["referrer", "news.example.org", "1"] in rows, rows
    # Hours and months, and the time before.
    visitor.page.get_by_text(visitor.t("stats.choose")).click()
    visitor.field("stats.interval.label").select_option("hour")
    visitor.field("stats.whose.label").select_option(label=visitor.t("stats.whose.bots"))
    visitor.button("stats.show").click()
    visitor.link("stats.compare-on").click()
    visitor.page.get_by_text(visitor.t("chart.table")).click()
    expect(visitor.page.get_by_role("columnheader", name=visitor.t("chart.before"))).to_be_visible()


def statistics_of_all_links_and_of_a_tag(run):
    visits_are_needed(run)
    visitor = run.visitor()
    visitor.go("/statistics")
    top = visitor.page.get_by_role("region", name=visitor.t("stats.top"))
    expect(top.get_by_role("link").first).to_be_visible()
    orphans = visitor.page.get_by_role("region", name=visitor.t("stats.orphans"))
    expect(orphans.get_by_text("no-such-code")).to_be_visible()
    visitor.field("stats.of-tag").fill("tagged-visits")
    visitor.field("stats.of-tag").press("Enter")
    visitor.sees("stats.tagged", 1)
    assert "tag=tagged-visits" in visitor.page.url


def visits_are_needed(run):
    """A link of a tag that has visits, and an orphan visit."""
    if not run.server.link("statistics-of-tag"):
        run.server.create("https://example.com/tagged", customSlug="statistics-of-tag", tags=["tagged-visits"])
        run.server.visit("statistics-of-tag")
        run.server.visit("no-such-code")
        run.server.visits("statistics-of-tag", 1)
        run.server.listed("statistics-of-tag")


FLOWS = [
    signs_in_with_the_key_and_out_again, signs_in_with_a_link_of_the_command_once, makes_a_short_link_with_one_enter,
    says_what_is_wrong_with_a_new_link_and_keeps_what_was_typed, edits_every_field_of_a_link, two_people_edit_one_link,
    what_was_typed_is_there_again_after_the_session_has_ended, a_new_link_is_kept_too_although_a_script_sends_it,
    rules_are_edited_and_tried_out, a_qr_code_is_downloaded, a_former_target_is_restored_from_the_history, a_link_is_deleted_and_comes_back,
    visits_are_shown_and_bots_apart, statistics_of_all_links_and_of_a_tag]

if __name__ == "__main__":
    main(FLOWS, more=[("--program", "the binary"), ("--data-dir", "the data directory of the node")])
