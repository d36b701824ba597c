#!/usr/bin/env bash
# How long requests take over one, three and five hops, on loopback and over links of 50 ms, and how
# many one hop passes on; real processes.
#   bench/onions.sh [times|links|relay]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet -p sessiond --bins --example onions
exec target/release/examples/onions "$@"
