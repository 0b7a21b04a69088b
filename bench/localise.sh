#!/usr/bin/env bash
# How well and how fast the diagnosis finds faults in simulated clusters of 100, 1,000 and 5,000
# nodes, beside voting and set cover. By hand, not in tests; takes some minutes.
#   bench/localise.sh [quick] [talk] [100|1000|5000] [hard|gray|faint] [single|double|triple]
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench localise -- "$@"
