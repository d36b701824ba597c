#!/usr/bin/env bash
# Calls per second of a chain that runs alone, over JSON-RPC, with the load client on the same cores.
# Messages of 2 KiB, each with an ML-DSA-65 signature that the server verifies, durable before the answer.
#   bench/chain.sh [--criterion] [seconds-per-load]
# With --criterion also what the parts cost without any network: state, ledger, chain, mailbox.
set -euo pipefail
cd "$(dirname "$0")/.."
criterion=
if [ "${1:-}" = --criterion ]; then criterion=1; shift; fi
seconds=${1:-8}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/lux-session-bench.XXXXXX")
pid=
finish() {
  if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT
cargo build --release --quiet -p sessionvm --bins --example rpc_load
release=${CARGO_TARGET_DIR:-target}/release

echo '{"maxMessages": 10000000}' >"$work/config.json"
"$release/sessionvm" --data-dir "$work/chain" --config "$work/config.json" --listen 127.0.0.1:0 --client-rate 0 \
  >"$work/out" 2>"$work/log" & pid=$!
for _ in $(seq 100); do [ -s "$work/out" ] && break; sleep 0.1; done
url=http://$(sed -n 's/^listening on http //p' "$work/out")
[ "$url" != http:// ] || { cat "$work/log" >&2; exit 1; }

load() {
  timeout 100 "$release/examples/rpc_load" --url "$url" --pid "$pid" --bytes 2048 --seconds "$seconds" "$@"
}
echo "calls    connections x batch"
load --method send --connections 64 --batch 1 --messages $((seconds * 16000))
load --method send --connections 4 --batch 16 --messages $((seconds * 16000))
load --method get --connections 64
load --method create --connections 64
load --method height --connections 64

if [ -n "$criterion" ]; then
  for bench in state ledger chain mailbox; do
    cargo bench --quiet -p session-vm --bench "$bench"
  done
fi
