{{/*
The operator's configuration as text: configmap.config where it says something, else configmap.jsonconfig.
*/}}
{{- define "datakit-operator.configuration" -}}
{{- if .Values.configmap.config -}}
{{- include "datakit-operator.json" (dict "value" .Values.configmap.config "indent" "" "path" "configmap.config") }}
{{ else -}}
{{- /* Blank lines at the end say nothing, and what else is at the end of this file would add to them. */ -}}
{{- regexReplaceAll "\\n+$" .Values.configmap.jsonconfig "\n" -}}
{{- end -}}
{{- end }}

{{/*
A value as JSON that people can read. Of a map no order is known, so `envs` gets one: variables that refer to others come behind those
that don't. `path` is where the value stands.
*/}}
{{- define "datakit-operator.json" -}}
{{- $inside := printf "%s  " .indent -}}
{{- if and (kindIs "map" .value) .value -}}
{{- $keys := keys .value | sortAlpha -}}
{{- if hasSuffix ".envs" .path -}}
{{- $keys = include "datakit-operator.order" . | fromJsonArray -}}
{{- end -}}
{
{{- range $at, $key := $keys }}{{ if $at }},{{ end }}
{{ $inside }}{{ $key | toRawJson }}: {{ include "datakit-operator.json" (dict "value" (get $.value $key) "indent" $inside "path" (printf "%s.%s" $.path $key)) }}
{{- end }}
{{ .indent }}}
{{- else if and (kindIs "slice" .value) .value -}}
[
{{- range $at, $item := .value }}{{ if $at }},{{ end }}
{{ $inside }}{{ include "datakit-operator.json" (dict "value" $item "indent" $inside "path" (printf "%s[%d]" $.path $at)) }}
{{- end }}
{{ .indent }}]
{{- else -}}
{{- toRawJson .value -}}
{{- end -}}
{{- end }}

{{/* The names of variables, those that refer to others last, as JSON. One that refers to such a one has no place in this order. */}}
{{- define "datakit-operator.order" -}}
{{- $first := list -}}
{{- $last := list -}}
{{- range $name := keys .value | sortAlpha -}}
{{- $refers := false -}}
{{- range $other := without (keys $.value) $name -}}
{{- $refers = or $refers (contains (printf "$(%s)" $other) (get $.value $name | toString)) -}}
{{- end -}}
{{- if $refers }}{{ $last = append $last $name }}{{ else }}{{ $first = append $first $name }}{{ end -}}
{{- end -}}
{{- range $name := $last -}}
{{- range $other := without $last $name -}}
{{- if contains (printf "$(%s)" $other) (get $.value $name | toString) -}}
{{- fail (printf "%s.%s refers to %s, which refers to another variable; YAML has no order for these: write configmap.jsonconfig, which has" $.path $name $other) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- concat $first $last | toJson -}}
{{- end }}
