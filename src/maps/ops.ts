/** What user space wrote to maps since the process's start: attempts on entries, by what became of them. */
export interface MapOps {
  update: { success: number; fail: number };
  delete: { success: number; fail: number };
}

/** By the kernel's number of the map. One for the process, as maps are. */
const counts = new Map<number, MapOps>();

/** Does work on entries of a map and counts it. @throws what the work throws */
export function countedOps<T>(
  mapId: number | undefined,
  operation: keyof MapOps,
  entries: number,
  work: () => T,
): T {
  if (mapId === undefined || entries === 0) return work();
  let ops = counts.get(mapId);
  if (!ops) {
    ops = { update: { success: 0, fail: 0 }, delete: { success: 0, fail: 0 } };
    counts.set(mapId, ops);
  }
  try {
    const result = work();
    ops[operation].success += entries;
    return result;
  } catch (error) {
    // Of a batch some may have been written; as a whole it failed.
    ops[operation].fail += entries;
    throw error;
  }
}

/** Undefined for a map that nothing was written to. */
export function mapOps(mapId: number): Readonly<MapOps> | undefined {
  return counts.get(mapId);
}
