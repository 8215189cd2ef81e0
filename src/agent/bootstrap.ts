import { Backoff } from '../base/backoff.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import type { Journal } from '../base/journal.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { Node } from '../model/types.ts';

/** What a node must know of itself before its datapath can stand. */
export interface NodeIdentity {
  name: string;
  ipv4: string;
}

const JOURNAL = 'node';
const POLL = { baseMs: 20, maxMs: 1_000 };

/**
 * Finds out who this node is: from the journal when an agent ran here before (so that a restart needs no API
 * server), else from the cluster, waiting for as long as it takes and saying what for.
 * @throws FimbriaError ABORTED when `signal` ends the wait
 */
export async function learnNode(
  client: ClusterClient,
  o: { nodeName: string; nodeIp?: string; journal: Journal; log: Logger; signal: AbortSignal },
): Promise<NodeIdentity> {
  const known = o.journal.get<NodeIdentity>(JOURNAL);
  if (known && known.name === o.nodeName && (o.nodeIp === undefined || o.nodeIp === known.ipv4)) return known;
  const ipv4 =
    o.nodeIp ??
    (await until(o, `the InternalIP of node ${o.nodeName}`, () => internalIp(client, o.nodeName)));
  const node = { name: o.nodeName, ipv4 };
  o.journal.put(JOURNAL, node);
  return node;
}

async function internalIp(client: ClusterClient, name: string): Promise<string | undefined> {
  try {
    const node = await client.get<Node>('Node', name);
    return node.status?.addresses?.find(a => a.type === 'InternalIP' && !a.address.includes(':'))?.address;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** Asks again with back-off until there is an answer; failures of the API server are waited out. */
export async function until<T>(
  o: { log: Logger; signal: AbortSignal },
  what: string,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const backoff = new Backoff(POLL);
  let said = '';
  for (;;) {
    let why = '';
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      why = messageOf(error);
    }
    const saying = `waiting for ${what}${why ? `: ${why}` : ''}`;
    if (saying !== said) o.log.info(saying);
    said = saying;
    await pause(backoff.next(), o.signal, what);
  }
}

function pause(delayMs: number, signal: AbortSignal, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(
        new FimbriaError({ code: 'ABORTED', op: 'wait', object: what, why: 'the agent was told to stop' }),
      );
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, delayMs);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
