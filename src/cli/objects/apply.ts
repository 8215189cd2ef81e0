import { codeOf, FimbriaError, messageOf } from '../../base/errors.ts';
import type { AnyObject } from '../../model/meta.ts';
import { print } from '../format/output.ts';
import { byText } from '../format/tables.ts';
import type { Connection } from './connect.ts';
import { resourceName } from './kinds.ts';
import type { ManifestObject } from './manifest.ts';
import { applied, mergePatch, sameJson } from './merge.ts';

/** Where kubectl keeps the manifest that was applied last; shared with it on purpose. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** The namespace of an object, undefined for kinds without. Throws USAGE when `-n` says otherwise. */
function namespaceOf({ object, kind, where }: ManifestObject, given: string | undefined, fallback: string) {
  if (!kind.namespaced) return undefined;
  const own = object.metadata.namespace;
  if (own !== undefined && given !== undefined && own !== given) {
    throw new FimbriaError({
      code: 'USAGE',
      op: 'apply',
      object: where,
      why: `it is in namespace ${own} and -n says ${given}`,
      hint: 'leave one of them away',
    });
  }
  return own ?? fallback;
}

function lastApplied(current: AnyObject): unknown {
  const text = current.metadata.annotations?.[LAST_APPLIED];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Somebody's hand was in it: then nothing is known to have been applied before.
    return undefined;
  }
}

async function applyOne({ client }: Connection, wanted: AnyObject, item: ManifestObject): Promise<string> {
  const { name, namespace } = wanted.metadata;
  let current: AnyObject;
  try {
    current = await client.get<AnyObject>(resourceName(item.kind), name, namespace);
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
    await client.create(annotated(wanted, wanted));
    return 'created';
  }
  const last = lastApplied(current);
  const target = applied(last, wanted, current) as AnyObject;
  // An object may be stored under another served version; asking under its own must not look like a change.
  target.apiVersion = current.apiVersion;
  const isSame = sameJson(current, target);
  if (isSame && (last === undefined || sameJson(last, wanted))) return 'unchanged';
  const patch = mergePatch(current, annotated(target, wanted));
  await client.patch(resourceName(item.kind), name, patch, {
    type: 'merge',
    ...(namespace !== undefined && { namespace }),
  });
  return 'configured';
}

/** JSON as Go writes a map: keys sorted and `<`, `>`, `&` escaped, so that kubectl sees its own form. */
function goJson(value: unknown): string {
  const sorted = JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => byText(a, b)))
      : part,
  );
  return sorted.replaceAll(/[<>&]/g, sign => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** `object` with the applied manifest noted on it. */
function annotated(object: AnyObject, manifest: AnyObject): AnyObject {
  const annotations = { ...object.metadata.annotations, [LAST_APPLIED]: `${goJson(manifest)}\n` };
  return { ...object, metadata: { ...object.metadata, annotations } };
}

/**
 * Applies every object and prints `kind/name created|configured|unchanged` for each. Manifests are checked
 * before anything is changed; an object that the server refuses does not keep the others from being applied.
 * @throws the last refusal, when all were tried; earlier ones are printed
 */
export async function applyAll(
  items: ManifestObject[],
  at: Connection,
  givenNamespace: string | undefined,
): Promise<void> {
  const prepared = items.map(item => {
    if (!item.object.metadata.name) {
      throw new FimbriaError({
        code: 'INVALID',
        op: 'apply',
        object: item.where,
        why: 'metadata.name is missing',
        hint: 'give it a name; generateName works with `fimbria create -f`',
      });
    }
    const namespace = namespaceOf(item, givenNamespace, at.namespace);
    const { annotations: { [LAST_APPLIED]: _, ...annotations } = {}, ...metadata } = item.object.metadata;
    const wanted: AnyObject = {
      ...item.object,
      metadata: {
        ...metadata,
        annotations,
        ...(namespace !== undefined && { namespace }),
      },
    };
    return { item, wanted };
  });
  const failures: unknown[] = [];
  for (const { item, wanted } of prepared) {
    try {
      const outcome = await applyOne(at, wanted, item);
      await print(`${resourceName(item.kind)}/${wanted.metadata.name} ${outcome}\n`);
    } catch (error) {
      failures.push(error);
    }
  }
  const last = failures.pop();
  for (const error of failures) process.stderr.write(`fimbria: ${messageOf(error)}\n`);
  if (last !== undefined) throw last;
}

/** Creates every object; one that exists already fails. */
export async function createAll(
  items: ManifestObject[],
  at: Connection,
  givenNamespace: string | undefined,
): Promise<void> {
  for (const item of items) {
    const namespace = namespaceOf(item, givenNamespace, at.namespace);
    const metadata = { ...item.object.metadata, ...(namespace !== undefined && { namespace }) };
    const made = await at.client.create<AnyObject>({ ...item.object, metadata });
    await print(`${resourceName(item.kind)}/${made.metadata.name} created\n`);
  }
}
