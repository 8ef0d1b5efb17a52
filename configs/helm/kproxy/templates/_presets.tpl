{{- /* The provider of the Service's load balancer; "": another one, or there is none. */ -}}
{{- define "kproxy.preset" -}}
{{- if eq (include "kproxy.serviceType" .) "LoadBalancer" -}}
{{ .Values.exposure.loadBalancer.preset }}
{{- end -}}
{{- end -}}

{{- /* Annotations of the Service by provider. Those of the values win. */ -}}
{{- define "kproxy.serviceAnnotations" -}}
{{- $balancer := .Values.exposure.loadBalancer -}}
{{- $a := dict -}}
{{- $preset := include "kproxy.preset" . -}}
{{- if eq $preset "nlb" -}}
{{-   $p := "service.beta.kubernetes.io/aws-load-balancer-" -}}
{{-   $_ := set $a (print $p "scheme") (ternary "internet-facing" "internal" (empty $balancer.internal)) -}}
{{-   $_ := set $a (print $p "nlb-target-type") "ip" -}}
{{-   $_ := set $a (print $p "attributes") "load_balancing.cross_zone.enabled=true" -}}
{{-   $_ := set $a (print $p "healthcheck-protocol") (include "kproxy.adminScheme" . | lower) -}}
{{-   $_ := set $a (print $p "healthcheck-port") (include "kproxy.adminPort" .) -}}
{{-   $_ := set $a (print $p "healthcheck-path") "/readyz" -}}
{{-   $_ := set $a (print $p "healthcheck-interval") "10" -}}
{{-   $_ := set $a (print $p "healthcheck-timeout") "5" -}}
{{-   $_ := set $a (print $p "healthcheck-healthy-threshold") "2" -}}
{{-   $_ := set $a (print $p "healthcheck-unhealthy-threshold") "2" -}}
{{-   $grace := include "kproxy.gracePeriod" . -}}
{{-   $_ := set $a (print $p "target-group-attributes") (printf "deregistration_delay.timeout_seconds=%s,deregistration_delay.connection_termination.enabled=false,preserve_client_ip.enabled=false" $grace) -}}
{{-   if include "kproxy.hasProxyProtocol" . -}}
{{-     $_ := set $a (print $p "proxy-protocol") "*" -}}
{{-   end -}}
{{- else if eq $preset "gcp" -}}
{{-   if $balancer.internal -}}
{{-     $_ := set $a "networking.gke.io/load-balancer-type" "Internal" -}}
{{-   else -}}
{{-     $_ := set $a "cloud.google.com/l4-rbs" "enabled" -}}
{{-   end -}}
{{- else if eq $preset "azure" -}}
{{-   $_ := set $a "service.beta.kubernetes.io/azure-load-balancer-internal" ($balancer.internal | default false | toString) -}}
{{-   $_ := set $a "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout" "30" -}}
{{- end -}}
{{- with mergeOverwrite $a (.Values.exposure.annotations | default dict) -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "kproxy.externalTrafficPolicy" -}}
{{- .Values.exposure.externalTrafficPolicy | default (ternary "Local" "Cluster" (has (include "kproxy.preset" .) (list "gcp" "azure"))) -}}
{{- end -}}

{{- define "kproxy.serviceType" -}}
{{- $mode := .Values.exposure.mode -}}
{{- if eq $mode "loadBalancer" -}}LoadBalancer
{{- else if eq $mode "ports" -}}{{ .Values.exposure.ports.type }}
{{- else -}}ClusterIP
{{- end -}}
{{- end -}}
