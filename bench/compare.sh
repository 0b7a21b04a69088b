#!/usr/bin/env bash
# CPU per attempt of meshprobe, blackbox_exporter and wrk against one nginx, in one run.
# By hand, not in tests: needs Debian's nginx, prometheus-blackbox-exporter and wrk.
#   bench/compare.sh [--seconds 10] [--rate 1000] [--rounds 3]
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in nginx prometheus-blackbox-exporter wrk taskset; do
  PATH="$PATH:/usr/sbin" command -v "$tool" >/dev/null || {
    echo "bench: $tool is missing: apt-get install nginx prometheus-blackbox-exporter wrk util-linux" >&2
    exit 1
  }
done
cargo build --release --quiet
exec python3 bench/compare.py "$@"
