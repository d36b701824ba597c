#!/bin/sh
# Drives a sessionvm binary as avalanchego does, with a host that shares no code with it:
#   crates/plugin/tests/python/run.sh target/debug/sessionvm
# The packages are installed once, below the target directory (CARGO_TARGET_DIR, or target).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
root=$(cd "$here/../../../.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/grpc-python
mkdir -p "$work"

if ! cmp -s "$here/requirements.txt" "$work/installed.txt"; then
    rm -rf "$work/venv"
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
        --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$work/installed.txt"
fi

rm -rf "$work/generated"
mkdir "$work/generated"
"$work/venv/bin/python" -m grpc_tools.protoc --proto_path="$here" \
    --python_out="$work/generated" --grpc_python_out="$work/generated" "$here"/*.proto

# Nothing of the environment gets in: -I ignores it, and the user's packages with it.
exec "$work/venv/bin/python" -I -B -c '
import sys
sys.path.insert(0, sys.argv.pop(1))
sys.path.insert(0, sys.argv.pop(1))
import host
sys.exit(host.main(sys.argv[1]))
' "$work/generated" "$here" "$binary"
