import { randomBytes } from 'node:crypto';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient } from '../../cluster/types.ts';
import type { PodRef } from '../../endpoint/deps.ts';
import type { Event } from '../../model/types.ts';

const MOST_REMEMBERED = 1024;

/** Tells people on the Pod itself why it has no address, once for each reason. Never throws; nobody waits for it. */
export class PodEvents {
  readonly #client: Pick<ClusterClient, 'create'>;
  readonly #nodeName: string;
  readonly #log: Logger;
  readonly #told = new Set<string>();

  constructor(client: Pick<ClusterClient, 'create'>, nodeName: string, log: Logger) {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#log = log;
  }

  warn(pod: PodRef, reason: string, message: string): void {
    const key = [pod.uid ?? `${pod.namespace}/${pod.name}`, reason, message].join('\0');
    if (this.#told.has(key)) return;
    const [oldest] = this.#told;
    if (this.#told.size >= MOST_REMEMBERED && oldest !== undefined) this.#told.delete(oldest);
    this.#told.add(key);
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    this.#client
      .create<Event>({
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: `${pod.name}.${randomBytes(8).toString('hex')}`, namespace: pod.namespace },
        involvedObject: {
          apiVersion: 'v1',
          kind: 'Pod',
          name: pod.name,
          namespace: pod.namespace,
          ...(pod.uid === undefined ? {} : { uid: pod.uid }),
        },
        type: 'Warning',
        reason,
        message,
        count: 1,
        firstTimestamp: now,
        lastTimestamp: now,
        source: { component: 'fimbria-agent', host: this.#nodeName },
        reportingComponent: 'fimbria-agent',
        reportingInstance: this.#nodeName,
      })
      .catch(error => {
        this.#told.delete(key);
        this.#log.debug('could not write an event', {
          pod: `${pod.namespace}/${pod.name}`,
          error: messageOf(error),
        });
      });
  }
}
