import type { IncomingMessage, ServerResponse } from 'node:http';
import { messageOf } from '../base/errors.ts';
import { ApiFailure, badRequest, unsupportedMediaType } from './failure.ts';
import { isTooDeep, MAX_DEPTH } from './patch/json.ts';
import { decodeProtobuf, PROTOBUF_TYPE } from './protobuf/decode.ts';
import { parseYaml } from './yaml.ts';

const MAX_BODY_BYTES = 3 << 20;
const JSON_TYPE = 'application/json';
const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml'];

/** The media type of a request's body, without parameters. */
export function contentType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? JSON_TYPE).split(';')[0]!.trim().toLowerCase();
}

/**
 * Reads a request's body as JSON, YAML or Kubernetes' protobuf; undefined for an empty one.
 * @param accepted media types that are JSON, beside application/json
 * @throws ApiFailure 400, 413, 415
 */
export async function readBody(request: IncomingMessage, accepted: readonly string[] = []): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      throw new ApiFailure(413, 'RequestEntityTooLarge', `limit is ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  if (size === 0) return undefined;
  const body = parseBody(contentType(request), Buffer.concat(chunks), accepted);
  if (isTooDeep(body)) throw badRequest(`the body of the request is nested deeper than ${MAX_DEPTH} levels`);
  return body;
}

function parseBody(type: string, bytes: Buffer, accepted: readonly string[]): unknown {
  const yaml = YAML_TYPES.includes(type);
  // curl's default says nothing about what it sends.
  const plain = [JSON_TYPE, 'application/x-www-form-urlencoded', ...accepted].includes(type);
  const media = [JSON_TYPE, YAML_TYPES[0]!, PROTOBUF_TYPE];
  if (!yaml && !plain && type !== PROTOBUF_TYPE) throw unsupportedMediaType(media);
  try {
    if (type === PROTOBUF_TYPE) {
      const object = decodeProtobuf(bytes);
      if (object === undefined) throw unsupportedMediaType(media.slice(0, 2));
      return object;
    }
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return yaml ? parseYaml(text) : JSON.parse(text);
  } catch (error) {
    if (error instanceof ApiFailure) throw error;
    throw badRequest(`the body of the request cannot be read: ${messageOf(error)}`);
  }
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, value: unknown, type = JSON_TYPE): void {
  sendBytes(response, status, Buffer.from(`${JSON.stringify(value)}\n`), type);
}

/** Answers with bytes of any media type. */
export function sendBytes(response: ServerResponse, status: number, body: Buffer, type: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': body.length });
  response.end(body);
}

/** Answers with words. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}
