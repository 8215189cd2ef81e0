import {
  closeSync,
  existsSync,
  fdatasyncSync,
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
import { crc32 } from '../base/crc32.ts';
import { FimbriaError, messageOf } from '../base/errors.ts';

const FIRST_LINK = '00000000';
const LINK_LENGTH = 8;
const NEWLINE = 10;

/**
 * An append-only file of checksummed records, one JSON text a line: `<crc32 hex> <json>\n`. Each checksum covers the one
 * before it too, so that no record can be missing, doubled or from another file.
 *
 * The process may be killed at any instruction: a record that `append` returned from is read by the next start, one that
 * was being written is read whole or cut off. What `sync` returned after also outlives a power cut. Unlike the agent's journal it keeps order and history, and it refuses
 * damage that no crash can explain instead of cutting it off, for what follows would be lost silently.
 * One process owns the file. Everything is synchronous.
 */
export class StateFile {
  readonly path: string;
  readonly #durable: boolean;
  #fd: number;
  #size: number;
  #link: string;

  private constructor(path: string, durable: boolean, fd: number, size: number, link: string) {
    this.path = path;
    this.#durable = durable;
    this.#fd = fd;
    this.#size = size;
    this.#link = link;
  }

  /**
   * Opens or creates the file and reads what is in it.
   * @param options.durable whether `sync` waits for the disk: for what must outlive a power cut
   * @returns also the bytes of a torn last record that were cut off
   * @throws FimbriaError DAMAGED when a record inside the file is broken
   */
  static open(
    path: string,
    options: { durable: boolean },
  ): { file: StateFile; records: unknown[]; lostBytes: number } {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Left by a crash while compacting: the old file is still whole.
    rmSync(freshName(path), { force: true });
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    const { records, good, link } = decodeAll(path, bytes);
    const fd = openSync(path, 'a', 0o600);
    if (good < bytes.length) ftruncateSync(fd, good);
    const file = new StateFile(path, options.durable, fd, good, link);
    return { file, records, lostBytes: bytes.length - good };
  }

  /** Bytes in the file. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds a record. When it cannot be written whole, the file is as before. One that is durable needs a `sync` as well.
   * @throws FimbriaError with the errno's name as code
   */
  append(record: unknown): void {
    const { line, link } = encode(this.#link, record);
    try {
      writeAll(this.#fd, line);
    } catch (error) {
      ftruncateSync(this.#fd, this.#size);
      throw writeFailed(this.path, error);
    }
    this.#size += line.length;
    this.#link = link;
  }

  /**
   * Waits until all records are on the disk, one wait for any number of them.
   * @throws FimbriaError when the disk failed: what it has of the latest records is unknown until `replace` succeeds
   */
  sync(): void {
    if (!this.#durable) return;
    try {
      fdatasyncSync(this.#fd);
    } catch (error) {
      throw writeFailed(this.path, error);
    }
  }

  /** Replaces everything by `records`, in one step: a crash leaves either the old file or the new one. */
  replace(records: Iterable<unknown>): void {
    const fresh = freshName(this.path);
    const fd = openSync(fresh, 'w', 0o600);
    let size = 0;
    let link = FIRST_LINK;
    try {
      for (const record of records) {
        const next = encode(link, record);
        writeAll(fd, next.line);
        size += next.line.length;
        link = next.link;
      }
      if (this.#durable) fsyncSync(fd);
      renameSync(fresh, this.path);
    } catch (error) {
      closeSync(fd);
      rmSync(fresh, { force: true });
      throw writeFailed(this.path, error);
    }
    closeSync(this.#fd);
    this.#fd = fd;
    this.#size = size;
    this.#link = link;
    if (this.#durable) syncDirectory(dirname(this.path));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function freshName(path: string): string {
  return `${path}.new`;
}

function encode(before: string, record: unknown): { line: Buffer; link: string } {
  const text = JSON.stringify(record);
  const link = checksum(before, text);
  return { line: Buffer.from(`${link} ${text}\n`), link };
}

function checksum(before: string, text: string): string {
  return crc32(Buffer.from(before + text))
    .toString(16)
    .padStart(LINK_LENGTH, '0');
}

function decodeAll(path: string, bytes: Buffer): { records: unknown[]; good: number; link: string } {
  const records: unknown[] = [];
  let good = 0;
  let link = FIRST_LINK;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, good)) {
    const line = bytes.toString('utf8', good, end);
    if (!isGood(link, line)) break;
    records.push(JSON.parse(line.slice(LINK_LENGTH + 1)));
    link = line.slice(0, LINK_LENGTH);
    good = end + 1;
  }
  if (goodRecordFollows(bytes, good)) {
    throw new FimbriaError({
      code: 'DAMAGED',
      op: 'read',
      object: path,
      why: `record ${records.length + 1} at byte ${good} is broken, and whole records follow it`,
      hint: 'restore the file from a copy, or cut it there to lose what follows',
    });
  }
  return { records, good, link };
}

// A torn write is the last thing in a file. A whole record behind the break means that something else happened.
function goodRecordFollows(bytes: Buffer, from: number): boolean {
  let before: string | undefined;
  for (const line of bytes.toString('utf8', from).split('\n').slice(0, -1)) {
    if (before !== undefined && isGood(before, line)) return true;
    before = line.slice(0, LINK_LENGTH);
  }
  return false;
}

function isGood(before: string, line: string): boolean {
  return (
    line[LINK_LENGTH] === ' ' && line.slice(0, LINK_LENGTH) === checksum(before, line.slice(LINK_LENGTH + 1))
  );
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeFailed(path: string, error: unknown): FimbriaError {
  const code = (error as NodeJS.ErrnoException).code ?? 'EIO';
  return new FimbriaError({ code, op: 'write', object: path, why: messageOf(error), cause: error });
}
