"""Wraps the rules for the Prometheus operator: `python3 deploy/kubernetes/rules.py > deploy/kubernetes/monitoring/rules.yaml`.

`make deploy-check` compares the file with what this prints, so that there is one set of rules.
"""

import pathlib
import textwrap

RULES = pathlib.Path(__file__).parent.parent / "prometheus/rules/waypost.yml"
HEAD = """\
# deploy/prometheus/rules/waypost.yml for the Prometheus operator; made by deploy/kubernetes/rules.py.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: waypost
  labels:
    app.kubernetes.io/name: waypost
spec:
"""

print(HEAD + textwrap.indent(RULES.read_text().strip(), "  "))
