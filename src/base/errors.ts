/** What every failure in Fimbria carries, so that callers branch on `code` and people read one line. */
export interface ErrorDetail {
  /** Stable, upper-case, for programs: `ENOENT`, `RANGE_FULL`, `BPF_LOAD`. An errno name where the kernel gave one. */
  code: string;
  /** What was attempted, a verb: `create`, `attach`, `load`. */
  op: string;
  /** What it was attempted on: `link cilium_host`, `map cilium_lxc`. */
  object?: string;
  /** Why it failed, in words. */
  why: string;
  /** What the reader can do about it. */
  hint?: string;
  /** Positive errno where the kernel gave one. */
  errno?: number;
  /** The kernel's extended-ack text, where it gave one. */
  extack?: string;
  /** The verifier's log, where a program was refused. */
  log?: string;
  /** How long a server asked to be left alone. */
  retryAfterMs?: number;
  cause?: unknown;
}

/**
 * The one error class. The message reads `op object: why; hint`.
 * Immutable after construction.
 */
export class FimbriaError extends Error implements Omit<ErrorDetail, 'cause'> {
  readonly code: string;
  readonly op: string;
  readonly object?: string;
  readonly why: string;
  readonly hint?: string;
  readonly errno?: number;
  readonly extack?: string;
  readonly log?: string;
  readonly retryAfterMs?: number;

  constructor(detail: ErrorDetail) {
    const subject = detail.object === undefined ? detail.op : `${detail.op} ${detail.object}`;
    const hint = detail.hint === undefined ? '' : `; ${detail.hint}`;
    super(
      `${subject}: ${detail.why}${hint}`,
      detail.cause === undefined ? undefined : { cause: detail.cause },
    );
    this.name = 'FimbriaError';
    this.code = detail.code;
    this.op = detail.op;
    this.why = detail.why;
    if (detail.object !== undefined) this.object = detail.object;
    if (detail.hint !== undefined) this.hint = detail.hint;
    if (detail.errno !== undefined) this.errno = detail.errno;
    if (detail.extack !== undefined) this.extack = detail.extack;
    if (detail.log !== undefined) this.log = detail.log;
    if (detail.retryAfterMs !== undefined) this.retryAfterMs = detail.retryAfterMs;
  }
}

/** The stable code of any thrown value: ours, Node's (`ENOENT`, `ECONNREFUSED`), or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const code = (error as { code: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

/** The message of any thrown value, for logs and for a `why`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs `action`, swallowing errors whose code is among `codes`: for deletes that must be repeatable. */
export async function ignoring<T>(codes: string[], action: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    if (codes.includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}
