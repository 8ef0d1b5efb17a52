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

{{- /*
The host of host:port in the one form in which hosts are compared: a name in lower case without its root
dot, an IPv6 address as its eight groups, or as IPv4 if it is one. "?": it is no IPv6 address.
*/ -}}
{{- define "kproxy.canonical" -}}
{{- $host := include "kproxy.host" . | lower -}}
{{- if not (hasPrefix "[" $host) -}}
{{ trimSuffix "." $host }}
{{- else -}}
{{-   $text := trimPrefix "[" $host | trimSuffix "]" -}}
{{-   with regexFind (printf ":%s$" (include "kproxy.ipv4" .)) $text | trimPrefix ":" -}}
{{-     $b := splitList "." . -}}
{{-     $text = printf "%s%x:%x" (trimSuffix . $text) (add (mul 256 (index $b 0 | int)) (index $b 1 | int)) (add (mul 256 (index $b 2 | int)) (index $b 3 | int)) -}}
{{-   end -}}
{{-   $halves := splitList "::" $text -}}
{{-   $groups := list -}}
{{-   $written := 0 -}}
{{-   range $i, $half := $halves -}}
{{-     $own := ternary list (splitList ":" $half) (eq $half "") -}}
{{-     if $i -}}
{{-       range until (sub 8 (add (len $groups) (len $own)) | max 0 | int) -}}
{{-         $groups = append $groups "0" -}}
{{-       end -}}
{{-     end -}}
{{-     $groups = concat $groups $own -}}
{{-     $written = add $written (len $own) -}}
{{-   end -}}
{{-   $valid := and (eq (len $groups) 8) (or (eq (len $halves) 1) (and (eq (len $halves) 2) (lt (int $written) 8))) -}}
{{-   $short := list -}}
{{-   range $groups -}}
{{-     $valid = and $valid (regexMatch "^[0-9a-f]{1,4}$" .) -}}
{{-     $short = append $short (regexReplaceAll "^0+([0-9a-f])" . "${1}") -}}
{{-   end -}}
{{-   $text = join ":" $short -}}
{{-   if not $valid -}}
?
{{-   else if hasPrefix "0:0:0:0:0:ffff:" $text -}}
{{-     $high := printf "0x%s" (index $short 6) | int -}}
{{-     $low := printf "0x%s" (index $short 7) | int -}}
{{ printf "%d.%d.%d.%d" (div $high 256) (mod $high 256) (div $low 256) (mod $low 256) }}
{{-   else -}}
{{ $text }}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* A regular expression of an IPv4 address. */ -}}
{{- define "kproxy.ipv4" -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" -}}
{{ printf "%s(\\.%s){3}" $byte $byte }}
{{- end -}}

{{- /* The bits of the host of host:port, 32 or 128 digits; "": it is no IP address. */ -}}
{{- define "kproxy.bits" -}}
{{- if include "kproxy.isIP" . -}}
{{-   $host := include "kproxy.canonical" . -}}
{{-   if contains ":" $host -}}
{{-     range splitList ":" $host }}{{ printf "0x%s" . | int | printf "%016b" }}{{ end -}}
{{-   else -}}
{{-     range splitList "." $host }}{{ int . | printf "%08b" }}{{ end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The bits of an address without a port; "" if it is none. */ -}}
{{- define "kproxy.addressBits" -}}
{{- include "kproxy.bits" (printf (ternary "[%s]:1" "%s:1" (contains ":" .)) .) -}}
{{- end -}}

{{- /* The IP address that has these bits. */ -}}
{{- define "kproxy.ofBits" -}}
{{- $six := eq (len .) 128 -}}
{{- $parts := list -}}
{{- range regexFindAll (ternary "[01]{16}" "[01]{8}" $six) . -1 -}}
{{-   $parts = append $parts (printf "0b%s" . | int | printf (ternary "%x" "%d" $six)) -}}
{{- end -}}
{{- join (ternary ":" "." $six) $parts -}}
{{- end -}}

{{- /* Whether the host of host:port is an IP address. */ -}}
{{- define "kproxy.isIP" -}}
{{- if regexMatch (printf "^%s$|:" (include "kproxy.ipv4" .)) (include "kproxy.canonical" .) -}}yes{{- end -}}
{{- end -}}

{{- /* What a socket bound to host:port has of the interfaces: "" is all of them, 0.0.0.0 all of IPv4. */ -}}
{{- define "kproxy.bound" -}}
{{- $host := include "kproxy.canonical" . -}}
{{- if eq $host "localhost" -}}
127.0.0.1
{{- else if ne $host "0:0:0:0:0:0:0:0" -}}
{{ $host }}
{{- end -}}
{{- end -}}

{{- define "kproxy.adminPort" -}}
{{- include "kproxy.port" .Values.admin.bind -}}
{{- end -}}

{{- define "kproxy.adminScheme" -}}
{{- if .Values.admin.tls }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}
