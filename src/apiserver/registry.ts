import { randomInt, randomUUID } from 'node:crypto';
import { timestamp } from '../base/time.ts';
import { apiVersionOf, findKind, type Kind } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';
import { applyDefaults, resetForCreate } from './defaults.ts';
import { type DeletePlan, type DeleteRequest, planDelete } from './deletion.ts';
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  modified,
  notFound,
  unsupportedMediaType,
} from './failure.ts';
import { applyPatch, patchTypesOf } from './patch/apply.ts';
import { isObject, isTooDeep, type JsonObject, jsonEqual, MAX_DEPTH, withoutNulls } from './patch/json.ts';
import type { Store } from './store.ts';
import { validate } from './validate.ts';
import { updateFaults } from './validate-update.ts';

/** What every request that changes something may ask for. */
export interface WriteRequest {
  /** The version of the API that the client speaks; the stored shape is the same. */
  version: string;
  dryRun: boolean;
  /** What becomes of fields that the kind does not have. */
  fieldValidation: 'Strict' | 'Warn' | 'Ignore';
  /** Where warnings for the person behind the client go. */
  warn(text: string): void;
}

/** Which object: `namespace` is empty for kinds that have none. */
export interface ObjectKey {
  kind: Kind;
  namespace: string;
  name: string;
}

export type Subresource = 'status' | undefined;

const NAMESPACE = findKind('Namespace')!;
const SUFFIX_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 5;
const LONGEST_BASE = 63 - SUFFIX_LENGTH;
/** Namespaces that the cluster cannot be without. */
const IMMORTAL_NAMESPACES = ['default', 'kube-system', 'kube-public'];
/** What of metadata is read before everything is checked. */
const TEXT_FIELDS = ['name', 'generateName', 'namespace', 'uid', 'resourceVersion'];
/** Kubernetes' own kinds whose updates must name a resourceVersion, as all custom ones must. */
const CONDITIONAL_KINDS = ['Lease'];

/**
 * The rules of create, update, patch and delete, over a {@link Store}. Synchronous: a request is one step, nobody sees
 * half of it. Every failure is an ApiFailure and has changed nothing.
 */
export class Registry {
  readonly #store: Store;
  readonly #now: () => Date;

  constructor(store: Store, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#now = now;
  }

  /** @throws ApiFailure 404 */
  get({ kind, namespace, name }: ObjectKey): AnyObject {
    const object = this.#store.get(kind, namespace, name);
    if (!object) throw notFound(kind, name);
    return object;
  }

  create(kind: Kind, namespace: string, body: unknown, request: WriteRequest): AnyObject {
    const given = this.#accept(kind, namespace, body, request);
    const { metadata } = given;
    if (metadata.resourceVersion) {
      throw badRequest('resourceVersion should not be set on objects to be created');
    }
    const generated = !metadata.name && metadata.generateName !== undefined;
    if (generated) metadata.name = generateName(metadata.generateName!);
    this.#checkNamespace(kind, namespace, metadata.name);
    delete metadata.deletionTimestamp;
    delete metadata.deletionGracePeriodSeconds;
    metadata.uid = randomUUID();
    metadata.creationTimestamp = timestamp(this.#now());
    if (kind.hasGeneration) metadata.generation = 1;
    else delete metadata.generation;
    const object = this.#checked(kind, given, request);
    resetForCreate(kind, object);
    applyDefaults(kind, object);
    if (this.#store.get(kind, namespace, metadata.name)) throw alreadyExists(kind, metadata.name, generated);
    return request.dryRun ? object : this.#store.put(kind, object);
  }

  update(key: ObjectKey, subresource: Subresource, body: unknown, request: WriteRequest): AnyObject {
    const object = this.#accept(key.kind, key.namespace, body, request);
    if (!object.metadata.name) throw badRequest('name must be provided');
    if (object.metadata.name !== key.name) {
      throw badRequest(
        `the name of the object (${object.metadata.name}) does not match the name on the URL (${key.name})`,
      );
    }
    const old = this.get(key);
    if (!object.metadata.resourceVersion && (key.kind.custom || CONDITIONAL_KINDS.includes(key.kind.kind))) {
      throw invalid(key.kind, key.name, [
        {
          field: 'metadata.resourceVersion',
          type: 'Invalid value',
          value: 0,
          detail: 'must be specified for an update',
        },
      ]);
    }
    return this.#replace(key, subresource, old, object, request);
  }

  /** @param contentType one of {@link patchTypesOf} */
  patch(
    key: ObjectKey,
    subresource: Subresource,
    contentType: string,
    patch: unknown,
    request: WriteRequest,
  ): AnyObject {
    const accepted = patchTypesOf(key.kind);
    if (!accepted.includes(contentType)) throw unsupportedMediaType(accepted);
    const old = this.get(key);
    const target = { ...old, apiVersion: apiVersionOf(key.kind, request.version) };
    const patched = applyPatch(key.kind, target as unknown as JsonObject, contentType, patch);
    if (isTooDeep(patched)) throw badRequest(`the patched object is nested deeper than ${MAX_DEPTH} levels`);
    const object = this.#accept(key.kind, key.namespace, patched, request);
    if (object.metadata.name !== key.name) {
      throw invalid(key.kind, key.name, [
        {
          field: 'metadata.name',
          type: 'Invalid value',
          value: object.metadata.name,
          detail: 'field is immutable',
        },
      ]);
    }
    return this.#replace(key, subresource, old, object, request);
  }

  /** Deletes, or begins to: finalizers and a Pod's grace period come first. `gone` says which. */
  delete(key: ObjectKey, options: DeleteRequest, dryRun: boolean): { object: AnyObject; gone: boolean } {
    const old = this.get(key);
    this.#checkPreconditions(key, old, options);
    if (key.kind.kind === 'Namespace' && IMMORTAL_NAMESPACES.includes(key.name)) {
      throw forbidden(key.kind, key.name, 'this namespace may not be deleted');
    }
    const plan: DeletePlan = planDelete(key.kind, old, options, this.#now());
    if (dryRun || plan.action === 'nothing') return { object: old, gone: plan.action === 'remove' };
    if (plan.action === 'mark') return { object: this.#store.put(key.kind, plan.object), gone: false };
    return { object: this.#remove(key), gone: true };
  }

  /** Changes an object by the server's own hand, without the rules for clients. Nothing happens when nothing changes. */
  amend(key: ObjectKey, change: (object: AnyObject) => void, dryRun: boolean): AnyObject {
    const old = this.get(key);
    const object = structuredClone(old);
    change(object);
    return dryRun || jsonEqual(object, old) ? object : this.#store.put(key.kind, object);
  }

  /** Fails unless `version` is absent or the present one. */
  checkVersion(key: ObjectKey, version: string | undefined): void {
    if (version && version !== this.get(key).metadata.resourceVersion) throw modified(key.kind, key.name);
  }

  /** The body as an object of this kind in this namespace, a copy of our own, with the stored apiVersion. */
  #accept(kind: Kind, namespace: string, body: unknown, request: WriteRequest): AnyObject {
    if (!isObject(body)) throw badRequest('the body of the request must be an object');
    const { apiVersion, kind: name } = body;
    if (typeof name !== 'string' || name === '') {
      throw badRequest(`Object 'Kind' is missing in '${JSON.stringify(body).slice(0, 200)}'`);
    }
    const expected = apiVersionOf(kind, request.version);
    if (name !== kind.kind || apiVersion !== expected) {
      throw badRequest(
        `the API version in the data (${textOf(apiVersion)}, Kind=${name}) does not match the expected API version (${expected}, Kind=${kind.kind})`,
      );
    }
    const metadata = body['metadata'] ?? {};
    if (!isObject(metadata)) {
      throw invalid(kind, '', [
        { field: 'metadata', type: 'Invalid value', value: metadata, detail: 'must be an object' },
      ]);
    }
    for (const field of TEXT_FIELDS) {
      if (typeof (metadata[field] ?? '') === 'string') continue;
      throw badRequest(`metadata.${field} must be a string, not ${textOf(metadata[field])}`);
    }
    if ((metadata['namespace'] ?? namespace) !== namespace) {
      throw badRequest(
        'the namespace of the provided object does not match the namespace sent on the request',
      );
    }
    const object = withoutNulls({ ...body, apiVersion: kind.apiVersion, metadata }) as unknown as AnyObject;
    if (kind.namespaced) object.metadata.namespace = namespace;
    else delete object.metadata.namespace;
    const meta = object.metadata as unknown as JsonObject;
    // There is no server-side apply that would keep them, and links went out of use.
    delete meta['managedFields'];
    delete meta['selfLink'];
    return object;
  }

  /** The object without the fields that its kind does not have; about these the client hears as it asked to. */
  #checked(kind: Kind, given: AnyObject, request: WriteRequest): AnyObject {
    const { faults, object, unknown } = validate(kind, given);
    if (faults.length > 0) throw invalid(kind, given.metadata.name ?? '', faults);
    if (request.fieldValidation === 'Strict' && unknown.length > 0) {
      const fields = unknown.map(field => `unknown field "${field}"`).join(', ');
      throw badRequest(
        `${kind.kind} in version "${request.version}" cannot be handled as a ${kind.kind}: strict decoding error: ${fields}`,
      );
    }
    if (request.fieldValidation === 'Warn') {
      for (const field of unknown) request.warn(`unknown field "${field}"`);
    }
    if (kind.kind === 'NetworkPolicy') request.warn('NetworkPolicy is stored but not enforced yet');
    return object;
  }

  #replace(
    key: ObjectKey,
    subresource: Subresource,
    old: AnyObject,
    given: AnyObject,
    request: WriteRequest,
  ): AnyObject {
    const { kind, name } = key;
    if (given.metadata.uid && given.metadata.uid !== old.metadata.uid) {
      throw conflict(
        kind,
        name,
        `Precondition failed: UID in precondition: ${given.metadata.uid}, UID in object meta: ${old.metadata.uid}`,
      );
    }
    const { resourceVersion } = given.metadata;
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) throw modified(kind, name);
    const body = this.#checked(kind, given, request);
    const next = subresource === 'status' ? withStatus(kind, old, body) : withoutStatus(kind, old, body);
    keepSystemFields(next, old);
    applyDefaults(kind, next);
    const faults = updateFaults(kind, next, old);
    if (faults.length > 0) throw invalid(kind, name, faults);
    if (jsonEqual(next, old)) return old;
    if (kind.hasGeneration && !jsonEqual(specOf(kind, next), specOf(kind, old))) {
      next.metadata.generation = (old.metadata.generation ?? 0) + 1;
    }
    if (request.dryRun) return next;
    if (!isFinished(kind, next)) return this.#store.put(kind, next);
    this.#remove(key);
    return next;
  }

  #remove({ kind, namespace, name }: ObjectKey): AnyObject {
    return this.#store.remove(kind, namespace, name);
  }

  #checkPreconditions(key: ObjectKey, old: AnyObject, { preconditions }: DeleteRequest): void {
    const { uid, resourceVersion } = preconditions ?? {};
    const failed = (what: string, asked: string, has: string | undefined): Error =>
      conflict(
        key.kind,
        key.name,
        `Precondition failed: ${what} in precondition: ${asked}, ${what} in object meta: ${has}`,
      );
    if (uid !== undefined && uid !== old.metadata.uid) throw failed('UID', uid, old.metadata.uid);
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
      throw failed('ResourceVersion', resourceVersion, old.metadata.resourceVersion);
    }
  }

  #checkNamespace(kind: Kind, namespace: string, name: string): void {
    if (!kind.namespaced) return;
    const found = this.#store.get(NAMESPACE, '', namespace);
    if (!found) throw notFound(NAMESPACE, namespace);
    if (!found.metadata.deletionTimestamp) return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    throw forbidden(kind, name, why, [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ]);
  }
}

/** Any value of a client's as a short text: its own conversion to one is not to be trusted. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : String(JSON.stringify(value)).slice(0, 200);
}

function generateName(base: string): string {
  let name = base.slice(0, LONGEST_BASE);
  for (let i = 0; i < SUFFIX_LENGTH; i++) name += SUFFIX_ALPHABET[randomInt(SUFFIX_ALPHABET.length)];
  return name;
}

/** What a write to the object itself makes of it: its status stays where that has its own door. */
function withoutStatus(kind: Kind, old: AnyObject, body: AnyObject): AnyObject {
  if (!kind.hasStatus) return body;
  const { status: _ignored, ...next } = body;
  return (old['status'] === undefined ? next : { ...next, status: old['status'] }) as AnyObject;
}

/** What a write to the status makes of an object: of custom kinds nothing else, of Kubernetes' own also labels and the like. */
function withStatus(kind: Kind, old: AnyObject, body: AnyObject): AnyObject {
  const { status: _replaced, ...rest } = old;
  const metadata = kind.custom
    ? { ...old.metadata }
    : { ...body.metadata, ...pick(old.metadata, ['ownerReferences', 'finalizers']) };
  const next = { ...structuredClone(rest), metadata } as AnyObject;
  if (body['status'] !== undefined) next['status'] = body['status'];
  return next;
}

function pick<T extends object>(object: T, keys: (keyof T)[]): Partial<T> {
  return Object.fromEntries(
    keys.filter(key => object[key] !== undefined).map(key => [key, object[key]]),
  ) as Partial<T>;
}

const SYSTEM_FIELDS = [
  'uid',
  'creationTimestamp',
  'generation',
  'generateName',
  'resourceVersion',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
] as const;

function keepSystemFields(next: AnyObject, old: AnyObject): void {
  for (const field of SYSTEM_FIELDS) {
    if (old.metadata[field] === undefined) delete next.metadata[field];
    else Object.assign(next.metadata, { [field]: old.metadata[field] });
  }
}

/** What generation counts the changes of. */
function specOf(kind: Kind, object: AnyObject): unknown {
  const { metadata: _metadata, ...rest } = object;
  if (kind.hasStatus) delete rest['status'];
  return rest;
}

/** Its last finalizer has gone and nothing else keeps it. A namespace waits for its contents. */
function isFinished(kind: Kind, { metadata }: AnyObject): boolean {
  return (
    kind !== NAMESPACE &&
    metadata.deletionTimestamp !== undefined &&
    (metadata.finalizers ?? []).length === 0 &&
    (metadata.deletionGracePeriodSeconds ?? 0) === 0
  );
}
