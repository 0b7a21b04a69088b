{{/* Labels of every object. */}}
{{- define "meshprobe.labels" -}}
app.kubernetes.io/name: meshprobe
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What selects the pods of one component: they never change, because selectors cannot. */}}
{{- define "meshprobe.selector" -}}
app.kubernetes.io/name: meshprobe
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "meshprobe.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .Values.image.repository }}@{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{- define "meshprobe.agentAccount" -}}
{{ .Values.serviceAccount.agentName | default "meshprobe-agent" }}
{{- end }}

{{- define "meshprobe.controllerAccount" -}}
{{ .Values.serviceAccount.name | default "meshprobe-controller" }}
{{- end }}

{{/* The Secret with the channel's key; empty without one. */}}
{{- define "meshprobe.keySecret" -}}
{{- $key := .Values.channelKey -}}
{{- if $key.existingSecret -}}
{{ $key.existingSecret }}
{{- else if or $key.value $key.generate -}}
meshprobe-channel-key
{{- end -}}
{{- end }}

{{/* Both of the chart's own containers: nothing that Pod Security "restricted" forbids. */}}
{{- define "meshprobe.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "meshprobe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The downward API: one environment variable from a field of the pod. */}}
{{- define "meshprobe.field" -}}
- name: {{ index . 0 }}
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: {{ index . 1 }}
{{- end }}

{{/* What is promised, the same in every file. */}}
{{- define "meshprobe.slos" -}}
{{- if .Values.slos -}}
slos:
{{- range $slo := .Values.slos }}
  - name: {{ .name }}
{{- range $key := list "description" "objective" "window" "sli" "select" "group_by" }}
{{- with index $slo $key }}
    {{ $key }}: {{ if or (has $key (list "objective" "window")) (eq (toString .) "availability") }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- else -}}
slos: []
{{- end }}
{{- end }}

{{/* The thresholds of latencies, each once: bounds of the agents' histograms, which a restart takes up. */}}
{{- define "meshprobe.thresholds" -}}
{{- $thresholds := list -}}
{{- range .Values.slos -}}
{{- if kindIs "map" .sli -}}
{{- $thresholds = append $thresholds .sli.latency.threshold -}}
{{- end -}}
{{- end -}}
{{- $thresholds | uniq | sortAlpha | join " " -}}
{{- end }}
