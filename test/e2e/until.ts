import type { ClusterClient } from '../../src/cluster/index.ts';
import type { KubeObject } from '../../src/model/types.ts';

/** Resolves when the objects of a kind are as wanted; each change is looked at once. */
export async function untilObjects<T extends KubeObject>(
  client: ClusterClient,
  kind: string,
  wanted: (objects: T[]) => boolean,
): Promise<T[]> {
  const informer = client.informer<T>(kind);
  await informer.synced;
  return new Promise(resolve => {
    const look = (): void => {
      if (!wanted(informer.list())) return;
      resolve(informer.list());
      // Not from within a handler of it.
      setImmediate(() => informer.close());
    };
    informer.on({ added: look, updated: look, deleted: look });
    look();
  });
}
