#!/usr/bin/env bash
# Attempts until faults are seen, false alarms of a fleet over weeks: simulated, a minute or two.
#   bench/detect.sh [WEEKS]
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench detect -- "$@"
