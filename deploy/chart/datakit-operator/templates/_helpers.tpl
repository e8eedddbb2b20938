{{/*
Refuses values that can't work, before anything is made of them. Every template begins with it: which one Helm renders first is
its own affair, and none should stumble over what is said better here.
*/}}
{{- define "datakit-operator.check" -}}
{{- $missing := list -}}
{{- range $section := list "admissionregistration" "autoscaling" "certificates" "clients" "configmap" "election" "image" "loggingConfigs" "metrics" "networkPolicy" "podDisruptionBudget" "probes" "rbac" "reservedContainers" "service" "serviceAccount" "tests" "webhook" -}}
{{- if not (kindIs "map" (get $.Values $section)) }}{{ $missing = append $missing $section }}{{ end -}}
{{- end -}}
{{- if $missing }}
{{- fail (printf "nothing was changed: these values are missing: %s. Helm's --reuse-values keeps the values of the chart before and leaves out what is new in this one; use --reset-then-reuse-values instead, or give your own values with --values" (join ", " $missing)) }}
{{- end -}}
{{- $tag := .Values.image.tag | default "" -}}
{{- if and (not .Values.image.digest) (regexMatch "^v?[01]\\.[0-9]+(\\.[0-9]+)?([-+_.].*)?$" $tag) }}
{{- fail (printf "nothing was changed: image.tag is %q, a version that doesn't understand what this chart (%s) tells it, so no pod of it would become ready and none would be injected. Take image.tag out of your values, or add --set image.tag= ; a mirror needs the image with the tag %s" $tag .Chart.Version .Chart.AppVersion) }}
{{- end -}}
{{- end }}

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

{{/* An image by the registry that all are taken from, if there is such: a list of the chart's context and the image. */}}
{{- define "datakit-operator.mirrored" -}}
{{- $context := first . -}}
{{- $image := last . -}}
{{- with (get $context.Values "global" | default dict).imageRegistry -}}
{{- $parts := splitList "/" $image -}}
{{/* The first part is a registry if it looks like a host; otherwise the image is from the usual one. */}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) }}{{ $parts = rest $parts }}{{ end -}}
{{- $image = printf "%s/%s" . (join "/" $parts) -}}
{{- end -}}
{{- $image -}}
{{- end }}

{{/* The operator's image. */}}
{{- define "datakit-operator.image" -}}
{{- $repository := include "datakit-operator.mirrored" (list . .Values.image.repository) -}}
{{- if .Values.image.digest }}{{ $repository }}@{{ .Values.image.digest }}
{{- else }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
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

{{/* Who may see the cluster's pods; empty if nobody. Values of earlier charts don't say. */}}
{{- define "datakit-operator.podApi" -}}
{{- $api := .Values.podApi | default dict -}}
{{- if $api.enabled }}{{ $api.auth | default "none" }}{{ end -}}
{{- end -}}

{{/*
Whether agents of Datakit must prove who they are; empty if not. Values of earlier charts don't say.
*/}}
{{- define "datakit-operator.matchConditions" -}}
{{- $given := dig "matchConditions" "auto" (.Values.webhook | default dict) -}}
{{- if kindIs "bool" $given }}{{ ternary "on" "off" $given }}{{ else }}{{ $given | default "auto" }}{{ end -}}
{{- end -}}

{{- define "datakit-operator.electionAuth" -}}
{{- $auth := dig "auth" "off" (.Values.election | default dict) -}}
{{- if and $auth (ne ($auth | toString) "off") }}{{ $auth }}{{ end -}}
{{- end -}}
