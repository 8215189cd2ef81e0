import { randomUUID } from 'node:crypto';
import { FimbriaError } from '../base/errors.ts';
import { KINDS, type Kind, qualifiedResource } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';
import { expired, tooLargeVersion } from './failure.ts';
import { StateFile } from './state-file.ts';

/** One change of one object. */
export interface StoreEvent {
  /** Counts all changes of all kinds, from 1. */
  version: number;
  kind: Kind;
  /** The object before the change. */
  before: AnyObject | undefined;
  /** The object after it, undefined when it was removed. */
  after: AnyObject | undefined;
}

export interface StoreOptions {
  path: string;
  /** Wait for the disk before anybody hears of a change. */
  durable: boolean;
  /** How many changes are remembered for watches and paged lists. */
  historyLimit: number;
  /** Told when the file could not be compacted. It goes on growing, and the next try comes when it has doubled. */
  onCompactFailure(error: unknown): void;
}

/** The first record of a file: what it is, and how many objects follow as they were at `version`. */
interface HeadRecord {
  state: 'fimbria-cluster';
  format: 1;
  id: string;
  version: number;
  objects: number;
}

/** An object as it was when the file was last compacted. */
interface ObjectRecord {
  r: string;
  o: AnyObject;
}

/** A change: with `o` the object was written, with `d` the one of that namespace and name was removed. */
interface ChangeRecord {
  r: string;
  v: number;
  o?: AnyObject;
  d?: [namespace: string, name: string];
}

const COMPACT_AT_LEAST_BYTES = 1 << 20;
const COMPACT_AT_GROWTH = 4;

/**
 * All objects, in memory, and every change in a {@link StateFile} before anybody sees it.
 * Objects are shared with everyone who asked for them: nobody changes them. Synchronous, so that each change is one step;
 * only for the disk one waits, {@link Store.durable}: the changes of one turn of the event loop share one wait, and
 * listeners hear of them after it.
 */
export class Store {
  readonly #file: StateFile;
  readonly #options: StoreOptions;
  readonly #tables = new Map<Kind, Map<string, AnyObject>>();
  /** By listener the version behind which it listens. */
  readonly #listeners = new Map<(event: StoreEvent) => void, number>();
  /** Changes that are in memory and in the file, but perhaps not on the disk. */
  #unsynced: StoreEvent[] = [];
  #waiting: { resolve(): void; reject(error: unknown): void }[] = [];
  #syncTimer: NodeJS.Immediate | undefined;
  /** The disk failed: only a whole new file is to be trusted. */
  #damaged = false;
  #history: StoreEvent[] = [];
  #version = 0;
  #id: string = randomUUID();
  #compactedBytes = 0;
  /** Bytes of a torn record that were cut off when the file was opened. */
  readonly lostBytes: number;

  /** @throws FimbriaError DAMAGED when the file cannot be trusted */
  constructor(options: StoreOptions) {
    this.#options = options;
    for (const kind of KINDS) this.#tables.set(kind, new Map());
    const { file, records, lostBytes } = StateFile.open(options.path, { durable: options.durable });
    this.#file = file;
    this.lostBytes = lostBytes;
    if (records.length === 0) this.#compact();
    else this.#replay(records);
  }

  /** Identifies this state for ever, through restarts. */
  get id(): string {
    return this.#id;
  }

  /** The version of the latest change. */
  get version(): number {
    return this.#version;
  }

  /** The oldest version that a watch can begin behind. */
  get oldestVersion(): number {
    return this.#history[0] === undefined ? this.#version : this.#history[0].version - 1;
  }

  get(kind: Kind, namespace: string, name: string): AnyObject | undefined {
    return this.#table(kind).get(keyOf(namespace, name));
  }

  /** Objects of a kind in the order of namespace and name. */
  list(kind: Kind): AnyObject[] {
    return sorted(this.#table(kind));
  }

  /**
   * Objects of a kind as they were at a version.
   * @throws ApiFailure 410 when the history does not reach back so far, 504 when the version is yet to come
   */
  listAt(kind: Kind, version: number): AnyObject[] {
    if (version > this.#version) throw tooLargeVersion(version, this.#version);
    if (version < this.oldestVersion) throw expired(`The resourceVersion for the provided list is too old.`);
    return sorted(this.#tableAt(kind, version));
  }

  /** Writes an object; its resourceVersion becomes the new version. Returns the object as stored. */
  put(kind: Kind, object: AnyObject): AnyObject {
    const version = this.#version + 1;
    const { metadata } = object;
    const after: AnyObject = { ...object, metadata: { ...metadata, resourceVersion: String(version) } };
    this.#change({ r: qualifiedResource(kind), v: version, o: after });
    return after;
  }

  /** Removes an object that is there. Returns its last form, which has the removal's version. */
  remove(kind: Kind, namespace: string, name: string): AnyObject {
    const before = this.get(kind, namespace, name)!;
    this.#change({ r: qualifiedResource(kind), v: this.#version + 1, d: [namespace, name] });
    return removedForm({ version: this.#version, kind, before, after: undefined });
  }

  /**
   * Changes after `version`, oldest first.
   * @throws ApiFailure 410 or 504 as `listAt`
   */
  since(version: number): StoreEvent[] {
    if (version > this.#version) throw tooLargeVersion(version, this.#version);
    if (version < this.oldestVersion) {
      throw expired(`too old resource version: ${version} (${this.oldestVersion})`);
    }
    return this.#history.slice(this.#history.length - (this.#version - version));
  }

  /** Calls back on every change from now on, when it is durable and before the writer knows. Returns how to stop it. */
  listen(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.set(listener, this.#version);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resolves when all changes so far are durable: answers that show them wait for it.
   * @throws FimbriaError when the disk fails; the changes stay in memory, and every later call tries again
   */
  durable(): Promise<void> {
    if (this.#unsynced.length === 0) return Promise.resolve();
    this.#scheduleSync();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  close(): void {
    if (this.#syncTimer) clearImmediate(this.#syncTimer);
    if (this.#unsynced.length > 0) this.#sync();
    this.#file.close();
  }

  #change(record: ChangeRecord): void {
    this.#file.append(record);
    const event = this.#realise(record);
    // Before the listeners, who may write in their turn.
    this.#compactIfWorthIt();
    this.#unsynced.push(event);
    if (this.#options.durable) this.#scheduleSync();
    else this.#sync();
  }

  // When all requests that have arrived are dealt with, so that they share the wait.
  #scheduleSync(): void {
    this.#syncTimer ??= setImmediate(() => {
      this.#syncTimer = undefined;
      this.#sync();
    });
  }

  #sync(): void {
    const waiting = this.#waiting.splice(0);
    try {
      this.#makeSafe();
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      return;
    }
    for (const event of this.#unsynced.splice(0)) {
      for (const [listener, behind] of [...this.#listeners]) if (event.version > behind) listener(event);
    }
    for (const { resolve } of waiting) resolve();
  }

  #makeSafe(): void {
    try {
      if (!this.#damaged) {
        this.#file.sync();
        return;
      }
    } catch {
      // A kernel that could not write pages forgets them: another sync would succeed and mean nothing.
      this.#damaged = true;
    }
    this.#compact();
    this.#damaged = false;
  }

  #compactIfWorthIt(): void {
    const { size } = this.#file;
    if (size < Math.max(COMPACT_AT_LEAST_BYTES, COMPACT_AT_GROWTH * this.#compactedBytes)) return;
    try {
      this.#compact();
    } catch (error) {
      // The change itself is safe in the old file.
      this.#compactedBytes = size / 2;
      this.#options.onCompactFailure(error);
    }
  }

  #realise(record: ChangeRecord): StoreEvent {
    const kind = kindNamed(record.r);
    const table = this.#table(kind);
    const after = record.o;
    const key = after ? keyOfObject(after) : keyOf(...record.d!);
    const event: StoreEvent = { version: record.v, kind, before: table.get(key), after };
    if (after) table.set(key, after);
    else table.delete(key);
    this.#version = record.v;
    this.#history.push(event);
    // Twice the limit before it is cut: moving the rest costs.
    if (this.#history.length > 2 * this.#options.historyLimit)
      this.#history = this.#history.slice(-this.#options.historyLimit);
    return event;
  }

  #replay(records: unknown[]): void {
    const head = records[0] as HeadRecord;
    if (head.state !== 'fimbria-cluster' || head.format !== 1 || records.length < 1 + head.objects) {
      throw new FimbriaError({
        code: 'DAMAGED',
        op: 'read',
        object: this.#file.path,
        why: 'it is not a cluster state of this format',
      });
    }
    this.#id = head.id;
    this.#version = head.version;
    for (const record of records.slice(1, 1 + head.objects) as ObjectRecord[]) {
      this.#table(kindNamed(record.r)).set(keyOfObject(record.o), record.o);
    }
    for (const record of records.slice(1 + head.objects) as ChangeRecord[]) this.#realise(record);
    this.#compactedBytes = this.#file.size;
  }

  // The younger half of the history goes into the new file as changes, so that watches go on after a restart.
  #compact(): void {
    const kept = this.#history.slice(-Math.floor(this.#options.historyLimit / 2));
    const base = kept[0] === undefined ? this.#version : kept[0].version - 1;
    const objects: ObjectRecord[] = [];
    for (const kind of KINDS) {
      for (const o of this.#tableAt(kind, base).values()) objects.push({ r: qualifiedResource(kind), o });
    }
    const head: HeadRecord = {
      state: 'fimbria-cluster',
      format: 1,
      id: this.#id,
      version: base,
      objects: objects.length,
    };
    this.#file.replace([head, ...objects, ...kept.map(changeRecord)]);
    this.#compactedBytes = this.#file.size;
  }

  #table(kind: Kind): Map<string, AnyObject> {
    return this.#tables.get(kind)!;
  }

  /** A table as it was: the present one with the later changes taken back, latest first. */
  #tableAt(kind: Kind, version: number): Map<string, AnyObject> {
    const table = new Map(this.#table(kind));
    for (const event of this.since(version).reverse()) {
      if (event.kind !== kind) continue;
      const key = keyOfObject((event.after ?? event.before)!);
      if (event.before) table.set(key, event.before);
      else table.delete(key);
    }
    return table;
  }
}

/** What watchers get of a removed object: its last form, with the version of the removal. */
export function removedForm(event: StoreEvent): AnyObject {
  const before = event.before!;
  return { ...before, metadata: { ...before.metadata, resourceVersion: String(event.version) } };
}

function changeRecord(event: StoreEvent): ChangeRecord {
  const base = { r: qualifiedResource(event.kind), v: event.version };
  if (event.after) return { ...base, o: event.after };
  const { namespace = '', name } = event.before!.metadata;
  return { ...base, d: [namespace, name] };
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function keyOfObject(object: AnyObject): string {
  return keyOf(object.metadata.namespace ?? '', object.metadata.name);
}

function sorted(table: Map<string, AnyObject>): AnyObject[] {
  return [...table].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
}

const kindsByResource = new Map(KINDS.map(kind => [qualifiedResource(kind), kind]));

function kindNamed(resource: string): Kind {
  const kind = kindsByResource.get(resource);
  if (kind) return kind;
  throw new FimbriaError({
    code: 'DAMAGED',
    op: 'read',
    object: 'cluster state',
    why: `it has objects of the unknown kind ${resource}`,
    hint: 'a newer release may have written it',
  });
}
