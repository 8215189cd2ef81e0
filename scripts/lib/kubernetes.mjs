/** The programs of a real Kubernetes that tests run, and where they are kept. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { PROGRAMS } from '../kubernetes/recipe.mjs';
import { root } from './project.mjs';

/** All that is kept about it, outside the checkout and shared by all. */
export function kubernetesCache() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(cache, 'fimbria', 'kubernetes');
}

/** The folder of the programs that today's recipe makes; there only when it is whole. */
export function kubernetesFolder() {
  const key = createHash('sha256')
    .update(readFileSync(join(root, 'scripts/kubernetes/recipe.mjs')))
    .update(process.arch)
    .digest('hex');
  return join(kubernetesCache(), key.slice(0, 16));
}

/** Whether they are there. */
export function kubernetesBuilt() {
  return PROGRAMS.every(name => existsSync(join(kubernetesFolder(), name)));
}
