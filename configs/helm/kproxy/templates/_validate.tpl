{{- /*
The rules about values that the schema cannot say, or not with a fix. kproxy check refuses most of
these values too, but `helm upgrade` would succeed with them: pods that run keep their
configuration, and the next one that starts fails. Each message names the key and a fix.
_validate_addresses.tpl, _validate_endpoints.tpl and _validate_ways.tpl have the rules of each kind.
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
{{- include "kproxy.validatePods" . -}}
{{- $several := gt (len .Values.clusters) 1 -}}
{{- /* Sidecars of several addresses may have the same ports. */ -}}
{{- $apart := eq $mode "sidecar" -}}
{{- $hosts := list "" "0.0.0.0" -}}
{{- range .Values.clusters -}}
{{-   $host := include "kproxy.bound" ((.listener | default dict).bind | default "127.0.0.1:9092") -}}
{{-   $apart = and $apart (not (has $host $hosts)) -}}
{{-   $hosts = append $hosts $host -}}
{{- end -}}
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
{{-     $bind := ternary "127.0.0.2:9092" ":9192" (eq $mode "sidecar") -}}
{{-     range $missing := list (empty $own.bind | ternary "bind" "") (or $nodes.ports $apart | empty | ternary "nodes.ports" "") | compact -}}
{{-       fail (printf "%s.%s is missing: with several clusters, each needs ports of its own in exposure.mode %s; write it, such as %s, or write nodes.sni" $key $missing $mode (ternary $bind "9200-9219" (eq $missing "bind"))) -}}
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

{{- /* The pods and what finds them: the image, the environment, networks, monitors. */ -}}
{{- define "kproxy.validatePods" -}}
{{- $image := .Values.image.repository -}}
{{- if contains "@" $image -}}
{{-   fail (printf "image.repository: %s has a digest; write image.repository: %s and image.digest: %s" $image (splitList "@" $image | first) (splitList "@" $image | last)) -}}
{{- end -}}
{{- if regexMatch ":[^/]*$" $image -}}
{{-   fail (printf "image.repository: %s has a tag; write image.repository: %s and image.tag: %q" $image (regexReplaceAll ":[^/]*$" $image "") (regexFind ":[^/]*$" $image | trimPrefix ":")) -}}
{{- end -}}
{{- range $i, $variable := .Values.env -}}
{{-   if regexMatch "^KPROXY_(ADMIN_|CLUSTERS_|DRAIN_|LIMITS_|LOG_|RELOAD_|TELEMETRY_|REUSE_PORT$|STATE_DIR$)" $variable.name -}}
{{-     fail (printf "env[%d]: %s sets a key of kproxy's configuration, and the Service and the probes would not have it; write the key in the values" $i $variable.name) -}}
{{-   end -}}
{{-   if and (hasKey $variable "value") (not (kindIs "string" $variable.value)) -}}
{{-     fail (printf "env[%d]: the value of %s is no text; write it in quotes, such as \"%v\"" $i $variable.name $variable.value) -}}
{{-   end -}}
{{- end -}}
{{- range $i, $network := .Values.exposure.loadBalancer.sourceRanges -}}
{{-   $parts := splitList "/" $network -}}
{{-   $size := include "kproxy.addressBits" (first $parts) | len -}}
{{-   if not (and $size (eq (len $parts) 2) (regexMatch "^(0|[1-9][0-9]{0,2})$" (last $parts)) (le (last $parts | int) $size)) -}}
{{-     fail (printf "exposure.loadBalancer.sourceRanges[%d]: %q is no network with a length; write one such as 10.0.0.0/8, and an address such as 10.0.0.7/32" $i $network) -}}
{{-   end -}}
{{- end -}}
{{- $metrics := .Values.metrics -}}
{{- if and .Values.admin.token_file (or $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled) (not (get ($metrics.tokenSecret | default dict) "name")) -}}
{{-   fail "metrics.tokenSecret is missing: with admin.token_file, a scrape without the token gets 401; write metrics.tokenSecret: {name: SECRET, key: token}" -}}
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
