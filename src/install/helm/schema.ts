import { deploymentSettings } from '../../config/deployment.ts';
import { meaninglessPaths } from '../../config/meaningless.ts';
import { type Setting, settings } from '../../config/settings.ts';

type Schema = { [key: string]: unknown };

interface Node {
  schema?: Schema;
  /** Cilium has more below it that means nothing here. */
  open?: boolean;
  below: Map<string, Node>;
}

/**
 * `values.schema.json`: what Helm checks before it renders. Refuses what `valuesToFlat` refuses of a single value: unknown
 * keys, wrong types, features that are not built; combinations are checked by the agent only. Pure.
 */
export function helmSchema(): Schema {
  const root: Node = { below: new Map() };
  for (const path of meaninglessPaths) {
    const node = nodeAt(root, path);
    node.open = true;
  }
  for (const row of deploymentSettings)
    nodeAt(root, row.path).schema = { description: row.doc, ...deploymentType(row.kind) };
  for (const row of settings) nodeAt(root, row.path).schema = { description: row.doc, ...settingType(row) };
  // Helm's own, and what charts that use this one may hand down.
  nodeAt(root, 'global').open = true;
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Values', ...schemaOf(root) };
}

function nodeAt(root: Node, path: string): Node {
  let at = root;
  for (const step of path.split('.')) {
    let next = at.below.get(step);
    if (!next) {
      next = { below: new Map() };
      at.below.set(step, next);
    }
    at = next;
  }
  return at;
}

function schemaOf(node: Node): Schema {
  if (node.schema) return node.schema;
  if (node.below.size === 0) return {};
  const properties = Object.fromEntries([...node.below].map(([key, below]) => [key, schemaOf(below)]));
  return { type: 'object', properties, additionalProperties: node.open === true };
}

function deploymentType(kind: (typeof deploymentSettings)[number]['kind']): Schema {
  switch (kind) {
    case 'boolean':
      return { type: 'boolean' };
    case 'integer':
      return { type: ['integer', 'string'], minimum: 0 };
    case 'text':
      return { type: ['string', 'integer'] };
    case 'list':
      return { type: 'array' };
    case 'table':
      return { type: 'object' };
  }
}

function settingType(row: Setting): Schema {
  const { type, off } = row;
  // Nothing but its absence: Helm drops what is null.
  if (row.status === 'not-yet') return { enum: off!.length > 0 ? off : [null] };
  switch (type.kind) {
    case 'boolean':
      return { enum: [true, false, 'true', 'false'] };
    case 'integer':
      return { type: ['integer', 'string'], minimum: type.min, maximum: type.max };
    case 'choice':
      return { enum: type.values };
    case 'text':
      return { type: 'string', ...(type.pattern ? { pattern: type.pattern.source } : {}) };
    case 'ipv4Range':
      return { type: 'string' };
    case 'ipv4Ranges':
    case 'texts':
      return { type: ['array', 'string'] };
    case 'pools':
    case 'amounts':
      return { type: ['object', 'string'] };
    case 'any':
      return {};
  }
}
