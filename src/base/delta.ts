/** What must change so that `actual` becomes `desired`. */
export interface Delta<K, D, A = D> {
  add: [K, D][];
  update: [K, D, A][];
  remove: [K, A][];
}

/** Compares two keyed tables. `same` says whether an actual value already realises the desired one. Pure. */
export function delta<K, D, A = D>(
  desired: ReadonlyMap<K, D>,
  actual: ReadonlyMap<K, A>,
  same: (desired: D, actual: A) => boolean,
): Delta<K, D, A> {
  const result: Delta<K, D, A> = { add: [], update: [], remove: [] };
  for (const [key, want] of desired) {
    const have = actual.get(key);
    if (have === undefined) result.add.push([key, want]);
    else if (!same(want, have)) result.update.push([key, want, have]);
  }
  for (const [key, have] of actual) {
    if (!desired.has(key)) result.remove.push([key, have]);
  }
  return result;
}
