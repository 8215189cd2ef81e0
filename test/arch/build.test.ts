import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { root } from './imports.ts';

const run = promisify(execFile);

/** e_type and program header types of an ELF file. */
function elf(path: string): { machine: number; segmentTypes: number[] } {
  const bytes = readFileSync(join(root, path));
  const offset = Number(bytes.readBigUInt64LE(32));
  const [size, count] = [bytes.readUInt16LE(54), bytes.readUInt16LE(56)];
  return {
    machine: bytes.readUInt16LE(18),
    segmentTypes: Array.from({ length: count }, (_, i) => bytes.readUInt32LE(offset + i * size)),
  };
}

const PT_INTERP = 3;
const EM_BPF = 247;

test('the C programs are static: no interpreter, so they run in any mount namespace', t => {
  for (const name of ['fimbria-cni', 'fimbria-pause']) {
    t.false(elf(`build/bin/${name}`).segmentTypes.includes(PT_INTERP), name);
  }
});

test('the eBPF objects carry BTF, and nothing that names the machine they were built on', t => {
  for (const name of ['lxc', 'host', 'overlay', 'netdev', 'sock']) {
    const path = `build/bpf/${name}.o`;
    t.is(elf(path).machine, EM_BPF);
    const bytes = readFileSync(join(root, path));
    t.true(bytes.includes('.BTF.ext'), path);
    t.false(bytes.includes('.debug_info'), path);
    t.false(bytes.includes(root), path);
  }
});

test('the programs start with Node by themselves', t => {
  for (const name of ['fimbria', 'fimbria-agent', 'fimbria-operator']) {
    const text = readFileSync(join(root, `dist/${name}.js`), 'utf8');
    t.true(text.startsWith('#!/usr/bin/env node\n'), name);
  }
});

test('a build with nothing to do does nothing', async t => {
  await run(process.execPath, ['scripts/build.mjs'], { cwd: root });
  const { stdout } = await run(process.execPath, ['scripts/build.mjs'], { cwd: root });
  t.is(stdout, '==> built: bpf, bin, native, bundle\n');
});
