import { FimbriaError } from '../../base/errors.ts';
import { findKind, KINDS, type Kind, kindOf } from '../../model/kinds.ts';
import type { KubeObject } from '../../model/meta.ts';

/** The kind that a person names. Throws UNKNOWN_KIND with the ones there are. */
export function requireKind(name: string): Kind {
  const kind = findKind(name);
  if (kind !== undefined) return kind;
  throw new FimbriaError({
    code: 'UNKNOWN_KIND',
    op: 'find kind',
    object: `'${name}'`,
    why: 'there is none',
    hint: `kinds are ${KINDS.map(known => known.plural).join(', ')}`,
  });
}

/** `pod/web`, `deployment.apps/web`: how one object is named in messages. */
export function resourceName(kind: Kind): string {
  return kind.group === '' ? kind.singular : `${kind.singular}.${kind.group}`;
}

/** The kind of an object of a manifest. Throws INVALID when we do not have it. */
export function kindOfObject(object: KubeObject, where: string): Kind {
  const kind = kindOf(object);
  if (kind !== undefined) return kind;
  throw new FimbriaError({
    code: 'INVALID',
    op: 'read',
    object: where,
    why: `kind ${object.kind} of ${object.apiVersion} is not known`,
    hint: `kinds are ${KINDS.map(known => known.kind).join(', ')}`,
  });
}

/** What a command acts on: a kind and names, from `KIND`, `KIND NAME…` or `KIND/NAME…`. */
export interface Selection {
  kind: Kind;
  names: string[];
}

/**
 * Reads the words after the verb. `KIND,KIND` and a category (`all`, `cilium`) select
 * several kinds. Throws USAGE for a mixture.
 */
export function parseSelection(words: string[]): Selection[] {
  const [first = '', ...rest] = words;
  if (words.some(word => word.includes('/'))) {
    return words.map(word => {
      const [kind = '', name = '', ...more] = word.split('/');
      if (kind === '' || name === '' || more.length > 0) {
        throw new FimbriaError({
          code: 'USAGE',
          op: 'use',
          object: `'${word}'`,
          why: 'names with a kind cannot be mixed with names without',
          hint: 'write KIND NAME… or KIND/NAME…',
        });
      }
      return { kind: requireKind(kind), names: [name] };
    });
  }
  return first.split(',').flatMap(name => {
    const category = KINDS.filter(kind => kind.categories.includes(name));
    const kinds = category.length > 0 ? category : [requireKind(name)];
    return kinds.map(kind => ({ kind, names: rest }));
  });
}
