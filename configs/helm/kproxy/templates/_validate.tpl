{{- /*
The rules about values that the schema cannot say, or not with a fix. kproxy check refuses most of
these values too, but `helm upgrade` would succeed with them: pods that run keep their
configuration, and the next one that starts fails. Each message names the key and a fix.
*/ -}}

{{- /* The rules before anything is rendered: missing keys, and the form of addresses and ranges. */ -}}
{{- define "kproxy.validateValues" -}}
{{- $mode := .Values.exposure.mode -}}
{{- $bySNI := include "kproxy.bySNI" . -}}
{{- if not .Values.clusters -}}
{{-   fail "clusters is empty: name a Kafka cluster, such as --set 'clusters.orders.bootstrap={kafka-bootstrap.kafka:9092}'" -}}
{{- end -}}
{{- $several := gt (len .Values.clusters) 1 -}}
{{- include "kproxy.validateAddress" (dict "key" "admin.bind" "address" .Values.admin.bind "bound" true) -}}
{{- include "kproxy.validateReached" (dict "key" "admin.bind" "address" .Values.admin.bind "by" "the kubelet's probes" "fix" "write :9400; admin.token_file protects it") -}}
{{- range $name, $cluster := .Values.clusters -}}
{{-   $key := printf "clusters.%s.listener" $name -}}
{{-   $own := $cluster.listener | default dict -}}
{{-   $nodes := $own.nodes | default dict -}}
{{-   if not $cluster.bootstrap -}}
{{-     fail (printf "clusters.%s.bootstrap is empty: name one or more brokers, such as [kafka-bootstrap.kafka.svc:9092]" $name) -}}
{{-   end -}}
{{-   range $i, $address := $cluster.bootstrap -}}
{{-     include "kproxy.validateAddress" (dict "key" (printf "clusters.%s.bootstrap[%d]" $name $i) "address" $address) -}}
{{-   end -}}
{{-   with $own.bind -}}
{{-     include "kproxy.validateAddress" (dict "key" (printf "%s.bind" $key) "address" . "bound" true) -}}
{{-     if ne $mode "sidecar" -}}
{{-       include "kproxy.validateReached" (dict "key" (printf "%s.bind" $key) "address" . "by" "clients" "fix" "write a port alone, such as :9092") -}}
{{-     end -}}
{{-   end -}}
{{-   if $own.advertise -}}
{{-     include "kproxy.validateAddress" (dict "key" (printf "%s.advertise" $key) "address" $own.advertise) -}}
{{-   else if or $bySNI (eq $mode "ports") -}}
{{-     fail (printf "%s.advertise is missing: the host:port that clients bootstrap from, such as kafka.example.com:443" $key) -}}
{{-   end -}}
{{-   with $nodes.ports -}}
{{-     include "kproxy.validateRange" (dict "key" (printf "%s.nodes.ports" $key) "range" .) -}}
{{-   end -}}
{{-   with $nodes.advertise_ports -}}
{{-     include "kproxy.validateRange" (dict "key" (printf "%s.nodes.advertise_ports" $key) "range" .) -}}
{{-   end -}}
{{-   with $nodes.sni -}}
{{-     if or (ne (len (splitList "{node}" .)) 2) (regexMatch ":[^:]*\\{node\\}" .) -}}
{{-       fail (printf "%s.nodes.sni: %q does not hold {node} once in its host; write a name that differs by the node's id, such as b{node}.kafka.example.com:443" $key .) -}}
{{-     end -}}
{{-     include "kproxy.validateAddress" (dict "key" (printf "%s.nodes.sni" $key) "address" (. | replace "{node}" "0" | replace "{cluster}" $name) "name" true) -}}
{{-   end -}}
{{-   if and $bySNI (not (or $cluster.certificate (dig "tls" "certs" "" $own))) -}}
{{-     fail (printf "clusters.%s.certificate is missing: exposure.mode %s selects brokers by the TLS server name" $name $mode) -}}
{{-   end -}}
{{-   if and $several (not $bySNI) (not (and $own.bind (or $nodes.ports $nodes.addresses))) -}}
{{-     fail (printf "%s.bind and .nodes.ports are missing: with several clusters, each needs ports of its own in exposure.mode %s" $key $mode) -}}
{{-   end -}}
{{-   if eq (include "kproxy.serviceType" $) "NodePort" -}}
{{-     if not $nodes.advertise_ports -}}
{{-       fail (printf "%s.nodes.advertise_ports is missing: the node ports of the brokers, such as 31100-31119" $key) -}}
{{-     end -}}
{{-     include "kproxy.validateNodePorts" (dict "key" (printf "%s.advertise" $key) "port" (include "kproxy.port" $own.advertise)) -}}
{{-     include "kproxy.validateNodePorts" (dict "key" (printf "%s.nodes.advertise_ports" $key) "ports" $nodes.advertise_ports) -}}
{{-   end -}}
{{- end -}}
{{- $gateway := .Values.exposure.gateway -}}
{{- if and (eq $mode "gateway") (not $gateway.parentRefs) (not $gateway.className) -}}
{{-   fail "exposure.gateway: name the Gateway in parentRefs, or a className, for which the chart makes one" -}}
{{- end -}}
{{- $preset := include "kproxy.preset" . -}}
{{- if and (has $preset (list "gcp" "azure")) (include "kproxy.hasProxyProtocol" .) -}}
{{-   fail (printf "listener.proxy_protocol: the load balancer of the preset %s sends no such header. It keeps the clients' addresses; take proxy_protocol out" $preset) -}}
{{- end -}}
{{- if ne $mode "sidecar" -}}
{{-   if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{-     fail "metrics: a ServiceMonitor and a PodMonitor would scrape each pod twice; enable one of them" -}}
{{-   end -}}
{{-   if and .Values.autoscaling.enabled (eq (include "kproxy.seconds" (dig "max_age" "0s" .Values.limits)) "0") -}}
{{-     fail "autoscaling.enabled needs limits.max_age, such as 30m: Kafka's clients keep their connections, and a new pod would get none" -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The rules about what is rendered: .root, and .clusters of kproxy.yaml. They compare addresses with each other. */ -}}
{{- define "kproxy.validateClusters" -}}
{{- $bound := list (dict "key" "admin.bind" "address" .root.Values.admin.bind "first" (include "kproxy.port" .root.Values.admin.bind | int) "last" (include "kproxy.port" .root.Values.admin.bind | int)) -}}
{{- $advertised := list -}}
{{- $named := list -}}
{{- range $name, $cluster := .clusters -}}
{{-   $key := printf "clusters.%s.listener" $name -}}
{{-   $l := $cluster.listeners.clients -}}
{{-   $nodes := $l.nodes -}}
{{-   $port := include "kproxy.port" $l.bind | int -}}
{{-   $advertise := include "kproxy.port" $l.advertise | int -}}
{{-   include "kproxy.validateNodes" (dict "key" $key "listener" $l "mode" $.root.Values.exposure.mode) -}}
{{-   $bound = append $bound (dict "key" (printf "%s.bind" $key) "address" $l.bind "first" $port "last" $port "named" (hasKey $nodes "sni")) -}}
{{-   $advertised = append $advertised (dict "key" (printf "%s.advertise" $key) "first" $advertise "last" $advertise "to" $port) -}}
{{-   with $nodes.ports -}}
{{-     $ports := include "kproxy.range" . | fromYaml -}}
{{-     $bound = append $bound (dict "key" (printf "%s.nodes.ports" $key) "address" $l.bind "first" $ports.first "last" $ports.last) -}}
{{-     $shown := $nodes.advertise_ports | default . -}}
{{-     $shownKey := printf "%s.nodes.%s" $key (ternary "advertise_ports" "ports" (hasKey $nodes "advertise_ports")) -}}
{{-     $as := include "kproxy.range" $shown | fromYaml -}}
{{-     if and (le (int $as.first) $advertise) (le $advertise (int $as.last)) -}}
{{-       fail (printf "%s: %v covers port %d, where clients bootstrap (%s.advertise); move one of them" $shownKey $shown $advertise $key) -}}
{{-     end -}}
{{-     $advertised = append $advertised (dict "key" $shownKey "first" $as.first "last" $as.last "to" $ports.first) -}}
{{-   end -}}
{{-   with $nodes.sni -}}
{{-     if and (ne $.root.Values.exposure.mode "sidecar") (ne $advertise (include "kproxy.port" . | int)) -}}
{{-       fail (printf "%s.nodes.sni: %s has another port than %s.advertise, %d, and the Service leads one port to all brokers; write that port" $key . $key $advertise) -}}
{{-     end -}}
{{-     $named = append $named (dict "name" $name "key" $key "listener" $l) -}}
{{-   end -}}
{{- end -}}
{{- range $i, $b := $bound -}}
{{-   range $other := slice $bound 0 $i -}}
{{-     $same := eq $b.address $other.address -}}
{{-     $meets := and (le (int $b.first) (int $other.last)) (le (int $other.first) (int $b.last)) -}}
{{-     if and $meets (include "kproxy.hostsMeet" (list $b.address $other.address)) (not (and $same $b.named $other.named)) -}}
{{-       fail (printf "%s: port %d is bound already by %s; move one of them to another port" $b.key (max (int $b.first) (int $other.first)) $other.key) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- if ne .root.Values.exposure.mode "sidecar" -}}
{{-   range $i, $a := $advertised -}}
{{-     range $other := slice $advertised 0 $i -}}
{{-       $meets := and (le (int $a.first) (int $other.last)) (le (int $other.first) (int $a.last)) -}}
{{-       if and $meets (ne (sub $a.first $a.to) (sub $other.first $other.to)) -}}
{{-         fail (printf "%s: port %d of the Service leads to %s already; advertise another one" $a.key (max (int $a.first) (int $other.first)) $other.key) -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- include "kproxy.validateNames" $named -}}
{{- with .root.Values.exposure.loadBalancer.nodePort -}}
{{-   $key := "exposure.loadBalancer.nodePort" -}}
{{-   if ne $.root.Values.exposure.mode "loadBalancer" -}}
{{-     fail (printf "%s only goes with exposure.mode loadBalancer; take it out" $key) -}}
{{-   end -}}
{{-   include "kproxy.validateNodePorts" (dict "key" $key "port" .) -}}
{{-   range $advertised -}}
{{-     if or (ne (int .first) (int .last)) (ne (int .first) (int (first $advertised).first)) -}}
{{-       fail (printf "%s: the Service has several ports, by %s; advertise one port for all clusters, or take it out" $key .key) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The nodes of a listener: .key, .listener, .mode. */ -}}
{{- define "kproxy.validateNodes" -}}
{{- $key := .key -}}
{{- $nodes := .listener.nodes -}}
{{- $ways := list -}}
{{- range list "ports" "addresses" "sni" -}}
{{-   if get $nodes . -}}
{{-     $ways = append $ways . -}}
{{-   end -}}
{{- end -}}
{{- if ne (len $ways) 1 -}}
{{-   fail (printf "%s.nodes: %s; keep one of ports, addresses and sni" $key (join " and " $ways)) -}}
{{- end -}}
{{- if and $nodes.addresses (ne .mode "sidecar") -}}
{{-   fail (printf "%s.nodes.addresses: a Service leads to ports alone; write ports, or sni" $key) -}}
{{- end -}}
{{- if $nodes.sni -}}
{{-   range list "advertise_ports" "advertise_addresses" "slots" "first_node" "pin" -}}
{{-     if get $nodes . -}}
{{-       fail (printf "%s.nodes.%s does not go with sni, by which the TLS server name selects the broker; take it out" $key .) -}}
{{-     end -}}
{{-   end -}}
{{-   if not (hasKey .listener "tls") -}}
{{-     fail (printf "%s.nodes.sni needs a certificate: without TLS, clients ask for no name; add certificate beside listener, or write ports" $key) -}}
{{-   end -}}
{{- else if .listener.unknown_sni | default "" | eq "bootstrap" -}}
{{-   fail (printf "%s.unknown_sni: bootstrap only goes with nodes.sni; take it out" $key) -}}
{{- end -}}
{{- if $nodes.ports -}}
{{-   range list "advertise_addresses" "slots" -}}
{{-     if get $nodes . -}}
{{-       fail (printf "%s.nodes.%s does not go with ports; take it out" $key .) -}}
{{-     end -}}
{{-   end -}}
{{-   $ports := include "kproxy.range" $nodes.ports | fromYaml -}}
{{-   with $nodes.advertise_ports -}}
{{-     $as := include "kproxy.range" . | fromYaml -}}
{{-     $count := add1 (sub $ports.last $ports.first) -}}
{{-     $shown := add1 (sub $as.last $as.first) -}}
{{-     if ne $count $shown -}}
{{-       fail (printf "%s.nodes.advertise_ports: %v (%d) and nodes.ports %v (%d) differ in length; write ranges of one length, or take advertise_ports out" $key . $shown $nodes.ports $count) -}}
{{-     end -}}
{{-   end -}}
{{-   $pinned := dict -}}
{{-   range $node, $port := $nodes.pin -}}
{{-     if or (lt (int $port) (int $ports.first)) (gt (int $port) (int $ports.last)) -}}
{{-       fail (printf "%s.nodes.pin: node %s is pinned to %v, outside of nodes.ports %v; choose one of its ports" $key $node $port $nodes.ports) -}}
{{-     end -}}
{{-     if hasKey $pinned (toString $port) -}}
{{-       fail (printf "%s.nodes.pin: nodes %s and %s are both pinned to %v; give each its own port" $key (get $pinned (toString $port)) $node $port) -}}
{{-     end -}}
{{-     $_ := set $pinned (toString $port) $node -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The names of listeners with nodes.sni: a list of .name, .key, .listener. Those with one bind share the port. */ -}}
{{- define "kproxy.validateNames" -}}
{{- $all := . -}}
{{- range $i, $l := $all -}}
{{-   $host := include "kproxy.host" $l.listener.advertise | lower -}}
{{-   if and (regexMatch "^([0-9.]+|\\[.*\\])$" $host) (ne ($l.listener.unknown_sni | default "") "bootstrap") -}}
{{-     fail (printf "%s.advertise: clients ask for no name if the host is the address %s; write a name that the certificate has, or unknown_sni: bootstrap" $l.key $host) -}}
{{-   end -}}
{{-   range $j, $other := $all -}}
{{-     $sni := include "kproxy.host" $other.listener.nodes.sni | replace "{cluster}" $other.name | lower -}}
{{-     if eq $l.listener.bind $other.listener.bind -}}
{{-       if regexMatch (printf "^%s$" (regexQuoteMeta $sni | replace "\\{node\\}" "[0-9]+")) $host -}}
{{-         fail (printf "%s.advertise: %s is the name of a node, by %s.nodes.sni; choose another name for one of them" $l.key $host $other.key) -}}
{{-       end -}}
{{-       if lt $j $i -}}
{{-         if eq $host (include "kproxy.host" $other.listener.advertise | lower) -}}
{{-           fail (printf "%s.advertise: %s is the name of %s.advertise, too, and the name selects the cluster; choose another one" $l.key $host $other.key) -}}
{{-         end -}}
{{-         if eq $sni (include "kproxy.host" $l.listener.nodes.sni | replace "{cluster}" $l.name | lower) -}}
{{-           fail (printf "%s.nodes.sni: %s is that of %s, too, and the name selects the cluster; choose other names" $l.key $l.listener.nodes.sni $other.key) -}}
{{-         end -}}
{{-         if ne (toJson ($l.listener.proxy_protocol | default dict)) (toJson ($other.listener.proxy_protocol | default dict)) -}}
{{-           fail (printf "%s.proxy_protocol is not that of %s, which shares the port, and the header comes before the name; write the same for both" $l.key $other.key) -}}
{{-         end -}}
{{-         if and (eq ($l.listener.unknown_sni | default "") "bootstrap") (eq ($other.listener.unknown_sni | default "") "bootstrap") -}}
{{-           fail (printf "%s.unknown_sni: bootstrap, as that of %s, which shares the port; write refuse for one of them" $l.key $other.key) -}}
{{-         end -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

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
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" -}}
{{- $isIP := regexMatch (printf "^(%s(\\.%s){3}|\\[[0-9a-fA-F:]*:[0-9a-fA-F:.]*\\])$" $byte $byte) $host -}}
{{- $isName := regexMatch "^([a-zA-Z0-9_-]+\\.)*[a-zA-Z0-9_-]*[a-zA-Z_-][a-zA-Z0-9_-]*\\.?$" $host -}}
{{- $isWildcard := has $host (list "" "0.0.0.0" "[::]") -}}
{{- if and $isWildcard (not .bound) -}}
{{-   fail (printf "%s: %q names no host; write host:port, such as kafka.example.com:%s" .key .address $port) -}}
{{- end -}}
{{- if not (or $isName $isWildcard (and $isIP (not .name))) -}}
{{-   fail (printf "%s: %q has the host %q, which is no %s; write host:port, such as kafka.example.com:%s" .key .address $host (ternary "name" "name and no IP address" (hasKey . "name")) $port) -}}
{{- end -}}
{{- end -}}

{{- /* Another pod has to reach an address: .key, .address, .by, .fix. */ -}}
{{- define "kproxy.validateReached" -}}
{{- if regexMatch "^(localhost\\.?|127\\.[0-9.]+|\\[(::ffff:127\\.[0-9.]+|[0:]*:0*1)\\])$" (include "kproxy.host" .address | lower) -}}
{{-   fail (printf "%s: %s is a loopback address of the pod, which %s do not reach; %s" .key .address .by .fix) -}}
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

{{- /* Whether sockets at two host:port meet if their ports do. */ -}}
{{- define "kproxy.hostsMeet" -}}
{{- $hosts := list -}}
{{- range . -}}
{{-   $hosts = append $hosts (include "kproxy.host" . | lower | replace "localhost" "127.0.0.1") -}}
{{- end -}}
{{- $first := first $hosts -}}
{{- $last := last $hosts -}}
{{- if or (eq $first $last) (has $first (list "" "0.0.0.0" "[::]")) (has $last (list "" "0.0.0.0" "[::]")) -}}yes{{- end -}}
{{- end -}}
