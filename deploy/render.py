"""Fills in a template of nginx as its image does: ${NAME} for the names that are given, nothing else."""

import re
import sys

template, *pairs = sys.argv[1:]
values = dict(pair.split("=", 1) for pair in pairs)
text = open(template).read()
print(re.sub(r"\$\{(\w+)\}", lambda found: values.get(found[1], found[0]), text), end="")
