#!/usr/bin/env bash
# Builds an earlier version and upgrades a cluster of it, node by node, under load: `make upgrade FROM=v0.1.0`. Without FROM it is the
# last release, and until there is one, the first commit whose formats have to be read.
set -euo pipefail
cd "$(dirname "$0")/.."
new=${1:?give the new binary}
first=f8b06c4c8ff34d98eab422f702be7dcdb4c6fe8f
from=${2:-$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || true)}
from=${from:-$first}
commit=$(git rev-parse --verify --quiet "$from^{commit}") || {
  echo "upgrade: there is no $from in this repository, so there is nothing to upgrade from. A shallow clone or an archive does not have it:" >&2
  echo "upgrade: fetch the history (git fetch --unshallow), or name a version that is there: make upgrade FROM=..." >&2
  exit 2
}
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
