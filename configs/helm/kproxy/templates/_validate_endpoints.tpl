{{- /* Rules about listeners beside each other: sockets, node ports, names, and what leads to them. */ -}}

{{- /* The rules about what is rendered: .root, and .clusters of kproxy.yaml. They compare addresses with each other. */ -}}
{{- define "kproxy.validateClusters" -}}
{{- $mode := .root.Values.exposure.mode -}}
{{- $admin := include "kproxy.port" .root.Values.admin.bind | int -}}
{{- $bound := list (dict "key" "admin.bind" "host" (include "kproxy.bound" .root.Values.admin.bind) "first" $admin "last" $admin) -}}
{{- $advertised := list -}}
{{- $named := list -}}
{{- range $name, $cluster := .clusters -}}
{{-   $key := printf "clusters.%s.listener" $name -}}
{{-   $own := get $.root.Values.clusters $name -}}
{{-   $l := $cluster.listeners.clients -}}
{{-   $nodes := $l.nodes -}}
{{-   $host := include "kproxy.bound" $l.bind -}}
{{-   $port := include "kproxy.port" $l.bind | int -}}
{{-   $shows := include "kproxy.canonical" $l.advertise -}}
{{-   $advertise := include "kproxy.port" $l.advertise | int -}}
{{-   include "kproxy.validateTLS" (dict "name" $name "tls" (get $l "tls") "has" (hasKey $l "tls")) -}}
{{-   include "kproxy.validateNodes" (dict "key" $key "listener" $l "mode" $mode) -}}
{{-   if eq $mode "sidecar" -}}
{{-     include "kproxy.validateSidecar" (dict "key" $key "listener" $l "cluster" $cluster) -}}
{{-   end -}}
{{-   $bound = append $bound (dict "key" (printf "%s.bind" $key) "host" $host "first" $port "last" $port "named" (hasKey $nodes "sni")) -}}
{{-   $advertised = append $advertised (dict "key" (printf "%s.advertise" $key) "host" $shows "first" $advertise "last" $advertise "to" $port "bind" (printf "%s:%d" $host $port)) -}}
{{-   with $nodes.ports -}}
{{-     $ports := include "kproxy.range" . | fromYaml -}}
{{-     $written := dig "listener" "nodes" "ports" "" $own -}}
{{-     $portsKey := printf "%s.nodes.ports" $key -}}
{{-     $fix := "move one of them to another port" -}}
{{-     if not $written -}}
{{-       $fix = printf "write %s.nodes.ports, which is %v otherwise, or move the other one" $key . -}}
{{-       if gt (int $ports.last) 65535 -}}
{{-         fail (printf "%s.nodes.advertise_ports: from 9100 on, there are not as many ports to bind; write nodes.ports, as many of them" $key) -}}
{{-       end -}}
{{-     end -}}
{{-     $bound = append $bound (dict "key" $portsKey "host" $host "first" $ports.first "last" $ports.last "fix" $fix) -}}
{{-     $shown := $nodes.advertise_ports | default . -}}
{{-     $shownKey := printf "%s.nodes.%s" $key (ternary "advertise_ports" "ports" (hasKey $nodes "advertise_ports")) -}}
{{-     $as := include "kproxy.range" $shown | fromYaml -}}
{{-     if and (le (int $as.first) $advertise) (le $advertise (int $as.last)) -}}
{{-       fail (printf "%s: %v covers port %d, where clients bootstrap (%s.advertise); move one of them%s" $shownKey $shown $advertise $key (ternary "" (printf ", or write %s" $portsKey) (or (ne $written "") (hasKey $nodes "advertise_ports")))) -}}
{{-     end -}}
{{-     $advertised = append $advertised (dict "key" $shownKey "host" $shows "first" $as.first "last" $as.last "to" $ports.first) -}}
{{-   end -}}
{{-   with $nodes.sni -}}
{{-     if ne $advertise (include "kproxy.port" . | int) -}}
{{-       fail (printf "%s.nodes.sni: %s has another port than %s.advertise, %d, and one port leads to all brokers; write that port" $key . $key $advertise) -}}
{{-     end -}}
{{-     $named = append $named (dict "name" $name "key" $key "listener" $l "bind" (printf "%s:%d" $host $port) "port" $port "certificate" ($own.certificate | default dict)) -}}
{{-   end -}}
{{- end -}}
{{- range $i, $b := $bound -}}
{{-   range $other := slice $bound 0 $i -}}
{{-     if and (include "kproxy.portsMeet" (list $b $other)) (include "kproxy.hostsMeet" (list $b.host $other.host)) (not (and (eq $b.host $other.host) $b.named $other.named)) -}}
{{-       fail (printf "%s: port %d is bound already by %s; %s" $b.key (max (int $b.first) (int $other.first)) $other.key ($b.fix | default $other.fix | default "move one of them to another port")) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- /* With via the address is another machine's, and a rule of dial may replace it. */ -}}
{{- range $name, $cluster := .clusters -}}
{{-   range $i, $address := or $cluster.via $cluster.dial | empty | ternary $cluster.bootstrap list -}}
{{-     $port := include "kproxy.port" $address | int -}}
{{-     $host := include "kproxy.bound" $address -}}
{{-     range $b := $bound -}}
{{-       $reaches := or (eq $host $b.host) (and (regexMatch "^127\\." $host) (has $b.host (list "" "0.0.0.0"))) (and (eq $host "0:0:0:0:0:0:0:1") (eq $b.host "")) -}}
{{-       if and $reaches (le (int $b.first) $port) (le $port (int $b.last)) -}}
{{-         fail (printf "clusters.%s.bootstrap[%d]: %s is kproxy's own, by %s; write the broker's address, or bind kproxy elsewhere" $name $i $address $b.key) -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- range $i, $a := $advertised -}}
{{-   range $other := slice $advertised 0 $i -}}
{{-     if not (include "kproxy.portsMeet" (list $a $other)) -}}
{{-     else if eq $mode "sidecar" -}}
{{-       if and (include "kproxy.loopsMeet" (list $a.host $other.host)) (not (and $a.bind (eq $a.bind ($other.bind | default "")))) -}}
{{-         fail (printf "%s: port %d of %s is advertised by %s already; advertise another port, or the address of each bind" $a.key (max (int $a.first) (int $other.first)) $a.host $other.key) -}}
{{-       end -}}
{{-     else if ne (sub $a.first $a.to) (sub $other.first $other.to) -}}
{{-       fail (printf "%s: port %d of the Service leads to %s already; advertise another one" $a.key (max (int $a.first) (int $other.first)) $other.key) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- include "kproxy.validateNames" (dict "root" .root "all" $named) -}}
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
{{- if and $nodes.ports $nodes.sni -}}
{{-   fail (printf "%s.nodes: ports and sni; keep one of them" $key) -}}
{{- end -}}
{{- if and $nodes.ports (eq .mode "gateway") -}}
{{-   fail (printf "%s.nodes.ports: a TLSRoute leads names to kproxy, and no other ports; take ports out, or write sni" $key) -}}
{{- end -}}
{{- if gt (int64 ($nodes.first_node | default 0)) 2147483647 -}}
{{-   fail (printf "%s.nodes.first_node: %d is no broker id; write one of 0-2147483647" $key (int64 $nodes.first_node)) -}}
{{- end -}}
{{- if $nodes.sni -}}
{{-   range list "advertise_ports" "first_node" "pin" -}}
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
{{-     if not (and (regexMatch "^(0|[1-9][0-9]{0,9})$" $node) (le (int64 $node) 2147483647)) -}}
{{-       fail (printf "%s.nodes.pin: %q is no broker id; write 0-2147483647, without zeros in front, such as {1001: %v}" $key $node $ports.first) -}}
{{-     end -}}
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

{{- /* A sidecar's listener: .key, .listener, .cluster. Nothing maps the ports of a pod, and its loopback addresses are kproxy's alone. */ -}}
{{- define "kproxy.validateSidecar" -}}
{{- $l := .listener -}}
{{- $bind := include "kproxy.bound" $l.bind -}}
{{- $host := include "kproxy.canonical" $l.advertise -}}
{{- $port := include "kproxy.port" $l.bind -}}
{{- if ne $port (include "kproxy.port" $l.advertise) -}}
{{-   fail (printf "%s.advertise: %s has another port than %s.bind, %s, and nothing maps ports in a pod; advertise port %s" .key $l.advertise .key $l.bind $port) -}}
{{- end -}}
{{- with $l.nodes.advertise_ports -}}
{{-   if ne (include "kproxy.range" .) (include "kproxy.range" $l.nodes.ports) -}}
{{-     fail (printf "%s.nodes.advertise_ports: nothing maps ports in a pod, so clients connect to those that kproxy binds; take it out, and write nodes.ports: %s" $.key (include "kproxy.range" . | fromYaml).text) -}}
{{-   end -}}
{{- end -}}
{{- $opens := or .cluster.sasl (dig "tls" "cert" "" .cluster) -}}
{{- $isLoopback := regexMatch "^(127\\.[0-9.]+|0:0:0:0:0:0:0:1)$" $bind -}}
{{- $asks := and (dig "tls" "client_ca" "" $l) (ne (dig "tls" "client_auth" "" $l) "requested") -}}
{{- if and $opens (not $isLoopback) (not $l.login) (not $asks) -}}
{{-   fail (printf "%s.bind: other pods reach %s, and would have kproxy's login at the brokers; write an address of the pod alone, such as 127.0.0.1:%s, or add login" .key $l.bind $port) -}}
{{- end -}}
{{- $local := or (eq $host "localhost") (include "kproxy.isIP" $l.advertise) -}}
{{- $all := or (eq $bind "") (and (eq $bind "0.0.0.0") (not (contains ":" $host))) -}}
{{- if and $local (not $all) (not (include "kproxy.loopsMeet" (list $bind $host))) -}}
{{-   fail (printf "%s.advertise: kproxy does not listen at %s, by %s.bind, %s; advertise the host of bind" .key $host .key $l.bind) -}}
{{- end -}}
{{- end -}}

{{- /* The names of listeners with nodes.sni: .root, and .all, a list of .name, .key, .listener, .bind, .port, .certificate. */ -}}
{{- define "kproxy.validateNames" -}}
{{- $all := .all -}}
{{- $gateway := eq .root.Values.exposure.mode "gateway" -}}
{{- /* By the name alone, routes of these Gateways differ. The chart's own Gateway has a listener for each port. */ -}}
{{- $byName := and $gateway .root.Values.exposure.gateway.parentRefs -}}
{{- range $i, $l := $all -}}
{{-   $host := include "kproxy.canonical" $l.listener.advertise -}}
{{-   $isIP := include "kproxy.isIP" $l.listener.advertise -}}
{{-   $sni := include "kproxy.sniHost" $l -}}
{{-   $names := (include "kproxy.names" $l | fromYaml).names -}}
{{-   if and $isIP $gateway -}}
{{-     fail (printf "%s.advertise: a TLSRoute leads names to kproxy, and %s is an address; write a name" $l.key $host) -}}
{{-   end -}}
{{-   if and $isIP (ne ($l.listener.unknown_sni | default "") "bootstrap") -}}
{{-     fail (printf "%s.advertise: clients ask for no name if the host is the address %s; write a name that the certificate has, or unknown_sni: bootstrap" $l.key $host) -}}
{{-   end -}}
{{-   if or $gateway $l.certificate.issuerRef -}}
{{-     $what := ternary "a TLSRoute" "a Certificate of cert-manager" $gateway -}}
{{-     if not (hasPrefix "*." (last $names)) -}}
{{-       fail (printf "%s.nodes.sni: %s does not have {node} in the first of several labels, and a wildcard in %s stands for that label; write a name such as b{node}.kafka.example.com:443" $l.key $l.listener.nodes.sni $what) -}}
{{-     end -}}
{{-     range $name := $names -}}
{{-       if not (and (le (len $name) 253) (regexMatch "^(\\*\\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$" $name)) -}}
{{-         fail (printf "%s.%s: %s is no name in DNS, which %s needs; write labels of a-z, 0-9 and -, such as kafka.example.com" $l.key (ternary "nodes.sni" "advertise" (hasPrefix "*." $name)) $name $what) -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{-   range $j, $other := $all -}}
{{-     $otherHost := include "kproxy.canonical" $other.listener.advertise -}}
{{-     $otherSNI := include "kproxy.sniHost" $other -}}
{{-     $shared := eq $l.bind $other.bind -}}
{{-     if or $shared $byName (and (eq $l.port $other.port) (eq $.root.Values.exposure.mode "sidecar")) -}}
{{-       if regexMatch (printf "^%s$" (regexQuoteMeta $otherSNI | replace "\\{node\\}" "(0|[1-9][0-9]{0,9})")) $host -}}
{{-         fail (printf "%s.advertise: %s is the name of a node, by %s.nodes.sni; choose another name for one of them" $l.key $host $other.key) -}}
{{-       end -}}
{{-       if lt $j $i -}}
{{-         if eq $host $otherHost -}}
{{-           fail (printf "%s.advertise: %s is the name of %s.advertise, too, and the name selects the cluster; choose another one" $l.key $host $other.key) -}}
{{-         end -}}
{{-         if include "kproxy.namesMeet" (list $sni $otherSNI) -}}
{{-           fail (printf "%s.nodes.sni: %s may be a name by %s.nodes.sni, too, and the name selects the cluster; choose names that differ by more than digits" $l.key $l.listener.nodes.sni $other.key) -}}
{{-         end -}}
{{-         if and $byName (not $shared) -}}
{{-           range $names -}}
{{-             if has . (include "kproxy.names" $other | fromYaml).names -}}
{{-               fail (printf "%s.nodes.sni: the TLSRoutes of both this and %s.nodes.sni have %s, and the binds differ; choose names under another domain, or write the same bind and ports" $l.key $other.key .) -}}
{{-             end -}}
{{-           end -}}
{{-         end -}}
{{-         if $shared -}}
{{-           if ne (toJson ($l.listener.proxy_protocol | default dict)) (toJson ($other.listener.proxy_protocol | default dict)) -}}
{{-             fail (printf "%s.proxy_protocol is not that of %s, which shares the port, and the header comes before the name; write the same for both" $l.key $other.key) -}}
{{-           end -}}
{{-           if and (eq ($l.listener.unknown_sni | default "") "bootstrap") (eq ($other.listener.unknown_sni | default "") "bootstrap") -}}
{{-             fail (printf "%s.unknown_sni: bootstrap, as that of %s, which shares the port; write refuse for one of them" $l.key $other.key) -}}
{{-           end -}}
{{-         end -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The host of nodes.sni: .name of the cluster, .listener. */ -}}
{{- define "kproxy.sniHost" -}}
{{- include "kproxy.canonical" (.listener.nodes.sni | replace "{cluster}" .name) -}}
{{- end -}}

{{- /* Whether two hosts with {node} may be one name: before and behind {node}, they differ by digits at most. */ -}}
{{- define "kproxy.namesMeet" -}}
{{- $a := splitList "{node}" (first .) -}}
{{- $b := splitList "{node}" (last .) -}}
{{- $before := or (regexMatch (printf "^%s[0-9]*$" (first $a | regexQuoteMeta)) (first $b)) (regexMatch (printf "^%s[0-9]*$" (first $b | regexQuoteMeta)) (first $a)) -}}
{{- $behind := or (regexMatch (printf "^[0-9]*%s$" (last $a | regexQuoteMeta)) (last $b)) (regexMatch (printf "^[0-9]*%s$" (last $b | regexQuoteMeta)) (last $a)) -}}
{{- if and $before $behind -}}yes{{- end -}}
{{- end -}}

{{- /* Whether two hosts, as kproxy.bound has them, meet if their ports do. */ -}}
{{- define "kproxy.hostsMeet" -}}
{{- $all := has "" . -}}
{{- $four := and (has "0.0.0.0" .) (not (contains ":" (join "" .))) -}}
{{- if or (eq (first .) (last .)) $all $four -}}yes{{- end -}}
{{- end -}}

{{- /* Whether two hosts of a pod may be one address: localhost is 127.0.0.1 or ::1. */ -}}
{{- define "kproxy.loopsMeet" -}}
{{- $local := list "localhost" "127.0.0.1" "0:0:0:0:0:0:0:1" -}}
{{- if or (eq (first .) (last .)) (and (has "localhost" .) (has (first .) $local) (has (last .) $local)) -}}yes{{- end -}}
{{- end -}}

{{- /* Whether two ranges, of .first and .last, have a port in common. */ -}}
{{- define "kproxy.portsMeet" -}}
{{- $a := first . -}}
{{- $b := last . -}}
{{- if and (le (int $a.first) (int $b.last)) (le (int $b.first) (int $a.last)) -}}yes{{- end -}}
{{- end -}}
