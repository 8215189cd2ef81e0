import { MAGLEV_SIZE } from '../../maps/services.ts';
import type { LbBackend } from './types.ts';

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** 32 bits of a text (FNV-1a with a final mix). */
function hash(text: string, seed: number): number {
  let h = (FNV_OFFSET ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), FNV_PRIME) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  return (h ^ (h >>> 13)) >>> 0;
}

/**
 * The look-up table of Maglev (Eisenbud et al., 2016): every node fills it alike whatever its backends' ids are, all
 * backends get almost the same share, and few places change with one backend. Pure; 1,009 steps and some.
 * @param backends with their ids
 */
export function maglevTable(
  backends: readonly (LbBackend & { id: number })[],
  size: number = MAGLEV_SIZE,
): Uint32Array {
  const table = new Uint32Array(size);
  if (backends.length === 0) return table;
  const members = backends
    .map(({ id, address, port }) => ({ id, name: `${address}:${port}` }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ id, name }) => ({ id, place: hash(name, 1) % size, skip: (hash(name, 2) % (size - 1)) + 1 }));
  for (let filled = 0; filled < size; ) {
    for (const member of members) {
      while (table[member.place] !== 0) member.place = (member.place + member.skip) % size;
      table[member.place] = member.id;
      if (++filled === size) break;
    }
  }
  return table;
}
