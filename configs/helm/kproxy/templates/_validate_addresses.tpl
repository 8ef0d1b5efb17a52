{{- /* Rules about one address, one port or one range. */ -}}

{{- /* host:port: .key, .address; .bound: the host may be empty, or a wildcard; .name: the host is no IP address. */ -}}
{{- define "kproxy.validateAddress" -}}
{{- $port := regexFind ":[0-9]+$" .address | trimPrefix ":" -}}
{{- $host := include "kproxy.host" .address -}}
{{- if not $port -}}
{{-   fail (printf "%s: %q has no port; write host:port, such as %s:9092" .key .address (regexReplaceAll ":.*$" .address "")) -}}
{{- end -}}
{{- if not (regexMatch "^[1-9][0-9]{0,4}$" $port | and (le (int $port) 65535)) -}}
{{-   fail (printf "%s: %q has the port %s; write one of 1-65535" .key .address $port) -}}
{{- end -}}
{{- $isIP := regexMatch (printf "^%s$" (include "kproxy.ipv4" .)) $host -}}
{{- if hasPrefix "[" $host -}}
{{-   $isIP = and (hasSuffix "]" $host) (ne (include "kproxy.canonical" .address) "?") -}}
{{- end -}}
{{- $isName := and (le (len $host) 255) (regexMatch "^([a-zA-Z0-9_-]+\\.)*[a-zA-Z0-9_-]*[a-zA-Z_-][a-zA-Z0-9_-]*\\.?$" $host) -}}
{{- $isWildcard := has (include "kproxy.bound" .address) (list "" "0.0.0.0") -}}
{{- if and $isWildcard (not .bound) -}}
{{-   fail (printf "%s: %q names no host; write host:port, such as kafka.example.com:%s" .key .address $port) -}}
{{- end -}}
{{- if not (or $isName $isWildcard (and $isIP (not .name))) -}}
{{-   fail (printf "%s: %q has the host %q, which is no %s; write host:port, such as kafka.example.com:%s" .key .address $host (ternary "name" "name and no IP address" (hasKey . "name")) $port) -}}
{{- end -}}
{{- end -}}

{{- /* An address is not the pod's own: .key, .address, .by, .fix, .verb. */ -}}
{{- define "kproxy.validateReached" -}}
{{- if regexMatch "^((.+\\.)?localhost|localhost\\.localdomain|ip6-(localhost|loopback)|127\\.[0-9.]+|0:0:0:0:0:0:0:1)$" (include "kproxy.canonical" .address) -}}
{{-   fail (printf "%s: %s is a loopback address of the pod, which %s %s; %s" .key .address .by (.verb | default "do not reach") .fix) -}}
{{- end -}}
{{- end -}}

{{- /* A range of ports: .key, .range. */ -}}
{{- define "kproxy.validateRange" -}}
{{- $range := include "kproxy.range" .range | fromYaml -}}
{{- $first := int $range.first -}}
{{- $last := int $range.last -}}
{{- if not (regexMatch "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$" $range.text | and (le $first 65535) (le $last 65535)) -}}
{{-   fail (printf "%s: %s is not within 1-65535; write a range within it, such as 9100-9119" .key $range.text) -}}
{{- end -}}
{{- if gt $first $last -}}
{{-   fail (printf "%s: %s runs backwards; write %d-%d" .key $range.text $last $first) -}}
{{- end -}}
{{- end -}}

{{- /* Ports of the nodes, in Kubernetes' default range: .key, and .ports, a range; or .port. */ -}}
{{- define "kproxy.validateNodePorts" -}}
{{- $range := include "kproxy.range" (.ports | default .port) | fromYaml -}}
{{- if or (lt (int $range.first) 30000) (gt (int $range.last) 32767) -}}
{{-   $form := ternary "%s: port %s is not within 30000-32767, the node ports of Kubernetes; write one of them" "%s: %s is not within 30000-32767, the node ports of Kubernetes; write a range within them, such as 31100-31119" (hasKey . "port") -}}
{{-   fail (printf $form .key $range.text) -}}
{{- end -}}
{{- end -}}

{{- /* The first and the last port of a range, and its text: a text such as 9100-9119, or a number. */ -}}
{{- define "kproxy.range" -}}
{{- $text := . -}}
{{- if not (kindIs "string" .) -}}
{{-   $text = int64 . | toString -}}
{{- end -}}
{{- $ends := splitList "-" $text -}}
{{- dict "text" $text "first" (first $ends | int) "last" (last $ends | int) | toYaml -}}
{{- end -}}
