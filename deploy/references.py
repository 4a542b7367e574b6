"""Whether what the rules and the dashboard name is there: metrics in the code, alerts in the handbook."""

import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).parent.parent
rules = (root / "deploy/prometheus/rules/waypost.yml").read_text()
dashboard = json.loads((root / "deploy/grafana/dashboards/waypost.json").read_text())
operations = (root / "docs/operations.md").read_text()
sources = "\n".join(path.read_text() for folder in ("src", "actors", "crates") for path in (root / folder).rglob("*.rs"))

wrong = []
for alert in re.findall(r"- alert: (\w+)", rules):
    if f"`{alert}`" not in operations:
        wrong.append(f"docs/operations.md does not say what to do about {alert}")
queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
for name in set(re.findall(r"\b(?:waypost|process)_[a-z_]+", rules + "\n".join(queries))):
    if name in ("waypost_test",):
        continue
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    if f'"{name}"' not in sources and f'"{plain}"' not in sources:
        wrong.append(f"there is no metric {name}")
    if f"`{name}`" not in operations and f"`{plain}`" not in operations:
        wrong.append(f"docs/operations.md does not explain {name}")
for line in sorted(wrong):
    print(line)
sys.exit(bool(wrong))
