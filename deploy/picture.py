"""Draws the panels of the dashboard, as the queries of its JSON answer, into one picture: `make smoke PICTURE=file.png`.

It is no Grafana, but the same panels, places and queries, with what a Prometheus had seen.
"""

import datetime
import json
import math
import pathlib
import re
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend has to be chosen before)

DASHBOARD = pathlib.Path(__file__).parent / "grafana/dashboards/waypost.json"
COLUMNS = 24
# More names hide what they name.
LEGEND_MAX = 6
COLOURS = ["#3274d9", "#e0752d", "#37872d", "#a352cc", "#c4162a", "#8f6b00", "#1f9aa3"]


def units(value, unit):
    """A number as the dashboard's unit writes it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB", "TiB"):
            if abs(value) < 1024 or name == "TiB":
                return f"{value:.4g} {name}"
            value /= 1024
    number = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return number + {"reqps": "/s", "ops": "/s"}.get(unit, "")


def ask(prometheus, expression, start, end, step):
    expression = expression.replace("$__rate_interval", "30s")
    query = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{query}", timeout=20) as answer:
        return json.load(answer)["data"]["result"]


def legend(template, labels):
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template or "")


def draw(prometheus, start, end, names, target):
    """`names` replaces addresses of nodes by their names."""
    dashboard, step = json.loads(DASHBOARD.read_text()), max((end - start) / 240, 1)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(16, rows * 0.42), dpi=90, facecolor="white")
    grid = figure.add_gridspec(rows, COLUMNS, left=0.03, right=0.99, top=0.98, bottom=0.0, hspace=1.6, wspace=2.2)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        # The last row of a panel's place is for what stands below its axis.
        axes = figure.add_subplot(grid[place["y"]:place["y"] + place["h"] - 1, place["x"]:place["x"] + place["w"]])
        axes.set_title(panel["title"], fontsize=9, loc="left")
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
        series = [(legend(query.get("legendFormat"), found["metric"]), found["values"])
                  for query in panel["targets"] for found in ask(prometheus, query["expr"], start, end, step)]
        if panel["type"] == "stat":
            axes.axis("off")
            last = units(float(series[0][1][-1][1]), unit) if series else "no data"
            axes.text(0.5, 0.45, last, fontsize=22, ha="center", va="center", color="#37872d" if series else "#c4162a")
            continue
        for number, (label, values) in enumerate(series):
            for address, name in names.items():
                label = label.replace(address, name)
            # Where a node was away there is nothing, and no line.
            points = []
            for time, value in values:
                if points and time - points[-1][0] > 3 * step:
                    points.append((time, math.nan))
                points.append((time, float(value)))
            times = [datetime.datetime.fromtimestamp(time) for time, _ in points]
            axes.plot(times, [value for _, value in points], linewidth=1.2, color=COLOURS[number % len(COLOURS)],
                      label=label if number < LEGEND_MAX else None)
        axes.set_ylim(bottom=0)
        axes.set_xlim(datetime.datetime.fromtimestamp(start), datetime.datetime.fromtimestamp(end))
        axes.yaxis.set_major_formatter(lambda value, _, unit=unit: units(value, unit))
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M:%S"))
        axes.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(maxticks=5))
        axes.tick_params(labelsize=7, length=2)
        axes.grid(alpha=0.25)
        if any(label for label, _ in series[:LEGEND_MAX]):
            axes.legend(fontsize=6.5, loc="upper left", frameon=False, ncols=2)
    figure.savefig(target)
