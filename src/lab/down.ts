import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { FimbriaError } from '../base/errors.ts';
import { killCgroup, labCgroups, removeCgroup } from './cgroup.ts';
import { releaseMountPoints } from './mountpoints.ts';
import { labPaths } from './names.ts';
import { isAlive, type LabRole, labProcesses, signal } from './processes.ts';
import { withLock } from './state.ts';

const KILL_TIMEOUT_MS = 20_000;

type NamespaceKind = 'net' | 'mnt';

/** Which namespaces are the lab's own for the processes that hold them; the others they share with the machine. */
const HELD: Partial<Record<LabRole, readonly NamespaceKind[]>> = {
  node: ['net', 'mnt'],
  underlay: ['net'],
  outside: ['net'],
  pod: ['net'],
};

function namespaceOf(pid: number | 'self', kind: NamespaceKind): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}

/** Namespaces of the lab's holders: whoever is in one of them, by whatever way it came, belongs to the lab. */
function heldNamespaces(lab: string): Set<string> {
  const held = new Set<string>();
  for (const { pid, role } of labProcesses(lab)) {
    for (const kind of HELD[role] ?? []) {
      const namespace = namespaceOf(pid, kind);
      // Between fork and unshare a holder is still in the machine's namespaces, and so may we be in a node's.
      const shared = [namespaceOf(1, kind), namespaceOf('self', kind)].includes(namespace);
      if (namespace !== undefined && !shared) held.add(namespace);
    }
  }
  return held;
}

function processesIn(namespaces: ReadonlySet<string>): number[] {
  if (namespaces.size === 0) return [];
  return readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .map(Number)
    .filter(pid =>
      (['net', 'mnt'] as const).some(kind => {
        const namespace = namespaceOf(pid, kind);
        return namespace !== undefined && namespaces.has(namespace);
      }),
    );
}

/** Kills until nothing is left: whatever was forked between looking and killing is met on the next round. */
async function killEverything(lab: string): Promise<void> {
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  // A holder may die before its guests: remember what it held for as long as this takes.
  const held = new Set<string>();
  for (;;) {
    for (const namespace of heldNamespaces(lab)) held.add(namespace);
    const found = new Set([...processesIn(held), ...labProcesses(lab).map(p => p.pid)]);
    found.delete(process.pid);
    const alive = [...found].filter(isAlive);
    if (alive.length === 0) return;
    if (performance.now() > deadline) {
      throw new FimbriaError({
        code: 'TIMEOUT',
        op: 'end',
        object: `processes ${alive.join(', ')}`,
        why: 'they do not end',
      });
    }
    killCgroup(labCgroups(lab).dir);
    for (const pid of alive) signal(pid, 'SIGKILL');
    await delay(20);
  }
}

/** Takes everything of the lab away: processes, namespaces, pins, cgroups, files. The caller holds the lab's lock. */
export async function takeDown(lab: string): Promise<void> {
  await killEverything(lab);
  await removeCgroup(labCgroups(lab).dir);
  rmSync(labPaths(lab).dir, { recursive: true, force: true });
  await releaseMountPoints();
}

/** `fimbria lab down`: repeatable, also for a lab that never came up or whose processes were all killed. */
export async function labDown(lab: string): Promise<void> {
  await withLock(lab, () => takeDown(lab));
}
