{{/* The controllers' configuration; config/controller.yaml is what this makes of the default values. */}}
{{- define "meshprobe.controllerConfig" -}}
{{- $values := .Values -}}
# The controllers' configuration, as the chart in deploy/helm gives it to them.
#
#   meshprobe controller --config config/controller.yaml

listen: 0.0.0.0:9853                  # /v1/nodes, /v1/plan, /metrics, /livez, /readyz

channel:                              # QUIC, to which the agents connect
  listen: 0.0.0.0:9854
{{- if include "meshprobe.keySecret" . }}
  key: /var/run/secrets/meshprobe/key
{{- else }}
  # key: /var/run/secrets/meshprobe/key   # the same as the agents'
{{- end }}

namespaces:                           # where the agents of each vantage are
  ambient: {{ $values.namespaces.ambient }}
  plain: {{ $values.namespaces.plain }}

istio:
  namespace: {{ $values.istio.namespace }}
  service: {{ $values.istio.service }}
  root_namespace: {{ $values.istio.rootNamespace }}
  trust_domain: {{ $values.istio.trustDomain }}

coredns:
  namespace: {{ $values.coredns.namespace }}
  service: {{ $values.coredns.service }}

# Who is called, besides the Services that are annotated with meshprobe.dev/probe.
{{- with $values.controller.services }}
services:
{{ toYaml . | indent 2 }}
{{- else }}
services: []
#  - { namespace: default, name: mirai-frontend, ports: [80] }
#  - { namespace: monitoring, selector: "app.kubernetes.io/name=prometheus" }
{{- end }}

{{- with $values.controller }}

topology:                             # whom each agent probes
  full_mesh_up_to: {{ .topology.fullMeshUpTo }}
  peers: {{ .topology.peers }}

probes:
  interval: {{ .probes.interval }}
  timeout: {{ .probes.timeout }}
  grace: {{ .probes.grace }}                          # after a policy or a label changed

budgets:                              # of the whole fleet, divided over the agents
  csr_per_second: {{ .budgets.csrPerSecond }}
  xds_per_second: {{ .budgets.xdsPerSecond }}
  dns_per_second: {{ .budgets.dnsPerSecond }}
  requests_per_second: {{ .budgets.requestsPerSecond }}

gate:                                 # what `meshprobe gate strict` takes for enough
  objective: {{ .gate.objective }}
  confidence: {{ .gate.confidence }}
  quiet: {{ .gate.quiet }}
  namespaces: {{ .gate.namespaces | toJson }}
{{- end }}

# What is promised, the same as in the agents' files.
{{ include "meshprobe.slos" . }}
{{ end }}
