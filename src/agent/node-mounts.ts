import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mountBpffs } from '../kernel/mount.ts';
import { createNetns, deleteNetns, isNetns } from '../kernel/netns.ts';

/** Where the agent keeps the namespace of its health endpoint: beside its state. */
export function healthNetnsPath(stateDir: string): string {
  return join(dirname(stateDir), 'netns', 'health');
}

/**
 * Makes the mounts of a node that must outlive the agent: a bpffs where there is none, and the health endpoint's network
 * namespace. For a container whose mounts reach the node, before an agent whose own do not. Idempotent.
 * @returns what was made
 */
export async function makeNodeMounts(paths: { bpfRoot: string; stateDir: string }): Promise<string[]> {
  const made: string[] = [];
  if (await mountBpffs(paths.bpfRoot)) made.push(`bpffs on ${paths.bpfRoot}`);
  const health = healthNetnsPath(paths.stateDir);
  if (!isNetns(health)) {
    if (existsSync(health)) await deleteNetns(health);
    await createNetns(health);
    made.push(`network namespace ${health}`);
  }
  return made;
}
