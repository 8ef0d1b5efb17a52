{{- /* Rules about the way to brokers, and about who comes in: logins, networks, TLS. */ -}}

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
{{-     $bits := include "kproxy.addressBits" (first $parts) -}}
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
