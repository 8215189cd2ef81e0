import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { applySet } from './set.ts';

/** A tree of Helm values as YAML gives it. */
export interface Values {
  [key: string]: unknown;
}

export function isTree(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Lays `over` upon `base` as Helm does: maps merge deeply, everything else (lists too) replaces, null deletes.
 * Pure: neither argument is changed.
 */
export function mergeValues(base: Values, over: Values): Values {
  const result: Values = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete result[key];
    else if (isTree(value)) {
      const below = result[key];
      result[key] = mergeValues(isTree(below) ? below : {}, value);
    } else result[key] = value;
  }
  return result;
}

/** Parses one values document. `name` stands in errors. Throws BAD_VALUES. */
export function parseValues(text: string, name: string): Values {
  let tree: unknown;
  try {
    tree = parse(text, { uniqueKeys: true });
  } catch (error) {
    const why = messageOf(error).split('\n')[0]!.replace(/:$/, '');
    throw new FimbriaError({ code: 'BAD_VALUES', op: 'parse', object: name, why, cause: error });
  }
  if (tree === null || tree === undefined) return {};
  if (!isTree(tree)) {
    throw new FimbriaError({
      code: 'BAD_VALUES',
      op: 'parse',
      object: name,
      why: 'the document is not a map of values',
    });
  }
  return tree;
}

/**
 * The values of `files` merged left to right over `base`, then `sets` (Helm's `--set` syntax) applied in order.
 * Says nothing about which keys make sense: see `valuesToFlat`. Throws BAD_VALUES.
 */
export function loadValues(files: readonly string[], sets: readonly string[], base: Values = {}): Values {
  let values = base;
  for (const file of files) {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new FimbriaError({
        code: 'BAD_VALUES',
        op: 'read',
        object: `values file ${file}`,
        why: messageOf(error),
        cause: error,
      });
    }
    values = mergeValues(values, parseValues(text, file));
  }
  return sets.reduce(applySet, values);
}
