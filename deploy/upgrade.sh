#!/usr/bin/env bash
# Builds an earlier version and upgrades a cluster of it, node by node, under load: `make upgrade FROM=v0.1.0`. Without FROM it is the
# last release; where there is none yet, nothing is done.
set -euo pipefail
cd "$(dirname "$0")/.."
new=${1:?give the new binary}
from=${2:-$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || true)}
if [ -z "$from" ]; then
  echo "there is no earlier release to upgrade from; name a commit: make upgrade FROM=..."
  exit 0
fi
commit=$(git rev-parse --verify --quiet "$from^{commit}") || { echo "$from is no version of this repository"; exit 2; }
tree=$PWD/target/upgrade/$commit
old=$PWD/target/upgrade/target/debug/waypost
if [ ! -d "$tree" ]; then
  rm -rf "$tree.part"
  mkdir -p "$tree.part"
  git archive "$commit" | tar -x -C "$tree.part"
  mv "$tree.part" "$tree"
fi
echo "building $from"
(cd "$tree" && CARGO_TARGET_DIR=$PWD/../target cargo build --locked --package waypost --bin waypost)
python3 deploy/upgrade.py "$old" "$new"
