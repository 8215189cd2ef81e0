import type { MapLayout } from './layout.ts';

/** Fields of a key or value by their names in C. Up to 32 bits a number, above a bigint, arrays their bytes. */
export type Fields = Record<string, number | bigint | Uint8Array>;

export interface Entry {
  key: Fields;
  value: Fields;
}

/**
 * What copying by name cannot know, when a map of another layout is taken over: fields that are new and must not be
 * zero, or whose meaning changed. Applies downwards, too, where a later version was here.
 */
export interface LayoutUpgrade {
  /** Name of the pin, or `cilium_policy` for every policy map. */
  map: string;
  /** Whether entries of that layout need it. */
  appliesTo(old: MapLayout): boolean;
  /** The fields to set in the new key; the others are as copied. Pure. */
  key?(old: Fields): Fields;
  /** The fields to set in the new value; in per-CPU maps for the value of each CPU. Pure. */
  value?(old: Entry): Fields;
}

/** None yet: no layout was ever released. */
export const UPGRADES: readonly LayoutUpgrade[] = [];
