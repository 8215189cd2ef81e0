import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/base/paths.ts';

const run = promisify(execFile);

/** Texts to put in place of others in a file below `bpf/lib/`. */
export type Edits = Record<string, readonly (readonly [was: string, is: string])[]>;

/** Another order, wider numbers, new fields, other sizes: a layout that this version might have had. */
export const OTHER_LAYOUT: Edits = {
  'abi.h': [
    [
      `struct endpoint_info {
	__u32 ifindex; /* host side device; 0 for the node's own addresses */
	__u32 identity;
	__u16 endpoint_id;	  /* also the slot in cilium_policy_maps */
	__u16 flags;		  /* enum endpoint_flag */
	__u8 mac[MAC_BYTES];	  /* pod side */
	__u8 node_mac[MAC_BYTES]; /* host side */
};`,
      `struct endpoint_info {
	__u8 node_mac[MAC_BYTES];
	__u8 mac[MAC_BYTES];
	__u32 flags;
	__u32 identity;
	__u32 ifindex;
	__u16 endpoint_id;
	__u16 generation;
};`,
    ],
    [
      `	__u32 identity;
	__be32 tunnel_endpoint; /* node address, 0 when none */
	__u16 flags;		/* enum ipcache_flag */
	__u16 reserved;
`,
      `	__be32 tunnel_endpoint;
	__u32 flags;
	__u32 identity;
	__u32 reserved;
`,
    ],
    ['	__u8 deny;\n', '	__u8 reserved2[4];\n	__u8 deny;\n'],
    [
      `	__u8 reason;	/* enum drop_reason */
	__u8 direction; /* enum direction */
	__u16 source_line;
	__u8 source_file; /* enum source_file */
	__u8 reserved[3];
`,
      `	__u16 source_line;
	__u8 source_file;
	__u8 direction;
	__u8 reason;
	__u8 reserved[3];
`,
    ],
    ['	__u64 packets;\n', '	__u64 reserved;\n	__u64 packets;\n'],
    ['struct runtime_info {\n', 'struct runtime_info {\n	__u32 reserved;\n'],
  ],
  'maps.h': [
    ['max_entries, 65535', 'max_entries, 70000'],
    ['max_entries, 4096', 'max_entries, 4100'],
    ['max_entries, 1 << 20', 'max_entries, 1 << 21'],
  ],
};

/**
 * Compiles the objects of another version into `folder`.
 * @returns the folder with the objects
 */
export async function compileVariant(folder: string, edits: Edits): Promise<string> {
  const objects = join(folder, 'objects');
  mkdirSync(objects, { recursive: true });
  cpSync(join(packageRoot(), 'bpf'), join(folder, 'bpf'), { recursive: true });
  // The sizes that it holds the headers to are those of this version.
  writeFileSync(join(folder, 'bpf/lib/abi_check.h'), '#pragma once\n#include "abi.h"\n');
  for (const [file, texts] of Object.entries(edits)) {
    const path = join(folder, 'bpf/lib', file);
    let text = readFileSync(path, 'utf8');
    for (const [was, is] of texts) {
      if (!text.includes(was)) throw new Error(`${file} has no ${was}`);
      text = text.replace(was, is);
    }
    writeFileSync(path, text);
  }
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${machine()}-linux-gnu`];
  for (const name of ['lxc', 'host', 'netdev', 'overlay']) {
    const source = join(folder, 'bpf', `${name}.c`);
    await run('clang', [
      ...flags,
      `-I${join(folder, 'bpf')}`,
      '-c',
      source,
      '-o',
      join(objects, `${name}.o`),
    ]);
  }
  return objects;
}
