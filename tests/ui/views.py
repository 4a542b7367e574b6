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


# The contrast of two colours as the browser computes them (WCAG). What is transparent shows the page.
CONTRAST = """
window.contrast = (one, other) => {
    const light = colour => {
        const parts = colour.match(/[\\d.]+/g).map(Number);
        const [r, g, b] = parts.slice(0, 3).map(part => { part /= 255; return part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4; });
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const seen = colour => /^rgba.* 0\\)$/.test(colour) || colour === "none" ? ground() : colour;
    const [dark, bright] = [one, other].map(seen).map(light).sort((a, b) => a - b);
    return (bright + .05) / (dark + .05);
};
window.style = (selector, of) => getComputedStyle(document.querySelector(selector), of);
window.ground = () => getComputedStyle(document.body).backgroundColor.startsWith("rgba")
    ? getComputedStyle(document.documentElement).backgroundColor : getComputedStyle(document.body).backgroundColor;
"""
# By view: what has to stand out, each with the contrast that is read from the page, and the least that is enough for what is no text.
STANDS_OUT = {
    "link-statistics": {
        "the bars of a chart": "contrast(style('.chart-bar').fill, ground())",
        "the scale of a chart": "contrast(style('.chart text').fill, ground())",
        "the legend of a chart": "contrast(style('.legend li', '::before').backgroundColor, ground())",
        "the range that is chosen": "contrast(style('.ranges [aria-current]').backgroundColor, style('.ranges a:not([aria-current])').backgroundColor)",
        "the tab of the page": "contrast(style('.tabs a[aria-current]').borderBlockEndColor, style('.tabs a:not([aria-current])').borderBlockEndColor)",
        "the page in the navigation": "contrast(style('.top nav a[aria-current]').borderBlockEndColor, ground())",
    },
    "link": {
        "the edge of a field": "contrast(style('#longUrl').borderBlockEndColor, style('#longUrl').backgroundColor)",
        "the edge of the main button": "contrast(style('button.primary').borderBlockEndColor, ground())",
    },
    "home": {
        "the theme that is chosen": "contrast(style('[name=theme][aria-pressed=true]').backgroundColor, style('[name=theme][aria-pressed=false]').backgroundColor)",
    },
    "links": {"the state of a link": "contrast(style('.badge').borderBlockEndColor, ground())"},
}


def what_tells_something_stands_out_in_forced_colours(run):
    prepare(run)
    wrong = []
    for theme in THEMES:
        visitor = run.visitor(theme=theme, forced_colors="active", reduced_motion="reduce")
        page = visitor.page
        for view, wanted in STANDS_OUT.items():
            visitor.go(VIEWS[view])
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.evaluate(CONTRAST)
            for what, question in wanted.items():
                contrast = page.evaluate(question)
                if contrast < 3:
                    wrong.append(f"{what} on {view}, {theme}: {contrast:.2f}")
            if run.arguments.pictures:
                picture(visitor, VIEWS[view], pathlib.Path(run.arguments.pictures) / f"forced-{view}-{theme}.png")
        # The row and the control that have the focus.
        visitor.go("/links")
        for key in ("j", "j"):
            page.keyboard.press(key)
        page.evaluate(CONTRAST)
        for selector in ("[data-row].here", ":focus"):
            outline = page.evaluate(f"style({selector!r}).outlineStyle")
            contrast = page.evaluate(f"contrast(style({selector!r}).outlineColor, ground())")
            if outline in ("none", "") or contrast < 3:
                wrong.append(f"the outline of {selector}, {theme}: {outline}, {contrast:.2f}")
    assert not wrong, "\n".join(wrong)


def nothing_moves_where_that_is_not_wanted(run):
    prepare(run)
    visitor = run.visitor(reduced_motion="reduce")
    for name, path in VIEWS.items():
        visitor.expects(*[404] if name == "unknown" else [])
        visitor.go(path)
        expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
        # What turns while something is loaded would turn for as long as it is seen.
        moving = visitor.page.evaluate("""() => [...document.querySelectorAll("*")].flatMap(one => [one, "::before", "::after"].map(of => {
            const style = of === one ? getComputedStyle(one) : getComputedStyle(one, of);
            const seconds = [style.animationDuration, style.transitionDuration].flatMap(all => all.split(",")).map(parseFloat);
            const endless = style.animationName !== "none" && style.animationIterationCount === "infinite";
            return endless || Math.max(...seconds) > .001 || style.scrollBehavior === "smooth" ? one.outerHTML.slice(0, 120) : null;
        })).filter(Boolean)""")
        assert not moving, f"{name}: {moving}"


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
    flows = [every_view_is_accessible_and_fits_in_light, every_view_is_accessible_and_fits_in_dark,
             what_tells_something_stands_out_in_forced_colours, nothing_moves_where_that_is_not_wanted]
    if "--pictures" in sys.argv:
        flows.append(contact_sheet)
    main(flows, more=[("--clock", "the file that sets the clock of the node"), ("--pictures", "folder for pictures of every view")])
