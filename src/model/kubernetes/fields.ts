import type { Kind } from '../kinds.ts';
import { FIELDS } from './fields.gen.ts';

/** What a field of Kubernetes' own kinds holds. */
export type FieldType =
  | { is: ScalarType }
  /** A list. */
  | { is: 'list'; of: FieldType }
  /** An object with any keys. */
  | { is: 'map'; of: FieldType }
  /** An object of a message: `core.v1.PodSpec`. */
  | { is: 'message'; name: string };

export type ScalarType =
  | 'any'
  | 'bool'
  | 'bytes'
  | 'int'
  | 'intOrString'
  | 'microTime'
  | 'number'
  | 'quantity'
  | 'string'
  | 'time';

export interface Field {
  name: string;
  /** In the protobuf encoding. */
  number: number;
  type: FieldType;
  /** Absent and zero are two things. */
  pointer: boolean;
  /** The fields of this message stand in the JSON of the message around it. */
  inlined: boolean;
  /** How a strategic merge patch treats the list: by the value of a key, or as a set where the key is empty. */
  mergeKey?: string;
  /** A strategic merge patch may say which keys of the object stay. */
  retainKeys: boolean;
}

/** One type of Kubernetes' API. */
export interface Message {
  name: string;
  /** In its protobuf encoding. */
  byNumber: ReadonlyMap<number, Field>;
  /** In its JSON: those of inlined messages stand among its own. */
  byName: ReadonlyMap<string, Field>;
}

const messages = new Map<string, Message>();

/** A type of Kubernetes' API by its name, such as `core.v1.PodSpec`; undefined for one that no kind of ours has. */
export function findMessage(name: string): Message | undefined {
  const known = messages.get(name);
  if (known) return known;
  const texts = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
  if (!texts) return undefined;
  const fields = texts.map(parseField);
  const message: Message = {
    name,
    byNumber: new Map(fields.map(field => [field.number, field])),
    byName: new Map(fields.flatMap(visible).map(field => [field.name, field])),
  };
  messages.set(name, message);
  return message;
}

/** The type of a kind's objects; undefined for custom kinds and those without a table of fields. */
export function messageOfKind(kind: Pick<Kind, 'group' | 'kind' | 'versions'>): Message | undefined {
  return findMessage(
    `${kind.group === '' ? 'core' : kind.group.split('.')[0]}.${kind.versions[0]}.${kind.kind}`,
  );
}

/** The message behind a field of message type. */
export function messageNamed(name: string): Message {
  return findMessage(name)!;
}

/** Names of all types. */
export function messageNames(): string[] {
  return Object.keys(FIELDS);
}

function visible(field: Field): Field[] {
  if (!field.inlined || field.type.is !== 'message') return [field];
  return [...messageNamed(field.type.name).byName.values()];
}

function parseField(text: string): Field {
  const [name = '', number = '', type = '', ...marks] = text.split(' ');
  const merge = marks.find(mark => mark.startsWith('merge'));
  return {
    name,
    number: Number(number),
    type: parseType(type.replace(/\*$/, '')),
    pointer: type.endsWith('*'),
    inlined: name === '+',
    ...(merge !== undefined && { mergeKey: merge.slice('merge='.length) }),
    retainKeys: marks.includes('retainKeys'),
  };
}

function parseType(text: string): FieldType {
  if (text.startsWith('[]')) return { is: 'list', of: parseType(text.slice(2)) };
  if (text.startsWith('{}')) return { is: 'map', of: parseType(text.slice(2)) };
  return text.includes('.') ? { is: 'message', name: text } : { is: text as ScalarType };
}
