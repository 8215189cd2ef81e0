import { existsSync, mkdirSync, readFileSync, rmdirSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import { LABS_ROOT } from './names.ts';
import { labNames, withLock, writeFileAtomically } from './state.ts';

/**
 * Directories that a node mounts its own over. They must exist on the machine; those that labs had to make are listed
 * in this file before they are made. Only the last lab to go removes them: removing a directory that is a mount point
 * in another lab's namespace would take that mount away.
 */
const REGISTRY = join(LABS_ROOT, 'mountpoints.json');

function readRegistry(): string[] {
  try {
    return JSON.parse(readFileSync(REGISTRY, 'utf8')) as string[];
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** The directories that must be made so that `path` exists, outermost first. */
function missing(path: string): string[] {
  return existsSync(path) ? [] : [...missing(dirname(path)), path];
}

/** Makes the directories that are missing and remembers which. Repeatable. Call with the lab's own directory made. */
export async function makeMountPoints(paths: readonly string[]): Promise<void> {
  await withLock('mountpoints', async () => {
    const toMake = [...new Set(paths.flatMap(missing))];
    if (toMake.length === 0) return;
    writeFileAtomically(REGISTRY, JSON.stringify([...new Set([...readRegistry(), ...toMake])]));
    for (const path of toMake) mkdirSync(path, { mode: 0o755 });
  });
}

/** Removes what labs made, once no lab is left, and the labs' common directory. Never more than an empty directory. */
export async function releaseMountPoints(): Promise<void> {
  await withLock('mountpoints', async () => {
    if (labNames().length > 0) return;
    const removable = (path: string) => {
      try {
        rmdirSync(path);
      } catch (error) {
        if (!['ENOENT', 'ENOTEMPTY', 'EBUSY', 'EEXIST'].includes(codeOf(error) ?? '')) throw error;
      }
    };
    for (const path of readRegistry().reverse()) removable(path);
    if (existsSync(REGISTRY)) unlinkSync(REGISTRY);
    removable(LABS_ROOT);
  });
}
