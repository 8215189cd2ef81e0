import type { TypeField } from '../kernel/libbpf/index.ts';
import { Inexpressible } from './inexpressible.ts';
import { isReserved, type MapLayout, sameShape } from './layout.ts';

/** A trie's key begins with a u32: how many bits of what follows count. */
const LENGTH_BITS = 32;
const width = (f: TypeField): number => f.bits * f.count;

function dataFields(layout: MapLayout): TypeField[] {
  const fields = layout.types?.key?.fields ?? [];
  const data = layout.type === 'lpm_trie' ? fields.filter(f => f.bitOffset >= LENGTH_BITS) : fields;
  return [...data].sort((a, b) => a.bitOffset - b.bitOffset);
}

const fullLength = (layout: MapLayout): number => layout.keySize * 8 - LENGTH_BITS;

/**
 * Sets the prefix length of a new key so that it covers the fields that the old one covered. New fields in between
 * are covered, those behind are not. A key of a hash is a prefix of full length, and only such a one becomes one.
 * @returns what throws Inexpressible where the new order of fields has no such length
 */
export function prefixMapper(old: MapLayout, now: MapLayout): (from: Uint8Array, to: Uint8Array) => void {
  const [before, after] = [dataFields(old), new Map(dataFields(now).map(f => [f.name, f]))];
  const wasTrie = old.type === 'lpm_trie';
  const known = new Map<number, number | string>();
  const base = wasTrie ? LENGTH_BITS : 0;

  function map(length: number): number | string {
    if (length >= fullLength(old)) return fullLength(now);
    const byName = new Map(before.map(f => [f.name, f]));
    let end = 0;
    let stopped = false;
    for (const [name, field] of after) {
      const source = byName.get(name);
      if (!source) continue;
      const covered = Math.min(width(source), Math.max(0, length - (source.bitOffset - base)));
      if (covered === 0) stopped ||= !isReserved(source);
      else if (stopped) return 'its prefix has no like in the new order of fields';
      else if (covered === width(source)) end = field.bitOffset - LENGTH_BITS + width(field);
      else if (sameShape(source, field)) {
        end = field.bitOffset - LENGTH_BITS + covered;
        stopped = true;
      } else return 'its prefix ends within a field that changed';
    }
    return end;
  }

  return (from, to) => {
    const length = wasTrie ? new DataView(from.buffer, from.byteOffset).getUint32(0, true) : fullLength(old);
    if (now.type !== 'lpm_trie') {
      if (length < fullLength(old))
        throw new Inexpressible('it is a prefix, and only whole keys can be said');
      return;
    }
    if (!known.has(length)) known.set(length, map(length));
    const mapped = known.get(length)!;
    if (typeof mapped === 'string') throw new Inexpressible(mapped);
    new DataView(to.buffer, to.byteOffset).setUint32(0, mapped, true);
  };
}
