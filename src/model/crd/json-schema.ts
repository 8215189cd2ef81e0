import { z } from 'zod';

/** A structural schema as CustomResourceDefinitions have it. */
export interface CrdSchema {
  type?: string;
  description?: string;
  properties?: Record<string, CrdSchema>;
  additionalProperties?: CrdSchema;
  items?: CrdSchema;
  required?: string[];
  'x-kubernetes-preserve-unknown-fields'?: true;
  'x-kubernetes-validations'?: ValidationRule[];
  [keyword: string]: unknown;
}

/** One rule in CEL. One that speaks of `oldSelf` is about updates only. */
export interface ValidationRule {
  rule: string;
  /** What is wrong, in words that follow the field's path. */
  message: string;
  /** The field that is blamed, below the one that the rule stands at: `.maskSize`. */
  fieldPath?: string;
}

/** Keywords in the order in which people read them. */
const ORDER = [
  'description',
  'type',
  'format',
  'enum',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'anyOf',
  'items',
  'required',
  'properties',
  'additionalProperties',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-validations',
];

/** What of a zod schema a CustomResourceDefinition can say. What it cannot, only the embedded server enforces. */
export function toCrdSchema(schema: z.ZodType): CrdSchema {
  return structural(z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }) as CrdSchema);
}

function structural(schema: CrdSchema): CrdSchema {
  const {
    additionalProperties,
    properties,
    items,
    $schema: _dialect,
    propertyNames: _keys,
    ...rest
  } = schema;
  const result: CrdSchema = { ...rest };
  // What zod says of every integer is what a JSON number holds anyway.
  if (result['maximum'] === Number.MAX_SAFE_INTEGER) delete result['maximum'];
  if (result['minimum'] === Number.MIN_SAFE_INTEGER) delete result['minimum'];
  if (items) result.items = structural(items);
  if (properties) {
    result.properties = Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [key, structural(value)]),
    );
  }
  const open = isSchema(additionalProperties) && Object.keys(additionalProperties).length === 0;
  if (open) result['x-kubernetes-preserve-unknown-fields'] = true;
  else if (isSchema(additionalProperties)) result.additionalProperties = structural(additionalProperties);
  if (open && Object.keys(result.properties ?? {}).length === 0) delete result.properties;
  return ordered(result);
}

function isSchema(value: unknown): value is CrdSchema {
  return typeof value === 'object' && value !== null;
}

function ordered(schema: CrdSchema): CrdSchema {
  const rank = (key: string): number => (ORDER.indexOf(key) < 0 ? ORDER.length : ORDER.indexOf(key));
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([, value]) => value !== undefined)
      .sort(([a], [b]) => rank(a) - rank(b)),
  );
}
