import {
  type Field,
  type FieldType,
  findMessage,
  type Message,
  messageNamed,
} from '../../model/kubernetes/fields.ts';
import { type Json, type JsonObject, own, setOwn } from '../patch/json.ts';
import { malformed, type WireField, wireFields } from './wire.ts';

/** The media type in which newer kubectls send some objects. */
export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

const MAGIC = Buffer.from('k8s\0');

/**
 * Reads an object in Kubernetes' protobuf encoding as the JSON that says the same; undefined for a kind that is not known
 * here. Reads any bytes.
 * @throws FimbriaError INVALID
 */
export function decodeProtobuf(bytes: Buffer): JsonObject | undefined {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw malformed('it does not begin with "k8s"');
  let apiVersion = '';
  let kind = '';
  let raw: Buffer = Buffer.alloc(0);
  for (const field of wireFields(bytes.subarray(MAGIC.length))) {
    if (field.number === 1) {
      for (const part of wireFields(bytesOf(field))) {
        if (part.number === 1) apiVersion = textOf(part);
        if (part.number === 2) kind = textOf(part);
      }
    } else if (field.number === 2) raw = bytesOf(field);
  }
  const message = messageOfType(apiVersion, kind);
  return message && { apiVersion, kind, ...decodeMessage(message, raw) };
}

function messageOfType(apiVersion: string, kind: string): Message | undefined {
  // Options of requests bear the version of what they are about.
  if (kind === 'DeleteOptions') return findMessage('meta.v1.DeleteOptions');
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['core', apiVersion];
  return findMessage(`${group!.split('.')[0]}.${version}.${kind}`);
}

function decodeMessage(message: Message, bytes: Buffer): JsonObject {
  const result: JsonObject = {};
  for (const wire of wireFields(bytes)) {
    const field = message.byNumber.get(wire.number);
    // Fields of a newer release; in JSON they would be dropped as well.
    if (field) take(result, field, wire);
  }
  return result;
}

function take(result: JsonObject, field: Field, wire: WireField): void {
  const { name, type, inlined, pointer } = field;
  if (type.is === 'list') {
    const list = (own(result, name) ?? []) as Json[];
    setOwn(result, name, [...list, decodeValue(type.of, wire) ?? null]);
  } else if (type.is === 'map') {
    const map = (own(result, name) ?? {}) as JsonObject;
    const [key, value] = decodeEntry(type.of, wire);
    setOwn(map, key, value);
    setOwn(result, name, map);
  } else if (inlined && type.is === 'message') {
    for (const [key, value] of Object.entries(decodeMessage(messageNamed(type.name), bytesOf(wire))))
      setOwn(result, key, value);
  } else {
    const value = decodeValue(type, wire);
    // The encoding writes what is no pointer also where it was not given; JSON leaves it out.
    if (value !== undefined && (pointer || !isZero(value))) setOwn(result, name, value);
  }
}

function decodeEntry(type: FieldType, wire: WireField): [string, Json] {
  let key = '';
  let value: Json | undefined;
  for (const part of wireFields(bytesOf(wire))) {
    if (part.number === 1) key = textOf(part);
    if (part.number === 2) value = decodeValue(type, part);
  }
  return [key, value ?? (type.is === 'message' ? {} : '')];
}

function decodeValue(type: FieldType, wire: WireField): Json | undefined {
  switch (type.is) {
    case 'message':
      return decodeMessage(messageNamed(type.name), bytesOf(wire));
    case 'string':
      return textOf(wire);
    case 'bool':
      return numberOf(wire) !== 0;
    case 'int':
      return numberOf(wire);
    case 'number':
      if (wire.wire !== 'fixed' || wire.bytes.length !== 8) throw malformed('a number is not of 8 bytes');
      return wire.bytes.readDoubleLE();
    case 'bytes':
      return bytesOf(wire).toString('base64');
    case 'quantity':
      return textOf(first(bytesOf(wire), 1)) || undefined;
    case 'any':
      return JSON.parse(textOf(first(bytesOf(wire), 1)) || 'null') as Json;
    case 'intOrString':
      return decodeIntOrString(bytesOf(wire));
    case 'time':
    case 'microTime':
      return decodeTime(bytesOf(wire), type.is === 'microTime');
    case 'list':
    case 'map':
      throw malformed('lists of lists are not of this encoding');
  }
}

function decodeIntOrString(bytes: Buffer): Json {
  let isText = false;
  let number = 0;
  let text = '';
  for (const part of wireFields(bytes)) {
    if (part.number === 1) isText = numberOf(part) !== 0;
    if (part.number === 2) number = numberOf(part);
    if (part.number === 3) text = textOf(part);
  }
  return isText ? text : number;
}

/** RFC 3339 from seconds since 1970 and nanoseconds; undefined for a time that was not given. */
function decodeTime(bytes: Buffer, micro: boolean): string | undefined {
  if (bytes.length === 0) return undefined;
  let seconds = 0;
  let nanos = 0;
  for (const part of wireFields(bytes)) {
    if (part.number === 1) seconds = numberOf(part);
    if (part.number === 2) nanos = numberOf(part);
  }
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime()) || nanos < 0 || nanos >= 1e9) throw malformed('a time is out of range');
  const whole = date.toISOString().slice(0, 19);
  return micro ? `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z` : `${whole}Z`;
}

function isZero(value: Json): boolean {
  if (value === '' || value === 0 || value === false || value === null) return true;
  return typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0;
}

const NOTHING: WireField = { number: 1, wire: 'bytes', bytes: Buffer.alloc(0) };

function first(bytes: Buffer, number: number): WireField {
  for (const field of wireFields(bytes)) if (field.number === number) return field;
  return NOTHING;
}

function bytesOf(field: WireField): Buffer {
  if (field.wire !== 'bytes')
    throw malformed(`field ${field.number} holds a number where bytes are expected`);
  return field.bytes;
}

function textOf(field: WireField): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytesOf(field));
}

function numberOf(field: WireField): number {
  if (field.wire !== 'varint')
    throw malformed(`field ${field.number} holds bytes where a number is expected`);
  return Number(BigInt.asIntN(64, field.value));
}
