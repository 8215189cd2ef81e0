import { randomBytes } from 'node:crypto';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { Event, KubeObject } from '../model/types.ts';
import { timestamp } from './pod-status.ts';

/** What happened to an object. */
export interface Happening {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
  /** Happenings with the same key are one Event that counts; the message when absent. */
  key?: string;
}

const MOST_REMEMBERED = 4096;
/** Events that wait for the API server; what comes beyond is given up. */
const MOST_WAITING = 1024;

/** Writes Events, as kubelets and schedulers do. Never throws and never makes its caller wait: Events are best effort. */
export class EventRecorder {
  readonly #client: ClusterClient;
  readonly #component: string;
  readonly #host: string | undefined;
  readonly #log: Logger;
  readonly #written = new Map<string, { name: string; count: number }>();
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #givenUp = 0;

  constructor(client: ClusterClient, component: string, log: Logger, host?: string) {
    this.#client = client;
    this.#component = component;
    this.#host = host;
    this.#log = log;
  }

  record(about: KubeObject, happening: Happening): void {
    if (this.#waiting === MOST_WAITING) {
      this.#givenUp++;
      return;
    }
    this.#waiting++;
    this.#queue = this.#queue.then(async () => {
      await this.#write(about, happening).catch(error =>
        this.#log.debug('writing an event failed', { error: messageOf(error) }),
      );
      this.#waiting--;
      if (this.#givenUp === 0 || this.#waiting > 0) return;
      this.#log.warn('gave up events: the API server was too slow for them', { count: this.#givenUp });
      this.#givenUp = 0;
    });
  }

  async #write(about: KubeObject, happening: Happening): Promise<void> {
    const { name, namespace = 'default', uid } = about.metadata;
    const key = [uid, happening.reason, happening.key ?? happening.message].join('\0');
    const now = timestamp(Date.now());
    const before = this.#written.get(key);
    if (before) {
      before.count += 1;
      const patch = { count: before.count, lastTimestamp: now, message: happening.message };
      try {
        await this.#client.patch('Event', before.name, patch, { namespace });
        return;
      } catch {
        this.#written.delete(key);
      }
    }
    const eventName = `${name}.${randomBytes(8).toString('hex')}`;
    await this.#client.create<Event>({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: eventName, namespace },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name,
        ...(about.metadata.namespace === undefined ? {} : { namespace: about.metadata.namespace }),
        ...(uid === undefined ? {} : { uid }),
      },
      type: happening.type,
      reason: happening.reason,
      message: happening.message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component: this.#component, ...(this.#host === undefined ? {} : { host: this.#host }) },
      reportingComponent: this.#component,
      reportingInstance: this.#host ?? '',
    });
    const [oldest] = this.#written.keys();
    if (this.#written.size >= MOST_REMEMBERED && oldest !== undefined) this.#written.delete(oldest);
    this.#written.set(key, { name: eventName, count: 1 });
  }

  /** Resolves when everything recorded so far is written or given up. */
  flush(): Promise<void> {
    return this.#queue;
  }
}
