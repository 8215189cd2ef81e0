import type { Writable } from 'node:stream';
import type { Kind } from '../model/kinds.ts';
import type { AnyObject, WatchEvent } from '../model/types.ts';
import { ApiFailure } from './failure.ts';
import type { Filter } from './filter.ts';
import { parseVersion } from './list.ts';
import { removedForm, type Store, type StoreEvent } from './store.ts';

export interface WatchQuery {
  kind: Kind;
  filter: Filter;
  /** Begin behind this version; with none, or "0", with all objects that there are. */
  resourceVersion: string;
  bookmarks: boolean;
  /** Send all objects first and mark their end with a bookmark. */
  sendInitialEvents: boolean;
  timeoutMs: number;
  bookmarkIntervalMs: number;
}

/** A client that does not read so much of what it asked for is cut off; it comes back and resumes. */
const MAX_UNREAD_BYTES = 32 << 20;

/** A form in which clients see objects; watches of one name get the same bytes. */
export interface Representation {
  name: string;
  encode(object: AnyObject): unknown;
}

/** The lines of the change that is being delivered: many watch the same, and it is encoded once for all of them. */
const lines: { event: StoreEvent | undefined; byForm: Map<string, Buffer> } = {
  event: undefined,
  byForm: new Map(),
};

function lineOf(event: StoreEvent, seen: Seen, representation: Representation): Buffer {
  if (lines.event !== event) {
    lines.event = event;
    lines.byForm.clear();
  }
  const form = `${seen.type} ${representation.name}`;
  let line = lines.byForm.get(form);
  if (!line) {
    line = encodeLine({ type: seen.type, object: representation.encode(seen.object) });
    lines.byForm.set(form, line);
  }
  return line;
}

function encodeLine(event: WatchEvent<unknown>): Buffer {
  return Buffer.from(`${JSON.stringify(event)}\n`);
}

/**
 * Streams changes to `out`, one JSON event a line, until the time is over, the client goes or `stop` is called.
 * @returns how to end it from our side
 */
export function streamWatch(
  store: Store,
  query: WatchQuery,
  out: Writable,
  representation: Representation,
): () => void {
  const write = (line: Buffer): void => {
    out.write(line);
    if (out.writableLength > MAX_UNREAD_BYTES) out.destroy();
  };
  const send = (event: WatchEvent<unknown>): void => write(encodeLine(event));
  const deliver = (event: StoreEvent): void => {
    if (event.kind !== query.kind) return;
    const seen = asSeenThrough(query.filter, event);
    if (seen) write(lineOf(event, seen, representation));
  };
  const bookmark = (annotations?: Record<string, string>): void => {
    const { apiVersion, kind } = query.kind;
    const metadata = { resourceVersion: String(store.version), ...(annotations && { annotations }) };
    send({
      type: 'BOOKMARK',
      object: { kind, apiVersion, metadata: { creationTimestamp: null, ...metadata } },
    });
  };
  const stops: (() => void)[] = [];
  const stop = (): void => {
    for (const undo of stops.splice(0)) undo();
  };
  const end = (): void => {
    stop();
    out.end();
  };

  try {
    const from = parseVersion(query.resourceVersion);
    if (from === 0 || query.sendInitialEvents) {
      for (const object of store.list(query.kind)) {
        if (query.filter(object)) send({ type: 'ADDED', object: representation.encode(object) });
      }
      if (query.sendInitialEvents) bookmark({ 'k8s.io/initial-events-end': 'true' });
    } else {
      for (const event of store.since(from)) deliver(event);
    }
  } catch (error) {
    // The stream has begun with 200: Kubernetes, too, says in it that the past is forgotten.
    if (!(error instanceof ApiFailure)) throw error;
    send({ type: 'ERROR', object: error.status });
    end();
    return end;
  }
  stops.push(store.listen(deliver));
  const timeout = setTimeout(() => {
    if (query.bookmarks) bookmark();
    end();
  }, query.timeoutMs);
  stops.push(() => clearTimeout(timeout));
  if (query.bookmarks) {
    const interval = setInterval(bookmark, query.bookmarkIntervalMs);
    stops.push(() => clearInterval(interval));
  }
  out.on('close', stop);
  return end;
}

interface Seen {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  object: AnyObject;
}

/** How a change looks to somebody who sees only what passes the filter: what leaves it is deleted for them. */
function asSeenThrough(filter: Filter, event: StoreEvent): Seen | undefined {
  const { before, after } = event;
  const was = before !== undefined && filter(before);
  const is = after !== undefined && filter(after);
  if (is) return { type: was ? 'MODIFIED' : 'ADDED', object: after };
  return was ? { type: 'DELETED', object: removedForm(event) } : undefined;
}
