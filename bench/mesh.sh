#!/usr/bin/env bash
# CPU of HBONE attempts and of bare rustls handshakes with one peer, of an agent that runs the whole
# truth table with ten peers, and of a lab of 50 nodes. By hand, not in tests.
#   bench/mesh.sh [--seconds 10] [--rounds 3] [--only handshakes|table|lab]
set -euo pipefail
cd "$(dirname "$0")/.."
command -v taskset >/dev/null || { echo "bench: taskset is missing: apt-get install util-linux" >&2; exit 1; }
exec python3 bench/mesh.py "$@"
