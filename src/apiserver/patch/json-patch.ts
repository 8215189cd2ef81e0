import { FimbriaError } from '../../base/errors.ts';
import { isObject, type Json, type JsonObject, jsonEqual, own, setOwn } from './json.ts';

interface Operation {
  op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test';
  path: string;
  from?: string;
  value?: Json;
}

const OPERATIONS = ['add', 'remove', 'replace', 'move', 'copy', 'test'];
/** So many are more than anybody needs. Kubernetes has the same bound. */
const MAX_OPERATIONS = 10_000;
/** A copy can double a document, so forty of them could fill any memory. Kubernetes bounds the sum as well. */
const MAX_COPIED_CHARS = 3 << 20;

/**
 * Applies a JSON patch (RFC 6902), all of it or nothing. Pure.
 * @throws FimbriaError INVALID when the patch is malformed, TEST_FAILED when it cannot be applied to this document
 */
export function applyJsonPatch(document: Json, patch: unknown): Json {
  const operations = parseOperations(patch);
  // One holder around the document, so that the whole of it is a field like any other.
  const holder: JsonObject = { document: structuredClone(document) };
  let copiedChars = 0;
  for (const operation of operations) {
    if (operation.op === 'copy') copiedChars += JSON.stringify(read(holder, operation.from!)).length;
    if (copiedChars > MAX_COPIED_CHARS) throw malformed(`it copies more than ${MAX_COPIED_CHARS} characters`);
    applyOperation(holder, operation);
  }
  return holder['document']!;
}

function parseOperations(patch: unknown): Operation[] {
  if (!Array.isArray(patch)) throw malformed('a JSON patch is an array of operations');
  if (patch.length > MAX_OPERATIONS) throw malformed(`it has more than ${MAX_OPERATIONS} operations`);
  return patch.map((entry: unknown) => {
    if (!isObject(entry)) throw malformed('every operation is an object');
    const { op, path, from } = entry;
    if (typeof op !== 'string' || !OPERATIONS.includes(op)) {
      throw malformed(`unexpected kind: ${JSON.stringify(op ?? null)}`);
    }
    if (typeof path !== 'string') throw malformed(`${op} has no path`);
    if ((op === 'move' || op === 'copy') && typeof from !== 'string') throw malformed(`${op} has no from`);
    if (['add', 'replace', 'test'].includes(op) && !Object.hasOwn(entry, 'value')) {
      throw malformed(`${op} ${path} has no value`);
    }
    return entry as unknown as Operation;
  });
}

function applyOperation(holder: JsonObject, { op, path, from, value }: Operation): void {
  switch (op) {
    case 'add':
      add(holder, path, structuredClone(value!));
      break;
    case 'remove':
      remove(holder, path);
      break;
    case 'replace':
      remove(holder, path);
      add(holder, path, structuredClone(value!));
      break;
    case 'move':
      if (path.startsWith(`${from}/`)) throw impossible(`cannot move ${from} into itself`);
      add(holder, path, remove(holder, from!));
      break;
    case 'copy':
      add(holder, path, structuredClone(read(holder, from!)));
      break;
    case 'test':
      if (!jsonEqual(read(holder, path), value)) throw impossible(`testing value ${path} failed`);
  }
}

/** The container that a pointer's last part is in, and that part. */
function locate(holder: JsonObject, pointer: string): [container: JsonObject | Json[], last: string] {
  if (pointer !== '' && !pointer.startsWith('/')) throw malformed(`path ${pointer} does not begin with /`);
  const parts = ['document', ...pointer.split('/').slice(1).map(unescaped)];
  const last = parts.pop()!;
  let container: Json | undefined = holder;
  for (const part of parts) container = child(container, part);
  if (isObject(container) || Array.isArray(container)) return [container, last];
  throw missing(pointer);
}

function child(container: Json | undefined, part: string): Json | undefined {
  if (Array.isArray(container)) return container[indexOf(part, container.length - 1)];
  return isObject(container) ? own(container, part) : undefined;
}

function read(holder: JsonObject, pointer: string): Json {
  const [container, last] = locate(holder, pointer);
  const value = child(container, last);
  if (value === undefined) throw missing(pointer);
  return value;
}

function add(holder: JsonObject, pointer: string, value: Json): void {
  const [container, last] = locate(holder, pointer);
  if (Array.isArray(container)) {
    container.splice(last === '-' ? container.length : indexOf(last, container.length), 0, value);
  } else {
    setOwn(container, last, value);
  }
}

function remove(holder: JsonObject, pointer: string): Json {
  const [container, last] = locate(holder, pointer);
  const value = read(holder, pointer);
  if (Array.isArray(container)) container.splice(indexOf(last, container.length - 1), 1);
  else delete container[last];
  return value;
}

function indexOf(part: string, greatest: number): number {
  const index = /^(0|[1-9]\d*)$/.test(part) ? Number(part) : -1;
  if (index < 0 || index > greatest) throw impossible(`array index ${part} out of bounds`);
  return index;
}

function unescaped(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~');
}

function malformed(why: string): FimbriaError {
  return new FimbriaError({ code: 'INVALID', op: 'read', object: 'JSON patch', why });
}

function impossible(why: string): FimbriaError {
  return new FimbriaError({ code: 'TEST_FAILED', op: 'apply', object: 'JSON patch', why });
}

function missing(pointer: string): FimbriaError {
  return impossible(`path ${pointer} is missing`);
}
