#!/usr/bin/env node
/**
 * npm's install step. A packed tarball ships the addon and the C programs for one architecture: where they fit,
 * nothing is done. Elsewhere they are built from the shipped sources. In a checkout `npm run setup` builds.
 */
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { installed, root, run, say, warn } from './lib/project.mjs';

const ADDON = join(root, 'build/native/Release/fimbria.node');
/** ELF's e_machine for what Node calls an architecture. */
const MACHINES = { x64: 62, arm64: 183 };

/** Whether a file is an ELF object for this processor. */
function fits(path) {
  if (!existsSync(path)) return false;
  const header = Buffer.alloc(20);
  const file = openSync(path, 'r');
  try {
    return readSync(file, header) === 20 && header.readUInt16LE(18) === MACHINES[process.arch];
  } finally {
    closeSync(file);
  }
}

/** Says at once, not at the first start of the agent, when a library that the addon needs is missing. */
function tryToLoad() {
  try {
    process.dlopen({ exports: {} }, ADDON);
  } catch (error) {
    warn(
      `load addon: ${error.message}; install libbpf 1.1 or newer, libelf and zlib (Debian: libbpf1 libelf1 zlib1g)`,
    );
  }
}

/** Without cmake, node-gyp (which npm puts on PATH here) builds the same sources. Not `rebuild`: it would empty build/. */
function buildWithNodeGyp() {
  run('node-gyp', ['configure', 'build']);
  mkdirSync(join(root, 'build/native/Release'), { recursive: true });
  copyFileSync(join(root, 'build/Release/fimbria.node'), ADDON);
}

function main() {
  if (existsSync(join(root, '.git'))) return;
  const shipped = [ADDON, join(root, 'build/bin/fimbria-cni'), join(root, 'build/bin/fimbria-pause')];
  if (!shipped.every(fits)) {
    say(
      `what the package ships is not for ${process.arch}: building it (needs g++, make, libbpf-dev, pkg-config)`,
    );
    run(process.execPath, ['scripts/build.mjs', '--force', '--only', 'bin']);
    if (installed('cmake')) run(process.execPath, ['scripts/build.mjs', '--force', '--only', 'native']);
    else buildWithNodeGyp();
  }
  tryToLoad();
}

try {
  main();
} catch (error) {
  process.stderr.write(`fimbria install: ${error.message}\n`);
  process.exitCode = 1;
}
