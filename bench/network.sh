#!/usr/bin/env bash
# Replicated stores and reads of ten nodes on this machine: every store is on the disks of seven
# nodes before it is acknowledged.
#   bench/network.sh [seconds] [nodes]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-8}
nodes=${2:-10}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/lux-session-bench.XXXXXX")
session=target/release/session
up_pid=
finish() {
  [ -n "$up_pid" ] && kill "$up_pid" 2>/dev/null && wait "$up_pid" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
cargo build --release --quiet
"$session" up --nodes "$nodes" --dir "$work/net" --client-rate 0 --json >"$work/up.json" & up_pid=$!
for _ in $(seq 300); do [ "$(wc -l <"$work/up.json")" -ge "$nodes" ] && break; sleep 0.1; done
pids=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$work/up.json" | paste -sd,)
load() { "$session" --network "$work/net/network.toml" load --bytes 2048 --seconds "$seconds" --pid "$pids" "$@"; }
load --clients 64
load --clients 16 --batch 20
load --clients 64 --read
load --clients 1
