import { randomUUID } from 'node:crypto';
import { timestamp } from '../base/time.ts';
import { allCrds, type CustomResourceDefinition } from '../model/crd/index.ts';
import { findKind } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';
import { jsonEqual } from './patch/json.ts';
import type { Store } from './store.ts';

const DEFINITION = findKind('CustomResourceDefinition')!;

/**
 * Keeps an object for each CustomResourceDefinition that this server enforces: clients may read them, as of any server,
 * and they follow the release.
 */
export function publishDefinitions(store: Store): void {
  const wanted = new Map(allCrds().map(crd => [crd.metadata.name, crd]));
  for (const crd of wanted.values()) publish(store, crd);
  for (const { metadata } of store.list(DEFINITION)) {
    if (!wanted.has(metadata.name)) store.remove(DEFINITION, '', metadata.name);
  }
}

function publish(
  store: Store,
  { metadata: { name }, spec: published, ...type }: CustomResourceDefinition,
): void {
  const old = store.get(DEFINITION, '', name);
  const spec = { ...published, conversion: { strategy: 'None' } };
  if (old && jsonEqual(old['spec'], spec)) return;
  const now = timestamp(new Date());
  const metadata = old
    ? { ...old.metadata, generation: (old.metadata.generation ?? 0) + 1 }
    : { name, uid: randomUUID(), creationTimestamp: now, generation: 1 };
  const condition = (kind: string, reason: string, message: string): object => {
    return { type: kind, status: 'True', lastTransitionTime: now, reason, message };
  };
  const status = {
    acceptedNames: spec.names,
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
    storedVersions: spec.versions.filter(({ storage }) => storage === true).map(version => version['name']),
  };
  store.put(DEFINITION, { ...type, metadata, spec, status } as AnyObject);
}
