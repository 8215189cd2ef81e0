import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from './crc32.ts';
import { codeOf, FimbriaError, messageOf } from './errors.ts';

/**
 * Key-value state that survives kill -9 at any instruction: one append-only file of checksummed records,
 * one JSON line each (`<crc32 hex> {"k":key,"v":value}`; no `v` deletes), compacted by rename.
 * A torn or damaged tail is cut off at the last good record. One process owns the file; writes are synchronous,
 * so what `put` returned from is there for the next start.
 */
export class Journal {
  readonly #path: string;
  readonly #fsync: boolean;
  readonly #entries = new Map<string, unknown>();
  #fd: number;
  #records = 0;
  /** Bytes of whole records. */
  #size: number;
  /** Bytes of a damaged tail that were cut off when the file was opened. */
  readonly lostBytes: number;

  /** @param options.fsync wait for the disk: for what must outlive a reboot; needless below /run */
  constructor(path: string, options: { fsync: boolean }) {
    this.#path = path;
    this.#fsync = options.fsync;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    const { good, records } = replay(bytes, this.#entries);
    this.#records = records;
    this.lostBytes = bytes.length - good;
    this.#fd = openSync(path, 'a', 0o600);
    if (this.lostBytes > 0) ftruncateSync(this.#fd, good);
    this.#size = good;
    this.#compactIfWorthIt();
  }

  get<T>(key: string): T | undefined {
    return this.#entries.get(key) as T | undefined;
  }

  /** Entries whose key starts with `prefix`, in order of first writing. */
  entries<T>(prefix: string): [string, T][] {
    return [...this.#entries].filter(([key]) => key.startsWith(prefix)) as [string, T][];
  }

  put(key: string, value: unknown): void {
    if (value === undefined) throw new TypeError('journal values are never undefined');
    if (JSON.stringify(this.#entries.get(key)) === JSON.stringify(value)) return;
    this.#append({ k: key, v: value });
    this.#entries.set(key, value);
    this.#compactIfWorthIt();
  }

  /** Forgets `key`; false when it was not there. */
  delete(key: string): boolean {
    if (!this.#entries.has(key)) return false;
    this.#append({ k: key });
    this.#entries.delete(key);
    return true;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(record: { k: string; v?: unknown }): void {
    const bytes = Buffer.from(encode(record));
    try {
      writeWhole(this.#fd, bytes);
    } catch (error) {
      // Half a record would end the replay: what is appended after it would be lost with the next start.
      ftruncateSync(this.#fd, this.#size);
      throw new FimbriaError({
        code: codeOf(error) ?? 'EIO',
        op: 'write',
        object: this.#path,
        why: codeOf(error) === 'ENOSPC' ? 'no space left' : messageOf(error),
        hint: 'free some space there; nothing was changed',
        cause: error,
      });
    }
    this.#size += bytes.length;
    if (this.#fsync) fsyncSync(this.#fd);
    this.#records++;
  }

  #compactIfWorthIt(): void {
    if (this.#records < 256 || this.#records < 4 * this.#entries.size) return;
    const fresh = `${this.#path}.new`;
    const bytes = Buffer.from([...this.#entries].map(([k, v]) => encode({ k, v })).join(''));
    try {
      const fd = openSync(fresh, 'w', 0o600);
      try {
        writeWhole(fd, bytes);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(fresh, this.#path);
    } catch {
      // The long file is as good as the short one: there is no room for both now, and a later record tries again.
      rmSync(fresh, { force: true });
      return;
    }
    closeSync(this.#fd);
    this.#fd = openSync(this.#path, 'a', 0o600);
    this.#records = this.#entries.size;
    this.#size = bytes.length;
  }
}

/** A file system that fills up takes a part first and refuses the rest. */
function writeWhole(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** What a journal holds, without owning or changing its file. Empty when there is none. */
export function readJournal(path: string): Map<string, unknown> {
  const entries = new Map<string, unknown>();
  if (existsSync(path)) replay(readFileSync(path), entries);
  return entries;
}

/** Carries out the records up to the first damaged one. `good` is how many bytes those have. */
function replay(bytes: Buffer, entries: Map<string, unknown>): { good: number; records: number } {
  let good = 0;
  let records = 0;
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, good)) {
    const record = decode(bytes.toString('utf8', good, end));
    if (record === undefined) break;
    if ('v' in record) entries.set(record.k, record.v);
    else entries.delete(record.k);
    records++;
    good = end + 1;
  }
  return { good, records };
}

function encode(record: { k: string; v?: unknown }): string {
  const text = JSON.stringify(record);
  return `${crc32(Buffer.from(text)).toString(16).padStart(8, '0')} ${text}\n`;
}

function decode(line: string): { k: string; v?: unknown } | undefined {
  const text = line.slice(9);
  if (line[8] !== ' ' || Number.parseInt(line.slice(0, 8), 16) !== crc32(Buffer.from(text))) return undefined;
  return JSON.parse(text);
}
