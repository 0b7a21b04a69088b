{{/*
The configuration of the agents of one vantage, comments and all: config/example.yaml is what this
makes of the default values for the plain one (deploy/generate.sh writes it, deploy/test.sh compares).
Called with (dict "root" $ "vantage" "plain").
*/}}
{{- define "meshprobe.agentConfig" -}}
{{- $values := .root.Values -}}
{{- $istio := $values.istio -}}
{{- $ambient := eq .vantage "ambient" -}}
{{- $istiod := printf "%s.%s.svc" $istio.service $istio.namespace -}}
# meshprobe for an ambient cluster, as the chart in deploy/helm gives it to the agents {{ if $ambient }}INSIDE{{ else }}OUTSIDE{{ end }}
# the mesh. Every key is explained in docs/configuration.md.
#
#   meshprobe config check config/example.yaml      finds every mistake, touches no network
#   meshprobe check --config config/example.yaml    asks everything once
#   meshprobe agent --config config/example.yaml    asks for ever
#
# What is asked here holds for every cluster. Peers and services of the mesh come from the controller
# in addition; the targets at the end that are commented out show how to state such by hand.

# node, zone and vantage are labels of everything that is measured. In a cluster they come from
# the environment (MESHPROBE_NODE, MESHPROBE_ZONE, MESHPROBE_VANTAGE), so one file serves every
# node. Outside a cluster, or to be explicit:
# node: node-1
# zone: eu-1a
{{- if $ambient }}
vantage: ambient                      # the namespace is labelled istio.io/dataplane-mode=ambient
{{- else }}
vantage: plain                        # the namespace is labelled istio.io/dataplane-mode=none
{{- end }}

admin:                                # /metrics, /livez, /readyz, /v1/window, /probe
  listen: 0.0.0.0:9850
  # Whoever can reach /probe can make this pod connect: say to where. Empty means anywhere.
  probe_networks: [{{ join ", " $values.agent.probeNetworks }}]

# Answers the peers' probes: on 9851 as the mesh's policy has it, and on 9852, the canary, where a
# PeerAuthentication demands mTLS (STRICT) in the ambient namespace whatever holds elsewhere.
responder:
  listen: [0.0.0.0:9851, 0.0.0.0:9852]

# Who tells this agent what else to ask. The last good answer is kept and used while nobody answers.
# Without this block an agent asks what stands here and no more.
controller:
  addresses: [meshprobe-controller-channel.{{ $values.namespaces.plain }}.svc.{{ $values.clusterDomain }}:9854]
  cache: /var/lib/meshprobe/plan.json
{{- if include "meshprobe.keySecret" .root }}
  key: /var/run/secrets/meshprobe/key
{{- else }}
  # A file with 32 characters or more that agents and controllers share. Without it the channel is
  # encrypted, but neither end knows whom it speaks to.
  # key: /var/run/secrets/meshprobe/key
{{- end }}

# Where istiod is, whom the mesh trusts, and who this pod is. The pod needs
#   * the ConfigMap istio-ca-root-cert (istiod writes it into every namespace) at /var/run/secrets/istio
#   * a projected token, audience istio-ca, at /var/run/secrets/tokens/istio-token
#   * MESHPROBE_POD_NAME, _NAMESPACE, _SERVICE_ACCOUNT and _IP in its environment (downward API)
# They are read while the agent runs: without them this file is still good, the ladder to istiod
# ends at http2, and what needs the mesh is inconclusive.
mesh:
  istiod: {{ $istiod }}:15012
  server_name: {{ $istiod }}
  trust_domain: {{ $istio.trustDomain }}
  cluster_id: {{ $istio.clusterId }}

# What is promised (docs/slo.md). Each threshold of a latency is a bound of the histograms here.
{{ include "meshprobe.slos" .root }}

defaults:                             # for every target below that does not state its own
  interval: {{ $values.agent.interval }}
  timeout: {{ $values.agent.timeout }}                         # may be longer than the interval
  jitter: 0.1                         # a slot comes up to a tenth of the interval late

# Questions without an address. Targets refer to them, and so does /probe?module=NAME&target=ADDRESS.
modules:
  http_2xx:
    expect: status 2xx
    http: { method: GET }

  # Any complete answer proves the path through the mesh, whatever the application says.
  http_any:
    expect: reply
    timeouts: { connect: 500ms }      # a dropped packet shows after half a second, not after two
    http: {}

  # istiod as ztunnel needs it, rung by rung: resolve, tcp, tls (its name, the mesh's root, enough
  # life left), http2, xds (does it know this pod, on this node?), csr (does it sign?).
  istiod:
    timeout: 5s
    istiod:
      tls: { min_remaining: 0.2 }     # less than a fifth of its life left: renewal is overdue

  # Small bodies pass, large ones stall: an MTU black hole.
  mtu:
    mtu: { large: 16KiB }
{{- with $values.agent.modules }}

{{ toYaml . | indent 2 }}
{{- end }}

targets:
  # --- CoreDNS -----------------------------------------------------------------------------------
  # A name that every cluster has, from the first nameserver of resolv.conf, which is the Service of
  # CoreDNS. Over both transports: answers too long for a datagram need tcp. One question is one
  # packet: a lost packet is a timeout and is not papered over by a retry.
  - name: coredns/service:udp
    address: kubernetes.default.svc.{{ $values.clusterDomain }}
    timeout: 1s
    dns: {}
  - name: coredns/service:tcp
    address: kubernetes.default.svc.{{ $values.clusterDomain }}
    timeout: 1s
    dns: { transport: tcp }

  # As a pod asks: a short name and the search list. Each name that was tried is recorded with its
  # own time.
  - name: coredns/resolv-conf
    address: kubernetes.default.svc
    dns: { search: resolv_conf }

  # --- istiod: where ztunnel gets certificates and configuration -----------------------------------
  # When this breaks on one node, that node's ztunnel works on until its certificates end. Each rung
  # has a verdict of its own; those above a broken one are inconclusive.
  - name: istiod/service
    address: {{ $istiod }}.{{ $values.clusterDomain }}:15012
    module: istiod
    via: cluster_ip

  # The plaintext monitoring port beside it. If only 15012 fails, it is TLS and not the way there.
  - name: istiod/monitoring
    address: http://{{ $istiod }}.{{ $values.clusterDomain }}:15014/version
    module: http_2xx
    interval: 15s
    via: cluster_ip

  # --- this node's part of the mesh ------------------------------------------------------------------
{{- if $ambient }}
  # Is this pod captured, as its enrolment says?
{{- else }}
  # Is this pod captured although it is outside the mesh? (In an ambient pod: is it captured at all?)
{{- end }}
  - name: capture
    address: kubernetes.default.svc.{{ $values.clusterDomain }}
    interval: 30s
    capture: {}
{{- if $ambient }}

  # The certificate that this node's ztunnel holds for this pod, in this pod. It lives for a day and
  # is renewed at half of that: less than a third left means that the renewal failed.
  - name: hbone/own
    address: 127.0.0.1
    interval: 15s
    hbone:
      credentialed: false
      tls:
        spiffe_id: spiffe://{{ $istio.trustDomain }}/ns/{{ $values.namespaces.ambient }}/sa/{{ include "meshprobe.agentAccount" .root }}
        min_remaining: 0.3
{{- end }}
{{- with $values.agent.targets }}

  # --- stated in the values of the chart -------------------------------------------------------------
{{ toYaml . | indent 2 }}
{{- end }}

  # --- by hand ---------------------------------------------------------------------------------------
  # One CoreDNS or istiod pod: when only this one fails, the Service has a bad endpoint.
  # - name: coredns/pod-1
  #   address: 10.244.0.8:53
  #   dns: { name: kubernetes.default.svc.{{ $values.clusterDomain }} }
  #   via: pod_ip
  # - name: istiod/pod-1
  #   address: 10.244.0.9:15012
  #   module: istiod
  #   via: pod_ip

  # A name outside the cluster shows CoreDNS's upstreams. Ask it seldom: they are not ours.
  # - name: coredns/upstream
  #   address: istio.io
  #   interval: 1m
  #   dns: {}

  # What a ztunnel says of itself. Ready is no proof: it stays so without a CA.
  # - name: ztunnel/node-1
  #   address: 10.244.1.5
  #   interval: 15s
  #   via: pod_ip
  #   ztunnel: {}

  # The call that breaks when STRICT is enabled while something outside the mesh (here: cloudflared
  # in namespace ingress) still calls in. Under PERMISSIVE it is answered.
  # - name: default/mirai-frontend
  #   address: http://mirai-frontend.default.svc.{{ $values.clusterDomain }}:80/
  #   module: http_any
  #   via: cluster_ip

  # HBONE without a certificate: ztunnel shows that pod's own chain, then demands one of us. Refused
  # means that the ztunnel of its node is dead, a timeout that something drops 15008 (a
  # NetworkPolicy, most often), cert_expired or cert_expiring that its renewal failed.
  # - name: hbone/mirai-frontend:chain
  #   address: 10.244.1.17
  #   interval: 15s
  #   via: pod_ip
  #   hbone:
  #     credentialed: false
  #     tls:
  #       spiffe_id: spiffe://{{ $istio.trustDomain }}/ns/default/sa/mirai-frontend
  #       min_remaining: 0.3

  # With this agent's own mesh certificate: a tunnel to the pod, and a request through it. 200 to
  # CONNECT comes only after the far end was connected: this proves the whole way.
  # - name: hbone/mirai-frontend:tunnel
  #   address: http://10.244.1.17:80/
  #   timeouts: { tunnel: 1s }
  #   via: hbone
  #   hbone:
  #     tls: { spiffe_id: spiffe://{{ $istio.trustDomain }}/ns/default/sa/mirai-frontend }

  # The same pod in plaintext, once STRICT is on: a plain caller must be DENIED. A denial looks like
  # a dead port, so it counts only while the tunnel to the same address and port is answered. A
  # reply here is an enforcement gap.
  # - name: hbone/mirai-frontend:strict
  #   address: http://10.244.1.17:80/
  #   expect: denied
  #   control: hbone/mirai-frontend:tunnel
  #   via: pod_ip
  #   http: {}

  # One connection kept open: restarts of ztunnel and the switch to STRICT end it, which fresh
  # connections never show. The next one begins when this one is over.
  # - name: peer/node-1:held
  #   address: http://10.244.1.21:9851/
  #   via: pod_ip
  #   hold: { heartbeat: 1s, hold: 5m }

  # Bodies of several segments both ways, echoed by a peer's responder.
  # - name: peer/node-1:mtu
  #   address: http://10.244.1.21:9851/
  #   module: mtu
  #   interval: 30s
  #   via: pod_ip
{{ end }}
