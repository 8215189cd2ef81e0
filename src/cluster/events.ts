import { randomBytes } from 'node:crypto';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { Event } from '../model/types.ts';
import { EventLimits } from './event-limits.ts';
import type { ClusterClient } from './types.ts';

/** What an Event is about. */
export interface EventSubject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; uid?: string };
}

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

/**
 * Writes Events, as kubelets and schedulers do: what repeats is counted, what comes too often is left out, by client-go's
 * limits. Never throws and never makes its caller wait: Events are best effort.
 */
export class EventRecorder {
  readonly #client: Pick<ClusterClient, 'create' | 'patch'>;
  readonly #limits = new EventLimits();
  readonly #nowMs: () => number;
  readonly #component: string;
  readonly #host: string | undefined;
  readonly #log: Logger;
  readonly #written = new Map<string, { name: string; count: number }>();
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #givenUp = 0;

  /** @param nowMs a monotonic clock, for tests */
  constructor(
    client: Pick<ClusterClient, 'create' | 'patch'>,
    component: string,
    log: Logger,
    host?: string,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#client = client;
    this.#nowMs = nowMs;
    this.#component = component;
    this.#host = host;
    this.#log = log;
  }

  record(about: EventSubject, happening: Happening): void {
    const { name, namespace, uid } = about.metadata;
    const { type, reason, message } = happening;
    const object = [about.kind, uid ?? `${namespace ?? ''}/${name}`].join('\0');
    const admitted = this.#limits.admit(
      { object, type, reason, detail: happening.key ?? message },
      this.#nowMs(),
    );
    if (admitted === undefined) return;
    const text = admitted.combined ? `(combined from similar events): ${message}` : message;
    if (this.#waiting === MOST_WAITING) {
      this.#givenUp++;
      return;
    }
    this.#waiting++;
    this.#queue = this.#queue.then(async () => {
      await this.#write(about, admitted.key, { ...happening, message: text }).catch(error =>
        this.#log.debug('writing an event failed', { error: messageOf(error) }),
      );
      this.#waiting--;
      if (this.#givenUp === 0 || this.#waiting > 0) return;
      this.#log.warn('gave up events: the API server was too slow for them', { count: this.#givenUp });
      this.#givenUp = 0;
    });
  }

  async #write(about: EventSubject, key: string, happening: Happening): Promise<void> {
    const { name, namespace = 'default', uid } = about.metadata;
    const now = timestamp();
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
