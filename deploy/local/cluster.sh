#!/usr/bin/env bash
# Runs the three nodes of cluster.toml beside this file, with their logs prefixed and coloured, until it is interrupted.
set -uo pipefail
program=${1:?give the waypost binary}
file="$(dirname "$0")/cluster.toml"
# Nodes take in only those that know their secret. It is made once, and lies beside their data.
if [ -z "${WAYPOST_CLUSTER_SECRET:-}${WAYPOST_CLUSTER_SECRET_FILE:-}" ]; then
  export WAYPOST_CLUSTER_SECRET_FILE=waypost-cluster/secret
  [ -s "$WAYPOST_CLUSTER_SECRET_FILE" ] ||
    (umask 077 && mkdir -p waypost-cluster && od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$WAYPOST_CLUSTER_SECRET_FILE") || exit 1
fi
pids=()
colours=(36 33 35)
number=0
for node in a b c; do
  prefix=$(printf '\033[%sm%s |\033[0m ' "${colours[number]}" "$node")
  "$program" serve --config "$file" --node "$node" > >(sed -u "s/^/$prefix/") 2>&1 &
  pids+=($!)
  number=$((number + 1))
done
trap 'trap - INT TERM; kill -TERM "${pids[@]}" 2>/dev/null' INT TERM
for _ in $(seq 300); do
  ready=0
  for port in 8081 8082 8083; do
    "$program" health --server "http://127.0.0.1:$port" >/dev/null 2>&1 && ready=$((ready + 1))
  done
  [ "$ready" = 3 ] && break
  sleep 0.1
done
cat <<TRY

Three nodes run. Try, in another terminal:

  $program shorten https://example.com/ --server http://127.0.0.1:8081     # create on node a
  curl -i http://127.0.0.1:8083/CODE                                       # follow it on node c, at once
  $program cluster status --admin http://127.0.0.1:9091
  kill -9 ${pids[0]}                                                          # node a dies; shorten on 8082, follow on 8083
  $program cluster status --admin http://127.0.0.1:9092
  ${WAYPOST_CLUSTER_SECRET_FILE:+WAYPOST_CLUSTER_SECRET_FILE=$WAYPOST_CLUSTER_SECRET_FILE }$program serve --config $file --node a   # and comes back

Ctrl-C stops all. Their data stays in waypost-cluster/.

TRY
wait
