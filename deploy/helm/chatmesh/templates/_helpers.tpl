{{- define "chatmesh.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* What a Deployment selects by; takes {root, role}. */ -}}
{{- define "chatmesh.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "chatmesh.labels" -}}
{{ include "chatmesh.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* The values of a role. */ -}}
{{- define "chatmesh.values" -}}
{{- toYaml (ternary .root.Values.pods .root.Values.workers (eq .role "pod")) -}}
{{- end -}}

{{- /* Name → Secret's name, of everything that is mounted below /etc/chatmesh/secrets. */ -}}
{{- define "chatmesh.mounts" -}}
{{- $values := include "chatmesh.values" . | fromYaml -}}
{{- $mounts := dict -}}
{{- with .root.Values.nats.credentials.secretName }}{{ $_ := set $mounts "nats" . }}{{ end -}}
{{- with .root.Values.nats.tls.caSecretName }}{{ $_ := set $mounts "nats-ca" . }}{{ end -}}
{{- range $name, $mount := merge (dict) (deepCopy $values.secretMounts) (deepCopy .root.Values.secretMounts) }}{{ $_ := set $mounts $name $mount.secretName }}{{ end -}}
{{- toYaml $mounts -}}
{{- end -}}

{{- /* chatmesh's configuration for a role: what the chart knows, over it `config`, over that the role's own. */ -}}
{{- define "chatmesh.config" -}}
{{- $values := include "chatmesh.values" . | fromYaml -}}
{{- $nats := dict "servers" .root.Values.nats.servers -}}
{{- with .root.Values.nats.user }}{{ $_ := set $nats "user" . }}{{ end -}}
{{- with .root.Values.nats.credentials }}{{ if .secretName }}{{ $_ := set $nats .as (printf "/etc/chatmesh/secrets/nats/%s" .key) }}{{ end }}{{ end -}}
{{- with .root.Values.nats.tls }}{{ if .caSecretName }}{{ $_ := set $nats "tls" (dict "ca_file" (printf "/etc/chatmesh/secrets/nats-ca/%s" .caKey)) }}{{ end }}{{ end -}}
{{- $config := dict "roles" (list .role) "nats" $nats "log" (dict "format" "json") -}}
{{- if hasKey .root.Values.config "auth" -}}
{{- fail "config.auth: callers come to pods only. Move it to pods.config.auth." -}}
{{- end -}}
{{- if eq .role "pod" -}}
{{- $_ := set $config "http" (dict "host" "0.0.0.0" "port" 8080 "drain_wait_seconds" 10) -}}
{{- else -}}
{{- /* Health and metrics, and nothing that anybody has said. */ -}}
{{- $_ := set $config "http" (dict "enabled" true "host" "0.0.0.0" "port" 8080) -}}
{{- $_ := set $config "auth" (dict "allow_anonymous" true "open_metrics" true) -}}
{{- with .root.Values.models }}{{ $_ := set $config "models" . }}{{ end -}}
{{- end -}}
{{- $config = mustMergeOverwrite $config (deepCopy .root.Values.config) (deepCopy $values.config) -}}
{{- if eq .role "pod" -}}
{{- $auth := default dict $config.auth -}}
{{- if and (eq (default "none" $auth.mode) "none") (not $auth.allow_anonymous) -}}
{{- fail "pods.config.auth: nothing says who may call. Set mode: api_keys or mode: jwt (docs/security.md), or allow_anonymous: true where a gateway asks." -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* How long leaving may take, in seconds: docs/operations.md, "Leaving". */ -}}
{{- define "chatmesh.grace" -}}
{{- $config := include "chatmesh.config" . | fromYaml -}}
{{- $shutdown := dig "http" "shutdown_seconds" 10 $config -}}
{{- if eq .role "pod" -}}
{{- add (ceil (dig "http" "drain_wait_seconds" 10 $config)) (ceil $shutdown) 5 -}}
{{- else -}}
{{- add (ceil (dig "worker" "drain_seconds" 30 $config)) (ceil $shutdown) 5 -}}
{{- end -}}
{{- end -}}
