/** What client-go's recorders allow; administrators know Events by these. */
export const EVENT_LIMITS = {
  /** Events about one object at once; then one in {@link refillMs}. */
  burst: 25,
  refillMs: 5 * 60_000,
  /** So many different messages of one reason about one object within {@link similarMs} become one Event. */
  mostSimilar: 10,
  similarMs: 10 * 60_000,
} as const;

const MOST_REMEMBERED = 4096;

/** What one Event is about, as far as limits go. */
export interface EventKey {
  /** The object: its uid, or its name. */
  object: string;
  type: string;
  reason: string;
  /** What tells two happenings of one reason apart: the message, or what stands for it. */
  detail: string;
}

/** Decides whether an Event is written, and which it counts as. One per source. The clock is the caller's. */
export class EventLimits {
  readonly #tokens = new Map<string, { left: number; atMs: number }>();
  readonly #similar = new Map<string, { details: Set<string>; sinceMs: number }>();

  /**
   * Undefined when the object has had enough of them; else the key of the Event that this one is or repeats, and whether
   * it stands for many that differ only in words.
   */
  admit(
    { object, type, reason, detail }: EventKey,
    nowMs: number,
  ): { key: string; combined: boolean } | undefined {
    const bucket = this.#tokens.get(object) ?? { left: EVENT_LIMITS.burst, atMs: nowMs };
    const refilled = (nowMs - bucket.atMs) / EVENT_LIMITS.refillMs;
    const left = Math.min(EVENT_LIMITS.burst, bucket.left + refilled);
    remember(this.#tokens, object, { left: left >= 1 ? left - 1 : left, atMs: nowMs });
    const group = [object, type, reason].join('\0');
    let similar = this.#similar.get(group);
    if (similar === undefined || nowMs - similar.sinceMs > EVENT_LIMITS.similarMs)
      similar = { details: new Set(), sinceMs: nowMs };
    remember(this.#similar, group, similar);
    const combined = !similar.details.has(detail) && similar.details.size >= EVENT_LIMITS.mostSimilar;
    if (!combined) similar.details.add(detail);
    if (left < 1) return undefined;
    return { key: combined ? group : [group, detail].join('\0'), combined };
  }
}

/** Sets as the youngest, and forgets the oldest of too many. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > MOST_REMEMBERED && oldest !== undefined) map.delete(oldest);
}
