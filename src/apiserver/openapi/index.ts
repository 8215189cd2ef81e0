import type { IncomingMessage, ServerResponse } from 'node:http';
import { methodNotAllowed } from '../failure.ts';
import { sendBytes, sendJson } from '../http.ts';
import { groupDocument, index, swagger, swaggerProtobuf } from './documents.ts';
import { SWAGGER_PROTOBUF_TYPE } from './swagger-protobuf.ts';

const V3 = '/openapi/v3';

/**
 * Answers what is below `/openapi`; false for any other path.
 * @throws ApiFailure 404 or 405
 */
export function answerOpenApi(request: IncomingMessage, response: ServerResponse, path: string): boolean {
  if (path !== '/openapi/v2' && path !== V3 && !path.startsWith(`${V3}/`)) return false;
  if (request.method !== 'GET') throw methodNotAllowed();
  if (path === V3) sendJson(response, 200, index());
  else if (path.startsWith(V3)) {
    sendBytes(response, 200, Buffer.from(groupDocument(path.slice(V3.length + 1))), 'application/json');
  } else if (/proto-openapi\.spec\.v2[.@]v1\.0\+protobuf/.test(request.headers.accept ?? '')) {
    sendBytes(response, 200, swaggerProtobuf(), SWAGGER_PROTOBUF_TYPE);
  } else sendJson(response, 200, swagger());
  return true;
}
