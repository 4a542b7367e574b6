"""Values that somebody chose to do harm, in every field: they are shown as they are, nothing of them runs, and no page becomes wider than its window."""

import urllib.parse

from browser import main
from playwright.sync_api import expect
from views import too_wide

RUNS = "window.taken=1"
SCRIPT = f"<script>{RUNS}</script>"
TEXTS = {
    "script": SCRIPT,
    "attribute": f"\"'><img src=x onerror={RUNS}>",
    "handler": f"\" onmouseover=\"{RUNS}\" autofocus onfocus=\"{RUNS}",
    "template": "{{ 7*7 }}{% raw %}${7*7}<%= 7*7 %>#{7*7}",
    "entity": "&lt;b&gt; &amp;amp; &#x3c;script&#x3e;",
    "comment": "--><!-- ]]> </title></textarea></select></style>",
    "bidi": "safe \u202egpj.exe\u202c \u2066\u202dleft",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 🧑🏽‍🚒 é́́́́",
    "arabic": "مرحبا بالعالم — عنوان طويل",
    "long": "W" * 512,
}
URLS = {
    "script": f"https://example.com/?a={urllib.parse.quote(SCRIPT)}&b='%22--",
    "quotes": "https://example.com/'onclick='window.taken=1'?a=<b>",
    "long": "https://example.com/" + "a" * 8000,
}
# Views in which values of a link are shown.
PATHS = ["", "/rules", "/history", "/stats", "/qr", "/delete"]
EVERYWHERE = ["/", "/statistics", "/tags", "/domains", "/sessions", "/cluster"]


def create(run):
    """Links with all of these texts, visits that name them, and unknown codes that do."""
    if run.server.link("script"):
        return
    for name, text in TEXTS.items():
        fields = {"customSlug": name, "title": text, "note": text + "\n" + text, "tags": [text.replace(",", "")[:64].strip()],
                  "expiredUrl": URLS["script"], "rules": [{"conditions": [
                      {"type": "query", "name": text[:60], "value": text[:60]}], "longUrl": URLS["quotes"]}]}
        run.server.create(URLS["long" if name == "long" else "script"], **fields)
        answer = run.server.ask("PATCH", f"/api/v1/links/{name}", {"longUrl": URLS["quotes"]})
        assert answer.status == 200, answer.body
        answer = run.server.ask("PATCH", f"/api/v1/links/{name}", {"longUrl": URLS["long"]})
        assert answer.status == 200, answer.body
        run.server.visit(name, agent=text.encode("utf-8").decode("latin-1"), referrer=f"https://{name}.example/<script>")
        run.server.visit(text)
    run.server.listed(*TEXTS)


def harmless(visitor, path, where):
    """Opens a page, and returns what is wrong with it."""
    visitor.go(path)
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    wrong = [f"{where}: wider than the window: {element}" for element in too_wide(visitor.page)]
    if visitor.page.evaluate("window.taken"):
        wrong.append(f"{where}: a script ran")
    # Nothing of a value has become an element.
    for selector in ("main script", "img[src=x]", "[onmouseover]", "[onerror]", "[onfocus]", "[onclick]", "[style]"):
        if visitor.page.locator(selector).count():
            wrong.append(f"{where}: a value has become markup: {visitor.page.locator(selector).first.evaluate('it => it.outerHTML')[:300]}")
    return wrong


def hostile_values_of_links_are_shown_and_not_run(run):
    create(run)
    visitor = run.visitor(width=360, height=740)
    wrong = []
    for name, text in TEXTS.items():
        for path in PATHS:
            wrong += harmless(visitor, f"/link/{name}{path}", f"{name}{path}")
            if path == "":
                expect(visitor.page.get_by_label("Title", exact=True)).to_have_value(text)
    assert not wrong, "\n".join(wrong)


def hostile_values_in_lists_are_shown_and_not_run(run):
    create(run)
    visitor = run.visitor(width=360, height=740)
    wrong = []
    for path in EVERYWHERE:
        wrong += harmless(visitor, path, path)
    for name, text in TEXTS.items():
        query = urllib.parse.urlencode({"q": text[:60], "tags": text[:60], "state": text, "sort": text, "createdFrom": text, "cursor": text})
        visitor.expects(400, 422)
        wrong += harmless(visitor, f"/links?{query}", f"search for {name}")
        wrong += harmless(visitor, f"/links?{urllib.parse.urlencode({'q': name})}", f"found {name}")
    assert not wrong, "\n".join(wrong)


def hostile_values_that_are_typed_are_shown_again_and_not_run(run):
    create(run)
    visitor = run.visitor()
    visitor.expects(409, 422)
    for text in (SCRIPT, TEXTS["attribute"], TEXTS["bidi"]):
        visitor.go("/")
        field = visitor.field("create.url")
        field.fill(text)
        field.press("Enter")
        expect(visitor.page.get_by_role("alert").first).to_be_visible()
        expect(field).to_have_value(text)
        assert not visitor.page.evaluate("window.taken")


if __name__ == "__main__":
    main([hostile_values_of_links_are_shown_and_not_run, hostile_values_in_lists_are_shown_and_not_run,
          hostile_values_that_are_typed_are_shown_again_and_not_run])
