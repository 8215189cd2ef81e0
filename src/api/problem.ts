import { FimbriaError, messageOf } from '../base/errors.ts';

/** The JSON body of a failed request. */
export interface Problem {
  code: string;
  message: string;
  op?: string;
  object?: string;
  why?: string;
  hint?: string;
}

const STATUS: Record<string, number> = {
  INVALID: 400,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  CONFLICT: 409,
  IN_USE: 409,
  TOO_LARGE: 413,
  TOO_MANY_REQUESTS: 429,
  NOT_IMPLEMENTED: 501,
  UNAVAILABLE: 503,
};

/** HTTP status of a thrown value. Pure. */
export function statusOf(error: unknown, otherwise = 500): number {
  return error instanceof FimbriaError ? (STATUS[error.code] ?? otherwise) : otherwise;
}

/** What the client is told about a thrown value. Pure. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof FimbriaError)) return { code: 'INTERNAL', message: messageOf(error) };
  return {
    code: error.code,
    message: error.message,
    op: error.op,
    ...(error.object === undefined ? {} : { object: error.object }),
    why: error.why,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  };
}

/** The error that a problem was made of, for the client's side. Pure. */
export function errorOf(problem: Problem): FimbriaError {
  return new FimbriaError({
    code: problem.code,
    op: problem.op ?? 'ask the agent',
    ...(problem.object === undefined ? {} : { object: problem.object }),
    why: problem.why ?? problem.message,
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
  });
}
