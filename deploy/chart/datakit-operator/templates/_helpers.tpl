{{/* The chart's name, as in labels and in the container's name. */}}
{{- define "datakit-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the installation. It names a Service, which may hold no dot and at most 63 characters. */}}
{{- define "datakit-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $made := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $made .Values.fullnameOverride | replace "." "-" | replace "_" "-" | lower | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "datakit-operator.serviceAccountName" -}}
{{- default (ternary (include "datakit-operator.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* The Secret with the authority (cluster) or with the certificate (otherwise). */}}
{{- define "datakit-operator.secretName" -}}
{{- $suffix := ternary "ca" "tls" (eq .Values.certificates.source "cluster") }}
{{- default (printf "%s-%s" (include "datakit-operator.fullname" .) $suffix) .Values.certificates.secretName }}
{{- end }}

{{/* What the Deployment and everything else finds the pods by. It can't change while the Deployment exists. */}}
{{- define "datakit-operator.selectorLabels" -}}
app: {{ include "datakit-operator.fullname" . | toYaml }}
{{- if not .Values.legacySelector }}
app.kubernetes.io/name: {{ include "datakit-operator.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}
{{- end }}

{{/* Labels of every object. Those that tell about Helm are Helm's to set. */}}
{{- define "datakit-operator.labels" -}}
app: {{ include "datakit-operator.fullname" . | toYaml }}
app.kubernetes.io/name: {{ include "datakit-operator.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A time as cert-manager reads it, which knows no days. */}}
{{- define "datakit-operator.hours" -}}
{{- if hasSuffix "d" . }}{{ mul 24 (trimSuffix "d" . | int) }}h{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* The names under which the webhook is reached, as a list. */}}
{{- define "datakit-operator.dnsNames" -}}
{{- $name := include "datakit-operator.fullname" . -}}
- {{ $name | toYaml }}
- {{ $name }}.{{ .Release.Namespace }}
- {{ $name }}.{{ .Release.Namespace }}.svc
- {{ $name }}.{{ .Release.Namespace }}.svc.cluster.local
{{- end }}

{{/*
Whether agents of Datakit must prove who they are; empty if not. Values of earlier charts don't say.
*/}}
{{- define "datakit-operator.electionAuth" -}}
{{- $auth := dig "auth" "off" (.Values.election | default dict) -}}
{{- if and $auth (ne ($auth | toString) "off") }}{{ $auth }}{{ end -}}
{{- end -}}
