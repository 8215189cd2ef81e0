import { codeOf, FimbriaError } from '../../base/errors.ts';
import type { Kind } from '../../model/kinds.ts';
import type { AnyObject } from '../../model/meta.ts';
import { print } from '../format/output.ts';
import type { Connection } from './connect.ts';
import { parseSelection, resourceName } from './kinds.ts';
import type { ManifestObject } from './manifest.ts';

/** How often a deleted object is looked for. */
const POLL_INTERVAL_MS = 200;

export interface DeleteOptions {
  all?: boolean;
  allNamespaces?: boolean;
  selector?: string;
  ignoreNotFound?: boolean;
  gracePeriod?: number;
  now?: boolean;
  wait: boolean;
  timeoutMs: number;
}

/** One object by name. */
interface Target {
  kind: Kind;
  name: string;
  namespace: string | undefined;
}

/** What the words after a changing verb mean. Throws USAGE when they name nothing. */
async function resolveTargets(
  verb: string,
  words: string[],
  at: Connection,
  options: { all?: boolean; allNamespaces?: boolean; selector?: string },
): Promise<Target[]> {
  const targets: Target[] = [];
  for (const { kind, names } of parseSelection(words)) {
    const namespace = kind.namespaced ? at.namespace : undefined;
    if (names.length > 0) {
      targets.push(...names.map(name => ({ kind, name, namespace })));
      continue;
    }
    if (!options.all && !options.selector) {
      throw new FimbriaError({
        code: 'USAGE',
        op: verb,
        object: kind.plural,
        why: 'no name is given',
        hint: 'name objects, or select them with -l or --all',
      });
    }
    const { items } = await at.client.list<AnyObject>(resourceName(kind), {
      ...(namespace !== undefined && !options.allNamespaces && { namespace }),
      ...(options.selector && { labelSelector: options.selector }),
    });
    targets.push(
      ...items.map(({ metadata }) => ({ kind, name: metadata.name, namespace: metadata.namespace })),
    );
  }
  return targets;
}

async function waitUntilGone(
  { kind, name, namespace }: Target,
  uid: string | undefined,
  at: Connection,
  until: number,
) {
  for (;;) {
    let left: AnyObject;
    try {
      left = await at.client.get<AnyObject>(resourceName(kind), name, namespace);
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return;
      throw error;
    }
    // Somebody made a new one of the same name: the old one is gone.
    if (uid !== undefined && left.metadata.uid !== uid) return;
    if (performance.now() >= until) {
      const finalizers = left.metadata.finalizers ?? [];
      throw new FimbriaError({
        code: 'TIMEOUT',
        op: 'delete',
        object: `${resourceName(kind)} ${name}`,
        why: finalizers.length > 0 ? `it waits for ${finalizers.join(', ')}` : 'it is still there',
        hint: 'wait longer with --timeout, or do not with --wait=false',
      });
    }
    await new Promise(resolve => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

async function deleteTargets(targets: Target[], at: Connection, options: DeleteOptions): Promise<void> {
  const until = performance.now() + options.timeoutMs;
  const gracePeriodSeconds = options.now ? 1 : options.gracePeriod;
  const going: { target: Target; uid: string | undefined }[] = [];
  for (const target of targets) {
    const { kind, name, namespace } = target;
    const where = namespace === undefined ? {} : { namespace };
    const uid = options.wait
      ? await at.client.get<AnyObject>(resourceName(kind), name, namespace).then(
          object => object.metadata.uid,
          () => undefined,
        )
      : undefined;
    const wasThere = await at.client.delete(resourceName(kind), name, {
      ...where,
      ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
      propagationPolicy: 'Background',
    });
    if (!wasThere) {
      if (options.ignoreNotFound) continue;
      throw new FimbriaError({
        code: 'NOT_FOUND',
        op: 'delete',
        object: `${resourceName(kind)} ${name}`,
        why: namespace === undefined ? 'there is none' : `there is none in namespace ${namespace}`,
        hint: 'see `fimbria get`, or use --ignore-not-found',
      });
    }
    await print(`${resourceName(kind)} "${name}" deleted\n`);
    going.push({ target, uid });
  }
  if (options.wait) for (const { target, uid } of going) await waitUntilGone(target, uid, at, until);
}

/** `delete KIND NAME…`, by name, label or all. Waits until they are gone. */
export async function deleteSelected(words: string[], at: Connection, options: DeleteOptions): Promise<void> {
  await deleteTargets(await resolveTargets('delete', words, at, options), at, options);
}

/** `delete -f`: the objects of a manifest, last first, since later ones tend to need earlier ones. */
export async function deleteManifest(
  items: ManifestObject[],
  at: Connection,
  options: DeleteOptions,
): Promise<void> {
  const targets = items.map(({ kind, object: { metadata } }) => ({
    kind,
    name: metadata.name,
    namespace: kind.namespaced ? (metadata.namespace ?? at.namespace) : undefined,
  }));
  await deleteTargets(targets.toReversed(), at, options);
}

/** Changes to labels or annotations: `key=value` sets, `key-` removes. Throws USAGE for anything else. */
export function parseChanges(words: string[]): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const word of words) {
    const equals = word.indexOf('=');
    if (equals > 0) changes[word.slice(0, equals)] = word.slice(equals + 1);
    else if (equals < 0 && word.endsWith('-') && word.length > 1) changes[word.slice(0, -1)] = null;
    else {
      throw new FimbriaError({
        code: 'USAGE',
        op: 'use',
        object: `'${word}'`,
        why: 'it is neither KEY=VALUE nor KEY-',
        hint: 'KEY=VALUE sets, KEY- removes',
      });
    }
  }
  return changes;
}

/** `label` and `annotate`: words are `KIND NAME… KEY=VALUE… KEY-…` or `KIND/NAME … KEY=VALUE…`. */
export async function changeMetadata(
  field: 'labels' | 'annotations',
  words: string[],
  at: Connection,
  options: { overwrite?: boolean; all?: boolean; selector?: string },
): Promise<void> {
  const [verb, done] = field === 'labels' ? ['label', 'labeled'] : ['annotate', 'annotated'];
  const isChange = (word: string): boolean => word.includes('=') || word.endsWith('-');
  const split = words.findIndex(isChange);
  if (split <= 0) {
    throw new FimbriaError({
      code: 'USAGE',
      op: verb,
      object: words.join(' '),
      why: 'no change is given',
      hint: 'write KIND NAME KEY=VALUE, or KEY- to remove',
    });
  }
  const changes = parseChanges(words.slice(split));
  for (const { kind, name, namespace } of await resolveTargets(verb, words.slice(0, split), at, options)) {
    const object = await at.client.get<AnyObject>(resourceName(kind), name, namespace);
    const current = object.metadata[field] ?? {};
    const real = Object.entries(changes).filter(([key, value]) => (current[key] ?? null) !== value);
    const taken = real.find(([key, value]) => value !== null && current[key] !== undefined);
    if (taken !== undefined && !options.overwrite) {
      throw new FimbriaError({
        code: 'CONFLICT',
        op: verb,
        object: `${resourceName(kind)}/${name}`,
        why: `'${taken[0]}' has the value '${current[taken[0]]}' already`,
        hint: 'use --overwrite to replace it',
      });
    }
    if (real.length === 0) {
      await print(`${resourceName(kind)}/${name} not ${done}\n`);
      continue;
    }
    const patch = { metadata: { [field]: Object.fromEntries(real) } };
    await at.client.patch(resourceName(kind), name, patch, {
      type: 'merge',
      ...(namespace !== undefined && { namespace }),
    });
    const removedOnly = field === 'labels' && real.every(([, value]) => value === null);
    await print(`${resourceName(kind)}/${name} ${removedOnly ? 'unlabeled' : done}\n`);
  }
}
