import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CniReply, CniRequest } from '../api/types.ts';
import type { Logger } from '../base/log.ts';

/** Whether a DEL waits in the queue. */
export function hasQueuedDeletes(directory: string): boolean {
  return existsSync(directory) && readdirSync(directory).some(isRequest);
}

/**
 * Carries out the DELs that the plugin queued while no agent answered (`native/cni/queue.c` writes one JSON file
 * each: command, env, stdin). A file goes when its DEL was done; a damaged one goes with a warning, since it can
 * never be done. Repeatable.
 */
export async function replayDeleteQueue(
  directory: string,
  handle: (request: CniRequest) => Promise<CniReply>,
  log: Logger,
): Promise<number> {
  if (!existsSync(directory)) return 0;
  let done = 0;
  for (const name of readdirSync(directory)) {
    if (!isRequest(name)) continue;
    const path = join(directory, name);
    const request = parse(path);
    if (!request) log.warn('dropped a damaged file of the delete queue', { path });
    else {
      const reply = await handle(request);
      if (reply.status >= 500) {
        log.warn('queued DEL failed, will be tried again', { path, error: JSON.stringify(reply.body) });
        continue;
      }
      done++;
    }
    rmSync(path, { force: true });
  }
  if (done > 0) log.info('carried out queued DELs', { count: done });
  return done;
}

/** Names that begin with a dot are files being written. */
function isRequest(name: string): boolean {
  return name.endsWith('.json') && !name.startsWith('.');
}

function parse(path: string): CniRequest | undefined {
  try {
    const { command, env, stdin } = JSON.parse(readFileSync(path, 'utf8')) as Partial<CniRequest>;
    if (command !== 'DEL' || typeof env !== 'object' || typeof stdin !== 'string') return undefined;
    return { command, env, stdin };
  } catch {
    return undefined;
  }
}
