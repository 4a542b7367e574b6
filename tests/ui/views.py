"""Every view with data as an organisation would have it: axe-core finds nothing, at two widths and in both themes, and no page is wider than its window. Makes the pictures of
`make ui-pictures`, too."""

import pathlib
import sys

import axe_playwright_python

import data
from browser import main, say
from playwright.sync_api import expect

AXE = pathlib.Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
THEMES = ["light", "dark"]
# A small phone, a laptop, and a large screen.
WIDTHS = {360: 740, 1280: 800, 2560: 1440}
AXE_WIDTHS = [360, 1280]

# The name of each view and its path. What is in braces is replaced by a code of `data.LINKS`.
VIEWS = {
    "home": "/",
    "links": "/links",
    "links-filtered": "/links?q=museum&tags=events&state=active&sort=-visits",
    "links-none": "/links?q=nothing+of+this+name",
    "link": "/link/tickets",
    "link-rules": "/link/audio/rules",
    "link-history": "/link/tickets/history",
    "link-statistics": "/link/tickets/stats",
    "link-qr": "/link/autumn/qr",
    "link-delete": "/link/wifi/delete",
    "statistics": "/statistics",
    "tags": "/tags",
    "domains": "/domains",
    "sessions": "/sessions",
    "cluster": "/cluster",
    "unknown": "/nothing-of-this-name",
}
# Those that somebody sees who has not signed in.
SIGNED_OUT = {"sign-in": "/sign-in"}


def prepare(run):
    """Fills the server, once for all flows."""
    if not run.server.link("tickets"):
        data.fill(run.server, run.arguments.clock)


def axe(page):
    """What axe-core finds on a page, a line for each element."""
    page.evaluate(AXE)
    found = page.evaluate("""rules => axe.run(document, {runOnly: {type: "tag", values: rules}, resultTypes: ["violations"]})""", RULES)
    return [f"{rule['id']}: {node['html'][:200]} {node['failureSummary'].splitlines()[-1].strip()}"
            for rule in found["violations"] for node in rule["nodes"]]


def too_wide(page):
    """The elements that make a page wider than its window, if it is."""
    return page.evaluate("""() => {
        const width = document.documentElement.clientWidth;
        if (Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= width) return [];
        const outside = [...document.body.querySelectorAll("*")].filter(one =>
            one.getBoundingClientRect().left + Math.max(one.getBoundingClientRect().width, one.scrollWidth) > width + 1);
        return ["the page", ...outside.slice(-4).map(one => one.outerHTML.slice(0, 200))];
    }""")


def look_at_all(run, theme):
    """Opens every view at all widths, and returns what is wrong."""
    prepare(run)
    visitor, stranger = run.visitor(theme=theme), run.visitor(theme=theme, signed_in=False)
    wrong = []
    for who, views in ((visitor, VIEWS), (stranger, SIGNED_OUT)):
        for name, path in views.items():
            who.expects(*[404] if name == "unknown" else [])
            for width, height in WIDTHS.items():
                who.page.set_viewport_size({"width": width, "height": height})
                if width == min(WIDTHS):
                    who.go(path)
                    expect(who.page.get_by_role("heading", level=1)).to_be_visible()
                where = f"{name}, {width} px, {theme}"
                wrong += [f"{where}: {line}" for line in (axe(who.page) if width in AXE_WIDTHS else [])]
                wrong += [f"{where}: wider than the window: {element}" for element in too_wide(who.page)]
                if run.arguments.pictures:
                    picture(who, path, pathlib.Path(run.arguments.pictures) / f"{name}-{width}-{theme}.png")
    assert not wrong, "\n".join(wrong)


def picture(who, path, file):
    """A picture of a page as it is when it was opened at this width."""
    file.parent.mkdir(parents=True, exist_ok=True)
    who.page.screenshot(path=file, full_page=True, animations="disabled")


def every_view_is_accessible_and_fits_in_light(run):
    look_at_all(run, "light")


def every_view_is_accessible_and_fits_in_dark(run):
    look_at_all(run, "dark")


def contact_sheet(run):
    """All pictures on one page, so that they can be looked at together."""
    folder = pathlib.Path(run.arguments.pictures).resolve()
    rows = []
    for name in [*VIEWS, *SIGNED_OUT]:
        cells = "".join(
            f'<td><img src="{name}-{width}-{theme}.png" style="width:{shown}px"></td>'
            for width, shown in ((360, 140), (1280, 420), (2560, 560)) for theme in THEMES)
        rows.append(f"<tr><th>{name}</th>{cells}</tr>")
    sheet = folder / "all.html"
    sheet.write_text("<!doctype html><meta charset=utf-8><title>All views</title><style>body{font:14px sans-serif;background:#888}"
                     "td{vertical-align:top;padding:4px}img{max-height:900px;object-fit:cover;object-position:top}</style><table>"
                     + "".join(rows) + "</table>")
    page = run.browser.new_page(viewport={"width": 2500, "height": 1200})
    page.goto(sheet.as_uri())
    page.screenshot(path=folder / "all.png", full_page=True)
    page.close()
    say(f"pictures are in {folder}; all.png and all.html show them together")


if __name__ == "__main__":
    flows = [every_view_is_accessible_and_fits_in_light, every_view_is_accessible_and_fits_in_dark]
    if "--pictures" in sys.argv:
        flows.append(contact_sheet)
    main(flows, more=[("--clock", "the file that sets the clock of the node"), ("--pictures", "folder for pictures of every view")])
