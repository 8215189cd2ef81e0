import type { IncomingMessage, ServerResponse } from 'node:http';
import { apiVersionOf, type Kind } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';
import type { DeleteRequest } from './deletion.ts';
import {
  aggregated,
  aggregatedType,
  aggregatedVersion,
  coreVersions,
  group,
  groupList,
  isReadOnly,
  resourceList,
} from './discovery.ts';
import { badRequest, methodNotAllowed, noSuchResource, unsupportedMediaType } from './failure.ts';
import { type Filter, makeFilter } from './filter.ts';
import { contentType, readBody, sendJson } from './http.ts';
import { listPage } from './list.ts';
import { PATCH_TYPES } from './patch/apply.ts';
import { isObject } from './patch/json.ts';
import type { ObjectKey, Registry, WriteRequest } from './registry.ts';
import { parseRoute, type Route } from './route.ts';
import type { Store } from './store.ts';
import { bindPod, createdStatus, deletedStatus, evictPod, scaleOf, writeScale } from './subresources.ts';
import { type IncludeObject, table } from './table.ts';
import { streamWatch } from './watch.ts';

const APPLY_PATCH = 'application/apply-patch+yaml';
const DEFAULT_WATCH_SECONDS = 1800;

type CollectionRoute = Extract<Route, { to: 'collection' }>;
type ObjectRoute = Extract<Route, { to: 'object' }>;

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
}

export interface ApiOptions {
  store: Store;
  registry: Registry;
  /** How often watches that asked for it are told the present version. */
  bookmarkIntervalMs: number;
}

/** Everything below `/api` and `/apis`. */
export class Api {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #bookmarkIntervalMs: number;
  readonly #watches = new Set<() => void>();

  constructor(options: ApiOptions) {
    this.#store = options.store;
    this.#registry = options.registry;
    this.#bookmarkIntervalMs = options.bookmarkIntervalMs;
  }

  /** Answers one request. @throws ApiFailure when it is refused, before anything was sent */
  async handle(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const exchange: Exchange = { request, response, query: url.searchParams };
    const route = parseRoute(url.pathname);
    switch (route.to) {
      case 'collection':
        return this.#collection(exchange, route);
      case 'object':
        return this.#object(exchange, route);
    }
    const answer = describe(route);
    if (answer === undefined) throw noSuchResource();
    if (request.method !== 'GET') throw methodNotAllowed();
    response.setHeader('vary', 'accept');
    const version = aggregatedVersion(request.headers.accept ?? '');
    if (version !== undefined && (route.to === 'core-versions' || route.to === 'group-list')) {
      const whole = aggregated(version, route.to === 'group-list' ? 'apis' : 'api');
      return sendJson(response, 200, whole, aggregatedType(version));
    }
    sendJson(response, 200, answer);
  }

  /** Ends all watches, as a server does that goes away. */
  endWatches(): void {
    for (const end of [...this.#watches]) end();
  }

  async #collection(exchange: Exchange, route: CollectionRoute): Promise<void> {
    const { request, query } = exchange;
    const { kind, version, namespace } = route;
    switch (request.method) {
      case 'GET': {
        const filter = filterOf(kind, namespace, undefined, query);
        if (isWatch(query)) return await this.#watch(exchange, kind, version, filter);
        return await this.#list(exchange, route, filter);
      }
      case 'POST': {
        writable(kind);
        if (kind.namespaced && namespace === '')
          throw badRequest('namespace is required to create an object');
        const body = await readBody(request);
        const object = this.#registry.create(kind, namespace, body, writeRequest(exchange, version));
        return await this.#send(exchange, 201, kind, version, object);
      }
      case 'DELETE': {
        writable(kind);
        const options = await deleteRequest(exchange);
        const filter = filterOf(kind, namespace, undefined, query);
        const items = this.#store.list(kind).filter(filter);
        for (const { metadata } of items) {
          const key = { kind, namespace: metadata.namespace ?? '', name: metadata.name };
          this.#registry.delete(key, options, isDryRun(query));
        }
        await this.#store.durable();
        return sendJson(exchange.response, 200, {
          kind: `${kind.kind}List`,
          apiVersion: apiVersionOf(kind, version),
          metadata: { resourceVersion: String(this.#store.version) },
          items: items.map(item => asVersion(kind, version, item)),
        });
      }
      default:
        throw methodNotAllowed();
    }
  }

  async #object(exchange: Exchange, route: ObjectRoute): Promise<void> {
    const { request, query } = exchange;
    const { kind, version, namespace, name, subresource } = route;
    const key: ObjectKey = { kind, namespace, name };
    if (subresource !== undefined && subresource !== 'status') return this.#subresource(exchange, route, key);
    if (subresource === 'status' && !kind.hasStatus) throw noSuchResource();
    switch (request.method) {
      case 'GET':
        if (isWatch(query))
          return await this.#watch(exchange, kind, version, filterOf(kind, namespace, name, query));
        return await this.#send(exchange, 200, kind, version, this.#registry.get(key));
      case 'PUT': {
        writable(kind);
        const body = await readBody(request);
        const object = this.#registry.update(key, subresource, body, writeRequest(exchange, version));
        return await this.#send(exchange, 200, kind, version, object);
      }
      case 'PATCH': {
        writable(kind);
        const { type, patch } = await readPatch(request);
        const object = this.#registry.patch(key, subresource, type, patch, writeRequest(exchange, version));
        return await this.#send(exchange, 200, kind, version, object);
      }
      case 'DELETE': {
        writable(kind);
        if (subresource !== undefined) throw methodNotAllowed();
        const options = await deleteRequest(exchange);
        const { object, gone } = this.#registry.delete(key, options, isDryRun(query));
        if (!gone) return await this.#send(exchange, 200, kind, version, object);
        await this.#store.durable();
        return sendJson(exchange.response, 200, deletedStatus(kind, object));
      }
      default:
        throw methodNotAllowed();
    }
  }

  async #subresource(exchange: Exchange, route: ObjectRoute, key: ObjectKey): Promise<void> {
    const { request, response, query } = exchange;
    const { kind, subresource } = route;
    const dryRun = isDryRun(query);
    if (subresource === 'scale' && kind.hasScale) {
      if (request.method === 'GET') return sendJson(response, 200, scaleOf(this.#registry.get(key)));
      if (request.method !== 'PUT' && request.method !== 'PATCH') throw methodNotAllowed();
      const { type, patch } =
        request.method === 'PUT'
          ? { type: undefined, patch: await readBody(request) }
          : await readPatch(request);
      const scale = writeScale(this.#registry, key, patch, type, dryRun);
      await this.#store.durable();
      return sendJson(response, 200, scale);
    }
    if (kind.kind !== 'Pod' || (subresource !== 'binding' && subresource !== 'eviction'))
      throw noSuchResource();
    if (request.method !== 'POST') throw methodNotAllowed();
    const body = await readBody(request);
    if (subresource === 'binding') bindPod(this.#registry, key, body, dryRun);
    else evictPod(this.#registry, key, body, dryRun);
    await this.#store.durable();
    sendJson(response, 201, createdStatus());
  }

  async #list(exchange: Exchange, { kind, version }: CollectionRoute, filter: Filter): Promise<void> {
    const { query, response, request } = exchange;
    const { items, metadata } = listPage(this.#store, kind, {
      filter,
      limit: positiveInteger(query, 'limit'),
      continue: query.get('continue') ?? undefined,
      resourceVersion: query.get('resourceVersion') ?? undefined,
      resourceVersionMatch: query.get('resourceVersionMatch') ?? undefined,
    });
    const objects = items.map(item => asVersion(kind, version, item));
    const list = wantsTable(request)
      ? table(kind, objects, metadata, includeObject(query), new Date())
      : { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind, version), metadata, items: objects };
    await this.#store.durable();
    sendJson(response, 200, list);
  }

  async #watch(
    { request, response, query }: Exchange,
    kind: Kind,
    version: string,
    filter: Filter,
  ): Promise<void> {
    const seconds = positiveInteger(query, 'timeoutSeconds') ?? DEFAULT_WATCH_SECONDS;
    const asTable = wantsTable(request);
    const include = includeObject(query);
    const encode = (object: AnyObject): unknown => {
      const seen = asVersion(kind, version, object);
      return asTable ? table(kind, [seen], {}, include, new Date()) : seen;
    };
    await this.#store.durable();
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const end = streamWatch(
      this.#store,
      {
        kind,
        filter,
        resourceVersion: query.get('resourceVersion') ?? '',
        bookmarks: isTrue(query.get('allowWatchBookmarks')),
        sendInitialEvents: isTrue(query.get('sendInitialEvents')),
        timeoutMs: seconds * 1000,
        bookmarkIntervalMs: this.#bookmarkIntervalMs,
      },
      response,
      { name: `${version} ${asTable ? `table ${include}` : 'object'}`, encode },
    );
    this.#watches.add(end);
    response.on('close', () => this.#watches.delete(end));
  }

  /** Answers with an object, when what it shows is durable. */
  async #send(
    exchange: Exchange,
    status: number,
    kind: Kind,
    version: string,
    object: AnyObject,
  ): Promise<void> {
    const { request, response, query } = exchange;
    const seen = asVersion(kind, version, object);
    const metadata = { resourceVersion: object.metadata.resourceVersion };
    const answer = wantsTable(request)
      ? table(kind, [seen], metadata, includeObject(query), new Date())
      : seen;
    await this.#store.durable();
    sendJson(response, status, answer);
  }
}

function describe(route: Exclude<Route, CollectionRoute | ObjectRoute>): unknown {
  switch (route.to) {
    case 'core-versions':
      return coreVersions();
    case 'group-list':
      return groupList();
    case 'group':
      return group(route.group);
    case 'resource-list':
      return resourceList(route.group, route.version);
  }
}

function writable(kind: Kind): void {
  if (isReadOnly(kind)) throw methodNotAllowed();
}

function asVersion(kind: Kind, version: string, object: AnyObject): AnyObject {
  const apiVersion = apiVersionOf(kind, version);
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

function filterOf(kind: Kind, namespace: string, name: string | undefined, query: URLSearchParams): Filter {
  return makeFilter(kind, {
    namespace,
    name,
    labelSelector: query.get('labelSelector') ?? undefined,
    fieldSelector: query.get('fieldSelector') ?? undefined,
  });
}

function writeRequest({ query, response }: Exchange, version: string): WriteRequest {
  const validation = query.get('fieldValidation') ?? 'Warn';
  if (validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore') {
    throw badRequest(
      `fieldValidation: Unsupported value: "${validation}": supported values: "Ignore", "Warn", "Strict"`,
    );
  }
  const warnings: string[] = [];
  return {
    version,
    dryRun: isDryRun(query),
    fieldValidation: validation,
    warn: text => {
      warnings.push(`299 - ${JSON.stringify(text)}`);
      response.setHeader('warning', warnings);
    },
  };
}

async function readPatch(request: IncomingMessage): Promise<{ type: string; patch: unknown }> {
  const type = contentType(request);
  if (type === APPLY_PATCH) {
    throw unsupportedMediaType([
      ...PATCH_TYPES,
      '(server-side apply is not supported here: apply without --server-side)',
    ]);
  }
  if (!PATCH_TYPES.includes(type)) throw unsupportedMediaType(PATCH_TYPES);
  return { type, patch: await readBody(request, PATCH_TYPES) };
}

async function deleteRequest({ request, query }: Exchange): Promise<DeleteRequest> {
  const body = (await readBody(request)) ?? {};
  if (!isObject(body)) throw badRequest('the body of a deletion must be DeleteOptions');
  const options: DeleteRequest = { ...(body as DeleteRequest) };
  const grace = query.get('gracePeriodSeconds');
  if (grace !== null) options.gracePeriodSeconds = Number(grace);
  const propagation = query.get('propagationPolicy');
  if (propagation !== null)
    options.propagationPolicy = propagation as DeleteRequest['propagationPolicy'] & string;
  const { gracePeriodSeconds, propagationPolicy } = options;
  if (gracePeriodSeconds !== undefined && !Number.isInteger(gracePeriodSeconds)) {
    throw badRequest(`gracePeriodSeconds must be an integer, not ${JSON.stringify(gracePeriodSeconds)}`);
  }
  if (
    propagationPolicy !== undefined &&
    !['Background', 'Foreground', 'Orphan'].includes(propagationPolicy)
  ) {
    throw badRequest(`propagationPolicy must be Background, Foreground or Orphan, not ${propagationPolicy}`);
  }
  return options;
}

function isDryRun(query: URLSearchParams): boolean {
  const value = query.get('dryRun');
  if (value !== null && value !== '' && value !== 'All') {
    throw badRequest(`dryRun: Unsupported value: "${value}": supported values: "All"`);
  }
  return value === 'All';
}

function isWatch(query: URLSearchParams): boolean {
  return isTrue(query.get('watch'));
}

function isTrue(value: string | null): boolean {
  return value === '1' || value === 'true' || value === '';
}

function positiveInteger(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '' || text === '0') return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw badRequest(`${name}: Invalid value: "${text}": must be a non-negative integer`);
  return Number(text);
}

function wantsTable(request: IncomingMessage): boolean {
  return (
    /as=Table/.test(request.headers.accept ?? '') &&
    !/^application\/json(,|$)/.test(request.headers.accept ?? '')
  );
}

function includeObject(query: URLSearchParams): IncludeObject {
  const value = query.get('includeObject') ?? 'Metadata';
  if (value === 'None' || value === 'Object') return value;
  return 'Metadata';
}
