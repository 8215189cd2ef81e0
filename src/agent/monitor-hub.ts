import type { MonitorEvent, MonitorFilter } from '../api/types.ts';
import { type BpfMap, RingBuffer } from '../kernel/libbpf/index.ts';
import {
  type DatapathEvent,
  decodeEvent,
  decodeSocketEvent,
  eventsLost,
  type SocketEvent,
} from '../maps/events.ts';
import { runtimeMap } from '../maps/tables.ts';
import {
  type EventLookups,
  eventMatches,
  eventToJson,
  formatEvent,
  formatSocketEvent,
  formatVerbose,
  socketEventToJson,
} from '../monitor/index.ts';

/** Events a slow client may fall behind before it loses some. */
const QUEUE = 4_096;

interface Client {
  filter: MonitorFilter;
  queue: MonitorEvent[];
  wake: () => void;
}

/**
 * Hands the datapath's events to monitor clients. The ring buffer is read all the time so that it never overflows
 * unseen; trace events are only produced while a client wants them (a word that the programs look at), so that
 * nobody pays for what nobody watches.
 */
export class MonitorHub {
  readonly #ring: RingBuffer;
  readonly #runtime: ReturnType<typeof runtimeMap>;
  readonly #lookups: EventLookups;
  readonly #eventsLost: BpfMap;
  readonly #clients = new Set<Client>();
  #lost = 0;

  constructor(maps: { events: BpfMap; runtime: BpfMap; eventsLost: BpfMap }, lookups: EventLookups) {
    this.#lookups = lookups;
    this.#eventsLost = maps.eventsLost;
    this.#runtime = runtimeMap(maps.runtime);
    this.#setTrace();
    this.#ring = new RingBuffer({ map: maps.events, onSample: sample => this.#onSample(sample) });
  }

  /** Seconds that the clock of flows' entries is ahead; only tests set it. */
  get clockOffsetS(): number {
    return this.#runtime.get(0)?.clockOffsetS ?? 0;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Events that never reached a client: the ring buffer was full, or the client too slow. */
  get lost(): { ringBuffer: number; client: number } {
    return { ringBuffer: Number(eventsLost(this.#eventsLost)), client: this.#lost };
  }

  async *subscribe(filter: MonitorFilter, signal: AbortSignal): AsyncIterable<MonitorEvent> {
    const client: Client = { filter, queue: [], wake: () => {} };
    this.#clients.add(client);
    this.#setTrace();
    const onAbort = (): void => client.wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const events = client.queue.splice(0);
        yield* events;
        if (client.queue.length > 0 || signal.aborted) continue;
        await new Promise<void>(resolve => {
          client.wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#clients.delete(client);
      this.#setTrace();
    }
  }

  close(): void {
    for (const client of this.#clients) client.wake();
    this.#clients.clear();
    this.#setTrace();
    this.#ring.close();
  }

  #setTrace(): void {
    const wanted = [...this.#clients].some(
      ({ filter: { types } }) => !types || types.some(type => type === 'trace' || type === 'trace-sock'),
    );
    this.#runtime.set(0, { ...this.#runtime.get(0), trace: wanted });
  }

  #text(event: DatapathEvent | SocketEvent, { packets }: MonitorFilter): string {
    if (event.type === 'trace-sock') return formatSocketEvent(event);
    return packets
      ? formatVerbose(event, this.#lookups, packets === 'hex')
      : formatEvent(event, this.#lookups);
  }

  #onSample(sample: Buffer): void {
    if (this.#clients.size === 0) return;
    const event = decodeEvent(sample) ?? decodeSocketEvent(sample);
    if (!event) return;
    const fields = event.type === 'trace-sock' ? socketEventToJson(event) : eventToJson(event, this.#lookups);
    for (const client of this.#clients) {
      if (!eventMatches(event, client.filter)) continue;
      if (client.queue.length >= QUEUE) {
        this.#lost++;
        continue;
      }
      client.queue.push({ ...fields, text: this.#text(event, client.filter) });
      client.wake();
    }
  }
}
