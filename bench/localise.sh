#!/usr/bin/env bash
# Precision, recall and time of localisation in simulated clusters, beside two simpler ways.
#   bench/localise.sh [NODES...]
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench localise -- "$@"
