import { FimbriaError, messageOf } from '../base/errors.ts';
import type { Status } from '../model/types.ts';

/** The stable codes of everything that a cluster client throws. */
export type ClusterErrorCode =
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'CONFLICT'
  | 'INVALID'
  | 'GONE'
  | 'FORBIDDEN'
  | 'UNAVAILABLE';

/** The code for an HTTP status and, where the server sent one, its Status object. */
export function errorCode(httpStatus: number, status?: Partial<Status>): ClusterErrorCode {
  if (httpStatus === 404) return 'NOT_FOUND';
  if (httpStatus === 409) return status?.reason === 'AlreadyExists' ? 'ALREADY_EXISTS' : 'CONFLICT';
  if (httpStatus === 410) return 'GONE';
  if (httpStatus === 401 || httpStatus === 403) return 'FORBIDDEN';
  if (httpStatus === 429 || httpStatus >= 500) return isAheadOfServer(status) ? 'GONE' : 'UNAVAILABLE';
  return 'INVALID';
}

/**
 * What a refused request becomes. `body` is the answer's text, a Status object or anything else.
 * @param retryAfterMs how long the server wants to be left alone, where it says so
 */
export function refused(
  op: string,
  object: string,
  httpStatus: number,
  body: string,
  retryAfterMs?: number,
): FimbriaError {
  const status = parseStatus(body);
  const why = status?.message || body.trim().slice(0, 200) || `the server answered ${httpStatus}`;
  return new FimbriaError({
    code: errorCode(httpStatus, status),
    op,
    object,
    why,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** What a request becomes that got no answer. */
export function unreachable(op: string, object: string, server: string, cause: unknown): FimbriaError {
  return new FimbriaError({
    code: 'UNAVAILABLE',
    op,
    object,
    why: `no answer from ${server}: ${messageOf(cause)}`,
    hint: 'check that the API server runs and can be reached',
    cause,
  });
}

// A server that was set up anew counts from the start: it has never heard of our version, and waiting will not help.
function isAheadOfServer(status?: Partial<Status>): boolean {
  const causes = status?.details?.causes;
  return Array.isArray(causes) && causes.some(cause => cause?.reason === 'ResourceVersionTooLarge');
}

function parseStatus(body: string): Partial<Status> | undefined {
  if (!body.startsWith('{')) return undefined;
  try {
    const status = JSON.parse(body) as Partial<Status>;
    return status.kind === 'Status' ? status : undefined;
  } catch {
    return undefined;
  }
}
