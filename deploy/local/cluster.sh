#!/usr/bin/env bash
# Runs the three nodes of cluster.toml beside this file, with their logs prefixed and coloured, until it is interrupted. A second argument names
# another file with nodes a, b and c.
set -uo pipefail
# Each node in a process group of its own: Ctrl-C then reaches this script only, which stops them in order.
set -m
program=${1:?give the waypost binary}
file=${2:-$(dirname "$0")/cluster.toml}
# Nodes take in only those that know their secret. It is made once, and lies beside their data.
if [ -z "${WAYPOST_CLUSTER_SECRET:-}${WAYPOST_CLUSTER_SECRET_FILE:-}" ]; then
  export WAYPOST_CLUSTER_SECRET_FILE=waypost-cluster/secret
  [ -s "$WAYPOST_CLUSTER_SECRET_FILE" ] ||
    (umask 077 && mkdir -p waypost-cluster && od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$WAYPOST_CLUSTER_SECRET_FILE") || exit 1
fi
nodes=(a b c)
declare -A http admin data pid ended
logs=$(mktemp -d)

for node in "${nodes[@]}"; do
  found=$("$program" config check --json --config "$file" --node "$node") || exit
  value() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$found"; }
  http[$node]=$(value http) admin[$node]=$(value admin) data[$node]=$(value dataDir)
done

running() { jobs -rp | grep -qx "$1"; }

# The process that has the data of a node open: the one that was started here, or by hand since. It is known by its lock.
holder() {
  local inode found
  inode=$(stat -c %i "${data[$1]}/store/db" 2>/dev/null) || return 0
  found=$(awk -v inode="$inode" '$2 == "FLOCK" { n = split($6, place, ":"); if (place[n] == inode) print $5 }' /proc/locks | head -n 1)
  # Another file system may have a file of the same number: only this program is meant.
  if [ -n "$found" ] && [ "/proc/$found/exe" -ef "$program" ]; then echo "$found"; fi
}

stop() {
  trap '' INT TERM HUP
  local node stopping=() one
  for node in "${nodes[@]}"; do
    one=${pid[$node]:-}
    if [ -n "$one" ] && running "$one"; then stopping+=("$one"); else one=$(holder "$node"); stopping+=(${one:+"$one"}); fi
  done
  if [ "${#stopping[@]}" -gt 0 ]; then
    kill -TERM "${stopping[@]}" 2>/dev/null
    # A node that was started by hand is no child of this script.
    for one in "${stopping[@]}"; do
      for _ in $(seq 600); do
        kill -0 "$one" 2>/dev/null && ! grep -q "^State:.Z" "/proc/$one/status" 2>/dev/null || break
        sleep 0.1
      done
    done
  fi
  rm -r "$logs"
  exit "${1:-0}"
}
trap 'stop 0' INT TERM HUP

# Says which node has ended, with what it said last.
say_ended() {
  local code=0
  wait "${pid[$1]}" 2>/dev/null || code=$?
  ended[$1]=yes
  if [ "$code" -gt 128 ]; then code="signal $((code - 128))"; else code="exit code $code"; fi
  echo
  echo "Node $1 has ended ($code). $(grep '^waypost: ' "$logs/$1" | tail -n 1)"
}

colours=(36 33 35)
number=0
for node in "${nodes[@]}"; do
  prefix="$node | "
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then prefix=$(printf '\033[%sm%s |\033[0m ' "${colours[number]}" "$node"); fi
  "$program" serve --config "$file" --node "$node" > >(trap '' INT TERM; tee -i "$logs/$node" | sed -u "s/^/$prefix/") 2>&1 &
  pid[$node]=$!
  number=$((number + 1))
done

for _ in $(seq 600); do
  ready=0
  for node in "${nodes[@]}"; do
    if ! running "${pid[$node]}"; then
      # Its last lines are on their way through the pipe.
      sleep 0.3
      say_ended "$node"
      echo "The cluster was not started; the other nodes are stopped."
      stop 1
    fi
    "$program" health --server "http://${http[$node]}" >/dev/null 2>&1 && ready=$((ready + 1))
  done
  [ "$ready" = 3 ] && break
  sleep 0.1
done
if [ "$ready" != 3 ]; then
  echo
  echo "The nodes were not ready within a minute: the lines above say what they wait for. They are stopped."
  stop 1
fi

cat <<TRY

Three nodes run. Try, in another terminal:

  $program shorten https://example.com/ --server http://${http[a]}     # create on node a
  curl -i http://${http[c]}/CODE                                       # follow it on node c, at once
  $program cluster status --admin http://${admin[a]}
  kill -9 ${pid[a]}                                                          # node a dies; shorten on ${http[b]}, follow on ${http[c]}
  $program cluster status --admin http://${admin[b]}
  ${WAYPOST_CLUSTER_SECRET_FILE:+WAYPOST_CLUSTER_SECRET_FILE=$WAYPOST_CLUSTER_SECRET_FILE }$program serve --config $file --node a   # and comes back

Ctrl-C stops all, also a node that was started by hand. Their data stays in $(dirname "${data[a]}")/.

TRY
while :; do
  left=0
  for node in "${nodes[@]}"; do
    if running "${pid[$node]}"; then
      left=$((left + 1))
    else
      [ -n "${ended[$node]:-}" ] || say_ended "$node"
      [ -z "$(holder "$node")" ] || left=$((left + 1))
    fi
  done
  [ "$left" -gt 0 ] || stop 1
  sleep 1 &
  wait $!
done
