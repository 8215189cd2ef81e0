import { stringify } from 'yaml';
import { packageVersion } from '../../base/paths.ts';
import { allCrds } from '../../model/crd/index.ts';
import { manifests } from '../manifests/index.ts';
import { OURS } from '../manifests/names.ts';
import { helmDocument } from './emit.ts';
import { HELPERS } from './flat.ts';
import { helmSchema } from './schema.ts';
import { helmValues } from './values-file.ts';

const GENERATED = '# Generated from src/install: npm run generate.\n';

/**
 * The Helm chart, by file. Of the same manifests that `fimbria install` applies; definitions are in `crds/`, which Helm
 * installs once and neither changes nor removes. Pure.
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
      crd =>
        [
          `crds/${crd.spec.names['plural']}.yaml`,
          GENERATED +
            stringify(
              { ...crd, metadata: { ...crd.metadata, labels: OURS } },
              { lineWidth: 110, aliasDuplicateObjects: false },
            ),
        ] as const,
    ),
  ]);
}
