import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { codeOf, FimbriaError } from '../base/errors.ts';

/**
 * Makes sure that one process at a time has the state: a file names the owner, by process id and start time. What a
 * killed owner left is taken over.
 * @returns how to give it up
 * @throws FimbriaError IN_USE while the owner lives
 */
export function lockState(path: string): () => void {
  const mine = `${process.pid} ${startTime(process.pid)}`;
  for (let tries = 0; tries < 3; tries++) {
    try {
      writeFileSync(path, mine, { flag: 'wx', mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const owner = read(path);
    const pid = Number(owner.split(' ')[0]);
    if (owner !== mine && owner === `${pid} ${startTime(pid)}`) {
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

/** When a process started, in clock ticks since boot: tells it from a later one with the same id. */
function startTime(pid: number): string | undefined {
  // The name in parentheses may hold anything; what follows it is numbers.
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
