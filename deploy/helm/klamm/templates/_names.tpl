{{/* Names, labels, the image. The label app.kubernetes.io/name is always `klamm`: Prometheus takes it for the job. */}}

{{- define "klamm.name" -}}
{{- if contains "klamm" .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}{{ printf "%s-klamm" (.Release.Name | trunc 39 | trimSuffix "-") }}{{ end -}}
{{- end -}}

{{- define "klamm.selector" -}}
app.kubernetes.io/name: klamm
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.mode }}
{{- end -}}

{{- define "klamm.labels" -}}
{{ include "klamm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* name (and namespace) of an object: `(list $ "suffix")` */}}
{{- define "klamm.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "klamm.name" $root }}{{ with index . 1 }}-{{ . }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "klamm.labels" $root | nindent 2 }}
{{- end -}}

{{- define "klamm.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "klamm.adminSecret" -}}
{{- .Values.admin.existingSecret | default (printf "%s-admin" (include "klamm.name" .)) -}}
{{- end -}}
