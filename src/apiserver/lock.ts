import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { codeOf, FimbriaError } from '../base/errors.ts';

/**
 * Makes sure that one process at a time has the state: a file names the owner, by process id, start time and boot. What a
 * killed owner left is taken over.
 * @returns how to give it up
 * @throws FimbriaError IN_USE while the owner lives
 */
export function lockState(path: string): () => void {
  const mine = identity(process.pid);
  for (let tries = 0; tries < 3; tries++) {
    try {
      writeFileSync(path, mine, { flag: 'wx', mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const owner = read(path);
    const pid = Number(owner.split(' ')[0]);
    if (owner === identity(pid) && !hasEnded(pid)) {
      throw new FimbriaError({
        code: 'IN_USE',
        op: 'lock',
        object: path,
        why: `process ${pid} is using this state`,
        hint: 'stop it first',
      });
    }
    rmSync(path, { force: true });
  }
  throw new FimbriaError({
    code: 'IN_USE',
    op: 'lock',
    object: path,
    why: 'others are taking it at this moment',
  });
}

/** What tells a process from every other that has or had its id: when it started, and in which run of the machine. */
function identity(pid: number): string {
  // The 20th field behind the name is the start in clock ticks.
  return `${pid} ${statFields(pid)[19]} ${read('/proc/sys/kernel/random/boot_id').trim()}`;
}

/** A killed process that its parent has not asked for yet is listed, and holds nothing. */
function hasEnded(pid: number): boolean {
  return ['Z', 'X'].includes(statFields(pid)[0]!);
}

/** The fields of `/proc/PID/stat` from the state on; the name before them, in parentheses, may hold anything. */
function statFields(pid: number): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
