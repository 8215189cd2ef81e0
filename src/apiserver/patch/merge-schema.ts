import { type FieldType, findMessage, type Message, messageNamed } from '../../model/kubernetes/fields.ts';

/**
 * How strategic merge patches treat a type: Kubernetes' `patchStrategy` and `patchMergeKey` tags.
 * Fields that are not named merge when they are objects and are replaced when they are lists.
 */
export interface MergeSchema {
  fields?: Record<string, MergeSchema>;
  /** This is a list of objects that merge by this field's value. */
  mergeKey?: string;
  /** How the objects of the list merge. */
  item?: MergeSchema;
  /** This is a list of strings or numbers that merges as a set. */
  set?: true;
}

const schemas = new Map<string, MergeSchema>();
const METADATA = messageNamed('meta.v1.ObjectMeta');

/** How objects of a message merge; without one only their metadata is known. */
export function mergeSchemaOf(message: Message | undefined): MergeSchema {
  return message ? schemaOfMessage(message) : { fields: { metadata: schemaOfMessage(METADATA) } };
}

function schemaOfMessage(message: Message): MergeSchema {
  const known = schemas.get(message.name);
  if (known) return known;
  const fields: Record<string, MergeSchema> = {};
  const schema = { fields };
  // Before its fields, for types may hold themselves.
  schemas.set(message.name, schema);
  for (const { name, type, mergeKey } of message.byName.values()) {
    const merging = schemaOfField(type, mergeKey);
    if (merging) fields[name] = merging;
  }
  return schema;
}

function schemaOfField(type: FieldType, mergeKey: string | undefined): MergeSchema | undefined {
  if (type.is === 'message') return schemaOfMessage(messageNamed(type.name));
  if (type.is !== 'list' || mergeKey === undefined) return undefined;
  if (mergeKey === '') return { set: true };
  const item = type.of.is === 'message' ? findMessage(type.of.name) : undefined;
  return { mergeKey, ...(item && { item: schemaOfMessage(item) }) };
}
