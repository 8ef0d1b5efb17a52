{{- /* The name of all objects. */ -}}
{{- define "kproxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "kproxy" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-kproxy" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kproxy.selector" -}}
app.kubernetes.io/name: kproxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kproxy.labels" -}}
{{ include "kproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kproxy.metadata" -}}
name: {{ include "kproxy.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "kproxy.labels" . | nindent 2 }}
{{- end -}}

{{- define "kproxy.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "kproxy.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "kproxy.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- /* The seconds of a duration as Go writes it, such as 1m30s. */ -}}
{{- define "kproxy.seconds" -}}
{{- $start := toDate "2006-01-02" "2000-01-01" -}}
{{- sub (mustDateModify . $start | unixEpoch) (unixEpoch $start) -}}
{{- end -}}

{{- /* Host and port of host:port. */ -}}
{{- define "kproxy.host" -}}
{{- regexReplaceAll ":[0-9]+$" . "" -}}
{{- end -}}

{{- define "kproxy.port" -}}
{{- required (printf "%s has no port; write host:port" .) (regexFind "[0-9]+$" (regexFind ":[0-9]+$" .)) -}}
{{- end -}}

{{- define "kproxy.adminPort" -}}
{{- include "kproxy.port" .Values.admin.bind -}}
{{- end -}}

{{- define "kproxy.adminScheme" -}}
{{- if .Values.admin.tls }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}
