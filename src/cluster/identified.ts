import type { KubeObject } from '../model/types.ts';

/** What is kept of objects that only have to exist, and of every other at least: which it is. */
export function identified<T extends KubeObject>({ apiVersion, kind, metadata }: T): T {
  const { name, namespace, uid } = metadata;
  return {
    apiVersion,
    kind,
    metadata: { name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) },
  } as T;
}
