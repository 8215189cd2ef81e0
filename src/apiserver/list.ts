import type { Kind } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';
import { badRequest, expired } from './failure.ts';
import type { Filter } from './filter.ts';
import type { Store } from './store.ts';

export interface ListQuery {
  filter: Filter;
  limit?: number | undefined;
  continue?: string | undefined;
  resourceVersion?: string | undefined;
  resourceVersionMatch?: string | undefined;
}

export interface ListPage {
  items: AnyObject[];
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
}

/** Where the next page begins: behind this object, as things were at this version. */
interface Cursor {
  v: number;
  after: [namespace: string, name: string];
}

/**
 * One page of a list. All pages of a list show the state at the first one's version, or 410 tells that it is forgotten.
 */
export function listPage(store: Store, kind: Kind, query: ListQuery): ListPage {
  const cursor = query.continue ? decodeCursor(query.continue) : undefined;
  const version = cursor?.v ?? askedVersion(store, query);
  const all = objectsAt(store, kind, version, cursor !== undefined).filter(query.filter);
  const rest = cursor ? all.filter(object => isBehind(object, cursor.after)) : all;
  const items = query.limit ? rest.slice(0, query.limit) : rest;
  const metadata: ListPage['metadata'] = { resourceVersion: String(version) };
  if (items.length < rest.length) {
    metadata.continue = encodeCursor({ v: version, after: positionOf(items.at(-1)!) });
    metadata.remainingItemCount = rest.length - items.length;
  }
  return { items, metadata };
}

// "0" and "not older than" are served from the present, the only state that is kept whole.
function askedVersion(store: Store, { resourceVersion = '', resourceVersionMatch }: ListQuery): number {
  if (resourceVersionMatch === 'Exact') return parseVersion(resourceVersion);
  // A version ahead of ours is refused in the same words.
  if (parseVersion(resourceVersion) > store.version) store.since(parseVersion(resourceVersion));
  return store.version;
}

/** A resourceVersion as a number; 0 for an absent one. */
export function parseVersion(text: string): number {
  if (text === '') return 0;
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(`Invalid value: "${text}": resourceVersion must be a number`);
  return Number(text);
}

function objectsAt(store: Store, kind: Kind, version: number, continued: boolean): AnyObject[] {
  if (version === store.version) return store.list(kind);
  if (continued && version < store.oldestVersion) {
    throw expired(
      'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
    );
  }
  return store.listAt(kind, version);
}

function isBehind(object: AnyObject, [namespace, name]: Cursor['after']): boolean {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}` > `${namespace}/${name}`;
}

function positionOf({ metadata }: AnyObject): Cursor['after'] {
  return [metadata.namespace ?? '', metadata.name];
}

function encodeCursor(cursor: Cursor): string {
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

function decodeCursor(text: string): Cursor {
  try {
    const cursor = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Cursor;
    if (Number.isSafeInteger(cursor.v) && cursor.after.length === 2) return cursor;
  } catch {
    // The same answer as for a well-formed token that is none of ours.
  }
  throw badRequest('continue key is not valid');
}
