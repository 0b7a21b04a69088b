#!/usr/bin/env bash
# Latency as meshprobe reports it against a packet capture's own times, idle and busy.
# By hand, not in tests: needs root for the capture, Debian's nginx and tcpdump.
#   bench/latency.sh [--attempts 2000]
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in nginx tcpdump; do
  PATH="$PATH:/usr/sbin" command -v "$tool" >/dev/null || { echo "bench: apt-get install nginx tcpdump" >&2; exit 1; }
done
cargo build --release --quiet
exec python3 bench/latency.py "$@"
