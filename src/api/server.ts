import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { z } from 'zod';
import { FimbriaError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { packageVersion } from '../base/paths.ts';
import { ndjsonStream } from './ndjson.ts';
import { openApiDocument } from './openapi.ts';
import { problemOf, statusOf } from './problem.ts';
import { MAX_BODY_BYTES, type Operation, type OperationName, operations } from './schema.ts';
import { listenOnSocket } from './socket.ts';
import type { AgentHandlers, CniRequest, EndpointModel } from './types.ts';

/** What the server needs. `group` may connect beside root; `mode` replaces 0600 or, with a group, 0660. */
export interface ApiServerOptions {
  handlers: AgentHandlers;
  socketPath: string;
  mode?: number;
  group?: string;
  log: Logger;
  /** Told of every answered operation; streams count until their beginning. */
  observe?: RequestObserver;
}

/** One request that was answered. `path` is the operation's, with its parameters' names. */
export type RequestObserver = (request: {
  method: string;
  path: string;
  status: number;
  seconds: number;
}) => void;

/** A running server. `close` ends streams at once, lets other requests finish, and removes the socket. */
export interface ApiServer {
  close(): Promise<void>;
}

type Part<O, K extends string> = O extends { [P in K]: z.ZodType } ? z.output<O[K]> : undefined;
interface Input<N extends OperationName> {
  params: Part<(typeof operations)[N], 'params'>;
  query: Part<(typeof operations)[N], 'query'>;
  headers: Part<(typeof operations)[N], 'headers'>;
  body: Part<(typeof operations)[N], 'body'>;
}
type Implementation = {
  [N in OperationName]: (input: Input<N>, c: Context) => Response | Promise<Response>;
};

function parse(schema: z.ZodType | undefined, value: unknown, place: string): unknown {
  if (schema === undefined) return undefined;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new FimbriaError({
    code: 'INVALID',
    op: 'read',
    object: [place, ...(issue?.path ?? [])].join(' '),
    why: issue?.message ?? 'is not valid',
    hint: 'see /v1/openapi.json',
  });
}

/** The request's body as text. Reading stops at the bound, so a client cannot fill the agent's memory. */
async function textBody(c: Context): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      throw new FimbriaError({
        code: 'TOO_LARGE',
        op: 'read',
        object: 'body',
        why: `it is larger than ${MAX_BODY_BYTES} bytes`,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function jsonBody(c: Context): Promise<unknown> {
  const text = await textBody(c);
  try {
    return JSON.parse(text);
  } catch {
    throw new FimbriaError({ code: 'INVALID', op: 'read', object: 'body', why: 'it is not JSON' });
  }
}

function notFound(object: string): FimbriaError {
  return new FimbriaError({ code: 'NOT_FOUND', op: 'find', object, why: 'there is none on this node' });
}

function refused(op: string, object: string, why: string, hint: string): never {
  throw new FimbriaError({ code: 'FORBIDDEN', op, object, why, hint });
}

/** Failures of /ipam are a JSON string, as in Cilium, so that the plugin's message reads the same. */
function ipamProblem(c: Context, error: unknown, otherwise: number): Response {
  const why = error instanceof FimbriaError ? error.why : problemOf(error).message;
  return c.json(why, statusOf(error, otherwise) as ContentfulStatusCode);
}

const numbers = (list: string | undefined): number[] | undefined => list?.split(',').map(Number);

function implement(handlers: AgentHandlers, streams: Set<AbortController>): Implementation {
  const find = async (id: string): Promise<EndpointModel> => {
    const endpoint = await handlers.endpoint(id);
    if (endpoint === undefined) throw notFound(`endpoint ${id}`);
    return endpoint;
  };
  return {
    getHealthz: async ({ query }, c) => c.json(await handlers.healthz(query.brief === 'true')),
    getConfig: async (_, c) => c.json(await handlers.config()),
    patchConfig: () =>
      refused('change', 'config', 'it belongs to the cluster', 'change its values and let the agent restart'),
    getEndpoints: async (_, c) => c.json(await handlers.endpoints()),
    deleteEndpoints: async ({ body }, c) => {
      const id = body['container-id'];
      const own = (await handlers.endpoints()).filter(
        endpoint => endpoint.status['external-identifiers']['container-id'] === id,
      );
      if (own.length === 0) throw notFound(`container ${id}`);
      for (const endpoint of own) await handlers.endpointDelete(String(endpoint.id));
      return c.body(null, 200);
    },
    getEndpoint: async ({ params }, c) => c.json(await find(params.id)),
    putEndpoint: () => refused('create', 'endpoint', 'endpoints are made by CNI ADD', 'use POST /v1/cni'),
    deleteEndpoint: async ({ params }, c) => {
      if (!(await handlers.endpointDelete(params.id))) throw notFound(`endpoint ${params.id}`);
      return c.body(null, 200);
    },
    getEndpointHealthz: async ({ params }, c) => c.json((await find(params.id)).status.health),
    getEndpointLabels: async ({ params }, c) => c.json((await find(params.id)).status.labels),
    getEndpointLog: async ({ params }, c) => c.json((await find(params.id)).status.log),
    postIpam: async ({ query }, c) => {
      if (query.family === 'ipv6') {
        throw new FimbriaError({
          code: 'INVALID',
          op: 'allocate',
          object: 'IPv6 address',
          why: 'IPv6 is not built yet',
        });
      }
      try {
        const { owner = '', pool } = query;
        return c.json(await handlers.ipamAllocate({ owner, family: 'ipv4', ...(pool && { pool }) }), 201);
      } catch (error) {
        return ipamProblem(c, error, 502);
      }
    },
    postIpamIp: async ({ params, query }, c) => {
      try {
        return c.json(await handlers.ipamClaim(params.ip, query.owner ?? ''));
      } catch (error) {
        return ipamProblem(c, error, 500);
      }
    },
    deleteIpamIp: async ({ params }, c) => {
      let released: boolean;
      try {
        released = await handlers.ipamRelease(params.ip);
      } catch (error) {
        return ipamProblem(c, error, 500);
      }
      if (!released) throw notFound(`address ${params.ip}`);
      return c.body(null, 200);
    },
    postCni: async ({ headers }, c) => {
      const { 'x-cni-command': command, ...rest } = headers;
      const env: CniRequest['env'] = {};
      for (const [name, value] of Object.entries(rest)) {
        if (value !== undefined) env[name.slice(2).toUpperCase().replaceAll('-', '_')] = value;
      }
      const reply = await handlers.cni({ command, env, stdin: await textBody(c) });
      const status = reply.status as ContentfulStatusCode;
      return reply.body === undefined ? c.body('', status) : c.json(reply.body as object, status);
    },
    getClusterNodes: async (_, c) => c.json(await handlers.nodes()),
    getIdentities: async (_, c) => c.json(await handlers.identities()),
    getIdentity: async ({ params }, c) => {
      const found = (await handlers.identities()).find(identity => identity.id === Number(params.id));
      if (found === undefined) throw notFound(`identity ${params.id}`);
      return c.json(found);
    },
    getIps: async (_, c) => c.json(await handlers.ips()),
    getServices: async (_, c) => c.json(await handlers.services()),
    getMetrics: async (_, c) =>
      c.text(await handlers.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
    getMaps: async (_, c) => c.json(await handlers.maps()),
    getBpf: async ({ params, query }, c) => c.json(await handlers.bpf(params.table, query.endpoint)),
    deleteBpf: async ({ params }, c) => c.json(await handlers.bpfFlush(params.table)),
    getMonitor: ({ query }, c) => {
      const abort = new AbortController();
      streams.add(abort);
      abort.signal.addEventListener('abort', () => streams.delete(abort), { once: true });
      const filter = {
        ...(query.type && { types: query.type }),
        ...(query.from && { from: numbers(query.from) }),
        ...(query.to && { to: numbers(query.to) }),
        ...(query['related-to'] && { related: numbers(query['related-to']) }),
        ...(query.packets && { packets: query.packets }),
      };
      const stream = ndjsonStream(handlers.monitor(filter, abort.signal), abort);
      return c.body(stream, 200, { 'content-type': 'application/x-ndjson' });
    },
    getOpenapi: (_, c) => c.json(openApiDocument(packageVersion())),
  };
}

interface Env {
  Variables: { answered?: (status: number) => void };
}

/** The application alone: every operation with its requests checked and its failures turned into JSON. */
export function createApp(
  handlers: AgentHandlers,
  log: Logger,
  streams: Set<AbortController> = new Set(),
  observe: RequestObserver = () => {},
): Hono<Env> {
  const app = new Hono<Env>();
  const implementation = implement(handlers, streams);
  for (const [name, operation] of Object.entries(operations) as [OperationName, Operation][]) {
    const run = implementation[name] as (input: unknown, c: Context) => Response | Promise<Response>;
    app.on(operation.method, `/v1${operation.path.replace(/\{(\w+)\}/g, ':$1')}`, async c => {
      const begin = performance.now();
      c.set('answered', (status: number) =>
        observe({
          method: c.req.method,
          path: `/v1${operation.path}`,
          status,
          seconds: (performance.now() - begin) / 1000,
        }),
      );
      const input = {
        params: parse(operation.params, c.req.param(), 'path'),
        query: parse(operation.query, c.req.query(), 'query'),
        headers: parse(operation.headers, c.req.header(), 'header'),
        body: operation.body && parse(operation.body, await jsonBody(c), 'body'),
      };
      const response = await run(input, c);
      c.get('answered')?.(response.status);
      return response;
    });
  }
  app.notFound(c =>
    c.json(
      problemOf(
        new FimbriaError({
          code: 'NOT_FOUND',
          op: c.req.method.toLowerCase(),
          object: c.req.path,
          why: 'there is no such operation',
          hint: 'see /v1/openapi.json',
        }),
      ),
      404,
    ),
  );
  app.onError((error, c) => {
    const status = statusOf(error);
    if (status === 500) log.error('request failed', { method: c.req.method, path: c.req.path, error });
    c.get('answered')?.(status);
    return c.json(problemOf(error), status as ContentfulStatusCode);
  });
  return app;
}

/**
 * Serves the agent's interface on a unix socket.
 * @throws FimbriaError EADDRINUSE when a living agent answers at the path; a dead agent's socket is replaced
 */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const streams = new Set<AbortController>();
  const app = createApp(options.handlers, options.log, streams, options.observe);
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  const removeSocket = await listenOnSocket(server, {
    path: options.socketPath,
    ...(options.mode !== undefined && { mode: options.mode }),
    ...(options.group !== undefined && { group: options.group }),
  });
  options.log.info('serving the API', { socket: options.socketPath });
  return {
    close: async () => {
      await removeSocket();
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      for (const abort of [...streams]) abort.abort();
      server.closeIdleConnections();
      await closed;
    },
  };
}
