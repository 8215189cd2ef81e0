#!/usr/bin/env node
/**
 * Packs the image of agent and operator as a docker-archive, without an engine: what `ctr images import`, `docker load`
 * and `podman load` take. The same inputs give the same bytes: sorted, no times, owner root.
 *
 *   node scripts/image.mjs [--tag NAME:TAG] [--output FILE]
 *
 * There are no certificates in it: a cluster's own authority comes with the service account, and Node brings the
 * public ones.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { outputOf } from './lib/apt.mjs';
import { busyboxPath } from './lib/busybox.mjs';
import { CONFIG, FILES, IMAGE_ROOT, LINKS, PROGRAMS } from './lib/image-files.mjs';
import { root, run, say, scriptArguments } from './lib/project.mjs';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };

/** Absolute paths of the shared libraries of an ELF file, the loader among them, as its dynamic section asks for them. */
function librariesOf(path) {
  const text = outputOf('ldd', [path]);
  if (/statically linked|not a dynamic/.test(text)) return [];
  const missing = /^\s*(\S+) => not found/m.exec(text);
  if (missing) throw new Error(`find library ${missing[1]} of ${path}: it is not installed; npm run setup`);
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(match => match[1]);
}

function programPath(name) {
  const folders = `${process.env.PATH}:/usr/sbin:/sbin`.split(':');
  const found = folders.map(folder => join(folder, name)).find(path => existsSync(path));
  if (!found) throw new Error(`find program ${name}: it is not installed; npm run setup installs it`);
  return realpathSync(found);
}

/** Lays the image's files out in `folder`. */
function stage(folder) {
  const put = (source, target, mode) => {
    const path = join(folder, target);
    mkdirSync(dirname(path), { recursive: true });
    cpSync(source, path, { dereference: true, recursive: true });
    if (mode) chmodSync(path, mode);
  };
  const elf = [];
  for (const { target, program } of PROGRAMS) {
    const source = programPath(program);
    put(source, target, 0o755);
    elf.push(source);
  }
  for (const file of FILES) {
    const source = join(root, file);
    if (!existsSync(source)) throw new Error(`pack ${file}: it is not there; npm run build makes it`);
    put(source, join(IMAGE_ROOT, file));
    if (file.endsWith('.node')) elf.push(source);
  }
  // Under the names that the loader looks for, in the folders where it looks without a cache.
  for (const library of new Set(elf.flatMap(librariesOf))) {
    const name = basename(library);
    const target = name.startsWith('ld-linux') ? library : join('/usr/lib', name);
    put(realpathSync(library), target, 0o755);
  }
  const busybox = busyboxPath();
  put(busybox, '/bin/busybox', 0o755);
  for (const applet of outputOf(busybox, ['--list']).split('\n').filter(Boolean)) {
    const link = join(folder, 'bin', applet);
    const taken = PROGRAMS.some(({ target }) => basename(target) === applet);
    if (!taken && !existsSync(link)) symlinkSync('busybox', link);
  }
  mkdirSync(join(folder, 'usr/bin'), { recursive: true });
  symlinkSync('/bin/busybox', join(folder, 'usr/bin/env'));
  for (const [link, target] of Object.entries(LINKS)) symlinkSync(target, join(folder, link));
  for (const name of ['etc', 'run', 'tmp', 'var', 'proc', 'sys', 'dev', 'host', 'root']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  chmodSync(join(folder, 'tmp'), 0o1777);
  symlinkSync('/run', join(folder, 'var/run'));
  const nobody = 'nobody:x:65534:65534:nobody:/:/bin/false';
  writeFileSync(join(folder, 'etc/passwd'), `root:x:0:0:root:/root:/bin/sh\n${nobody}\n`);
  writeFileSync(join(folder, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  writeFileSync(join(folder, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}

/** Modes that do not depend on the umask of whoever built. */
function settleModes(folder) {
  run('chmod', ['-R', 'u+rwX,go+rX,go-w', folder]);
  chmodSync(join(folder, 'tmp'), 0o1777);
}

function tar(folder, output, names) {
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=ustar'];
  run('tar', [...same, '-C', folder, '-cf', output, ...names]);
}

async function sha256(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

async function main() {
  const { values } = parseArgs({
    args: scriptArguments(import.meta.url),
    options: { tag: { type: 'string' }, output: { type: 'string' } },
  });
  const tag = values.tag ?? `fimbria:${version}`;
  const output = values.output ?? join(root, 'build/image', `fimbria-${version}.tar`);
  const architecture = ARCHITECTURES[process.arch];
  if (!architecture) throw new Error(`pack image: there is none for ${process.arch}; use x64 or arm64`);
  const work = mkdtempSync(join(tmpdir(), 'fimbria-image-'));
  try {
    const rootfs = join(work, 'rootfs');
    mkdirSync(rootfs);
    stage(rootfs);
    settleModes(rootfs);
    tar(rootfs, join(work, 'layer.tar'), ['.']);
    const layer = await sha256(join(work, 'layer.tar'));
    const config = {
      architecture,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: {
        ...CONFIG,
        Labels: { 'org.opencontainers.image.title': 'fimbria', 'org.opencontainers.image.version': version },
      },
      rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'scripts/image.mjs' }],
    };
    writeFileSync(join(work, 'config.json'), JSON.stringify(config));
    const manifest = [{ Config: 'config.json', RepoTags: [tag], Layers: ['layer.tar'] }];
    writeFileSync(join(work, 'manifest.json'), JSON.stringify(manifest));
    mkdirSync(dirname(output), { recursive: true });
    const temporary = `${output}.${process.pid}`;
    tar(work, temporary, ['manifest.json', 'config.json', 'layer.tar']);
    renameSync(temporary, output);
    const mib = (statSync(output).size / 2 ** 20).toFixed(0);
    say(`image ${tag}: ${output} (${mib} MiB, sha256 ${await sha256(output)})`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`fimbria image: ${error.message}\n`);
  process.exitCode = 1;
}
