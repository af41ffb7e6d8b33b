{{/* klamm's config: what a sidecar starts from, then the values, then what the chart itself decides. */}}

{{- define "klamm.config" -}}
{{- $base := dict -}}
{{- $listen := "0.0.0.0:8080" -}}
{{- $config := deepCopy .Values.config -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $listen = "unix:/run/klamm/klamm.sock" -}}
{{- /* The numbers of config/sidecar.yaml. */ -}}
{{- $base = dict
  "ingest" (dict "connections" 256 "socket" (dict "mode" "0660" "group" (toString .Values.sidecar.group)))
  "shutdown" (dict "lame_duck" "0s" "flush" "20s")
  "budget" (dict "total" "16MiB" "client" "100%" "topic" "100%")
  "caps" (dict "body" "1MiB" "inflated" "4MiB") -}}
{{- if not $config.clients -}}
{{- $free := dict "requests" "off" "events" "off" "bytes" "off" -}}
{{- $_ := set $config "clients" (dict "app" (dict "local" true "topics" (list "*") "limits" $free)) -}}
{{- end -}}
{{- if .Values.spool.enabled -}}
{{- $_ := set $base "spool" (dict "total" "1GiB" "client_share" "100%" "topic_share" "100%" "segment" "16MiB") -}}
{{- end -}}
{{- end -}}
{{- $own := dict
  "ingest" (dict "listen" $listen)
  "admin" (dict "listen" "0.0.0.0:8081")
  "kafka" (dict "default" (dict "bootstrap" .Values.kafka.bootstrap)) -}}
{{- if eq .Values.mode "tier" -}}
{{- $key := dict "label" "chart" "sha256_file" "/etc/klamm/secrets/admin/sha256" -}}
{{- $more := dig "admin" "keys" list $config -}}
{{- $_ := set $own.admin "keys" (prepend $more $key) -}}
{{- end -}}
{{- if .Values.spool.enabled -}}
{{- $_ := set $own "spool" (dict "dir" "/var/lib/klamm/spool") -}}
{{- end -}}
{{- mustMergeOverwrite $base $config $own | toYaml -}}
{{- end -}}

{{/* The config's values that klamm reads at its start alone, as a checksum: files/not-live.txt. */}}
{{- define "klamm.notLive" -}}
{{- $config := include "klamm.config" . | fromYaml -}}
{{- $found := dict -}}
{{- range $key := .Files.Lines "files/not-live.txt" -}}
{{- if $key -}}
{{- $section := get $config (splitList "." $key | first) | default dict -}}
{{- $value := $section -}}
{{- if contains "." $key }}{{ $value = get $section (splitList "." $key | last) }}{{ end -}}
{{- $_ := set $found $key $value -}}
{{- end -}}
{{- end -}}
{{- $found | toJson | sha256sum -}}
{{- end -}}

{{/* What klamm itself may take to stop, with a reserve. */}}
{{- define "klamm.stopSeconds" -}}
{{- $shutdown := (include "klamm.config" . | fromYaml).shutdown | default dict -}}
{{- $duck := include "klamm.seconds" (list "shutdown.lame_duck" ($shutdown.lame_duck | default "5s")) -}}
{{- $flush := include "klamm.seconds" (list "shutdown.flush" ($shutdown.flush | default "20s")) -}}
{{- add $duck $flush 10 -}}
{{- end -}}
