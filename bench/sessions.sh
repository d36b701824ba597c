#!/usr/bin/env bash
# Workload sessions of a committee of four real nodes and their chain on this machine: from the
# transaction that creates a session to the chain's word that it is finalized, one after another.
#   bench/sessions.sh [sessions]
set -euo pipefail
cd "$(dirname "$0")/.."
sessions=${1:-100}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/lux-session-bench.XXXXXX")
session=$PWD/target/release/session
up_pid=
finish() {
  [ -n "$up_pid" ] && kill "$up_pid" 2>/dev/null && wait "$up_pid" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
cargo build --release --quiet
"$session" up --nodes 4 --dir "$work/net" --json >"$work/up.json" & up_pid=$!
for _ in $(seq 300); do [ "$(wc -l <"$work/up.json")" -ge 4 ] && break; sleep 0.1; done
mkdir "$work/echo"
cat >"$work/echo/workload.toml" <<'TOML'
name = "echo"
[build]
source = "main.wat"
module = "module.wasm"
TOML
cat >"$work/echo/main.wat" <<'WAT'
(module
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "done")
  (func (export "run") (call $output (i32.const 0) (i32.const 4))))
WAT
run() { "$session" --network "$work/net/network.toml" workload run "$work/echo" --json; }
run >/dev/null
for _ in $(seq "$sessions"); do run; done | sed -n 's/.*"ms":\([0-9]*\).*/\1/p' | sort -n |
  awk '{ ms[NR] = $1 } END {
    printf "%d sessions: p50 %d ms, p90 %d ms, p99 %d ms\n", NR, ms[int((NR + 1) / 2)],
      ms[int(NR * 0.9 + 0.5)], ms[int(NR * 0.99 + 0.5)] }'
