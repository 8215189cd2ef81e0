/**
 * Every operation of the agent's REST interface, once: the server validates requests with these schemas and
 * `openapi.ts` prints the document from them. Paths and codes are Cilium's where Cilium has the operation.
 */
import { z } from 'zod';
import { BPF_TABLES, FLUSHABLE_TABLES } from './bpf.ts';
import { MONITOR_PACKETS, MONITOR_TYPES, parseEndpointId } from './types.ts';

/** What an operation answers with, by HTTP status. */
export interface ResponseSpec {
  description: string;
  schema?: z.ZodType;
  contentType?: string;
}

/** One operation. `params`, `query` and `headers` are objects of text values. */
export interface Operation {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Below /v1, parameters in braces. */
  path: string;
  summary: string;
  params?: z.ZodType;
  query?: z.ZodType;
  headers?: z.ZodType;
  body?: z.ZodType;
  responses: Record<number, ResponseSpec>;
}

/** Largest request body, in bytes: a CNI configuration with a previous result stays far below. */
export const MAX_BODY_BYTES = 1 << 20;

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)$/;
const ipv4 = z.string().regex(IPV4, 'is not an IPv4 address');

const endpointId = z
  .string()
  .max(512)
  .refine(text => parseEndpointId(text) !== undefined, {
    message:
      'is neither a number nor cilium-local:, cni-attachment-id:, container-id:, pod-name:, cep-name:, ipv4:',
  })
  .describe(
    'number, or a value with a prefix such as pod-name:NAMESPACE/NAME, ipv4:ADDRESS, container-id:ID',
  );

const owner = z.string().min(1).max(512).describe('who will own the address');
const endpointNumbers = z
  .string()
  .regex(/^\d{1,5}(,\d{1,5})*$/, 'is not a list of endpoint ids')
  .optional();

/** The JSON of every failed request but those of /ipam, whose body is a JSON string as in Cilium. */
export const errorSchema = z.object({
  code: z.string().describe('stable, for programs: NOT_FOUND, INVALID, …'),
  message: z.string().describe('one line for people'),
  op: z.string().optional(),
  object: z.string().optional(),
  why: z.string().optional(),
  hint: z.string().optional(),
});

const ipamSchema = z.object({
  address: z.object({
    ipv4: z.string(),
    'ipv4-pool-name': z.string(),
    'ipv4-expiration-uuid': z.string().optional(),
  }),
  ipv4: z.object({
    ip: z.string(),
    gateway: z.string().optional(),
    cidrs: z.array(z.string()).nullable(),
    'expiration-uuid': z.string().optional(),
  }),
  'host-addressing': z.object({
    ipv4: z.object({ 'alloc-range': z.string(), enabled: z.boolean(), ip: z.string() }),
  }),
});

const labelled = z.object({ id: z.number().int(), labels: z.array(z.string()) });
const endpointSchema = z.looseObject({
  id: z.number().int(),
  status: z.looseObject({
    state: z.string(),
    identity: labelled.partial({ labels: true }),
    networking: z.looseObject({
      addressing: z.array(z.looseObject({ ipv4: z.string() })),
      'host-mac': z.string(),
      'interface-index': z.number().int(),
      'interface-name': z.string(),
      mac: z.string(),
    }),
  }),
});
const anyObject = z.looseObject({});
const ok = (schema: z.ZodType, description = 'success'): ResponseSpec => ({ description, schema });
const bad = (description: string): ResponseSpec => ({ description, schema: errorSchema });
const text = (description: string): ResponseSpec => ({ description, schema: z.string() });
const byEndpoint = z.object({ id: endpointId });

/** All operations by name; the server has exactly one function per name. */
export const operations = {
  getHealthz: {
    method: 'get',
    path: '/healthz',
    summary: 'State of the agent and of everything that it runs',
    query: z.object({ brief: z.enum(['true', 'false']).optional() }),
    responses: { 200: ok(anyObject), 500: bad('the state could not be read') },
  },
  getConfig: {
    method: 'get',
    path: '/config',
    summary: 'Configuration as it is in force',
    responses: { 200: ok(anyObject) },
  },
  patchConfig: {
    method: 'patch',
    path: '/config',
    summary: 'Refused: the configuration belongs to the cluster',
    responses: { 403: bad('change the values of the cluster instead') },
  },
  getEndpoints: {
    method: 'get',
    path: '/endpoint',
    summary: 'All endpoints of this node',
    responses: { 200: ok(z.array(endpointSchema)), 429: bad('too many requests') },
  },
  deleteEndpoints: {
    method: 'delete',
    path: '/endpoint',
    summary: 'Delete every endpoint of one container',
    body: z.object({ 'container-id': z.string().min(1).max(256) }),
    responses: { 200: { description: 'deleted' }, 400: bad('bad request'), 404: bad('no such container') },
  },
  getEndpoint: {
    method: 'get',
    path: '/endpoint/{id}',
    summary: 'One endpoint',
    params: byEndpoint,
    responses: { 200: ok(endpointSchema), 400: bad('bad id'), 404: bad('no such endpoint') },
  },
  putEndpoint: {
    method: 'put',
    path: '/endpoint/{id}',
    summary: 'Refused: endpoints are made by CNI ADD, POST /cni',
    params: byEndpoint,
    responses: { 403: bad('use POST /cni'), 400: bad('bad id') },
  },
  deleteEndpoint: {
    method: 'delete',
    path: '/endpoint/{id}',
    summary: 'Delete one endpoint',
    params: byEndpoint,
    responses: { 200: { description: 'deleted' }, 400: bad('bad id'), 404: bad('no such endpoint') },
  },
  getEndpointHealthz: {
    method: 'get',
    path: '/endpoint/{id}/healthz',
    summary: 'Health of one endpoint',
    params: byEndpoint,
    responses: { 200: ok(anyObject), 400: bad('bad id'), 404: bad('no such endpoint') },
  },
  getEndpointLabels: {
    method: 'get',
    path: '/endpoint/{id}/labels',
    summary: 'Labels of one endpoint',
    params: byEndpoint,
    responses: { 200: ok(anyObject), 400: bad('bad id'), 404: bad('no such endpoint') },
  },
  getEndpointLog: {
    method: 'get',
    path: '/endpoint/{id}/log',
    summary: 'What happened to one endpoint',
    params: byEndpoint,
    responses: { 200: ok(z.array(anyObject)), 400: bad('bad id'), 404: bad('no such endpoint') },
  },
  postIpam: {
    method: 'post',
    path: '/ipam',
    summary: 'Allocate an address',
    query: z.object({
      owner: owner.optional(),
      family: z.enum(['ipv4', 'ipv6']).optional(),
      pool: z.string().min(1).max(253).optional(),
      expiration: z.string().optional().describe('accepted and ignored: addresses do not expire'),
    }),
    responses: {
      201: ok(ipamSchema, 'allocated'),
      400: bad('bad request'),
      502: text('why not: "range is full"'),
    },
  },
  postIpamIp: {
    method: 'post',
    path: '/ipam/{ip}',
    summary: 'Claim a given address',
    params: z.object({ ip: ipv4 }),
    query: z.object({ owner: owner.optional(), pool: z.string().optional() }),
    responses: {
      200: ok(ipamSchema, 'claimed'),
      400: bad('bad address'),
      409: text('taken by somebody else'),
      500: text('not claimed'),
    },
  },
  deleteIpamIp: {
    method: 'delete',
    path: '/ipam/{ip}',
    summary: 'Release an address',
    params: z.object({ ip: ipv4 }),
    query: z.object({ pool: z.string().optional() }),
    responses: {
      200: { description: 'released' },
      400: bad('bad address'),
      403: text('owned by an endpoint'),
      404: bad('not allocated'),
      500: text('not released'),
    },
  },
  postCni: {
    method: 'post',
    path: '/cni',
    summary: 'One CNI call; the body is the network configuration, the reply goes to the runtime unchanged',
    headers: z.object({
      'x-cni-command': z.enum(['ADD', 'DEL', 'CHECK', 'STATUS', 'GC']),
      'x-cni-containerid': z.string().max(256).optional(),
      'x-cni-netns': z.string().max(4096).optional(),
      'x-cni-ifname': z.string().max(64).optional(),
      'x-cni-args': z.string().max(8192).optional(),
      'x-cni-path': z.string().max(8192).optional(),
    }),
    responses: {
      200: ok(z.unknown(), 'the result'),
      500: ok(z.unknown(), 'an error object of the CNI specification'),
    },
  },
  getClusterNodes: {
    method: 'get',
    path: '/cluster/nodes',
    summary: 'Nodes of the cluster as this one knows them',
    responses: { 200: ok(z.array(anyObject)) },
  },
  getIdentities: {
    method: 'get',
    path: '/identity',
    summary: 'Security identities',
    responses: { 200: ok(z.array(labelled)) },
  },
  getIdentity: {
    method: 'get',
    path: '/identity/{id}',
    summary: 'One security identity',
    params: z.object({ id: z.string().regex(/^\d{1,10}$/, 'is not a number') }),
    responses: { 200: ok(labelled), 400: bad('bad id'), 404: bad('no such identity') },
  },
  getIps: {
    method: 'get',
    path: '/ip',
    summary: 'Prefixes and the identity that lives there',
    responses: { 200: ok(z.array(z.looseObject({ cidr: z.string(), identity: z.number().int() }))) },
  },
  getServices: {
    method: 'get',
    path: '/service',
    summary: 'Services',
    responses: { 200: ok(z.array(anyObject)) },
  },
  getMetrics: {
    method: 'get',
    path: '/metrics',
    summary: 'What Prometheus reads, exposition format 0.0.4',
    responses: {
      200: { description: 'metrics', contentType: 'text/plain; version=0.0.4', schema: z.string() },
    },
  },
  getMaps: {
    method: 'get',
    path: '/map',
    summary: 'eBPF maps of the agent',
    responses: { 200: ok(z.array(z.looseObject({ name: z.string() }))) },
  },
  getBpf: {
    method: 'get',
    path: '/bpf/{table}',
    summary: 'Content of one eBPF table',
    params: z.object({ table: z.enum(BPF_TABLES) }),
    query: z.object({
      endpoint: z
        .string()
        .regex(/^\d{1,5}$/, 'is not an endpoint id')
        .optional(),
    }),
    responses: { 200: ok(z.array(anyObject)), 400: bad('bad request'), 404: bad('no such endpoint') },
  },
  deleteBpf: {
    method: 'delete',
    path: '/bpf/{table}',
    summary: 'Takes every entry away that flows have left there; flows to services begin anew',
    params: z.object({ table: z.enum(FLUSHABLE_TABLES) }),
    responses: {
      200: ok(z.array(z.object({ map: z.string(), entries: z.number().int() }))),
      400: bad('no such table'),
    },
  },
  getMonitor: {
    method: 'get',
    path: '/monitor',
    summary:
      'Events of the datapath from now on, one JSON object a line, until the client goes; blank lines mean nothing',
    query: z.object({
      type: z
        .string()
        .transform(list => list.split(','))
        .pipe(z.array(z.enum(MONITOR_TYPES)))
        .optional()
        .describe(`comma-separated: ${MONITOR_TYPES.join(', ')}`),
      from: endpointNumbers,
      to: endpointNumbers,
      'related-to': endpointNumbers,
      packets: z
        .enum(MONITOR_PACKETS)
        .optional()
        .describe('how the text shows a packet: with its layers, or its bytes; in one line when absent'),
    }),
    responses: { 200: { description: 'events', contentType: 'application/x-ndjson', schema: anyObject } },
  },
  getOpenapi: {
    method: 'get',
    path: '/openapi.json',
    summary: 'This document',
    responses: { 200: ok(anyObject) },
  },
} satisfies Record<string, Operation>;

export type OperationName = keyof typeof operations;
