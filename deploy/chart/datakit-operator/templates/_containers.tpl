{{/*
What the operator makes of the containers that it injects, for validatingadmissionpolicy.yaml. A name of another version of it is
here as well: whatever knows one version's containers by name should not be open to another's.
*/}}

{{/* The command of each, in all its forms, as JSON; that of the image itself is the empty one. None has arguments. */}}
{{- define "datakit-operator.commands" -}}
{{- $copy := list "cp" "-r" "/autoinstrumentation/." -}}
{{- dict
  "datakit-lib-init" (list (list "sh" "copy-lib.sh" "/datadog-lib"))
  "datakit-otel-lib-init" (list
    (list "cp" "/javaagent.jar" "/otel-auto-instrumentation-java/javaagent.jar")
    (append $copy "/otel-auto-instrumentation-nodejs")
    (append $copy "/otel-auto-instrumentation-python"))
  "datakit-logfwd" (list (list))
  "datakit-profiler" (list (list "bash" "cmd.sh"))
  "datakit-flameshot" (list (list "/flameshot/flameshot"))
  | toJson }}
{{- end }}

{{/* The name of each feature's container. */}}
{{- define "datakit-operator.containers" -}}
{{- dict "ddtrace" "datakit-lib-init" "logfwd" "datakit-logfwd" "profiler" "datakit-profiler" | toJson }}
{{- end }}

{{/* The sections of the operator's configuration, by feature, as JSON. */}}
{{- define "datakit-operator.sections" -}}
{{- $config := include "datakit-operator.configuration" . | fromJson -}}
{{- $all := get $config "admission_inject" -}}
{{- $sections := dict -}}
{{- if kindIs "map" $all -}}
{{- range $feature := list "ddtrace" "logfwd" "profiler" -}}
{{- $section := get $all $feature -}}
{{- if kindIs "map" $section }}{{ $_ := set $sections $feature $section }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $sections | toJson }}
{{- end }}

{{/*
The images that each may have, as JSON: lists of what the image's name begins and ends with, or what it is. An image of the
configuration may have any tag, which annotations choose, unless the configuration says which digest it has and doesn't let a tag
take its place (`drop_digest`).
*/}}
{{- define "datakit-operator.images" -}}
{{- $sections := include "datakit-operator.sections" . | fromJson -}}
{{- $containers := include "datakit-operator.containers" . | fromJson -}}
{{- $config := include "datakit-operator.configuration" . | fromJson -}}
{{- $configured := dict -}}
{{- $loose := list -}}
{{- range $feature, $container := $containers -}}
{{- $images := get (get $sections $feature | default (dict)) "images" -}}
{{- $found := list -}}
{{- if kindIs "map" $images -}}
{{- range $images }}{{ if and (kindIs "string" .) . }}{{ $found = append $found (trim .) }}{{ end }}{{ end -}}
{{- end -}}
{{- $_ := set $configured $container $found -}}
{{- $policy := get $config "admission_policy" -}}
{{- if kindIs "map" $policy }}{{ $policy = get $policy $feature }}{{ end -}}
{{- $drop := false -}}
{{- if kindIs "map" $policy }}{{ $drop = get $policy "drop_digest" }}{{ end -}}
{{- if and (kindIs "bool" $drop) $drop }}{{ $loose = append $loose $container }}{{ end -}}
{{- end -}}
{{/* Variables of earlier versions, which still count. */}}
{{- range $variable, $value := .Values.env -}}
{{- if and (kindIs "string" $value) $value -}}
{{- if eq $variable "ENV_LOGFWD_IMAGE" -}}
{{- $_ := set $configured "datakit-logfwd" (append (get $configured "datakit-logfwd") $value) -}}
{{- else if regexMatch "^ENV_DD_(JAVA|PYTHON|JS)_AGENT_IMAGE$" $variable -}}
{{- $_ := set $configured "datakit-lib-init" (append (get $configured "datakit-lib-init") $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $rules := dict -}}
{{- range $name, $_ := include "datakit-operator.commands" . | fromJson -}}
{{- $list := list -}}
{{- range get $configured $name | default list -}}
{{- $parts := splitList "@" . -}}
{{- $repository := regexReplaceAll ":[^/:]*$" (first $parts) "" -}}
{{- $digest := "" -}}
{{- if and (gt (len $parts) 1) (not (has $name $loose)) }}{{ $digest = printf "@%s" (last $parts) }}{{ end -}}
{{- $list = append $list (list (printf "%s:" $repository) $digest) -}}
{{- $list = append $list (list (printf "%s@" $repository) (trimPrefix "@" $digest)) -}}
{{- if eq . $repository }}{{ $list = append $list (list .) }}{{ end -}}
{{- end -}}
{{- range $.Values.reservedContainers.images -}}
{{- if hasPrefix "sha256:" . -}}
{{- $list = append $list (list "" (printf "@%s" .)) -}}
{{- else -}}
{{- $list = append $list (list . "") -}}
{{- end -}}
{{- end -}}
{{- if $list }}{{ $_ := set $rules $name (uniq $list) }}{{ end -}}
{{- end -}}
{{- $rules | toJson }}
{{- end }}

{{/* The capabilities that each may add, as JSON. A configured security context takes the place of the usual one. */}}
{{- define "datakit-operator.capabilities" -}}
{{- $sections := include "datakit-operator.sections" . | fromJson -}}
{{- $containers := include "datakit-operator.containers" . | fromJson -}}
{{- $capabilities := dict "datakit-profiler" (list "SYS_PTRACE" "SYS_ADMIN") "datakit-flameshot" (list "SYS_PTRACE") -}}
{{- range $feature, $container := $containers -}}
{{- $context := get (get $sections $feature | default (dict)) "security_context" -}}
{{- if kindIs "map" $context -}}
{{- $_ := set $capabilities $container (dig "capabilities" "add" list $context) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := include "datakit-operator.commands" . | fromJson -}}
{{- if not (get $capabilities $name) }}{{ $_ := unset $capabilities $name }}{{ end -}}
{{- end -}}
{{- $capabilities | toJson }}
{{- end }}

{{/* Those that a configured security context lets do anything, as JSON: privileged, or with the kernel's protections off. */}}
{{- define "datakit-operator.unconfined" -}}
{{- $sections := include "datakit-operator.sections" . | fromJson -}}
{{- $containers := include "datakit-operator.containers" . | fromJson -}}
{{- $found := list -}}
{{- range $feature, $container := $containers -}}
{{- $context := get (get $sections $feature | default (dict)) "security_context" -}}
{{- if kindIs "map" $context -}}
{{- $unmasked := eq (get $context "procMount" | toString) "Unmasked" -}}
{{- $unfiltered := or (eq (dig "seccompProfile" "type" "" $context | toString) "Unconfined") (eq (dig "appArmorProfile" "type" "" $context | toString) "Unconfined") -}}
{{- if or (get $context "privileged") $unmasked $unfiltered }}{{ $found = append $found $container }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $found | toJson }}
{{- end }}
