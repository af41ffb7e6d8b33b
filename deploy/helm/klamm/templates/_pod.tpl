{{/* klamm's container, its volumes, and what its pods have in common. */}}

{{- define "klamm.container" -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
name: klamm
image: {{ include "klamm.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/klamm/config]
{{- if $sidecar }}
restartPolicy: Always
{{- end }}
ports:
  {{- if not $sidecar }}
  - { name: http, containerPort: 8080 }
  {{- end }}
  - { name: admin, containerPort: 8081 }
startupProbe:
  httpGet: { path: /startupz, port: admin }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- if not $sidecar }}
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 1
{{- end }}
resources:
  {{- include "klamm.resources" . | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
  seccompProfile: { type: RuntimeDefault }
volumeMounts:
  - { name: config, mountPath: /etc/klamm/config, readOnly: true }
  {{- if not $sidecar }}
  - { name: admin-key, mountPath: /etc/klamm/secrets/admin, readOnly: true }
  {{- else }}
  - { name: klamm-socket, mountPath: /run/klamm }
  {{- end }}
  {{- range $name, $_ := .Values.secrets }}
  - { name: secret-{{ $name }}, mountPath: /etc/klamm/secrets/{{ $name }}, readOnly: true }
  {{- end }}
  {{- if .Values.spool.enabled }}
  - { name: spool, mountPath: /var/lib/klamm }
  {{- end }}
{{- end -}}

{{- define "klamm.resources" -}}
{{- if .Values.resources }}{{ toYaml .Values.resources }}
{{- else if eq .Values.mode "sidecar" -}}
requests: { cpu: 20m, memory: 64Mi }
limits: { memory: 128Mi }
{{- else -}}
requests: { cpu: 500m, memory: 512Mi }
limits: { memory: 512Mi }
{{- end -}}
{{- end -}}

{{- define "klamm.volumes" -}}
- name: config
  configMap: { name: {{ include "klamm.name" . }} }
{{- if eq .Values.mode "tier" }}
- name: admin-key
  secret:
    secretName: {{ include "klamm.adminSecret" . }}
    items: [{ key: sha256, path: sha256 }]
{{- else }}
- name: klamm-socket
  emptyDir: {}
{{- end }}
{{- range $name, $secret := .Values.secrets }}
- name: secret-{{ $name }}
  secret: { secretName: {{ $secret }} }
{{- end }}
{{- if .Values.spool.enabled }}
{{- if .Values.spool.claim }}
- name: spool
  persistentVolumeClaim: { claimName: {{ .Values.spool.claim }} }
{{- else if .Values.spool.volume }}
- name: spool
  {{- toYaml .Values.spool.volume | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "klamm.podMetadata" -}}
labels:
  {{- include "klamm.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  {{- with .Values.pod.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  klamm/read-at-start: {{ include "klamm.notLive" . }}   # the config's other keys reload
  {{- with .Values.pod.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where it runs. */}}
{{- define "klamm.placement" -}}
automountServiceAccountToken: false
{{- with .Values.pod.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "klamm.spread" -}}
{{- $keys := dict "node" "kubernetes.io/hostname" "zone" "topology.kubernetes.io/zone" -}}
{{- if or .Values.spread.node .Values.spread.zone -}}
topologySpreadConstraints:
{{- range $what, $key := $keys }}
{{- with get $.Values.spread $what }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ . }}
    labelSelector:
      matchLabels:
        {{- include "klamm.selector" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
