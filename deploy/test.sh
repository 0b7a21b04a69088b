#!/usr/bin/env bash
# Checks what the chart renders: that it is accepted or refused as it should be, that the kustomize
# overlays and config/ say the same, that the rules are good ones and name only metrics that exist.
# Needs no cluster. `helm`, `kubectl` and `promtool` are taken from target/tools/bin or from PATH.
#
# usage: deploy/test.sh
#   MESHPROBE=target/debug/meshprobe   also lets this program check every rendered agent configuration
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
PATH=$root/target/tools/bin:$PATH
chart=$here/helm/meshprobe
for program in helm kubectl promtool python3; do
    command -v "$program" >/dev/null || {
        printf 'deploy: error: no %s here\n' "$program" >&2
        exit 1
    }
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

# check NAME COMMAND…: one case; what the command printed is shown when it fails.
check() {
    local name=$1
    shift
    if "$@" >"$scratch/said" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n' "$name"
        sed 's/^/    /' "$scratch/said" | head -n 60
    fi
}

render() { helm template meshprobe "$chart" "$@"; }

# Value sets beside the defaults.
cat >"$scratch/everything.yaml" <<'EOF'
image: { repository: registry.example/team/meshprobe, tag: "1.2.3", pullPolicy: Always }
imagePullSecrets: [{ name: pull }]
clusterDomain: cluster.example
istio: { namespace: mesh, service: istiod-canary, rootNamespace: mesh, trustDomain: td.example, clusterId: c1 }
coredns: { namespace: dns, service: coredns }
serviceAccount: { annotations: { a: b } }
channelKey: { existingSecret: my-key }
agent:
  log: info,meshprobe::runner=debug
  nodeSelector: { kubernetes.io/os: linux }
  affinity: { nodeAffinity: {} }
  priorityClassName: system-node-critical
  podAnnotations: { note: "true" }
  podLabels: { team: net }
  maxUnavailable: 3
  rollOnConfigChange: true
  probeNetworks: []
  interval: 10s
  modules: { login: { expect: "status 401", http: {} } }
  targets:
    - { name: default/login, address: "http://login.default.svc/", module: login, via: cluster_ip }
    - name: default/text
      address: login.default.svc:7
      tcp: { send: "hello\r\n" }
controller:
  replicas: 3
  tolerations: [{ key: a, operator: Equal, value: b, effect: NoSchedule, tolerationSeconds: 5 }]
  affinity: { podAntiAffinity: {} }
  podDisruptionBudget: { maxUnavailable: 50% }
  services:
    - { namespace: default, name: mirai-frontend, ports: [80, http], path: /healthz }
    - { namespace: monitoring, selector: "app.kubernetes.io/name=prometheus" }
    - { namespace: shop }
slos:
  - { name: shop, description: "what it's for: sales", objective: 0.999, window: 7d, sli: availability, select: { namespace: [shop, "bank*"] }, group_by: [node, namespace] }
  - { name: quick, objective: "99%", window: calendar_month, sli: { latency: { threshold: 300ms, phase: processing, connection: warm } } }
authorizationPolicy: { enabled: true }
podMonitor: { enabled: true, labels: { release: prometheus } }
prometheusRule:
  enabled: true
  alerts: { MeshprobeSlotsMissed: { enabled: false }, MeshprobeTargetViolated: { threshold: 0.25, severity: page } }
grafanaDashboard: { enabled: true, namespace: monitoring }
EOF
cat >"$scratch/little.yaml" <<'EOF'
namespaces: { create: false }
istio: { enabled: false }
rbac: { create: false }
serviceAccount: { create: false, agentName: robot, name: warden }
networkPolicy: { enabled: false }
agent: { tolerations: [] }
controller: { replicas: 1, podDisruptionBudget: { enabled: false } }
serviceMonitor: { enabled: true }
EOF
: >"$scratch/default.yaml"
sets=(default everything little)

# --- accepted ---------------------------------------------------------------------------------------

lints() { helm lint --strict "$chart" --values "$scratch/$1.yaml"; }

# Every object has a name, and a namespace unless it is of the cluster; none is there twice. kubectl
# reads them all strictly on the way.
is_well_formed() {
    render --values "$scratch/$1.yaml" >"$scratch/all.yaml" || return
    printf 'resources: [all.yaml]\n' >"$scratch/kustomization.yaml"
    kubectl kustomize "$scratch" -o "$scratch/read.yaml" || return
    [ -s "$scratch/read.yaml" ] || return
    awk -v RS='---\n' '
        /kind:/ && !/\n *namespace: / && !/\nkind: (Namespace|ClusterRole|ClusterRoleBinding)\n/ {
            print "without a namespace:"; print; bad = 1
        }
        END { exit bad }
    ' "$scratch/all.yaml"
}
for set in "${sets[@]}"; do
    check "lint accepts the values: $set" lints "$set"
    check "objects are well-formed: $set" is_well_formed "$set"
done

# --- refused ----------------------------------------------------------------------------------------

# refuses TEXT FLAGS…: rendering fails, and the message has TEXT in it.
refuses() {
    local text=$1
    shift
    if render "$@" >"$scratch/rendered" 2>"$scratch/refusal"; then
        echo "was accepted: $*"
        return 1
    fi
    grep -qF -- "$text" "$scratch/refusal" || {
        cat "$scratch/refusal"
        return 1
    }
}
while IFS='|' read -r flags text; do
    read -ra flags <<<"$flags"
    check "refused: ${flags[*]}" refuses "$text" "${flags[@]}"
done <<'EOF'
--set replicas=3|replicas
--set image.repo=x|repo
--set image.pullPolicy=Sometimes|/image/pullPolicy
--set image.tag=a/b|/image/tag
--set namespaces.ambient=Upper|/namespaces/ambient
--set agent.hostNetwork=true|hostNetwork
--set agent.interval=5|/agent/interval
--set-string agent.interval=5x|/agent/interval
--set agent.maxUnavailable=0|/agent/maxUnavailable
--set agent.resources.limit.cpu=1|limit
--set-json agent.resources={"limits":{"memory":"lots"}}|/agent/resources/limits/memory
--set-json agent.tolerations=[{"operator":"Any"}]|/agent/tolerations/0/operator
--set-json agent.podLabels={"meshprobe.dev/vantage":"plain"}|invalid propertyName 'meshprobe.dev/vantage'
--set-json agent.modules={"istiod":{}}|invalid propertyName 'istiod'
--set-json agent.targets=[{"name":"a"}]|address
--set-json agent.probeNetworks=["host.example"]|/agent/probeNetworks/0
--set controller.replicas=0|/controller/replicas
--set controller.topology.peers=0|/controller/topology/peers
--set controller.budgets.csrPerSecond=0|/controller/budgets/csrPerSecond
--set-json controller.services=[{"name":"a"}]|/controller/services/0
--set-json controller.services=[{"namespace":"a","name":"b","selector":"c=d"}]|/controller/services/0
--set-json controller.services=[{"namespace":"a","name":"b","ports":[70000]}]|/controller/services/0/ports/0
--set-json slos=[{"name":"a","objective":"100%","window":"30d","sli":"availability"}]|/slos/0/objective
--set-json slos=[{"name":"a","objective":"99.9%","window":"30","sli":"availability"}]|/slos/0/window
--set-json slos=[{"name":"a","objective":"99.9%","window":"30d","sli":{"latency":{}}}]|/slos/0/sli
--set-json slos=[{"name":"a","objective":"99.9%","window":"30d","sli":"availability","select":{"pod":"b"}}]|/slos/0/select
--set channelKey.value=short|/channelKey/value
--set channelKey.generate=true,channelKey.existingSecret=a|set one of channelKey.existingSecret and channelKey.generate
--set prometheusRule.alerts.Mine.enabled=true|Mine
--set prometheusRule.alerts.MeshprobeTargetViolated.threshold=2|/prometheusRule/alerts/MeshprobeTargetViolated/threshold
--set prometheusRule.alerts.MeshprobeAgentAbsent.for=soon|/prometheusRule/alerts/MeshprobeAgentAbsent/for
--set podMonitor.enabled=true,serviceMonitor.enabled=true|choose one
--namespace meshprobe-plain|namespaces.create=false
EOF

# --- rights and isolation ---------------------------------------------------------------------------

render --values "$scratch/default.yaml" >"$scratch/plain.yaml"
render --values "$scratch/everything.yaml" >"$scratch/full.yaml"

no_pod_leaves_its_sandbox() {
    ! grep -nE 'host(Network|PID|IPC|Path|Port|Users)|privileged: true|allowPrivilegeEscalation: true|  add:' \
        "$scratch/plain.yaml" "$scratch/full.yaml"
}
# Three workloads, each with one container: two DaemonSets and a Deployment.
every_container_is_restricted() {
    local words='runAsNonRoot: true|readOnlyRootFilesystem: true|allowPrivilegeEscalation: false|drop: \[ALL\]|type: RuntimeDefault'
    local word count
    while IFS= read -r word; do
        count=$(grep -cE "^ +$word\$" "$scratch/plain.yaml")
        [ "$count" = 3 ] || {
            echo "$word: $count times, not 3"
            return 1
        }
    done <<<"${words//|/$'\n'}"
}
agents_hold_no_rights() {
    render --show-only templates/rbac.yaml >"$scratch/rbac.yaml" || return
    [ "$(grep -c 'kind: ServiceAccount' "$scratch/rbac.yaml")" = 2 ] || return
    ! grep -n 'name: meshprobe-agent' "$scratch/rbac.yaml" || return
    render --show-only templates/agents.yaml >"$scratch/agents.yaml" || return
    [ "$(grep -c 'automountServiceAccountToken: false' "$scratch/agents.yaml")" = 2 ]
}
the_controller_changes_nothing_but_events_and_its_lease() {
    python3 - "$scratch/rbac.yaml" <<'EOF'
import re, sys
text = open(sys.argv[1]).read()
rules = re.findall(r"- apiGroups: \[(.*)\]\n +resources: \[(.*)\]\n(?: +resourceNames: \[(.*)\]\n)? +verbs: \[(.*)\]", text)
assert len(rules) == text.count("apiGroups:"), "a rule is written in another way"
writes = [rule for rule in rules if set(rule[3].split(", ")) - {"list", "watch"}]
assert sorted((r[1], r[2], r[3]) for r in writes) == [
    ("events", "", "create, get, patch"),
    ("leases", "", "create"),
    ("leases", "meshprobe-controller", "get, update"),
], writes
reads = [rule for rule in rules if rule not in writes]
assert reads and all("secrets" not in r[1] and "*" not in "".join(r) for r in rules), reads
EOF
}
no_cpu_is_limited() { ! grep -A 1 ' limits:$' "$scratch/plain.yaml" | grep 'cpu:'; }
check "no pod leaves its sandbox" no_pod_leaves_its_sandbox
check "every container is restricted" every_container_is_restricted
check "agents hold no rights" agents_hold_no_rights
check "the controller changes nothing but Events and its Lease" the_controller_changes_nothing_but_events_and_its_lease
check "no CPU is limited" no_cpu_is_limited

# --- the channel's key ------------------------------------------------------------------------------

no_key_is_made_unasked() { ! grep -n 'kind: Secret' "$scratch/plain.yaml" "$scratch/full.yaml"; }
both_namespaces_get_the_same_random_key() {
    local first second
    first=$(render --set channelKey.generate=true --show-only templates/secret.yaml | sed -n 's/^  key: //p') || return
    second=$(render --set channelKey.generate=true --show-only templates/secret.yaml | sed -n 's/^  key: //p') || return
    [ "$(wc -l <<<"$first")" = 2 ] && [ "$(sort -u <<<"$first" | wc -l)" = 1 ] && [ "$first" != "$second" ] &&
        [ "$(head -n 1 <<<"$first" | base64 -d | wc -c)" -ge 32 ]
}
whoever_has_a_key_mounts_it_and_says_so() {
    local name
    for name in agents controller; do
        render --set channelKey.existingSecret=mine --show-only "templates/$name.yaml" >"$scratch/$name" || return
        [ "$(grep -c 'secretName: mine$' "$scratch/$name")" = "$(grep -c '^kind: \(DaemonSet\|Deployment\)$' "$scratch/$name")" ] || return
    done
    [ "$(render --set channelKey.existingSecret=mine --show-only templates/configmaps.yaml |
        grep -c '^ *key: /var/run/secrets/meshprobe/key$')" = 3 ]
}
check "no key is made unasked" no_key_is_made_unasked
check "both namespaces get the same random key" both_namespaces_get_the_same_random_key
check "whoever has a key mounts it and says so" whoever_has_a_key_mounts_it_and_says_so

# --- configuration ----------------------------------------------------------------------------------

"$here/generate.sh" "$scratch/made"
generated_files_are_up_to_date() {
    local file
    while IFS= read -r file; do
        diff -u "$root/$file" "$scratch/made/$file" || return
    done < <(cd "$scratch/made" && find . -type f)
    # And nothing that the chart makes no more was left behind.
    while IFS= read -r file; do
        [ -e "$scratch/made/$file" ] || {
            echo "$file is not made by the chart (any more)"
            return 1
        }
    done < <(cd "$root" && grep -rl '^# Made by deploy/generate.sh' deploy/kustomize)
}
check "generated files are up to date (else: deploy/generate.sh)" generated_files_are_up_to_date

config_is_good() {
    render --values "$scratch/$1.yaml" --show-only templates/configmaps.yaml >"$scratch/configmaps.yaml" || return
    local vantage
    for vantage in ambient plain; do
        awk -v wanted="$vantage" '
            /^  agent.yaml: \|$/ { inside = 1; text = ""; next }
            inside && (/^    / || /^ *$/) { text = text substr($0, 5) "\n"; next }
            inside { inside = 0; if (text ~ "\nvantage: " wanted) printf "%s", text }
            END { if (inside && text ~ "\nvantage: " wanted) printf "%s", text }
        ' "$scratch/configmaps.yaml" >"$scratch/agent-$vantage.yaml"
        grep -q "^vantage: $vantage " "$scratch/agent-$vantage.yaml" || return
        [ -z "${MESHPROBE:-}" ] || "$MESHPROBE" config check "$scratch/agent-$vantage.yaml" || return
    done
}
for set in "${sets[@]}"; do
    check "the agents' configuration is good: $set" config_is_good "$set"
done

# --- kustomize --------------------------------------------------------------------------------------

# same OVERLAY FLAGS…: the overlay is what the chart renders with FLAGS, but for Helm's own labels.
same() {
    local overlay=$1
    shift
    mkdir -p "$scratch/$overlay"
    render --set controller.rollOnConfigChange=false "$@" |
        sed -e '/app.kubernetes.io\/managed-by: Helm$/d' -e '/helm.sh\/chart: /d' >"$scratch/$overlay/all.yaml"
    printf 'resources: [all.yaml]\n' >"$scratch/$overlay/kustomization.yaml"
    kubectl kustomize "$scratch/$overlay" -o "$scratch/$overlay/chart" || return
    kubectl kustomize "$here/kustomize/$overlay" -o "$scratch/$overlay/overlay" || return
    [ "$(grep -c '^kind: ' "$scratch/$overlay/chart")" -ge 20 ] || return
    diff -u "$scratch/$overlay/chart" "$scratch/$overlay/overlay"
}
check "the base is the chart's default" same base
check "overlay default is the chart's default" same overlays/default
check "overlay monitoring is the chart with its switches" same overlays/monitoring \
    --set podMonitor.enabled=true,prometheusRule.enabled=true,grafanaDashboard.enabled=true
check "overlay channel-key is the chart with an existing Secret" same overlays/channel-key \
    --set channelKey.existingSecret=meshprobe-channel-key
check "overlay no-istio-crds is the chart without Istio" same overlays/no-istio-crds --set istio.enabled=false

# --- rules and dashboards ---------------------------------------------------------------------------

rules() {
    render --set prometheusRule.enabled=true "$@" --show-only templates/prometheusrule.yaml |
        sed -n '/^spec:/,$p' | sed -e 1d -e 's/^  //'
}
rules >"$scratch/rules.yaml"
cp "$here/tests/alerts.yaml" "$scratch/alerts.yaml"

every_alert_has_a_case_and_values() {
    local alert
    grep -q '^  - alert: ' "$chart/files/alerts.yaml" || return
    while IFS= read -r alert; do
        grep -q "alertname: $alert\$" "$here/tests/alerts.yaml" || {
            echo "$alert has no case that fires in deploy/tests/alerts.yaml"
            return 1
        }
        grep -q "^    $alert: " "$chart/values.yaml" || {
            echo "$alert has no values"
            return 1
        }
    done < <(sed -n 's/^  - alert: //p' "$chart/files/alerts.yaml")
    ! grep -n 'THRESHOLD\|<nil>' "$scratch/rules.yaml"
}
values_of_alerts_are_obeyed() {
    rules --set prometheusRule.alerts.MeshprobeSlotsMissed.enabled=false \
        --set prometheusRule.alerts.MeshprobeTargetViolated.threshold=0.25 \
        --set prometheusRule.alerts.MeshprobeAgentAbsent.for=7m,prometheusRule.alerts.MeshprobeAgentAbsent.severity=page \
        >"$scratch/other.yaml"
    ! grep -q MeshprobeSlotsMissed "$scratch/other.yaml" || return
    grep -q '> 0.25$' "$scratch/other.yaml" && grep -q 'for: 7m' "$scratch/other.yaml" &&
        grep -q 'severity: page' "$scratch/other.yaml"
}
metrics_are_documented() {
    local metric unknown=0
    while IFS= read -r metric; do
        grep -q "^| \`$metric\` |" "$root/docs/metrics.md" || {
            echo "$metric is in no row of docs/metrics.md"
            unknown=1
        }
    done < <(grep -ohE 'meshprobe_[a-z_]+' "$chart/files/alerts.yaml" "$chart"/files/dashboards/*.json |
        sed -E 's/_(bucket|count|sum)$//' | sort -u)
    return "$unknown"
}
# The expressions of the dashboards as recording rules, which promtool parses.
expressions_of_the_dashboards_parse() {
    python3 - "$chart"/files/dashboards/*.json >"$scratch/dashboards.yaml" <<'EOF' || return
import json, re, sys
boards = [json.load(open(path)) for path in sys.argv[1:]]
panels = [panel for board in boards for panel in board["panels"]]
expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
assert len(boards) == 6 and len(expressions) > 60, (len(boards), len(expressions))
rules = []
for number, expression in enumerate(expressions):
    expression = re.sub(r"\$__(rate_interval|range)\b", "5m", expression)
    expression = re.sub(r"\$(node|vantage|target|slo)\b", ".*", expression)
    assert "$" not in expression.replace('"$1"', ""), expression
    rules.append({"record": f"panel:expression:{number}", "expr": expression})
print(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
EOF
    promtool check rules "$scratch/dashboards.yaml"
}
# Each is a ConfigMap of its own that Grafana's sidecar finds, its links as the values say.
dashboards_are_provisioned() {
    render --set grafanaDashboard.enabled=true --set prometheusRule.runbooks=https://runbooks.example/ \
        --show-only templates/dashboards.yaml >"$scratch/dashboards.yaml" || return
    [ "$(grep -c '^kind: ConfigMap' "$scratch/dashboards.yaml")" = 6 ] || return
    [ "$(grep -c '^    grafana_dashboard: "1"' "$scratch/dashboards.yaml")" = 6 ] || return
    grep -q '"url": "https://runbooks.example/MeshprobeCaptureLost.md"' "$scratch/dashboards.yaml" || return
    ! grep -n 'docs/runbooks/' "$scratch/dashboards.yaml"
}
check "the rules are good ones" promtool check rules "$scratch/rules.yaml"
check "alerts fire when they should and are silent when not" promtool test rules "$scratch/alerts.yaml"
check "every alert has a case and values" every_alert_has_a_case_and_values
check "the values of alerts are obeyed" values_of_alerts_are_obeyed
rules_of_slos_are_those_of_the_slos() {
    grep -q 'slo: mesh-peers' "$scratch/rules.yaml" || return
    rules --set-json 'slos=[{"name":"a","objective":"99.9%","window":"30d","sli":"availability"}]' >"$scratch/other.yaml"
    ! grep -n 'slo: ' "$scratch/other.yaml" || return
    rules --set-json 'slos=[{"name":"a","objective":"99.9%","window":"30d","sli":"availability"}]' \
        --set-json 'prometheusRule.sloGroups=[{"name":"mine","rules":[{"record":"a","expr":"b"}]}]' \
        --set prometheusRule.runbooks=https://runbooks.example/ >"$scratch/other.yaml"
    grep -q 'name: mine' "$scratch/other.yaml" && ! grep -n 'slo: mesh-peers' "$scratch/other.yaml" &&
        grep -q 'runbook_url: https://runbooks.example/MeshprobeCaptureLost.md' "$scratch/other.yaml"
}
check "rules of SLOs are those of the SLOs" rules_of_slos_are_those_of_the_slos
check "metrics of alerts and dashboards are documented" metrics_are_documented
check "expressions of the dashboards parse" expressions_of_the_dashboards_parse
check "dashboards are provisioned, one by one" dashboards_are_provisioned
check "the plain scrape configuration is a good one" promtool check config "$here/prometheus.yml"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
