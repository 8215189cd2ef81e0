{{/* Pools by name as the one text of the ConfigMap. */}}
{{- define "fimbria.pools" -}}
{{- if kindIs "string" . -}}
{{- . -}}
{{- else -}}
{{- $pools := list -}}
{{- range $name, $pool := . -}}
{{- $parts := list -}}
{{- range $family := list "ipv4" "ipv6" -}}
{{- with index $pool $family -}}
{{- $parts = append $parts (printf "%s-cidrs:%s" $family (join "," .cidrs)) -}}
{{- $parts = append $parts (printf "%s-mask-size:%d" $family (int .maskSize)) -}}
{{- end -}}
{{- end -}}
{{- $pools = append $pools (printf "%s=%s" $name (join ";" $parts)) -}}
{{- end -}}
{{- join " " $pools -}}
{{- end -}}
{{- end -}}

{{/* Numbers by name as one text. */}}
{{- define "fimbria.amounts" -}}
{{- if kindIs "string" . -}}
{{- splitList "," . | sortAlpha | join "," -}}
{{- else -}}
{{- $amounts := list -}}
{{- range $name, $amount := . -}}
{{- $amounts = append $amounts (printf "%s=%d" $name (int $amount)) -}}
{{- end -}}
{{- sortAlpha $amounts | join "," -}}
{{- end -}}
{{- end -}}
