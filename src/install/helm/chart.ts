import { stringify } from 'yaml';
import { packageVersion } from '../../base/paths.ts';
import { allCrds, type CustomResourceDefinition } from '../../model/crd/index.ts';
import { manifests } from '../manifests/index.ts';
import { RULES_SINCE, withoutRules } from '../render.ts';
import { helmDocument } from './emit.ts';
import { HELPERS } from './flat.ts';
import { helmSchema } from './schema.ts';
import { helmValues } from './values-file.ts';

const GENERATED = '# Generated from src/install: npm run generate.\n';

/**
 * The Helm chart, by file. Of the same manifests that `fimbria install` applies. Definitions are templates, so that an
 * upgrade changes them and an older API server gets them without rules; Helm keeps them when it uninstalls. Pure.
 */
export function chartFiles(): Map<string, string> {
  const version = packageVersion();
  const chart = {
    apiVersion: 'v2',
    name: 'cilium',
    description: 'Fimbria: a pod network for Linux nodes that speaks Cilium’s names',
    type: 'application',
    version,
    appVersion: version,
    kubeVersion: '>= 1.20.0-0',
  };
  return new Map([
    ['Chart.yaml', GENERATED + stringify(chart)],
    ['values.yaml', helmValues()],
    ['values.schema.json', `${JSON.stringify(helmSchema(), null, 2)}\n`],
    ['templates/_helpers.tpl', HELPERS],
    ...Object.entries(manifests).map(
      ([name, templates]) =>
        [`templates/${name}.yaml`, GENERATED + templates.map(helmDocument).join('')] as const,
    ),
    ...allCrds().map(
      crd => [`templates/crds/${crd.spec.names['plural']}.yaml`, GENERATED + definition(crd)] as const,
    ),
  ]);
}

/** Helm's own part of a definition's metadata stands for that of `fimbria install`. */
function definition(crd: CustomResourceDefinition): string {
  const document = (one: CustomResourceDefinition): string => {
    const text = stringify(one, { lineWidth: 110, aliasDuplicateObjects: false });
    const name = `  name: ${crd.metadata.name}\n`;
    if (!text.includes(name) || text.includes('{{'))
      throw new TypeError(`${crd.metadata.name} cannot be a template`);
    return text.replace(name, `${name}${METADATA}`);
  };
  const rules = `semverCompare ">=${RULES_SINCE}-0" .Capabilities.KubeVersion.Version`;
  return `---\n{{- if ${rules} }}\n${document(crd)}{{- else }}\n${document(withoutRules(crd))}{{- end }}\n`;
}

const METADATA = `  labels:
    app.kubernetes.io/part-of: cilium
    app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
  annotations:
    helm.sh/resource-policy: keep
`;
