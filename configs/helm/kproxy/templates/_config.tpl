{{- /* Whether all brokers share one port, by the TLS server name. */ -}}
{{- define "kproxy.bySNI" -}}
{{- if has .Values.exposure.mode (list "loadBalancer" "gateway") -}}yes{{- end -}}
{{- end -}}

{{- /* drain.delay. A provider's load balancer takes longer to notice than a Service. */ -}}
{{- define "kproxy.drainDelay" -}}
{{- if .Values.drain.delay -}}
{{ .Values.drain.delay }}
{{- else if eq .Values.exposure.mode "sidecar" -}}
0s
{{- else -}}
{{ get (dict "nlb" "60s" "gcp" "30s" "azure" "30s") (include "kproxy.preset" .) | default "15s" }}
{{- end -}}
{{- end -}}

{{- /* What the kubelet waits: the delay, the responses in flight, the last push of metrics (5 s), and a margin. */ -}}
{{- define "kproxy.gracePeriod" -}}
{{- add (include "kproxy.seconds" (include "kproxy.drainDelay" .) | int) (include "kproxy.seconds" .Values.drain.timeout | int) 10 -}}
{{- end -}}

{{- /* A range that has as many ports as another one, from 9100 on. */ -}}
{{- define "kproxy.portsLike" -}}
{{- $range := include "kproxy.range" . | fromYaml -}}
9100-{{ add 9100 (sub $range.last $range.first) }}
{{- end -}}

{{- /* The listener of a cluster: .root, .name, .cluster. The keys of the values win. */ -}}
{{- define "kproxy.listener" -}}
{{- $mode := .root.Values.exposure.mode -}}
{{- $own := deepCopy (.cluster.listener | default dict) -}}
{{- $nodes := $own.nodes | default dict -}}
{{- $is := dict "bind" ":9092" "nodes" (dict "ports" "9100-9119") -}}
{{- if include "kproxy.bySNI" .root -}}
{{-   $is = dict "bind" ":9093" "nodes" (dict "sni" (printf "b{node}.%s" $own.advertise)) -}}
{{- else if eq $mode "sidecar" -}}
{{-   $bind := $own.bind | default "127.0.0.1:9092" -}}
{{-   $_ := set $is "bind" $bind -}}
{{-   $all := has (include "kproxy.bound" $bind) (list "" "0.0.0.0") -}}
{{-   $host := ternary "localhost" (include "kproxy.host" $bind) (or $all (not $own.bind)) -}}
{{-   $_ := set $is "advertise" (printf "%s:%s" $host (include "kproxy.port" $bind)) -}}
{{- else if eq $mode "clusterIP" -}}
{{-   $port := include "kproxy.port" ($own.bind | default ":9092") -}}
{{-   $_ := set $is "advertise" (printf "%s.%s.svc:%s" (include "kproxy.fullname" .root) .root.Release.Namespace $port) -}}
{{- end -}}
{{- if or $nodes.sni $nodes.ports -}}
{{-   $_ := unset $is "nodes" -}}
{{- else if and $nodes.advertise_ports (hasKey $is.nodes "ports") -}}
{{-   $_ := set $is "nodes" (dict "ports" (include "kproxy.portsLike" $nodes.advertise_ports)) -}}
{{- end -}}
{{- if .cluster.certificate -}}
{{-   $dir := printf "/run/certificates/%s" .name -}}
{{-   $_ := set $is "tls" (dict "certs" (list (dict "cert" (printf "%s/tls.crt" $dir) "key" (printf "%s/tls.key" $dir)))) -}}
{{- end -}}
{{- mergeOverwrite $is $own | toYaml -}}
{{- end -}}

{{- /* kproxy.yaml, of values that the rules of _validate*.tpl accept. */ -}}
{{- define "kproxy.config" -}}
{{- $root := . -}}
{{- include "kproxy.validateValues" . -}}
{{- $clusters := dict -}}
{{- range $name, $cluster := .Values.clusters -}}
{{-   $c := omit $cluster "listener" "certificate" -}}
{{-   $listener := include "kproxy.listener" (dict "root" $root "name" $name "cluster" $cluster) | fromYaml -}}
{{-   $_ := set $c "listeners" (dict "clients" $listener) -}}
{{-   $_ := set $clusters $name $c -}}
{{- end -}}
{{- include "kproxy.validateClusters" (dict "root" . "clusters" $clusters) -}}
{{- $drain := merge (dict "delay" (include "kproxy.drainDelay" .)) .Values.drain -}}
{{- $config := dict "clusters" $clusters "drain" $drain "admin" .Values.admin -}}
{{- range $key := list "limits" "log" "telemetry" "state_dir" -}}
{{-   with get $root.Values $key -}}
{{-     $_ := set $config $key . -}}
{{-   end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* The ports of the Service, as {"items": [{port, targetPort}]}: what is advertised leads to what is bound. */ -}}
{{- define "kproxy.ports" -}}
{{- $config := include "kproxy.config" . | fromYaml -}}
{{- $seen := dict -}}
{{- range $name, $cluster := $config.clusters -}}
{{-   $l := $cluster.listeners.clients -}}
{{-   $_ := set $seen (include "kproxy.port" ($l.advertise | default $l.bind)) (include "kproxy.port" $l.bind) -}}
{{-   with $l.nodes.ports -}}
{{-     $bind := include "kproxy.range" . | fromYaml -}}
{{-     $advertised := include "kproxy.range" ($l.nodes.advertise_ports | default .) | fromYaml -}}
{{-     range $i := until (add1 (sub $bind.last $bind.first) | int) -}}
{{-       $_ := set $seen (add $advertised.first $i | toString) (add $bind.first $i | toString) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- $items := list -}}
{{- range $port := keys $seen | sortAlpha -}}
{{-   $items = append $items (dict "port" (int $port) "targetPort" (int (get $seen $port))) -}}
{{- end -}}
{{- dict "items" $items | toYaml -}}
{{- end -}}

{{- /* The bootstrap ports that kproxy binds, as {"items": [port]}. */ -}}
{{- define "kproxy.binds" -}}
{{- $config := include "kproxy.config" . | fromYaml -}}
{{- $ports := list -}}
{{- range $cluster := $config.clusters -}}
{{-   $ports = append $ports (include "kproxy.port" $cluster.listeners.clients.bind) -}}
{{- end -}}
{{- dict "items" ($ports | uniq) | toYaml -}}
{{- end -}}

{{- /*
The names of a listener: .name, .listener; as {"names": [name], "addresses": [IP]}. If {node} is in the
first label, a wildcard has the nodes' names.
*/ -}}
{{- define "kproxy.names" -}}
{{- $names := list -}}
{{- $addresses := list -}}
{{- if include "kproxy.isIP" .listener.advertise -}}
{{-   $addresses = list (include "kproxy.host" .listener.advertise | trimPrefix "[" | trimSuffix "]") -}}
{{- else -}}
{{-   $names = list (include "kproxy.canonical" .listener.advertise) -}}
{{- end -}}
{{- with .listener.nodes.sni -}}
{{-   $host := include "kproxy.canonical" (. | replace "{cluster}" $.name) -}}
{{-   $names = append $names (regexReplaceAll "^[^.]*\\{node\\}[^.]*\\." $host "*.") -}}
{{- end -}}
{{- dict "names" ($names | uniq) "addresses" $addresses | toYaml -}}
{{- end -}}

{{- define "kproxy.hasProxyProtocol" -}}
{{- range .Values.clusters -}}
{{- if dig "listener" "proxy_protocol" "from" "" . -}}yes{{- end -}}
{{- end -}}
{{- end -}}
