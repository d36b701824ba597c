#!/usr/bin/env bash
# Durable stores per second of one node, beside Redis with AOF always, in alternating rounds on the
# same cores and the same disk. Needs Debian's redis-server and redis-tools.
#   bench/stores.sh [seconds-per-round] [rounds]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-8}
rounds=${2:-3}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/lux-session-bench.XXXXXX")
session=target/release/session
up_pid= redis_pid=
finish() {
  [ -n "$up_pid" ] && kill "$up_pid" 2>/dev/null && wait "$up_pid" 2>/dev/null
  [ -n "$redis_pid" ] && kill "$redis_pid" 2>/dev/null && wait "$redis_pid" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
command -v redis-server >/dev/null || { echo "redis-server is needed: apt-get install redis-server redis-tools" >&2; exit 1; }
cargo build --release --quiet

"$session" up --nodes 1 --dir "$work/net" --client-rate 0 --json >"$work/up.json" & up_pid=$!
for _ in $(seq 100); do [ -s "$work/up.json" ] && break; sleep 0.1; done
node_pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$work/up.json")
mkdir "$work/redis"
redis-server --port 0 --unixsocket "$work/redis/s" --bind 127.0.0.1 --port 16379 --dir "$work/redis" \
  --appendonly yes --appendfsync always --save '' >/dev/null & redis_pid=$!
for _ in $(seq 100); do redis-cli -p 16379 ping >/dev/null 2>&1 && break; sleep 0.1; done

for round in $(seq "$rounds"); do
  echo "round $round"
  # One request in flight on each of 64 connections; then 64 in flight as 16 operations in each of 4
  # requests, which is what the API's batches and Redis' pipelines are for.
  for shape in "64 1" "4 16"; do
    read -r clients batch <<<"$shape"
    ours=$("$session" --network "$work/net/network.toml" load --clients "$clients" --batch "$batch" \
      --bytes 2048 --seconds "$seconds" --pid "$node_pid")
    theirs=$(redis-benchmark -p 16379 -t set -d 2048 -c "$clients" -P "$batch" -r 1000000 \
      -n $((seconds * 20000)) --csv 2>/dev/null | tail -1)
    printf '  %s x %s\n    session  %s\n    redis    rps,avg,min,p50,p95,p99,max ms: %s\n' \
      "$clients" "$batch" "$ours" "${theirs#*,}"
  done
done
