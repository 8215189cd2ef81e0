import { withoutMeaning } from '../../config/flat.ts';
import { flatText } from '../../config/read.ts';
import { type Setting, settings } from '../../config/settings.ts';

/** Keys of the ConfigMap as Helm makes them from values: the counterpart of `valuesToFlat`, by the same table. Pure. */
export function flatLines(indent: number): string[] {
  return settings.flatMap(row => (row.flat === undefined ? [] : keyLines(row, row.flat, indent)));
}

function keyLines(row: Setting, key: string, indent: number): string[] {
  const name = `${' '.repeat(indent)}${key}:`;
  const value = `.Values.${row.path}`;
  if (row.path === 'prometheus.serveAddr') {
    return [
      `{{- if ${value} }}`,
      `${name} {{ ${value} | quote }}`,
      '{{- else if .Values.prometheus.enabled }}',
      `${name} {{ printf ":%d" (int .Values.prometheus.port) | quote }}`,
      '{{- end }}',
    ];
  }
  // What cannot be changed yet is refused by the schema, so that only its default is left.
  if (row.status === 'not-yet') {
    return row.default === undefined ? [] : [`${name} ${JSON.stringify(flatText(row.default))}`];
  }
  const line = `${name} {{ ${expression(row, value)} | quote }}`;
  // A key without a default, or an empty list, is not there. The off value of such a switch is a value.
  const isOptional = row.default === undefined || row.type.kind === 'texts';
  const set = row.type.kind === 'boolean' ? `(not (kindIs "invalid" ${value}))` : value;
  const inner = isOptional ? [`{{- if ${set} }}`, line, '{{- end }}'] : [line];
  const mode = modeOf(key);
  return mode === undefined ? inner : [`{{- if ${mode} }}`, ...inner, '{{- end }}'];
}

function expression(row: Setting, value: string): string {
  switch (row.type.kind) {
    case 'integer':
      return `${value} | int`;
    case 'ipv4Ranges':
    case 'texts':
      return `${value} | join " "`;
    case 'pools':
      return `include "fimbria.pools" ${value}`;
    case 'amounts':
      return `include "fimbria.amounts" ${value}`;
    default:
      return value;
  }
}

/** When a key means something, for keys that mean nothing in some IPAM mode. */
function modeOf(key: string): string | undefined {
  if (withoutMeaning('multi-pool').includes(key)) return 'ne .Values.ipam.mode "multi-pool"';
  return withoutMeaning('cluster-pool').includes(key) ? 'eq .Values.ipam.mode "multi-pool"' : undefined;
}

/** Named templates: texts of tables, as `valuesToFlat` writes them. */
export const HELPERS = `{{/* Pools by name as the one text of the ConfigMap. */}}
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
`;
