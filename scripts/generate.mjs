#!/usr/bin/env zx
/**
 * Writes src/maps/abi.gen.ts from the BTF of bpf/lib/{abi,config,maps}.h: codecs for every struct, constants for
 * every enum, the read-only options and the maps. Needs clang and bpftool; what it writes is committed, so a
 * build needs neither. The output depends on the headers only.
 *
 * Also deploy/crds/ from the model's schemas (scripts/generate/crds.ts), deploy/chart/ and deploy/Dockerfile
 * (scripts/generate/chart.ts), docs/values.md from the schema of the values (scripts/generate/values.ts).
 *
 *   npx zx scripts/generate.mjs [--check]     --check: write nothing, exit 1 when a file is not what it would be
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './lib/project.mjs';

const TARGET = 'src/maps/abi.gen.ts';

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (result.error) throw new Error(`run ${command}: ${result.error.message}; npm run setup installs it`);
  if (result.status !== 0) throw new Error(`run ${command} ${args.join(' ')}: ${result.stderr}`);
  return result.stdout;
}

/** The BTF types of the headers. Clang drops types that nothing uses, so a stub uses each one by value. */
function readBtf(tags) {
  const work = mkdtempSync(join(tmpdir(), 'fimbria-generate-'));
  try {
    const uses = tags.map(([kind, name], index) => `${kind} ${name} use_${index};`).join(' ');
    const stub = `#include "lib/config.h"\n#include "lib/maps.h"\nstruct abi_root { ${uses} } abi_root;\n`;
    writeFileSync(join(work, 'stub.c'), stub);
    const include = `/usr/include/${run('gcc', ['-dumpmachine']).trim()}`;
    const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I${include}`, '-Ibpf'];
    run('clang', [...flags, '-c', join(work, 'stub.c'), '-o', join(work, 'stub.o')]);
    run('bpftool', ['gen', 'object', join(work, 'abi.o'), join(work, 'stub.o')]);
    return JSON.parse(run('bpftool', ['btf', 'dump', 'file', join(work, 'abi.o'), '-j'])).types;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const camel = name => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const pascal = name => camel(`_${name}`);

class Generator {
  constructor(types) {
    this.types = new Map(types.map(type => [type.id, type]));
    this.lines = [];
  }

  named(kind, name) {
    return [...this.types.values()].find(type => type.kind === kind && type.name === name);
  }

  /** Follows const, volatile and typedef to the type itself; a typedef `__be…` on the way means network order. */
  resolve(id) {
    let bigEndian = false;
    let type = this.types.get(id);
    while (['TYPEDEF', 'CONST', 'VOLATILE'].includes(type.kind)) {
      if (/^__be\d+$/.test(type.name)) bigEndian = true;
      type = this.types.get(type.type_id);
    }
    return { type, bigEndian };
  }

  emit(...lines) {
    this.lines.push(...lines);
  }

  enumeration(name) {
    const type = this.named('ENUM', name);
    this.emit(`/** \`enum ${name}\` */`, `export const ${pascal(name)} = {`);
    for (const { name: key, val } of type.values) this.emit(`  ${key}: ${val >>> 0},`);
    this.emit('} as const;', '');
  }

  /** What TypeScript needs to know of one member: type, how to read it, how to write it. */
  member(struct, member) {
    if (member.bits_offset % 8 !== 0 || member.bitfield_size)
      throw new Error(`generate ${struct}.${member.name}: bit fields are not supported`);
    const offset = member.bits_offset / 8;
    const { type, bigEndian } = this.resolve(member.type_id);
    const name = camel(member.name);
    if (type.kind === 'ARRAY') {
      const element = this.resolve(type.type_id).type;
      const length = type.nr_elems;
      if (element.size === 4)
        return {
          name,
          type: 'Uint32Array',
          note: `${length} numbers`,
          read: `copyWords(bytes, offset + ${offset}, ${length})`,
          write: `putWords(bytes, ${offset}, value.${name}, ${length}, '${struct}.${name}')`,
        };
      if (element.size !== 1)
        throw new Error(`generate ${struct}.${member.name}: only arrays of bytes or __u32 are supported`);
      return {
        name,
        type: 'Uint8Array',
        note: `${length} bytes`,
        read: `copyBytes(bytes, offset + ${offset}, ${length})`,
        write: `putBytes(bytes, ${offset}, value.${name}, ${length}, '${struct}.${name}')`,
      };
    }
    if (!['INT', 'ENUM'].includes(type.kind))
      throw new Error(`generate ${struct}.${member.name}: ${type.kind}`);
    const accessor = { 1: 'Uint8', 2: 'Uint16', 4: 'Uint32', 8: 'BigUint64' }[type.size];
    const order = type.size === 1 ? '' : `, ${!bigEndian}`;
    return {
      name,
      type: type.size === 8 ? 'bigint' : 'number',
      note: bigEndian ? 'network order' : undefined,
      read: `view.get${accessor}(${offset}${order})`,
      write: `view.set${accessor}(${offset}, value.${name}${order})`,
    };
  }

  struct(name) {
    const type = this.named('STRUCT', name);
    const members = type.members
      .filter(member => !member.name.startsWith('reserved'))
      .map(member => this.member(name, member));
    const usesView = members.some(member => !member.type.endsWith('Array'));
    this.emit(`/** \`struct ${name}\`, ${type.size} bytes */`, `export interface ${pascal(name)} {`);
    for (const member of members) {
      if (member.note) this.emit(`  /** ${member.note} */`);
      this.emit(`  ${member.name}: ${member.type};`);
    }
    this.emit('}', '', `export const ${camel(name)}Codec: Codec<${pascal(name)}> = {`);
    this.emit(`  size: ${type.size},`, '  read(bytes, offset = 0) {');
    this.emit(`    ${usesView ? 'const view = ' : ''}viewOf(bytes, offset, ${type.size});`, '    return {');
    for (const member of members) this.emit(`      ${member.name}: ${member.read},`);
    this.emit('    };', '  },', '  write(value) {', `    const bytes = Buffer.alloc(${type.size});`);
    if (usesView) this.emit(`    const view = viewOf(bytes, 0, ${type.size});`);
    for (const member of members) this.emit(`    ${member.write};`);
    this.emit('    return bytes;', '  },', '};', '');
  }

  /** The options of config.h, which user space sets before it loads an object. */
  options() {
    const section = this.named('DATASEC', '.rodata');
    this.emit(
      '/** Options of `bpf/lib/config.h`: read-only data of every object, set before it is loaded. */',
    );
    this.emit('export type Rodata = {');
    for (const { type_id: id } of section.vars) {
      const variable = this.types.get(id);
      const { type } = this.resolve(variable.type_id);
      this.emit(`  ${variable.name}: ${type.name === '_Bool' ? 'boolean' : 'number'};`);
    }
    this.emit('};', '');
  }

  maps() {
    this.emit('/** Maps of `bpf/lib/maps.h`: the C struct of key and value, where it is one. */');
    this.emit('export const Maps = {');
    for (const { type_id: id } of this.named('DATASEC', '.maps').vars) {
      const variable = this.types.get(id);
      const definition = this.resolve(variable.type_id).type;
      const number = name => this.#attribute(definition, name)?.nr_elems;
      const tag = name => {
        const pointee = this.#attribute(definition, name);
        return pointee?.kind === 'STRUCT' ? `'${pointee.name}'` : 'undefined';
      };
      const pinned = number('pinning') === 1;
      this.emit(
        `  ${variable.name}: { key: ${tag('key')}, value: ${tag('value')}, maxEntries: ${number('max_entries')}, pinned: ${pinned} },`,
      );
    }
    this.emit('} as const;', '');
  }

  /** What a map attribute points at: libbpf encodes numbers as array lengths and types as pointers. */
  #attribute(definition, name) {
    const member = definition.members.find(m => m.name === name);
    const pointer = member && this.types.get(member.type_id);
    return pointer && this.resolve(pointer.type_id).type;
  }
}

const header = readFileSync(join(root, 'bpf/lib/abi.h'), 'utf8');
const tags = [...header.matchAll(/^(struct|enum) (\w+) \{$/gm)].map(([, kind, name]) => [kind, name]);
const generator = new Generator(readBtf(tags));
generator.emit(
  '// Generated by scripts/generate.mjs from bpf/lib/{abi,config,maps}.h. Do not edit: change the header, then `npm run generate`.',
  "import { type Codec, copyBytes, copyWords, putBytes, putWords, viewOf } from './codec.ts';",
  '',
);
for (const [kind, name] of tags) kind === 'enum' ? generator.enumeration(name) : generator.struct(name);
generator.options();
generator.maps();
const text = `${generator.lines.join('\n').trimEnd()}\n`;

const path = join(root, TARGET);
if (process.argv.includes('--check')) {
  let committed = '';
  try {
    committed = readFileSync(path, 'utf8');
  } catch {
    // not there is not equal
  }
  if (committed !== text) {
    process.stderr.write(
      `check ${TARGET}: differs from bpf/lib; run npm run generate and commit the result\n`,
    );
    process.exitCode = 1;
  }
} else {
  writeFileSync(path, text);
}

const check = process.argv.includes('--check') ? ['--check'] : [];
for (const script of ['crds', 'chart', 'values']) {
  const { status } = spawnSync(
    process.execPath,
    ['--import=tsx', `scripts/generate/${script}.ts`, ...check],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
  if (status !== 0) process.exitCode = 1;
}
