import { createHash } from 'node:crypto';
import { packageVersion } from '../base/paths.ts';
import { deploymentValues, type Values, valuesToFlat } from '../config/index.ts';
import { allCrds } from '../model/crd/index.ts';
import type { KubeObject } from '../model/meta.ts';
import { manifests } from './manifests/index.ts';
import { MANAGER, OURS } from './manifests/names.ts';
import { fill, isAtLeast, type Surroundings } from './template.ts';

/** Where and for what Kubernetes manifests are rendered. */
export interface RenderOptions {
  namespace: string;
  /** The API server's version, `1.32`; a current one when undefined. */
  kubernetes?: string | undefined;
}

/** What `manifests` prints and `install` applies. */
export interface Rendered {
  crds: KubeObject[];
  objects: KubeObject[];
  flat: Readonly<Record<string, string>>;
  warnings: string[];
}

const CURRENT = '1.36';
/** The first Kubernetes that knows the rules of our definitions: CEL with its library of addresses. */
export const RULES_SINCE = '1.31';

/** Renders an installation. Pure. @throws FimbriaError BAD_VALUES with the path of what is wrong */
export function render(values: Values, options: RenderOptions): Rendered {
  const { flat, warnings } = valuesToFlat(values, { deployed: true });
  const kubernetes = options.kubernetes ?? CURRENT;
  const around: Surroundings = {
    values: deploymentValues(values),
    namespace: options.namespace,
    version: packageVersion(),
    managedBy: MANAGER,
    kubernetes,
    configChecksum: checksumOf(flat),
    flat,
  };
  const objects = Object.values(manifests)
    .flat()
    .map(template => fill(template, around) as KubeObject | undefined)
    .filter(object => object !== undefined);
  const definitions = isAtLeast(kubernetes, RULES_SINCE) ? allCrds() : allCrds().map(withoutRules);
  const crds = definitions.map(crd => ({ ...crd, metadata: { ...crd.metadata, labels: { ...OURS } } }));
  return { crds, objects, flat, warnings };
}

function checksumOf(flat: Readonly<Record<string, string>>): string {
  const entries = Object.entries(flat).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(entries)).digest('hex');
}

/** A definition without what an older API server does not know and kubectl would refuse; agents check the same by themselves. */
export function withoutRules<T>(part: T): T {
  if (Array.isArray(part)) return part.map(withoutRules) as T;
  if (typeof part !== 'object' || part === null) return part;
  return Object.fromEntries(
    Object.entries(part)
      .filter(([key]) => key !== 'x-kubernetes-validations')
      .map(([key, below]) => [key, withoutRules(below)]),
  ) as T;
}
