import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, FimbriaError } from '../base/errors.ts';
import { LABS_ROOT, type LabNode, labPaths } from './names.ts';

/** What a lab's state.json holds. Processes are not in it: they are found by their command lines. */
export interface LabState {
  readonly name: string;
  /** `starting` until `lab up` has finished: what is left of one that was killed. */
  readonly phase: 'starting' | 'running';
  readonly nodes: readonly LabNode[];
  /** TCP port of the API server on 127.0.0.1. */
  readonly apiserverPort: number;
  /** Helm values as merged, for `lab upgrade`. */
  readonly values: Record<string, unknown>;
}

/** Writes by rename: a reader sees the old file or the new one. */
export function writeFileAtomically(path: string, text: string, mode = 0o600): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}

/** Replaces the lab's state. */
export function writeState(state: LabState): void {
  writeFileAtomically(labPaths(state.name).state, `${JSON.stringify(state, null, 2)}\n`);
}

/** The lab's state, or undefined when there is no such lab. */
export function readState(name: string): LabState | undefined {
  try {
    return JSON.parse(readFileSync(labPaths(name).state, 'utf8')) as LabState;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Names of the labs that have a directory. */
export function labNames(): string[] {
  try {
    return readdirSync(LABS_ROOT, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
      .sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** The state of a lab that is up. @throws FimbriaError NOT_FOUND, or NOT_RUNNING for one whose start was cut short */
export function requireLab(name: string): LabState {
  const state = readState(name);
  if (state?.phase === 'running') return state;
  if (state) {
    throw new FimbriaError({
      code: 'NOT_RUNNING',
      op: 'use',
      object: `lab ${name}`,
      why: 'it has not come up',
      hint: `wait for \`fimbria lab up\`, or take it away with \`fimbria lab down --lab ${name}\``,
    });
  }
  const others = labNames().filter(other => other !== name);
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'use',
    object: `lab ${name}`,
    why: 'there is no such lab',
    hint:
      others.length > 0 ? `there is: ${others.join(', ')} (--lab NAME)` : 'start one with `fimbria lab up`',
  });
}

/**
 * Runs `work` while no other command changes the same thing. The lock is an abstract socket, which the kernel lets go
 * when its holder ends, however it ends.
 * @throws FimbriaError BUSY when somebody else holds it for longer than `timeoutMs`
 */
export async function withLock<T>(what: string, work: () => Promise<T>, timeoutMs = 120_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const server = createServer();
    const taken = await new Promise<boolean>((resolve, reject) => {
      server.once('error', error => (codeOf(error) === 'EADDRINUSE' ? resolve(false) : reject(error)));
      server.listen(`\0fimbria-lab/${what}`, () => resolve(true));
    });
    if (taken) {
      try {
        return await work();
      } finally {
        server.close();
      }
    }
    if (performance.now() > deadline) {
      throw new FimbriaError({
        code: 'BUSY',
        op: 'lock',
        object: what,
        why: 'another command is changing it',
        hint: 'wait for it to end, or end it',
      });
    }
    await delay(100);
  }
}
