"""Made-up data as an organisation would have it: links with tags and titles, a second domain, and two months of visits."""

import datetime
import http.client
import pathlib
import random
import time
import urllib.parse

from server import FIREFOX, eventually

DAY_MS = 24 * 3600 * 1000
DAYS = 60
# Visits are spread over the hours of a day in so many steps.
STEPS = 4
DOMAIN = "go.museum.example"

# Slug (or none), target, title, tags, and how much of the visits it gets.
LINKS = [
    ("autumn", "https://museum.example/exhibitions/autumn-light", "Autumn exhibition: Light on Water",
     ["campaign", "newsletter", "print"], 210),
    ("tickets", "https://tickets.museum.example/book?channel=short", "Book a visit", ["tickets", "print"], 340),
    ("map", "https://museum.example/visit/floor-plan.pdf", "Floor plan (PDF)", ["print", "visit"], 150),
    ("audio", "https://guide.museum.example/app", "Audio guide for your phone", ["visit", "app"], 120),
    ("late-thursday", "https://museum.example/events/late-thursday", "Late Thursday: open until ten", ["events", "social"], 95),
    ("friends", "https://museum.example/support/friends", "Become a friend of the museum", ["support"], 60),
    ("jobs", "https://museum.example/about/jobs", "Work with us", ["team"], 44),
    ("schools-2026", "https://museum.example/learning/schools/programme-2026-2027.pdf", "Programme for schools 2026/27",
     ["learning", "print"], 52),
    ("café", "https://museum.example/visit/cafe", "Café menu", ["visit", "print"], 70),
    ("wifi", "https://museum.example/visit/wifi", "Free Wi-Fi", ["visit"], 35),
    ("lecture-hokusai", "https://museum.example/events/lectures/hokusai-and-the-wave", "Lecture: Hokusai and the Wave",
     ["events", "newsletter"], 48),
    ("press", "https://museum.example/press/autumn-light/images", "Press images: Light on Water", ["press"], 22),
    ("survey", "https://forms.example.org/s/visitor-survey-autumn-2026", "Visitor survey", ["visit", "newsletter"], 40),
    ("podcast", "https://podcasts.example.net/museum-after-dark", "Podcast: Museum after Dark", ["social"], 65),
    ("impressionists", "https://museum.example/collection/rooms/12", "Room 12: the Impressionists", ["collection"], 30),
    ("donate", "https://museum.example/support/donate?ref=short", "Donate", ["support", "newsletter"], 28),
    ("kids", "https://museum.example/learning/families/treasure-hunt", "Treasure hunt for families", ["learning", "events"], 58),
    ("shop", "https://shop.museum.example/", "Museum shop", ["shop", "social"], 80),
    ("calendar-2027", "https://shop.museum.example/p/calendar-2027", "Calendar 2027", ["shop"], 26),
    ("newsletter", "https://museum.example/newsletter", "Newsletter", ["newsletter", "social"], 33),
    ("accessibility", "https://museum.example/visit/accessibility", "Getting here and around", ["visit"], 18),
    ("tram", "https://transport.example.org/stops/museum-island", "Next trams", ["visit"], 24),
    ("loan-form", "https://museum.example/research/loans/request-form", "Request for a loan", ["research"], 6),
    ("archive", "https://archive.museum.example/search", "Search the archive", ["research", "collection"], 16),
    ("restoration", "https://museum.example/stories/restoring-the-night-ferry", "Restoring “The Night Ferry”",
     ["stories", "social"], 47),
    ("vernissage", "https://museum.example/invitation/vernissage", "Invitation to the opening", ["events", "campaign"], 20),
    ("members-evening", "https://museum.example/support/friends/evening", "Members' evening", ["support", "events"], 12),
    (None, "https://social.example.net/@museum/posts/2026/11/light-on-water", "", ["social"], 17),
    (None, "https://museum.example/stories/who-painted-the-harbour", "Who painted the harbour?", ["stories"], 21),
    (None, "https://docs.museum.example/handbook/front-desk/opening-routine", "", ["team"], 9),
    (None, "https://video.example.org/watch?v=ferry-timelapse", "Time-lapse: hanging the ferry", ["social", "stories"], 36),
    ("winter-concert", "https://museum.example/events/2026/12/winter-concert", "Winter concert", ["events"], 15),
]
AGENTS = [
    (FIREFOX, 15),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36", 30),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 "
     "Mobile/15E148 Safari/604.1", 28),
    ("Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Mobile Safari/537.36", 20),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Safari/605.1.15", 12),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", 6),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", 4),
]
REFERRERS = [(None, 40), ("https://www.search.example/", 22), ("https://social.example.net/home", 18),
             ("https://mail.example.org/inbox", 12), ("https://news.example.com/culture", 8)]
LANGUAGES = [("de-DE,de;q=0.9,en;q=0.6", 55), ("en-GB,en;q=0.9", 25), ("fr-FR,fr;q=0.9", 8), ("ja,en;q=0.5", 6), ("pl-PL,pl;q=0.9", 6)]
# Networks for documentation, which mod.rs puts on the map.
NETWORKS = [("203.0.113", 45), ("198.51.100", 30), ("192.0.2", 25)]


def one_of(chance, choices):
    """One of several, by their weights."""
    return chance.choices([choice for choice, _ in choices], [weight for _, weight in choices])[0]


def time_in(days, now=None):
    """A time in so many days, as the API takes it."""
    return ((now or datetime.datetime.now(datetime.timezone.utc)) + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def fill(server, clock=None, visits_a_day=45):
    """Creates the links, and visits of two months if `clock` is the file that sets the clock of the node. Returns the codes in the order of `LINKS`."""
    chance = random.Random(20261126)
    set_clock(clock, -DAYS * DAY_MS)
    create_domain(server)
    connection = http.client.HTTPConnection(server.host, timeout=60)
    codes, counted = [], 0
    for day in range(DAYS if clock else 0, -1, -1):
        # Most links are old; one comes every third day.
        while len(codes) < len(LINKS) and len(LINKS) - len(codes) > day / 3:
            codes.append(create(server, *LINKS[len(codes)][:4]))
        weights = [link[4] for link in LINKS[:len(codes)]]
        # More from week to week, and fewer at the beginning of a week.
        weekday = (datetime.date.today() - datetime.timedelta(days=day)).weekday()
        today = visits_a_day * (1 + (DAYS - day) / 60) * (0.6 if weekday < 2 else 1.3 if weekday > 4 else 1)
        for step in range(STEPS):
            # The last visits are of the last hours.
            set_clock(clock, -day * DAY_MS - (STEPS - step) * DAY_MS // STEPS // (2 if day else 6))
            for _ in range(int(today / STEPS)):
                counted += visit(connection, chance, codes[chance.choices(range(len(codes)), weights)[0]])
        for unknown in chance.choices(["winter", "ticket", "autum", "wp-login.php", ".env"], k=2):
            visit(connection, chance, unknown)
    connection.close()
    set_clock(clock, 0)
    eventually(lambda: sum((link["visits"] or {}).get("people", 0) for link in server.found("")) >= counted, f"{counted} visits are counted")
    # Lists by visits may be a minute old, but the visits of a link that is changed are those of that moment.
    for code, (_, _, title, *_) in zip(codes, LINKS):
        edit(server, code, title=title or None)
    change(server)
    return codes


def set_clock(clock, offset):
    """Moves the clock of a node that was started with `Faults`, as after a suspension."""
    if clock:
        path = pathlib.Path(clock)
        path.with_suffix(".new").write_text(f"{offset} {offset}")
        path.with_suffix(".new").rename(path)
        # The node reads it every 20 ms.
        time.sleep(0.025)


def create_domain(server):
    """A second domain, and its links."""
    answer = server.ask("POST", "/api/v1/domains", {"host": DOMAIN, "baseUrl": "https://museum.example/"})
    assert answer.status == 201, answer.body
    for number in range(1870, 1926, 7):
        server.create(f"https://museum.example/collection/objects/{number}", title=f"Object {number}", customSlug=f"o{number}",
                      domain=DOMAIN, tags=["collection", "print"])


def create(server, slug, target, _, tags):
    """Creates a link; returns its code. It gets its title later."""
    fields = {"customSlug": slug, "tags": tags}
    return server.create(target, **{name: value for name, value in fields.items() if value})["shortCode"]


def edit(server, code, **changes):
    """Edits a link."""
    answer = server.ask("PATCH", f"/api/v1/links/{urllib.parse.quote(code)}", changes)
    assert answer.status == 200, answer.body


def change(server):
    """Gives some links what not all have: rules, ends, limits, passwords, a history."""
    edit(server, "audio", rules=[
        {"conditions": [{"type": "device", "value": "ios"}], "longUrl": "https://apps.example.com/ios/museum-guide"},
        {"conditions": [{"type": "device", "value": "android"}], "longUrl": "https://apps.example.com/android/museum-guide"},
        {"conditions": [{"type": "language", "value": "de"}], "longUrl": "https://guide.museum.example/de/app"}])
    edit(server, "vernissage", validUntil=time_in(2), expiredUrl="https://museum.example/exhibitions/autumn-light")
    edit(server, "autumn", note="On the posters since 2 November. Do not change the target without the press office.")
    edit(server, "members-evening", password="night ferry")
    edit(server, "press", maxVisits=5000)
    edit(server, "survey", disabled=True)
    edit(server, "winter-concert", validSince=time_in(6))
    server.create("https://museum.example/preview/spring", customSlug="preview", title="Preview for the press",
                  maxVisits=1, tags=["press"])
    server.visit("preview")
    edit(server, "tickets", longUrl="https://tickets.museum.example/book?channel=short&v=2")
    edit(server, "tickets", title="Book a visit online")
    edit(server, "tickets", longUrl="https://tickets.museum.example/visit?channel=short")


def visit(connection, chance, code):
    """A visit by somebody. Returns whether it counts as one of a person."""
    agent = one_of(chance, AGENTS)
    headers = {"User-Agent": agent, "Accept-Language": one_of(chance, LANGUAGES),
               "X-Forwarded-For": f"{one_of(chance, NETWORKS)}.{chance.randrange(1, 120)}"}
    referrer = one_of(chance, REFERRERS)
    if referrer:
        headers["Referer"] = referrer
    connection.request("GET", f"/{urllib.parse.quote(code)}", headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status == 302 and "bot" not in agent.lower()
