import { codeOf } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { matchesLabels } from '../model/selectors.ts';
import type { KubeObject, LabelSelector, OwnerReference } from '../model/types.ts';

/** The name of an object within its kind: `namespace/name`, `/name` for those without namespace. */
export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

export function splitKey(key: string): { namespace: string; name: string } {
  const at = key.indexOf('/');
  return { namespace: key.slice(0, at), name: key.slice(at + 1) };
}

export function uidOf({ metadata }: KubeObject): string {
  return metadata.uid ?? '';
}

export function isLeaving({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** The owner that looks after an object; there is at most one. */
export function controllerOf({ metadata }: KubeObject): OwnerReference | undefined {
  return metadata.ownerReferences?.find(owner => owner.controller === true);
}

/** The reference that makes `owner` an object's controller. */
export function controllerReference(owner: KubeObject): OwnerReference {
  const { apiVersion, kind, metadata } = owner;
  return {
    apiVersion,
    kind,
    name: metadata.name,
    uid: uidOf(owner),
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Objects told apart by what an owner has to do with them. */
export interface Claims<T> {
  /** The owner's own, and they match its selector. */
  own: T[];
  /** Match, and nobody's: to be taken. */
  adopt: T[];
  /** The owner's own, but do not match any more: to be let go. */
  release: T[];
}

/**
 * What of `objects` an owner with this selector has or shall have. One that is leaving takes and lets go nothing. Pure.
 * @param objects of any namespace
 */
export function claim<T extends KubeObject>(
  owner: KubeObject,
  selector: LabelSelector,
  objects: readonly T[],
): Claims<T> {
  const claims: Claims<T> = { own: [], adopt: [], release: [] };
  for (const object of objects) {
    if (object.metadata.namespace !== owner.metadata.namespace) continue;
    const controller = controllerOf(object);
    const matches = matchesLabels(selector, object.metadata.labels);
    if (controller === undefined) {
      if (matches && !isLeaving(owner) && !isLeaving(object)) claims.adopt.push(object);
    } else if (controller.uid === uidOf(owner)) {
      if (matches || isLeaving(owner)) claims.own.push(object);
      else if (!isLeaving(object)) claims.release.push(object);
    }
  }
  return claims;
}

/** Writes an object's owners, unless it has changed since it was read (CONFLICT). One that is gone is fine. */
export async function writeOwners(
  client: ClusterClient,
  object: KubeObject,
  owners: readonly OwnerReference[],
): Promise<void> {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const patch = { metadata: { uid, resourceVersion, ownerReferences: owners.length > 0 ? owners : null } };
  try {
    await client.patch(object.kind, name, patch, namespace === undefined ? {} : { namespace });
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
  }
}

/** Takes what an owner shall have and lets go what it shall not. */
export async function settleClaims<T extends KubeObject>(
  client: ClusterClient,
  owner: KubeObject,
  { adopt, release }: Claims<T>,
): Promise<void> {
  await Promise.all([
    ...adopt.map(object =>
      writeOwners(client, object, [...(object.metadata.ownerReferences ?? []), controllerReference(owner)]),
    ),
    ...release.map(object =>
      writeOwners(
        client,
        object,
        (object.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== uidOf(owner)),
      ),
    ),
  ]);
}

/** The object as the server has it now; undefined when it is gone. */
export async function getFresh<T extends KubeObject>(
  client: ClusterClient,
  kind: string,
  key: string,
): Promise<T | undefined> {
  const { namespace, name } = splitKey(key);
  try {
    return await client.get<T>(kind, name, namespace === '' ? undefined : namespace);
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** FNV-1a of 32 bits. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

const NAME_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** A 32-bit hash as at most 10 characters that make no words, as Kubernetes has them in names. */
export function hashText(text: string): string {
  return [...String(hash32(text))].map(digit => NAME_ALPHABET[digit.charCodeAt(0) % 27]).join('');
}
