{{/* What cannot work, in plain words, before anything is rendered. */}}

{{- define "klamm.check" -}}
{{- $values := .Values -}}
{{- if not $values.image.repository }}{{ fail "klamm: image.repository is required: where your image of deploy/docker/Dockerfile is" }}{{ end -}}
{{- if not $values.kafka.bootstrap }}{{ fail "klamm: kafka.bootstrap is required, e.g. [kafka-1:9092, kafka-2:9092]" }}{{ end -}}
{{- range $path := list "ingest.listen" "admin.listen" "kafka.default.bootstrap" "spool.dir" -}}
{{- $at := $values.config -}}
{{- range $part := splitList "." $path }}{{ $at = get ($at | default dict) $part }}{{ end -}}
{{- if $at }}{{ fail (printf "klamm: config.%s is the chart's own: see kafka.bootstrap, spool.enabled and mode" $path) }}{{ end -}}
{{- end -}}
{{- if hasKey $values.secrets "admin" }}{{ fail "klamm: secrets.admin: the name is the chart's own; see admin.existingSecret" }}{{ end -}}
{{- include "klamm.checkMemory" . -}}
{{- if eq $values.mode "tier" }}{{ include "klamm.checkTier" . }}{{ else }}{{ include "klamm.checkSidecar" . }}{{ end -}}
{{- if $values.spool.enabled }}{{ include "klamm.checkSpool" . }}{{ end -}}
{{- end -}}

{{- define "klamm.checkMemory" -}}
{{- $limit := dig "limits" "memory" "" (include "klamm.resources" . | fromYaml) -}}
{{- $total := dig "budget" "total" "256MiB" (include "klamm.config" . | fromYaml) -}}
{{- if and $limit (le (include "klamm.bytes" (list "resources.limits.memory" $limit) | int64) (include "klamm.bytes" (list "config.budget.total" $total) | int64)) -}}
{{- fail (printf "klamm: resources.limits.memory: %s has to be more than config.budget.total, %s" (toString $limit) $total) -}}
{{- end -}}
{{- end -}}

{{- define "klamm.checkTier" -}}
{{- $values := .Values -}}
{{- if $values.spool.claim }}{{ fail "klamm: spool.claim: only for mode=sidecar; each replica of a tier gets a claim of its own" }}{{ end -}}
{{- if $values.hpa.enabled -}}
{{- if and $values.spool.enabled (not $values.spool.allowScaleDown) -}}
{{- fail "klamm: hpa and spool together: a replica that is taken away leaves its backlog in its claim until somebody drains it. Set spool.allowScaleDown=true if that is what you want" -}}
{{- end -}}
{{- if lt (int $values.hpa.max) (int $values.hpa.min) }}{{ fail "klamm: hpa.max is less than hpa.min" }}{{ end -}}
{{- if and (not $values.hpa.metric) $values.resources (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- fail "klamm: hpa on CPU needs resources.requests.cpu" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "klamm.checkSidecar" -}}
{{- $values := .Values -}}
{{- if not $values.sidecar.containers }}{{ fail "klamm: sidecar.containers is required: the program beside which klamm runs" }}{{ end -}}
{{- range $what := list "hpa" "networkPolicy" "serviceMonitor" -}}
{{- if (get $values $what).enabled }}{{ fail (printf "klamm: %s is for mode=tier: a sidecar is part of its program's pod" $what) }}{{ end -}}
{{- end -}}
{{- if and $values.spool.enabled (not $values.spool.claim) -}}
{{- fail "klamm: a sidecar's spool needs a persistent volume: name its claim in spool.claim" -}}
{{- end -}}
{{- if and $values.spool.claim (gt (int $values.sidecar.replicas) 1) -}}
{{- fail "klamm: spool.claim belongs to one klamm: sidecar.replicas has to be 1" -}}
{{- end -}}
{{- end -}}

{{- define "klamm.checkSpool" -}}
{{- $spool := .Values.spool -}}
{{- range $kind := list "emptyDir" "ephemeral" -}}
{{- if hasKey $spool.volume $kind -}}
{{- fail (printf "klamm: spool.volume: an %s goes with its pod, and acknowledged events with it; use a claim" $kind) -}}
{{- end -}}
{{- end -}}
{{- if not (or $spool.volume $spool.claim) -}}
{{- $total := (include "klamm.config" . | fromYaml).spool.total | default "10GiB" -}}
{{- if ge (include "klamm.bytes" (list "config.spool.total" $total) | int64) (include "klamm.bytes" (list "spool.size" $spool.size) | int64) -}}
{{- fail (printf "klamm: spool.size: %s has to be more than config.spool.total, %s" $spool.size $total) -}}
{{- end -}}
{{- end -}}
{{- end -}}
