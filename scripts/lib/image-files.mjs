/**
 * What the image of agent and operator holds: the one list that `scripts/image.mjs` packs and `deploy/Dockerfile` is
 * generated from. The libraries of every program and of the addon come along by themselves.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './project.mjs';

/** Every source file of `bpf/` is an object. */
const programs = readdirSync(join(root, 'bpf'))
  .filter(name => name.endsWith('.c'))
  .map(name => name.slice(0, -2))
  .sort();

/** Where the package lies in the image. */
export const IMAGE_ROOT = '/opt/fimbria';

/** Programs of the machine, by the path they get, and the Debian package that brings them. `node` comes with the base. */
export const PROGRAMS = [
  { target: '/usr/local/bin/node', program: 'node' },
  { target: '/usr/sbin/bpftool', program: 'bpftool', package: 'bpftool' },
  { target: '/usr/sbin/ip', program: 'ip', package: 'iproute2' },
  { target: '/usr/sbin/tc', program: 'tc', package: 'iproute2' },
  { target: '/usr/bin/ss', program: 'ss', package: 'iproute2' },
];

/** Files of the checkout, by pattern; they lie below {@link IMAGE_ROOT} as they lie here. */
export const FILES = [
  'package.json',
  'LICENSE',
  'dist/fimbria.js',
  'dist/fimbria-agent.js',
  'dist/fimbria-operator.js',
  'build/native/Release/fimbria.node',
  ...programs.map(name => `build/bpf/${name}.o`),
  'build/bin/fimbria-cni',
];

/** Links, by their own path. */
export const LINKS = {
  '/usr/local/bin/fimbria': `${IMAGE_ROOT}/dist/fimbria.js`,
  '/usr/local/bin/cilium': `${IMAGE_ROOT}/dist/fimbria.js`,
  '/usr/local/bin/cilium-dbg': `${IMAGE_ROOT}/dist/fimbria.js`,
  '/usr/local/bin/fimbria-agent': `${IMAGE_ROOT}/dist/fimbria-agent.js`,
  '/usr/local/bin/fimbria-operator': `${IMAGE_ROOT}/dist/fimbria-operator.js`,
};

/** Debian packages whose libraries the addon needs. */
export const LIBRARY_PACKAGES = ['libbpf1', 'libelf1', 'zlib1g'];

/** What the image says of itself to a container runtime. No shell and no entry point: a manifest names the program. */
export const CONFIG = {
  Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  Cmd: ['fimbria-agent'],
  WorkingDir: '/',
};
