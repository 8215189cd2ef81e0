import { FimbriaError } from '../base/errors.ts';
import type { KubeObject, Status, WatchEvent } from '../model/types.ts';
import { errorCode } from './errors.ts';

const TYPES: readonly string[] = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR'];

/**
 * One line of a watch. What is returned has all that an informer relies on: an object with metadata, and unless it is a
 * bookmark a name. Pure.
 * @throws FimbriaError MALFORMED for anything else, so that no half-understood event gets into a store
 */
export function parseWatchEvent<T extends KubeObject>(line: string, of: string): WatchEvent<T> {
  let event: { type?: unknown; object?: unknown } | null;
  try {
    event = JSON.parse(line);
  } catch {
    // What the parser says quotes the text, whatever that is.
    throw malformed(of, 'it is no JSON');
  }
  if (!isRecord(event) || typeof event.type !== 'string' || !TYPES.includes(event.type))
    throw malformed(of, 'it has no type that is known');
  if (!isRecord(event.object)) throw malformed(of, 'it has no object');
  if (event.type !== 'ERROR') {
    const { metadata } = event.object;
    if (!isRecord(metadata)) throw malformed(of, 'its object has no metadata');
    const { name, resourceVersion } = metadata;
    if (event.type !== 'BOOKMARK' && (typeof name !== 'string' || name === ''))
      throw malformed(of, 'its object has no name');
    if (resourceVersion !== undefined && typeof resourceVersion !== 'string')
      throw malformed(of, 'its resourceVersion is no text');
  }
  return event as unknown as WatchEvent<T>;
}

/** What an ERROR event becomes. Pure. */
export function watchError(
  of: string,
  status: Partial<Status>,
  redact: (text: string) => string,
): FimbriaError {
  const seconds = status.details?.retryAfterSeconds;
  return new FimbriaError({
    code: errorCode(typeof status.code === 'number' ? status.code : 500, status),
    op: 'watch',
    object: of,
    why: redact(String(status.message || 'the server ended the watch with an error')),
    ...(typeof seconds === 'number' && { retryAfterMs: seconds * 1000 }),
  });
}

function malformed(of: string, why: string): FimbriaError {
  return new FimbriaError({ code: 'MALFORMED', op: 'read', object: `event of ${of}`, why });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
