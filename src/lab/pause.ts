import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { FimbriaError } from '../base/errors.ts';
import { assetPath } from '../base/paths.ts';
import type { LabRole } from './processes.ts';

/** What `fimbria-pause` shall do; see native/pause/main.c. */
export interface PauseOptions {
  lab: string;
  role: LabRole;
  name: string;
  /** For who reads the command line: `node`, `uid`, `container-id`. */
  labels?: Record<string, string>;
  newNet?: boolean;
  newMount?: boolean;
  joinNet?: string;
  joinMount?: string;
  cgroup?: string;
  /** A fresh /sys with this cgroup as /sys/fs/cgroup. */
  sysCgroup?: string;
  bpffs?: string;
  /** `SOURCE:TARGET` bind mounts. */
  binds?: string[];
  /** `net/ipv4/ip_forward=1` */
  sysctls?: string[];
  statusFile?: string;
  /** Become the command rather than run it. */
  exec?: boolean;
  command?: string[];
}

/** The command line, without the program. Pure. */
export function pauseArguments(o: PauseOptions, readyFd?: number): string[] {
  const args = ['--lab', o.lab, '--role', o.role, '--name', o.name];
  for (const [key, value] of Object.entries(o.labels ?? {})) args.push(`--${key}`, value);
  if (o.newNet) args.push('--new-net');
  if (o.newMount) args.push('--new-mount');
  if (o.joinNet) args.push('--join-net', o.joinNet);
  if (o.joinMount) args.push('--join-mount', o.joinMount);
  if (o.cgroup) args.push('--cgroup', o.cgroup);
  if (o.sysCgroup) args.push('--fresh-sys', o.sysCgroup);
  if (o.bpffs) args.push('--bpffs', o.bpffs);
  for (const bind of o.binds ?? []) args.push('--bind', bind);
  for (const sysctl of o.sysctls ?? []) args.push('--sysctl', sysctl);
  if (o.statusFile) args.push('--status-file', o.statusFile);
  if (readyFd !== undefined) args.push('--ready-fd', String(readyFd));
  if (o.exec) args.push('--exec');
  if (o.command) args.push('--', ...o.command);
  return args;
}

/** Where the program is. @throws FimbriaError ENOENT when it was not built */
export function pauseProgram(): string {
  return assetPath('build/bin/fimbria-pause');
}

async function readAll(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.endsWith('\n')) break;
  }
  return text.trim();
}

/**
 * Starts a process that outlives us, in its own session, and waits until it has set itself up (with `exec`: until the
 * command has begun). Its output goes to `log`, or nowhere.
 * @returns its pid
 * @throws FimbriaError START_FAILED with what the program says
 */
export async function startDetached(
  options: PauseOptions,
  start: { log?: string; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<number> {
  const output = start.log === undefined ? undefined : openSync(start.log, 'a', 0o600);
  const child = spawn(pauseProgram(), pauseArguments(options, 3), {
    detached: true,
    stdio: ['ignore', output ?? 'ignore', output ?? 'ignore', 'pipe'],
    cwd: start.cwd ?? '/',
    env: start.env ?? process.env,
  });
  if (output !== undefined) closeSync(output);
  const failed = (why: string) =>
    new FimbriaError({ code: 'START_FAILED', op: 'start', object: `${options.role} ${options.name}`, why });
  const spawned = new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', error => reject(failed(error.message)));
  });
  await spawned;
  child.unref();
  const ready = child.stdio[3] as Readable;
  const said = await readAll(ready);
  ready.destroy();
  if (options.exec ? said !== '' : said !== 'ok') throw failed(said || 'it ended before it was ready');
  if (child.pid === undefined) throw failed('it has no pid');
  return child.pid;
}
