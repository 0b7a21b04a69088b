#!/usr/bin/env bash
# Writes what is made from the chart: config/example.yaml, config/controller.yaml, the rules of the default
# SLOs, the dashboards, and the generated files of deploy/kustomize. Run it after a change of the chart, of
# `meshprobe rules` or of `meshprobe dashboards`; deploy/test.sh fails until then. MESHPROBE names the binary, target/debug/meshprobe
# by default.
#
# usage: deploy/generate.sh [FOLDER]     FOLDER instead of the project, to compare
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$(dirname "$here")}
PATH=$(dirname "$here")/target/tools/bin:$PATH
chart=$here/helm/meshprobe
meshprobe=${MESHPROBE:-$(dirname "$here")/target/debug/meshprobe}
[ -x "$meshprobe" ] || {
    echo "generate: error: no $meshprobe: run cargo build, or set MESHPROBE" >&2
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# render FOLDER TEMPLATES… [-- FLAGS…]: these templates of the chart, without what only Helm puts there.
# A checksum would be wrong as soon as an overlay changes the configuration.
render() {
    local folder=$into/deploy/kustomize/$1 templates=() name
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        templates+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    rm -rf "$scratch/out"
    helm template meshprobe "$chart" --output-dir "$scratch/out" \
        --set controller.rollOnConfigChange=false "$@" >/dev/null
    mkdir -p "$folder"
    for name in "${templates[@]}"; do
        {
            echo "# Made by deploy/generate.sh from the Helm chart: change it there."
            sed -e '/^# Source: /d' -e '/app.kubernetes.io\/managed-by: Helm$/d' \
                -e '/helm.sh\/chart: /d' "$scratch/out/meshprobe/templates/$name.yaml"
        } >"$folder/$name.yaml"
    done
}

# block KEY TARGET: what stands under KEY in the ConfigMaps, of the last one that has it (agents: plain).
block() {
    awk -v key="  $1: |" '
        $0 == key { inside = 1; text = ""; next }
        inside && /^    / { text = text substr($0, 5) "\n"; next }
        inside && /^ *$/ { text = text "\n"; next }
        { inside = 0 }
        END { sub(/\n+$/, "\n", text); printf "%s", text }
    ' "$scratch/configmaps.yaml" >"$2"
}

helm template meshprobe "$chart" --show-only templates/configmaps.yaml >"$scratch/configmaps.yaml"
mkdir -p "$into/config"
block agent.yaml "$into/config/example.yaml"
block controller.yaml "$into/config/controller.yaml"

# What Helm cannot make: rules, and the list that they are made of, by which the chart knows whether
# they are the right ones.
files=$into/deploy/helm/meshprobe/files
mkdir -p "$files"
awk '/^slos:/ { inside = 1; print; next } /^[^ ]/ || /^$/ { inside = 0 } inside' \
    "$into/config/controller.yaml" >"$files/slos.yaml"
{
    echo "# Made by deploy/generate.sh: what \`meshprobe rules\` makes of the default slos."
    "$meshprobe" rules --config "$into/config/controller.yaml" --only slo
} >"$files/slo.yaml"

rm -rf "$files/dashboards"
"$meshprobe" dashboards --out "$files/dashboards" >/dev/null

render base namespaces serviceaccounts rbac configmaps agents controller services istio networkpolicies
render overlays/monitoring monitors prometheusrule dashboards -- \
    --set podMonitor.enabled=true,prometheusRule.enabled=true,grafanaDashboard.enabled=true
render overlays/channel-key configmaps agents controller -- \
    --set channelKey.existingSecret=meshprobe-channel-key
