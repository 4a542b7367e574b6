"""The browser of the tests: one Chromium for all flows of a script, and for each flow visitors whose pages are watched.

A flow is a function that takes a `Run`. It fails by an exception, by an error that a page wrote to the console, by an exception in a page, by a request to
another origin, by a violation of the content security policy, and by an answer with a status of 500 or more.
"""

import argparse
import faulthandler
import pathlib
import shutil
import sys
import time
import traceback
import urllib.parse

from playwright.sync_api import expect, sync_playwright

from server import Server, eventually
from texts import Texts

# Generous: machines of tests are slow and busy. Nothing waits for so long where all is well.
PATIENCE_MS = 30_000
# A flow that takes longer hangs.
FLOW_MAX_S = 240
# Chromium logs these for each refused form, with the status in brackets.
REFUSED = "Failed to load resource: the server responded with a status of "
# And htmx these, if it has asked.
REFUSED_PART = "Response Status Error Code "
# htmx logs these when a search is overtaken by the next one, or a page is left before its answer.
OVERTAKEN = ("htmx:afterRequest, ", "htmx:sendAbort, ")
VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


class Visitor:
    """Somebody with a browser of their own, and what was wrong with the pages that they saw. With `admin` they go to the admin listener; `system` is what their
    system asks of pages, such as `reduced_motion="reduce"`.
    """

    def __init__(self, run, *, javascript=True, language="en-GB", theme="light", width=1280, height=900, touch=False, admin=False, **system):
        self.run, self.faults, self.refusals = run, [], set()
        self.t = Texts("de" if language.startswith("de") else "en")
        self.context = run.browser.new_context(
            base_url=run.arguments.admin if admin else run.server.url, java_script_enabled=javascript, locale=language, color_scheme=theme,
            viewport={"width": width, "height": height}, timezone_id="Europe/Berlin", has_touch=touch,
            permissions=["clipboard-read", "clipboard-write"], **system)
        self.context.set_default_timeout(PATIENCE_MS)
        if javascript:
            self.context.add_init_script(VIOLATIONS)
        self.context.on("page", self._watch)
        self.context.on("request", self._on_request)
        self.context.on("response", self._on_response)
        self.page = self.context.new_page()

    def _watch(self, page):
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"exception on {page.url}: {error}"))

    def _on_console(self, message):
        if message.type != "error" or message.text.startswith(OVERTAKEN):
            return
        for refused in (REFUSED, REFUSED_PART):
            if message.text.startswith(refused) and int(message.text[len(refused):].split()[0]) in self.refusals:
                return
        self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _on_request(self, request):
        origin = urllib.parse.urlsplit(request.url)
        if origin.scheme in ("data", "blob", "about"):
            return
        if f"{origin.scheme}://{origin.netloc}" not in self.run.origins:
            self.faults.append(f"a request to another origin: {request.url}")

    def _on_response(self, response):
        if response.status >= 500 and response.status not in self.refusals:
            self.faults.append(f"{response.status}: {response.request.method} {response.url}")

    def expects(self, *statuses):
        """From here on answers with these statuses are what the flow wants to see."""
        self.refusals.update(statuses)

    def go(self, path):
        """Opens a page of the dashboard, by its path below that of the dashboard."""
        return self.page.goto(self.run.base + path)

    def button(self, key, *values):
        """The button with a text."""
        return self.page.get_by_role("button", name=self.t(key, *values), exact=True)

    def link(self, key, *values):
        """The link with a text."""
        return self.page.get_by_role("link", name=self.t(key, *values), exact=True)

    def field(self, key, *values):
        """The field with a label."""
        return self.page.get_by_label(self.t(key, *values), exact=True).and_(self.page.locator("input, select, textarea"))

    def sees(self, key, *values):
        """Waits until a text is on the page."""
        expect(self.page.get_by_text(self.t(key, *values)).first).to_be_visible()

    def comes_to_see(self, path, key, *values):
        """Opens a page until a text is on it: for pages that show how things were when they were opened."""
        def is_seen():
            self.go(path)
            return self.page.get_by_text(self.t(key, *values)).count() > 0
        eventually(is_seen, f"{path} shows {key}")

    def reason(self, field):
        """Why a field was refused, as a screen reader says it with the field."""
        expect(field).to_have_attribute("aria-invalid", "true")
        ids = (field.get_attribute("aria-describedby") or "").split()
        return " ".join(self.page.locator(f"[id='{one}']").inner_text() for one in ids)

    def sign_in(self, key=None):
        """Signs in with a key (the administrator's by default)."""
        self.go("/sign-in")
        self.field("sign-in.key").fill(key or self.run.server.key)
        self.button("sign-in.submit").click()
        expect(self.link("layout.home")).to_be_visible()
        return self

    def sign_out(self):
        """Signs out, by the menu."""
        self.page.get_by_text(self.t("layout.settings"), exact=True).click()
        self.button("layout.sign-out").click()
        expect(self.field("sign-in.key")).to_be_visible()

    def close(self):
        """Ends the browser of this visitor."""
        # What the pages have written to the console arrives before this answer.
        for page in self.context.pages:
            page.title()
        self.context.close()


class Run:
    """The flows of one script: the server, the browser, and the visitors of the flow that runs."""

    def __init__(self, arguments, browser):
        self.arguments, self.browser = arguments, browser
        self.server = Server(arguments.server, arguments.key)
        self.base = arguments.base
        self.origins = {url for url in (arguments.server, arguments.admin) if url}
        self.visitors = []

    def visitor(self, *, signed_in=True, **kind):
        """Somebody with a new browser, signed in unless that is not wanted."""
        visitor = Visitor(self, **kind)
        self.visitors.append(visitor)
        return visitor.sign_in() if signed_in else visitor

    def flow(self, flow):
        """Runs a flow. Says how long it took, or what is wrong; keeps pictures of its pages then. Returns whether all was well."""
        started = time.monotonic()
        faults = []
        faulthandler.dump_traceback_later(FLOW_MAX_S, exit=True)
        try:
            flow(self)
            for visitor in self.visitors:
                visitor.close()
        except Exception:
            faults.append(traceback.format_exc(limit=-6))
            self._keep_pages(flow.__name__)
        faults += [fault for visitor in self.visitors for fault in visitor.faults]
        for visitor in self.visitors:
            visitor.context.close()
        self.visitors.clear()
        faulthandler.cancel_dump_traceback_later()
        say(f"{'FAILED' if faults else 'ok'}  {flow.__name__}  {time.monotonic() - started:.1f} s")
        for fault in faults:
            say(fault)
        return not faults

    def _keep_pages(self, name):
        folder = pathlib.Path(self.arguments.failures)
        folder.mkdir(parents=True, exist_ok=True)
        pages = [page for visitor in self.visitors for page in visitor.context.pages]
        for number, page in enumerate(pages):
            kept = folder / f"{name}-{number}"
            try:
                page.screenshot(path=f"{kept}.png", full_page=True, timeout=10_000)
                kept.with_suffix(".html").write_text(page.content())
                say(f"{name}: {page.url} is in {kept}.png and .html")
            except Exception as error:
                say(f"{name}: no picture of {page.url}: {error}")


def say(text):
    """Prints at once."""
    print(text, flush=True)


def chromium():
    """The path of Debian's Chromium, or of another one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def launch(playwright):
    """Starts the browser of the system; none is downloaded."""
    # Only addresses of this machine can be reached. The sandbox does not work as root, nor shared memory in small containers.
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*"
    return playwright.chromium.launch(
        executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", rules])


def main(flows, more=()):
    """Runs the flows of a script, or those that are named on the command line. `more` are further options: name and help."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, help="address of the node, such as http://127.0.0.1:8080")
    parser.add_argument("--admin", help="address of its admin listener")
    parser.add_argument("--key", required=True, help="the administrator's key")
    parser.add_argument("--base", default="/ui", help="path of the dashboard")
    parser.add_argument("--failures", default="target/ui-failures", help="where pictures of failures are kept")
    for name, text in more:
        parser.add_argument(name, help=text)
    parser.add_argument("flows", nargs="*", help="only these flows")
    arguments = parser.parse_args()
    unknown = set(arguments.flows) - {flow.__name__ for flow in flows}
    if unknown:
        parser.error(f"no flow is called {', '.join(sorted(unknown))}")
    expect.set_options(timeout=PATIENCE_MS)
    wanted = [flow for flow in flows if not arguments.flows or flow.__name__ in arguments.flows]
    with sync_playwright() as playwright:
        browser = launch(playwright)
        run = Run(arguments, browser)
        good = [run.flow(flow) for flow in wanted]
        browser.close()
    say(f"flows: {good.count(True)} passed, {good.count(False)} failed")
    sys.exit(0 if all(good) else 1)
