{{/* klamm's units and Kubernetes' as plain numbers. */}}

{{/* `5s` as whole seconds, rounded up: `(list "shutdown.flush" "20s")` */}}
{{- define "klamm.seconds" -}}
{{- $text := index . 1 | toString -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- $unit := regexReplaceAll "^[0-9]+ *" $text "" -}}
{{- if not (and (regexMatch "^[0-9]+ *[a-z]+$" $text) (hasKey $units $unit)) -}}
{{- fail (printf "klamm: config.%s: %q is no time such as 500ms, 5s or 2m" (index . 0) $text) -}}
{{- end -}}
{{- div (add (mul (regexFind "^[0-9]+" $text | int64) (get $units $unit)) 999) 1000 -}}
{{- end -}}

{{/* `10GiB` or `20Gi` as bytes: `(list "spool.size" "20Gi")` */}}
{{- define "klamm.bytes" -}}
{{- $text := index . 1 | toString -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "K" 1000 -}}
{{- $unit := regexReplaceAll "^[0-9]+ *" $text "" | trimSuffix "B" -}}
{{- if not (and (regexMatch "^[0-9]+" $text) (hasKey $units $unit)) -}}
{{- fail (printf "klamm: %s: %q is no whole number of bytes such as 10GiB or 20Gi" (index . 0) $text) -}}
{{- end -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units $unit) -}}
{{- end -}}
