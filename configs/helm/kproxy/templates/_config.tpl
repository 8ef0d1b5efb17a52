{{- /* Whether all brokers share one port, by the TLS server name. */ -}}
{{- define "kproxy.bySNI" -}}
{{- if has .Values.exposure.mode (list "loadBalancer" "gateway") -}}yes{{- end -}}
{{- end -}}

{{- /* drain.delay. A provider's load balancer takes longer to notice than a Service. */ -}}
{{- define "kproxy.drainDelay" -}}
{{- $preset := "" -}}
{{- if eq .Values.exposure.mode "loadBalancer" -}}
{{- $preset = .Values.exposure.loadBalancer.preset -}}
{{- end -}}
{{- if .Values.drain.delay -}}
{{ .Values.drain.delay }}
{{- else if eq .Values.exposure.mode "sidecar" -}}
0s
{{- else -}}
{{ get (dict "nlb" "60s" "gcp" "30s" "azure" "30s") $preset | default "15s" }}
{{- end -}}
{{- end -}}

{{- /* What the kubelet waits: the delay, the responses in flight, the last push of metrics (5 s), and a margin. */ -}}
{{- define "kproxy.gracePeriod" -}}
{{- add (include "kproxy.seconds" (include "kproxy.drainDelay" .) | int) (include "kproxy.seconds" .Values.drain.timeout | int) 10 -}}
{{- end -}}

{{- /* A range that has as many ports as another one, from 9100 on. */ -}}
{{- define "kproxy.portsLike" -}}
{{- $first := splitList "-" . | first | int -}}
{{- $last := splitList "-" . | last | int -}}
9100-{{ add 9100 (sub $last $first) }}
{{- end -}}

{{- /* The listener of a cluster: .root, .name, .cluster. The keys of the values win. */ -}}
{{- define "kproxy.listener" -}}
{{- $mode := .root.Values.exposure.mode -}}
{{- $own := deepCopy (.cluster.listener | default dict) -}}
{{- $key := printf "clusters.%s.listener" .name -}}
{{- $nodes := $own.nodes | default dict -}}
{{- $is := dict -}}
{{- if include "kproxy.bySNI" .root -}}
{{-   $advertise := required (printf "%s.advertise is missing: the host:port that clients bootstrap from, such as kafka.example.com:443" $key) $own.advertise -}}
{{-   if not (or .cluster.certificate (dig "tls" "certs" "" $own)) -}}
{{-     fail (printf "clusters.%s.certificate is missing: exposure.mode %s selects brokers by the TLS server name" .name $mode) -}}
{{-   end -}}
{{-   $is = dict "bind" ":9093" "nodes" (dict "sni" (printf "b{node}.%s" $advertise)) -}}
{{- else if eq $mode "sidecar" -}}
{{-   $is = dict "bind" "127.0.0.1:9092" "advertise" "localhost:9092" "nodes" (dict "ports" "9100-9119") -}}
{{- else if eq $mode "clusterIP" -}}
{{-   $port := include "kproxy.port" ($own.bind | default ":9092") -}}
{{-   $advertise := printf "%s.%s.svc:%s" (include "kproxy.fullname" .root) .root.Release.Namespace $port -}}
{{-   $is = dict "bind" ":9092" "advertise" $advertise "nodes" (dict "ports" "9100-9119") -}}
{{- else -}}
{{-   $_ := required (printf "%s.advertise is missing: the host:port that clients bootstrap from" $key) $own.advertise -}}
{{-   if eq .root.Values.exposure.ports.type "NodePort" -}}
{{-     $_ := required (printf "%s.nodes.advertise_ports is missing: the node ports of the brokers, such as 31100-31119" $key) $nodes.advertise_ports -}}
{{-   end -}}
{{-   $ports := "9100-9119" -}}
{{-   with $nodes.advertise_ports -}}
{{-     $ports = include "kproxy.portsLike" . -}}
{{-   end -}}
{{-   $is = dict "bind" ":9092" "nodes" (dict "ports" $ports) -}}
{{- end -}}
{{- if or $nodes.sni $nodes.ports $nodes.addresses -}}
{{-   $_ := unset $is "nodes" -}}
{{- end -}}
{{- if and (gt (len .root.Values.clusters) 1) (not (include "kproxy.bySNI" .root)) -}}
{{-   if not (and $own.bind (or $nodes.ports $nodes.addresses)) -}}
{{-     fail (printf "%s.bind and .nodes.ports are missing: with several clusters, each needs ports of its own in exposure.mode %s" $key $mode) -}}
{{-   end -}}
{{- end -}}
{{- if .cluster.certificate -}}
{{-   $dir := printf "/run/certificates/%s" .name -}}
{{-   $_ := set $is "tls" (dict "certs" (list (dict "cert" (printf "%s/tls.crt" $dir) "key" (printf "%s/tls.key" $dir)))) -}}
{{- end -}}
{{- mergeOverwrite $is $own | toYaml -}}
{{- end -}}

{{- /* kproxy.yaml. */ -}}
{{- define "kproxy.config" -}}
{{- $root := . -}}
{{- if not .Values.clusters -}}
{{-   fail "clusters is empty: name a Kafka cluster, such as --set 'clusters.orders.bootstrap={kafka-bootstrap.kafka:9092}'" -}}
{{- end -}}
{{- $clusters := dict -}}
{{- range $name, $cluster := .Values.clusters -}}
{{-   $c := omit $cluster "listener" "certificate" -}}
{{-   $listener := include "kproxy.listener" (dict "root" $root "name" $name "cluster" $cluster) | fromYaml -}}
{{-   $_ := set $c "listeners" (dict "clients" $listener) -}}
{{-   $_ := set $clusters $name $c -}}
{{- end -}}
{{- $drain := merge (dict "delay" (include "kproxy.drainDelay" .)) .Values.drain -}}
{{- $config := dict "clusters" $clusters "drain" $drain "admin" .Values.admin "log" .Values.log -}}
{{- range $key := list "limits" "telemetry" "state_dir" -}}
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
{{-     $bind := splitList "-" (toString .) -}}
{{-     $advertised := splitList "-" (toString ($l.nodes.advertise_ports | default .)) -}}
{{-     $first := $advertised | first | int -}}
{{-     range $i := until (add 1 (sub (last $bind | int) (first $bind | int)) | int) -}}
{{-       $_ := set $seen (add $first $i | toString) (add (first $bind | int) $i | toString) -}}
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

{{- /* The names of a listener by SNI: .name, .listener; as {"items": [name]}. */ -}}
{{- define "kproxy.names" -}}
{{- $names := list (include "kproxy.host" .listener.advertise) -}}
{{- with .listener.nodes.sni -}}
{{-   $host := include "kproxy.host" . | replace "{cluster}" $.name -}}
{{-   $names = append $names (regexReplaceAll "^[^.]*" $host "*") -}}
{{- end -}}
{{- dict "items" ($names | uniq) | toYaml -}}
{{- end -}}

{{- define "kproxy.hasProxyProtocol" -}}
{{- range .Values.clusters -}}
{{- if dig "listener" "proxy_protocol" "from" "" . -}}yes{{- end -}}
{{- end -}}
{{- end -}}
