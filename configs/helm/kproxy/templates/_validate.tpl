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
{{- include "kproxy.validateObjects" . -}}
{{- include "kproxy.validateDurations" . -}}
{{- include "kproxy.validateLimits" . -}}
{{- include "kproxy.validateAdmin" . -}}
{{- $several := gt (len .Values.clusters) 1 -}}
{{- range $name, $cluster := .Values.clusters -}}
{{-   $key := printf "clusters.%s.listener" $name -}}
{{-   $own := $cluster.listener | default dict -}}
{{-   $nodes := $own.nodes | default dict -}}
{{-   if not $cluster.bootstrap -}}
{{-     fail (printf "clusters.%s.bootstrap is empty: name one or more brokers, such as [kafka-bootstrap.kafka.svc:9092]" $name) -}}
{{-   end -}}
{{-   range $i, $address := $cluster.bootstrap -}}
{{-     $item := printf "clusters.%s.bootstrap[%d]" $name $i -}}
{{-     include "kproxy.validateAddress" (dict "key" $item "address" $address) -}}
{{-     if and (ne $mode "sidecar") (not $cluster.via) (not $cluster.dial) -}}
{{-       include "kproxy.validateReached" (dict "key" $item "address" $address "by" "brokers" "fix" "write a broker's, such as kafka-bootstrap.kafka.svc:9092" "verb" "do not have") -}}
{{-     end -}}
{{-   end -}}
{{-   include "kproxy.validateUpstream" (dict "key" (printf "clusters.%s" $name) "cluster" $cluster) -}}
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
{{-   if and $several (not $bySNI) (not $nodes.sni) -}}
{{-     range $missing := list (empty $own.bind | ternary "bind" "") (empty $nodes.ports | ternary "nodes.ports" "") | compact -}}
{{-       fail (printf "%s.%s is missing: with several clusters, each needs ports of its own in exposure.mode %s; write it, such as %s, or write nodes.sni" $key $missing $mode (ternary ":9192" "9200-9219" (eq $missing "bind"))) -}}
{{-     end -}}
{{-   end -}}
{{-   if eq (include "kproxy.serviceType" $) "NodePort" -}}
{{-     include "kproxy.validateNodePorts" (dict "key" (printf "%s.advertise" $key) "port" (include "kproxy.port" $own.advertise)) -}}
{{-     if not $nodes.sni -}}
{{-       if not $nodes.advertise_ports -}}
{{-         fail (printf "%s.nodes.advertise_ports is missing: the node ports of the brokers, such as 31100-31119" $key) -}}
{{-       end -}}
{{-       include "kproxy.validateNodePorts" (dict "key" (printf "%s.nodes.advertise_ports" $key) "ports" $nodes.advertise_ports) -}}
{{-     end -}}
{{-   end -}}
{{-   include "kproxy.validateNetworks" (dict "key" $key "listener" $own) -}}
{{-   include "kproxy.validateLogin" (dict "key" (printf "%s.login" $key) "login" ($own.login | default dict)) -}}
{{- end -}}
{{- $gateway := .Values.exposure.gateway -}}
{{- if and (eq $mode "gateway") (not $gateway.parentRefs) (not $gateway.className) -}}
{{-   fail "exposure.gateway: name the Gateway in parentRefs, or a className, for which the chart makes one" -}}
{{- end -}}
{{- $preset := include "kproxy.preset" . -}}
{{- if and (has $preset (list "gcp" "azure")) (include "kproxy.hasProxyProtocol" .) -}}
{{-   fail (printf "listener.proxy_protocol: the load balancer of the preset %s sends no such header. It keeps the clients' addresses; take proxy_protocol out" $preset) -}}
{{- end -}}
{{- if and (eq $preset "nlb") (include "kproxy.hasProxyProtocol" .) -}}
{{-   range $name, $cluster := .Values.clusters -}}
{{-     if not (dig "listener" "proxy_protocol" "from" "" $cluster) -}}
{{-       fail (printf "clusters.%s.listener.proxy_protocol.from is missing: another cluster has it, and the balancer of the preset nlb sends the header at every port; write it for all clusters, or for none" $name) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- if ne $mode "sidecar" -}}
{{-   if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{-     fail "metrics: a ServiceMonitor and a PodMonitor would scrape each pod twice; enable one of them" -}}
{{-   end -}}
{{-   if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{-     fail (printf "autoscaling.minReplicas: %d is more than maxReplicas, %d; write no more than that" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{-   end -}}
{{-   if and .Values.autoscaling.enabled (eq (include "kproxy.seconds" (dig "max_age" "0s" (.Values.limits | default dict))) "0") -}}
{{-     fail "autoscaling.enabled needs limits.max_age, such as 30m: Kafka's clients keep their connections, and a new pod would get none" -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The rules of Kubernetes for names, labels and paths. */ -}}
{{- define "kproxy.validateObjects" -}}
{{- range $section := list "clusters" "secrets" "configMaps" -}}
{{-   range $name, $value := get $.Values $section | default dict -}}
{{-     if not (regexMatch "^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$" $name) -}}
{{-       fail (printf "%s: the name %q cannot be part of the name of a Kubernetes object; write 1-42 of a-z, 0-9 and -, with a letter first and no - last, such as orders-1" $section $name) -}}
{{-     end -}}
{{-     if ne $section "clusters" -}}
{{-       include "kproxy.validateObject" (dict "key" (printf "%s.%s" $section $name) "name" $value) -}}
{{-     else if dig "certificate" "secret" "" $value -}}
{{-       include "kproxy.validateObject" (dict "key" (printf "clusters.%s.certificate.secret" $name) "name" $value.certificate.secret) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- $full := include "kproxy.fullname" . -}}
{{- if not (or (eq .Values.exposure.mode "sidecar") (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full)) -}}
{{-   fail (printf "fullnameOverride is missing: %s, by the release's name, cannot be the name of a Service; write one of a-z, 0-9 and -, with a letter first, such as %s" $full (regexReplaceAll "^[^a-z]+" (replace "." "-" $full) "")) -}}
{{- end -}}
{{- $selected := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- $all := concat $selected (list "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") -}}
{{- range $key, $labels := dict "labels" .Values.labels "podLabels" .Values.podLabels "metrics.labels" .Values.metrics.labels "metrics.dashboard.labels" .Values.metrics.dashboard.labels -}}
{{-   range $label, $_ := $labels -}}
{{-     if has $label (ternary $selected $all (eq $key "podLabels")) -}}
{{-       fail (printf "%s: the chart sets %s%s; take it out" $key $label (has $label $selected | ternary ", and its selectors use it" "")) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- with .Values.state_dir -}}
{{-   if not (hasPrefix "/" .) -}}
{{-     fail (printf "state_dir: %s is not an absolute path; write one, such as /var/lib/kproxy" .) -}}
{{-   end -}}
{{-   if contains ":" . -}}
{{-     fail (printf "state_dir: %s has a colon, which the path of a mount must not have; write a path such as /var/lib/kproxy" .) -}}
{{-   end -}}
{{-   $dir := printf "%s/" (clean . | trimSuffix "/") -}}
{{-   range list "/etc/kproxy/" "/run/certificates/" "/run/secrets/" "/run/configmaps/" -}}
{{-     if or (hasPrefix . $dir) (hasPrefix $dir .) -}}
{{-       fail (printf "state_dir: %s overlaps with %s, where the chart mounts files; write another directory, such as /var/lib/kproxy" $.Values.state_dir (trimSuffix "/" .)) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The name of a Secret or ConfigMap: .key, .name. */ -}}
{{- define "kproxy.validateObject" -}}
{{- if not (and (le (len .name) 253) (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .name)) -}}
{{-   fail (printf "%s: %q is no name of an object of Kubernetes; write the one that kubectl get shows, of a-z, 0-9, - and dots" .key .name) -}}
{{- end -}}
{{- end -}}

{{- /* The durations of kproxy, with the least of each, and the most. */ -}}
{{- define "kproxy.validateDurations" -}}
{{- $limits := .Values.limits | default dict -}}
{{- $all := list
      (list "limits.first_request_timeout" $limits "1ms") (list "limits.handshake_timeout" $limits "1ms")
      (list "limits.idle_timeout" $limits "0s") (list "limits.max_age" $limits "0s")
      (list "drain.delay" .Values.drain "0s") (list "drain.timeout" .Values.drain "1ms")
      (list "telemetry.otlp.interval" (get (.Values.telemetry | default dict) "otlp" | default dict) "1s") -}}
{{- range $name, $cluster := .Values.clusters -}}
{{-   $key := printf "clusters.%s" $name -}}
{{-   $all = append $all (list (printf "%s.forget_after" $key) $cluster "1m") -}}
{{-   $all = append $all (list (printf "%s.connect_timeout" $key) $cluster "1ms") -}}
{{-   $all = append $all (list (printf "%s.keepalive" $key) $cluster "1s" "32767s") -}}
{{- end -}}
{{- $start := toDate "2006-01-02" "2000-01-01" -}}
{{- range $each := $all -}}
{{-   $key := index $each 0 -}}
{{-   $least := index $each 2 -}}
{{-   $value := get (index $each 1) (regexFind "[^.]+$" $key) -}}
{{-   with $value -}}
{{-     $end := dateModify . $start -}}
{{-     if and (regexMatch "[1-9]" .) ($end.Equal $start) -}}
{{-       fail (printf "%s: %s is no duration that kproxy can count; write one from 1ns to 292 years, such as 1h" $key .) -}}
{{-     end -}}
{{-     if $end.Before (dateModify $least $start) -}}
{{-       fail (printf "%s: %s is too short; write %s or more" $key . $least) -}}
{{-     end -}}
{{-     range slice $each 3 -}}
{{-       if $end.After (dateModify . $start) -}}
{{-         fail (printf "%s: %s is too long; write %s or less" $key $value .) -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The limits that are numbers. */ -}}
{{- define "kproxy.validateLimits" -}}
{{- $limits := .Values.limits | default dict -}}
{{- if gt (int64 ($limits.max_request_bytes | default 0)) 2147483647 -}}
{{-   fail (printf "limits.max_request_bytes: %d is more than the size field of a request can hold; write 2147483647 or less" (int64 $limits.max_request_bytes)) -}}
{{- end -}}
{{- $held := int64 ($limits.max_held_bytes | default 0) -}}
{{- if and $held (lt $held 1048576) -}}
{{-   fail (printf "limits.max_held_bytes: %d is less than one large response takes; write 1048576 or more, or 0 for a quarter of the memory limit" $held) -}}
{{- end -}}
{{- $jitter := float64 ($limits.max_age_jitter | default 0) -}}
{{- if or (lt $jitter 0.0) (ge $jitter 1.0) -}}
{{-   fail (printf "limits.max_age_jitter: %v is not a fraction of max_age; write 0 or more and less than 1, such as 0.1" $jitter) -}}
{{- end -}}
{{- range $name, $cluster := .Values.clusters -}}
{{-   $key := printf "clusters.%s.listener.limits" $name -}}
{{-   $own := ($cluster.listener | default dict).limits | default dict -}}
{{-   range $pair := list
        (list (printf "%s.max_connections" $key) $own.max_connections "limits.max_connections" $limits.max_connections)
        (list (printf "%s.max_per_source" $key) $own.max_per_source (printf "%s.max_connections" $key) $own.max_connections)
        (list (printf "%s.max_per_source" $key) $own.max_per_source "limits.max_connections" $limits.max_connections) -}}
{{-     $count := index $pair 1 | default 0 | int64 -}}
{{-     $wider := index $pair 3 | default 0 | int64 -}}
{{-     if and $wider (gt $count $wider) -}}
{{-       fail (printf "%s: %d connections are never reached, because %s is %d; write %d or less, or raise %s" (index $pair 0) $count (index $pair 2) $wider $wider (index $pair 2)) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- define "kproxy.validateAdmin" -}}
{{- $admin := .Values.admin -}}
{{- include "kproxy.validateAddress" (dict "key" "admin.bind" "address" $admin.bind "bound" true) -}}
{{- include "kproxy.validateReached" (dict "key" "admin.bind" "address" $admin.bind "by" "the kubelet's probes" "fix" "write :9400; admin.token_file protects it") -}}
{{- if and $admin.pprof (not $admin.token_file) -}}
{{-   fail "admin.token_file is missing: with admin.pprof, any pod could have kproxy profiled; write secrets: {admin: NAME} and /run/secrets/admin/token, or take pprof out" -}}
{{- end -}}
{{- with $admin.tls -}}
{{-   range $key := list "cert" "key" -}}
{{-     if not (get $admin.tls $key) -}}
{{-       fail (printf "admin.tls.%s is missing: TLS needs cert and key; write the path of a file, such as /run/secrets/admin/tls.%s" $key (ternary "crt" "key" (eq $key "cert"))) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The way to the brokers: .key, .cluster. */ -}}
{{- define "kproxy.validateUpstream" -}}
{{- $sasl := .cluster.sasl | default dict -}}
{{- if values $sasl | compact -}}
{{-   include "kproxy.validateSASL" (dict "key" (printf "%s.sasl" .key) "sasl" $sasl) -}}
{{- end -}}
{{- if not .cluster.via -}}
{{-   range list "via_password_file" "via_key_file" "via_passphrase_file" "via_known_hosts" -}}
{{-     if get $.cluster . -}}
{{-       fail (printf "%s.%s: there is no via that it could be for; write via, or take it out" $.key .) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- $tls := .cluster.tls | default dict -}}
{{- if ne (empty $tls.cert) (empty $tls.key) -}}
{{-   fail (printf "%s.tls.%s is missing: a certificate needs cert and key; write both, or none" .key (empty $tls.cert | ternary "cert" "key")) -}}
{{- end -}}
{{- end -}}

{{- /* kproxy's login at the brokers: .key, .sasl. */ -}}
{{- define "kproxy.validateSASL" -}}
{{- $sasl := .sasl -}}
{{- $mechanism := $sasl.mechanism | default "" -}}
{{- $byPassword := list "PLAIN" "SCRAM-SHA-256" "SCRAM-SHA-512" -}}
{{- $known := concat $byPassword (list "OAUTHBEARER" "AWS_MSK_IAM") -}}
{{- if not (has $mechanism $known) -}}
{{-   fail (printf "%s.mechanism: %q is not a mechanism that kproxy knows; write one of %s" .key $mechanism (join ", " $known)) -}}
{{- end -}}
{{- if has $mechanism $byPassword -}}
{{-   if not $sasl.username -}}
{{-     fail (printf "%s.username is missing: write the user that kproxy logs in as" .key) -}}
{{-   end -}}
{{-   if not (or $sasl.password_file $sasl.password_env) -}}
{{-     fail (printf "%s.password_file is missing: write secrets: {kafka: NAME}, and the file in it, such as /run/secrets/kafka/password" .key) -}}
{{-   end -}}
{{-   if and $sasl.password_file $sasl.password_env -}}
{{-     fail (printf "%s: password_file and password_env are both there; keep one of them" .key) -}}
{{-   end -}}
{{- end -}}
{{- $others := dict "username" $byPassword "password_file" $byPassword "password_env" $byPassword "oauth" (list "OAUTHBEARER") "aws" (list "AWS_MSK_IAM") -}}
{{- range $name, $for := $others -}}
{{-   $value := get $sasl $name -}}
{{-   if kindIs "map" $value -}}
{{-     $value = values $value | compact -}}
{{-   end -}}
{{-   if and $value (not (has $mechanism $for)) -}}
{{-     fail (printf "%s.%s does not go with the mechanism %s; take it out" $.key $name $mechanism) -}}
{{-   end -}}
{{- end -}}
{{- if eq $mechanism "OAUTHBEARER" -}}
{{-   $oauth := $sasl.oauth | default dict -}}
{{-   if not (or $oauth.token_file $oauth.token_url) -}}
{{-     fail (printf "%s.oauth.token_url is missing: write the URL of the token endpoint, or token_file" .key) -}}
{{-   end -}}
{{-   range list "token_url" "client_id" "client_secret_file" "scope" -}}
{{-     if and $oauth.token_file (get $oauth .) -}}
{{-       fail (printf "%s.oauth.%s does not go with token_file; keep one of them" $.key .) -}}
{{-     end -}}
{{-   end -}}
{{-   range list "client_id" "client_secret_file" -}}
{{-     if not (or $oauth.token_file (get $oauth .)) -}}
{{-       fail (printf "%s.oauth.%s is missing: the token endpoint of token_url asks for it" $.key .) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* The networks of a listener's clients: .key, .listener. */ -}}
{{- define "kproxy.validateNetworks" -}}
{{- $proxy := .listener.proxy_protocol | default dict -}}
{{- $denied := dict -}}
{{- range $list := list (list "deny" .listener.deny) (list "allow" .listener.allow) (list "proxy_protocol.from" $proxy.from) -}}
{{-   $seen := dict -}}
{{-   range $i, $network := last $list -}}
{{-     $item := printf "%s[%d]" (first $list) $i -}}
{{-     $key := printf "%s.%s" $.key $item -}}
{{-     $parts := splitList "/" $network -}}
{{-     $colons := contains ":" $network -}}
{{-     $bits := include "kproxy.bits" (printf (ternary "[%s]:1" "%s:1" $colons) (first $parts)) -}}
{{-     $size := len $bits -}}
{{-     $length := $size -}}
{{-     if eq (len $parts) 2 -}}
{{-       if and $colons (eq $size 32) -}}
{{-         fail (printf "%s: %q is an IPv4 network in IPv6, and kproxy compares IPv4 addresses; write one such as 10.0.0.0/8" $key $network) -}}
{{-       end -}}
{{-       $length = regexMatch "^(0|[1-9][0-9]{0,2})$" (last $parts) | ternary (last $parts | int) 999 -}}
{{-     end -}}
{{-     if or (not $size) (gt (len $parts) 2) (gt $length $size) -}}
{{-       fail (printf "%s: %q is not a network; write one such as 10.0.0.0/8, or an address such as 10.0.0.7" $key $network) -}}
{{-     end -}}
{{-     $prefix := substr 0 $length $bits -}}
{{-     if contains "1" (substr $length $size $bits) -}}
{{-       $masked := include "kproxy.ofBits" (printf "%s%s" $prefix (repeat (sub $size $length | int) "0")) -}}
{{-       fail (printf "%s: %q has bits beyond its /%d; write %s/%d, or the address %s" $key $network $length $masked $length (first $parts)) -}}
{{-     end -}}
{{-     $is := printf "%d:%s" $size $prefix -}}
{{-     range $other, $wider := $seen -}}
{{-       if hasPrefix $wider $is -}}
{{-         fail (printf "%s: %s is the network of %s, or within it; take it out" $key $network $other) -}}
{{-       end -}}
{{-     end -}}
{{-     $_ := set $seen $item $is -}}
{{-     range $other, $wider := $denied -}}
{{-       if and (eq (first $list) "allow") (hasPrefix $wider $is) -}}
{{-         fail (printf "%s: %s is the network of %s, or within it, and deny decides; take it out of one of the two" $key $network $other) -}}
{{-       end -}}
{{-     end -}}
{{-   end -}}
{{-   if eq (first $list) "deny" -}}
{{-     $denied = $seen -}}
{{-   end -}}
{{- end -}}
{{- if and (eq ($proxy.mode | default "") "optional") (not $proxy.from) -}}
{{-   fail (printf "%s.proxy_protocol.from is missing: without it, no header is believed; write the networks of the load balancers, such as [10.0.0.0/16]" .key) -}}
{{- end -}}
{{- end -}}

{{- /* The login of clients: .key, .login. */ -}}
{{- define "kproxy.validateLogin" -}}
{{- $login := .login -}}
{{- if or $login.mechanisms $login.users_file -}}
{{-   if not $login.mechanisms -}}
{{-     fail (printf "%s.mechanisms is missing: write those that clients may choose from, such as [SCRAM-SHA-512]" .key) -}}
{{-   end -}}
{{-   if not $login.users_file -}}
{{-     fail (printf "%s.users_file is missing: write secrets: {users: NAME}, and the file in it, such as /run/secrets/users/users" .key) -}}
{{-   end -}}
{{-   $known := list "PLAIN" "SCRAM-SHA-256" "SCRAM-SHA-512" -}}
{{-   range $login.mechanisms -}}
{{-     if not (has . $known) -}}
{{-       fail (printf "%s.mechanisms: %q is none by which clients log in at kproxy; write some of %s" $.key . (join ", " $known)) -}}
{{-     end -}}
{{-   end -}}
{{-   if ne (len $login.mechanisms) (len (uniq $login.mechanisms)) -}}
{{-     fail (printf "%s.mechanisms: one is there twice; write each once" .key) -}}
{{-   end -}}
{{- end -}}
{{- end -}}

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
{{-     include "kproxy.validateSidecar" (dict "key" $key "listener" $l) -}}
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

{{- /* TLS with clients: .name of the cluster, .has, .tls. */ -}}
{{- define "kproxy.validateTLS" -}}
{{- $key := printf "clusters.%s.listener.tls" .name -}}
{{- if and .has (not .tls.certs) -}}
{{-   fail (printf "clusters.%s.certificate is missing: %s needs one; write certificate: {secret: NAME} beside listener" .name $key) -}}
{{- end -}}
{{- range list "client_auth" "subjects" -}}
{{-   if and (get ($.tls | default dict) .) (not $.tls.client_ca) -}}
{{-     fail (printf "%s.client_ca is missing: %s needs it; write the file of the CA that signs clients' certificates, such as /run/configmaps/clients/ca.crt" $key .) -}}
{{-   end -}}
{{- end -}}
{{- end -}}

{{- /* A sidecar's listener: .key, .listener. Nothing maps the ports of a pod, and its loopback addresses are kproxy's alone. */ -}}
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
