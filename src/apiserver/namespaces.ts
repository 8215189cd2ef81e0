import type { Logger } from '../base/log.ts';
import { findKind, KINDS } from '../model/kinds.ts';
import type { Registry } from './registry.ts';
import type { Store } from './store.ts';

const NAMESPACE = findKind('Namespace')!;
const NAMESPACED = KINDS.filter(kind => kind.namespaced);
const INITIAL = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

/** Creates the namespaces that every cluster has, where they are missing. */
export function createInitialNamespaces(store: Store, registry: Registry): void {
  for (const name of INITIAL) {
    if (store.get(NAMESPACE, '', name)) continue;
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
    registry.create(NAMESPACE, '', body, {
      version: 'v1',
      dryRun: false,
      fieldValidation: 'Ignore',
      warn: () => {},
    });
  }
}

/**
 * Empties namespaces that are being deleted and removes them when nothing is left. Goes on where a former server stopped.
 * @returns how to stop it
 */
export function runNamespaceLifecycle(store: Store, registry: Registry, log: Logger): () => void {
  const scheduled = new Set<string>();
  let stopped = false;
  // Not within the change that called for it: deletions come in crowds, and one look at the end is enough.
  const schedule = (namespace: string): void => {
    if (scheduled.has(namespace)) return;
    scheduled.add(namespace);
    setImmediate(() => {
      scheduled.delete(namespace);
      if (stopped) return;
      try {
        sweep(store, registry, namespace);
      } catch (error) {
        log.error('cannot empty namespace', { namespace, error });
      }
    });
  };
  const stop = store.listen(({ kind, before, after }) => {
    if (kind === NAMESPACE && after?.metadata.deletionTimestamp) schedule(after.metadata.name);
    if (kind.namespaced && after === undefined) schedule(before?.metadata.namespace ?? '');
  });
  for (const { metadata } of store.list(NAMESPACE)) if (metadata.deletionTimestamp) schedule(metadata.name);
  return () => {
    stopped = true;
    stop();
  };
}

function sweep(store: Store, registry: Registry, namespace: string): void {
  if (!store.get(NAMESPACE, '', namespace)?.metadata.deletionTimestamp) return;
  let left = 0;
  for (const kind of NAMESPACED) {
    for (const { metadata } of store.list(kind)) {
      if (metadata.namespace !== namespace) continue;
      const going = metadata.deletionTimestamp !== undefined;
      if (going || !registry.delete({ kind, namespace, name: metadata.name }, {}, false).gone) left++;
    }
  }
  if (left === 0) store.remove(NAMESPACE, '', namespace);
}
