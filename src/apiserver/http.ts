import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { messageOf } from '../base/errors.ts';
import { ApiFailure, badRequest, unsupportedMediaType } from './failure.ts';

const MAX_BODY_BYTES = 3 << 20;
const JSON_TYPE = 'application/json';
const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml'];

/** The media type of a request's body, without parameters. */
export function contentType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? JSON_TYPE).split(';')[0]!.trim().toLowerCase();
}

/**
 * Reads a request's body as JSON or YAML; undefined for an empty one.
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
  const type = contentType(request);
  const yaml = YAML_TYPES.includes(type);
  // curl's default says nothing about what it sends.
  const plain = [JSON_TYPE, 'application/x-www-form-urlencoded', ...accepted].includes(type);
  if (!yaml && !plain) throw unsupportedMediaType([JSON_TYPE, YAML_TYPES[0]!]);
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return yaml ? parseYaml(text) : JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body of the request cannot be read: ${messageOf(error)}`);
  }
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, { 'content-type': JSON_TYPE, 'content-length': body.length });
  response.end(body);
}

/** Answers with words. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}
