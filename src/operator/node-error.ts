import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { EventRecorder } from '../cluster/index.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { CiliumNode } from '../model/types.ts';

/** What writing to a node's status needs. */
export interface NodeErrorOptions {
  client: Pick<ClusterClient, 'patch'>;
  /** Told of errors, for those who look at the events of a node. */
  events?: Pick<EventRecorder, 'record'>;
  log: Logger;
  /** Aborted when this process may no longer write. */
  signal: AbortSignal;
}

/**
 * Makes `status.ipam.operator-status` of a CiliumNode say this error, or none, unless it does.
 * @param shown the error that it is known to say, empty for none
 * @returns whether it was written; a node that is gone has no errors
 * @throws FimbriaError of the API server
 */
export async function writeNodeError(
  { client, events, log, signal }: NodeErrorOptions,
  node: CiliumNode,
  shown: string,
  error: string | undefined,
): Promise<boolean> {
  const { name } = node.metadata;
  if (signal.aborted || shown === (error ?? '')) return false;
  try {
    await client.patch(
      'CiliumNode',
      name,
      { status: { ipam: { 'operator-status': error === undefined ? null : { error } } } },
      { subresource: 'status' },
    );
  } catch (failure) {
    if (codeOf(failure) === 'NOT_FOUND') return false;
    log.warn('could not write the status of a node', { node: name, error: messageOf(failure) });
    throw failure;
  }
  if (error === undefined) log.info('node has no error any more', { node: name });
  else {
    log.warn(error, { node: name });
    events?.record(node, { type: 'Warning', reason: 'IPAMFailed', message: error });
  }
  return true;
}

/** The error that an object shows, empty for none. Pure. */
export function shownError(node: CiliumNode): string {
  return node.status?.ipam?.['operator-status']?.error ?? '';
}
