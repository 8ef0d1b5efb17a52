{{- /* The container, of the Deployment and of a sidecar. */ -}}
{{- define "kproxy.container" -}}
name: kproxy
image: {{ include "kproxy.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/kproxy/kproxy.yaml]
{{- with include "kproxy.env" . }}
env:
  {{- . | nindent 2 }}
{{- end }}
ports:
  - name: admin
    containerPort: {{ include "kproxy.adminPort" . }}
  {{- range (include "kproxy.binds" . | fromYaml).items }}
  - containerPort: {{ . }}
  {{- end }}
livenessProbe:
  httpGet: {path: /livez, port: admin, scheme: {{ include "kproxy.adminScheme" . }}}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: admin, scheme: {{ include "kproxy.adminScheme" . }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "kproxy.securityContext" . | nindent 2 }}
volumeMounts:
  {{- include "kproxy.volumeMounts" . | nindent 2 }}
{{- end -}}

{{- define "kproxy.env" -}}
{{- if dig "limits" "cpu" "" (.Values.resources | default dict) -}}
- name: GOMAXPROCS
  valueFrom:
    resourceFieldRef: {containerName: kproxy, resource: limits.cpu, divisor: "1"}
{{ end -}}
{{- with .Values.env -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "kproxy.securityContext" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Whole directories: a subPath is never updated, and kproxy would not see a change. */ -}}
{{- define "kproxy.volumeMounts" -}}
- {name: kproxy-config, mountPath: /etc/kproxy, readOnly: true}
{{- with .Values.state_dir }}
- {name: kproxy-state, mountPath: {{ . | quote }}}
{{- end }}
{{- range $name, $cluster := .Values.clusters }}
{{- if $cluster.certificate }}
- {name: {{ printf "certificate-%s" $name }}, mountPath: {{ printf "/run/certificates/%s" $name }}, readOnly: true}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.secrets }}
- {name: {{ printf "secret-%s" $name }}, mountPath: {{ printf "/run/secrets/%s" $name }}, readOnly: true}
{{- end }}
{{- range $name, $_ := .Values.configMaps }}
- {name: {{ printf "configmap-%s" $name }}, mountPath: {{ printf "/run/configmaps/%s" $name }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "kproxy.volumes" -}}
{{- $root := . -}}
- name: kproxy-config
  configMap: {name: {{ include "kproxy.fullname" . }}}
{{- if .Values.state_dir }}
- name: kproxy-state
  emptyDir: {sizeLimit: 64Mi}
{{- end }}
{{- range $name, $cluster := .Values.clusters }}
{{- if $cluster.certificate }}
- name: {{ printf "certificate-%s" $name }}
  secret: {secretName: {{ include "kproxy.certificateSecret" (dict "root" $root "name" $name "cluster" $cluster) }}}
{{- end }}
{{- end }}
{{- range $name, $secret := .Values.secrets }}
- name: {{ printf "secret-%s" $name }}
  secret: {secretName: {{ $secret }}}
{{- end }}
{{- range $name, $configMap := .Values.configMaps }}
- name: {{ printf "configmap-%s" $name }}
  configMap: {name: {{ $configMap }}}
{{- end }}
{{- end -}}

{{- define "kproxy.certificateSecret" -}}
{{- .cluster.certificate.secret | default (printf "%s-%s-tls" (include "kproxy.fullname" .root) .name) -}}
{{- end -}}
