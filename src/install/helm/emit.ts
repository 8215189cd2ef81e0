import { deploymentByPath } from '../../config/deployment.ts';
import {
  Builtin,
  type Condition,
  Items,
  isArray,
  Json,
  type Template,
  Text,
  Value,
  When,
} from '../template.ts';
import { flatLines } from './flat.ts';

const pad = (indent: number): string => ' '.repeat(indent);
const at = (path: string): string => `.Values.${path}`;

/** A document as a Helm template, with its line that begins it. */
export function helmDocument(template: Template): string {
  if (template instanceof When) {
    return `{{- if ${go(template.condition)} }}\n${helmDocument(template.yes)}{{- end }}\n`;
  }
  return `---\n${lines(template, 0).join('\n')}\n`;
}

/** A condition as a Go template's expression. Pure. */
export function go(condition: Condition): string {
  if (typeof condition === 'string') return at(condition);
  if ('not' in condition) return `(not ${go(condition.not)})`;
  if ('any' in condition) return `(or ${condition.any.map(go).join(' ')})`;
  return `(semverCompare ">=${condition.kubernetes}-0" .Capabilities.KubeVersion.Version)`;
}

/** The lines of a block: an object's entries or a list's items. */
function lines(template: Template, indent: number): string[] {
  if (template instanceof Builtin && template.name === 'flat') return flatLines(indent);
  if (isArray(template)) return template.flatMap(item => itemLines(item, indent));
  return Object.entries(template as { [key: string]: Template }).flatMap(([key, below]) =>
    entryLines(key, below, indent),
  );
}

function itemLines(item: Template, indent: number): string[] {
  if (item instanceof Items) return spread(item, indent);
  if (item instanceof When) return conditional(item, one => itemLines(one, indent));
  const scalar = inline(item);
  if (scalar !== undefined) return [`${pad(indent)}- ${scalar}`];
  const [first = '', ...rest] = lines(item, indent + 2);
  return [`${pad(indent)}- ${first.trimStart()}`, ...rest];
}

function entryLines(key: string, below: Template, indent: number): string[] {
  if (below instanceof Items) return spread(below, indent);
  if (below instanceof When) return conditional(below, one => entryLines(key, one, indent));
  const scalar = inline(below);
  const name = `${pad(indent)}${keyText(key)}:`;
  if (scalar !== undefined) return [`${name} ${scalar}`];
  if (below instanceof Value)
    return [name, `${pad(indent + 2)}{{- toYaml ${at(below.path)} | nindent ${indent + 2} }}`];
  return [name, ...lines(below, isArray(below) ? indent : indent + 2)];
}

function conditional(when: When, emit: (template: Template) => string[]): string[] {
  const no = when.no === undefined ? [] : ['{{- else }}', ...emit(when.no)];
  return [`{{- if ${go(when.condition)} }}`, ...emit(when.yes), ...no, '{{- end }}'];
}

function spread({ path }: Items, indent: number): string[] {
  return [`{{- with ${at(path)} }}`, `{{- toYaml . | nindent ${indent} }}`, '{{- end }}'];
}

/** What stands on the line of its key; undefined for a block. */
function inline(template: Template): string | undefined {
  if (template instanceof Text) return `"${template.parts.map(partText).join('')}"`;
  if (template instanceof Json) return `{{ ${at(template.path)} | toJson | quote }}`;
  if (template instanceof Builtin)
    return template.name === 'flat' ? undefined : `{{ ${builtin(template)} | quote }}`;
  if (template instanceof Value) {
    const kind = deploymentByPath.get(template.path)?.kind;
    if (kind === 'integer') return `{{ ${at(template.path)} | int }}`;
    if (kind === 'boolean') return `{{ ${at(template.path)} }}`;
    return kind === 'text' ? `{{ ${at(template.path)} | quote }}` : undefined;
  }
  if (isArray(template)) return template.length === 0 ? '[]' : undefined;
  if (typeof template !== 'object')
    return typeof template === 'string' ? scalarText(template) : String(template);
  return Object.keys(template).length === 0 ? '{}' : undefined;
}

function partText(part: Text['parts'][number]): string {
  if (typeof part === 'string') return part;
  if (part instanceof Builtin) return `{{ ${builtin(part)} }}`;
  if (part instanceof Value) {
    const isNumber = deploymentByPath.get(part.path)?.kind === 'integer';
    return `{{ ${at(part.path)}${isNumber ? ' | int' : ''} }}`;
  }
  const branch = (template: Template): string =>
    template instanceof Text
      ? template.parts.map(partText).join('')
      : partText(template as Value | Builtin | string);
  const no = part.no === undefined ? '' : `{{ else }}${branch(part.no)}`;
  return `{{ if ${go(part.condition)} }}${branch(part.yes)}${no}{{ end }}`;
}

function builtin({ name }: Builtin): string {
  switch (name) {
    case 'namespace':
      return '.Release.Namespace';
    case 'managedBy':
      return '.Release.Service';
    case 'version':
      return '.Chart.AppVersion';
    case 'configChecksum':
      return 'include (print .Template.BasePath "/cilium-configmap.yaml") . | sha256sum';
    case 'flat':
      throw new TypeError('the configuration is no text');
  }
}

/** Quoted only where YAML would take it for something else. */
function scalarText(text: string): string {
  const plain = /^[A-Za-z/][\w./-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text);
  return plain ? text : JSON.stringify(text);
}

function keyText(key: string): string {
  return /^[A-Za-z0-9][\w./-]*$/.test(key) ? key : JSON.stringify(key);
}
