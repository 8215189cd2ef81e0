/** Kernel map types, by bpftool's names; the index is the kernel's number. */
const MAP_TYPES = [
  'unspec',
  'hash',
  'array',
  'prog_array',
  'perf_event_array',
  'percpu_hash',
  'percpu_array',
  'stack_trace',
  'cgroup_array',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
  'array_of_maps',
  'hash_of_maps',
  'devmap',
  'sockmap',
  'cpumap',
  'xskmap',
  'sockhash',
  'cgroup_storage',
  'reuseport_sockarray',
  'percpu_cgroup_storage',
  'queue',
  'stack',
  'sk_storage',
  'devmap_hash',
  'struct_ops',
  'ringbuf',
  'inode_storage',
  'task_storage',
  'bloom_filter',
  'user_ringbuf',
  'cgrp_storage',
  'arena',
] as const;

/** A map's type by bpftool's name. */
export type MapType = (typeof MAP_TYPES)[number];

/** The kernel's number of a map type. */
export function mapTypeNumber(type: MapType): number {
  return MAP_TYPES.indexOf(type);
}

/** The name of a kernel map type; types newer than this list are `unspec`. */
export function mapTypeName(type: number): MapType {
  return MAP_TYPES[type] ?? 'unspec';
}

/** Flags of `BpfMap.create` (`BPF_F_*`), to be or-ed. */
export const MAP_FLAGS = {
  /** Entries are allocated when they are made; a must for LPM tries. */
  NO_PREALLOC: 1,
  /** Per-CPU free lists in LRU maps. */
  NO_COMMON_LRU: 2,
  /** User space may only read. */
  RDONLY: 8,
  /** Programs may only read. */
  RDONLY_PROG: 128,
  /** An array map whose inner maps may differ in max_entries. */
  INNER_MAP: 4096,
} as const;

/** A map as an ELF file declares it. Sizes in bytes. */
export interface MapSpec {
  name: string;
  type: MapType;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  /** It has LIBBPF_PIN_BY_NAME or a pin path: loading pins it, or takes up what is pinned. */
  pinned: boolean;
}

/** A leaf field of a key or value, as BTF has it. Structs are entered. */
export interface TypeField {
  /** Of a nested struct `outer.inner`; empty for a type that is no struct. */
  name: string;
  /** Of one element, e.g. `__be32`. */
  typeName: string;
  bitOffset: number;
  /** Of one element; no multiple of 8 in bit fields. */
  bits: number;
  /** Elements of an array of numbers, else 1. */
  count: number;
  /** An integer or enum, or an array of them. */
  number: boolean;
  signed: boolean;
}

/** Key and value types of a map; of a map of maps as declared: those of its inner maps. */
export interface MapTypes {
  key: { name: string; fields: TypeField[] } | undefined;
  value: { name: string; fields: TypeField[] } | undefined;
}

/** A program as an ELF file declares it. */
export interface ProgramSpec {
  name: string;
  section: string;
}

/** Side of a device that a tc program sees: `ingress` = what the device receives. */
export type Direction = 'ingress' | 'egress';
