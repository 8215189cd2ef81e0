import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/base/paths.ts';

const run = promisify(execFile);

/** A change of one struct of `abi.h`, or of one map of `maps.h`: what to put in place of what in its text. */
export type Edit = readonly [block: string, was: RegExp, is: string | ((text: string) => string)];

const reversed = (fields: string): string => `${fields.trimEnd().split('\n').reverse().join('\n')}\n`;

/** Another order, wider numbers, new fields, other sizes: a layout that this version might have had. */
export const OTHER_LAYOUT: readonly Edit[] = [
  ['endpoint_info', /\t__u16 flags;.*\n/, ''],
  ['endpoint_info', /\{\n/, '{\n\t__u32 flags;\n\t__u32 generation;\n'],
  ['ipcache_info', /\t__u16 flags;.*\n/, ''],
  ['ipcache_info', /\{\n/, '{\n\t__u32 flags;\n'],
  ['policy_entry', /\{\n/, '{\n\t__u8 reserved9[4];\n'],
  ['metrics_key', /(?<=\{\n)[^}]*/, reversed],
  ['metrics_value', /\{\n/, '{\n\t__u64 reserved9;\n'],
  ['runtime_info', /\{\n/, '{\n\t__u32 reserved9;\n'],
  ['ct_entry', /\{\n/, '{\n\t__u64 generation;\n'],
  ['nat_entry', /\t__u32 created_s;\n/, ''],
  ['nat_entry', /\{\n/, '{\n\t__u32 created_s;\n'],
  ['cilium_lxc', /max_entries, \d+/, 'max_entries, 70000'],
  ['cilium_policy_maps', /max_entries, \d+/, 'max_entries, 4100'],
  ['cilium_events', /max_entries, [^)]+/, 'max_entries, 1 << 21'],
];

/** The text of a struct of `abi.h` or a map of `maps.h`. */
function blockOf(text: string, name: string): string {
  const found = name.startsWith('cilium_')
    ? text.split('\n\n').find(part => part.includes(`} ${name} SEC`))
    : new RegExp(`^struct ${name} \\{\\n[^}]*\\};`, 'm').exec(text)?.[0];
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

/**
 * Compiles the objects of another version into `folder`.
 * @returns the folder with the objects
 */
export async function compileVariant(folder: string, edits: readonly Edit[]): Promise<string> {
  const objects = join(folder, 'objects');
  mkdirSync(objects, { recursive: true });
  cpSync(join(packageRoot(), 'bpf'), join(folder, 'bpf'), { recursive: true });
  // The sizes that it holds the headers to are those of this version.
  writeFileSync(join(folder, 'bpf/lib/abi_check.h'), '#pragma once\n#include "abi.h"\n');
  for (const [name, was, is] of edits) {
    const path = join(folder, 'bpf/lib', name.startsWith('cilium_') ? 'maps.h' : 'abi.h');
    const text = readFileSync(path, 'utf8');
    const block = blockOf(text, name);
    if (!was.test(block)) throw new Error(`${name} has no ${was}`);
    writeFileSync(
      path,
      text.replace(block, () => block.replace(was, is as string)),
    );
  }
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${machine()}-linux-gnu`];
  for (const name of ['lxc', 'host', 'netdev', 'overlay', 'sock']) {
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
