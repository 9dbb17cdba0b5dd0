{{/* The image, by digest where one is given. */}}
{{- define "spoolway.image" -}}
{{- $repository := required "image.repository is required. Where is the image?\n  in a registry:   --set image.repository=registry.example.com/spoolway\n  built by `make image` and loaded into the nodes:   --set image.repository=localhost/spoolway --set image.pullPolicy=Never\n" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What the operator's pods are found by. */}}
{{- define "spoolway.selector" -}}
app.kubernetes.io/name: spoolway
app.kubernetes.io/component: operator
{{- end -}}

{{/* Helm adds what tells its releases apart by itself. */}}
{{- define "spoolway.labels" -}}
{{ include "spoolway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}
