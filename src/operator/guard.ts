import { FimbriaError } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/types.ts';

/**
 * A client whose writes are refused (NOT_LEADING) before they begin once `mayWrite` says no. The one place that keeps an
 * operator that has lost its lease from writing, whatever its parts are in the middle of. Reads and watches go on.
 */
export function writesWhile(client: ClusterClient, mayWrite: () => boolean): ClusterClient {
  const guarded =
    <A extends unknown[], R>(op: string, write: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (mayWrite()) return write(...args);
      throw new FimbriaError({
        code: 'NOT_LEADING',
        op,
        object: 'object of the cluster',
        why: 'this operator may have lost its lease, and another may act',
      });
    };
  return {
    config: client.config,
    get: (...args) => client.get(...args),
    list: (...args) => client.list(...args),
    rawGet: path => client.rawGet(path),
    serverVersion: () => client.serverVersion(),
    calls: () => client.calls(),
    informer: (...args) => client.informer(...args),
    close: () => client.close(),
    create: guarded('create', client.create.bind(client)) as ClusterClient['create'],
    update: guarded('update', client.update.bind(client)) as ClusterClient['update'],
    patch: guarded('patch', client.patch.bind(client)) as ClusterClient['patch'],
    delete: guarded('delete', client.delete.bind(client)),
    createSubresource: guarded('create', client.createSubresource.bind(client)),
    raw: guarded('write', (...args: Parameters<ClusterClient['raw']>) =>
      client.raw(...args),
    ) as ClusterClient['raw'],
  };
}
