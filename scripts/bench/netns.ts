import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../../src/base/paths.ts';

/** Compiles `native/<name>.c` when it changed; static, so that it starts fast. Returns its path. */
export function compiled(name: string): string {
  const source = join(packageRoot(), 'scripts/bench/native', `${name}.c`);
  const target = join(packageRoot(), 'build/bench', `bench-${name}`);
  if (existsSync(target) && statSync(target).mtimeMs > statSync(source).mtimeMs) return target;
  mkdirSync(join(packageRoot(), 'build/bench'), { recursive: true });
  const fresh = `${target}.${process.pid}`;
  execute('gcc', ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-static', '-s', '-o', fresh, source]);
  renameSync(fresh, target);
  return target;
}

/** Runs a program to its end. @throws Error with what it said */
export function execute(program: string, args: readonly string[], input = ''): string {
  const { status, error, stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8' });
  if (error) throw new Error(`run ${program}: ${error.message}; npm run setup installs what is needed`);
  if (status !== 0)
    throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${(stderr || stdout).trim()}`);
  return stdout;
}

/** `ip -batch` in a namespace: one command a line, without the word ip. */
export function ip(netns: string, lines: readonly string[]): void {
  execute('nsenter', [`--net=${netns}`, 'ip', '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Sets sysctls of a namespace, each `net/…=value`. */
export function sysctl(netns: string, ...settings: string[]): void {
  const script = settings.map(s => `echo ${s.split('=')[1]} >/proc/sys/${s.split('=')[0]}`).join('; ');
  execute('nsenter', [`--net=${netns}`, 'sh', '-ec', script]);
}

/** The network namespace of a process. */
export const netnsOf = (pid: number): string => `/proc/${pid}/ns/net`;

/** Where a process is in the cgroup2 tree mounted at `root`. */
export function cgroupOf(pid: number, root: string): string {
  const line = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .find(l => l.startsWith('0::'));
  return join(root, line?.slice('0::'.length) ?? '');
}

/** What one run of a CNI plugin gave. */
export interface PluginRun {
  readonly status: number;
  /** From before its start to after its exit. */
  readonly milliseconds: number;
  readonly output: string;
}

/** One call of a plugin. */
export interface PluginCall {
  readonly command: 'ADD' | 'DEL';
  readonly program: string;
  /** A file with the network configuration. */
  readonly config: string;
  readonly container: string;
  readonly netns: string;
  readonly args?: string;
}

const hasEnded = (): Error => new Error('the helper bench-netns has ended');

/** A helper that holds network namespaces and runs plugins in one of them; what it holds ends with it. */
export class NetnsHost {
  static readonly #all = new Set<NetnsHost>();
  readonly #child: ChildProcess;
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];

  #ended = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({ input: child.stdout! }).on('line', line => this.#waiting.shift()?.resolve(line));
    child.once('close', () => {
      this.#ended = true;
      for (const { reject } of this.#waiting.splice(0)) reject(hasEnded());
    });
    child.stdin!.on('error', () => {});
    NetnsHost.#all.add(this);
  }

  /** Starts one whose plugins run in `netns`. */
  static start(netns = '/proc/self/ns/net'): NetnsHost {
    return new NetnsHost(spawn(compiled('netns'), [netns], { stdio: ['pipe', 'pipe', 'inherit'] }));
  }

  /** Ends every helper: their namespaces and all devices in them go. */
  static async endAll(): Promise<void> {
    await Promise.all([...NetnsHost.#all].map(host => host.end()));
  }

  /** Makes a namespace with its loopback up. Returns a path by which every process reaches it. */
  async create(): Promise<string> {
    const [fd = '', ...why] = (await this.#ask('new')).split(' ');
    if (Number(fd) < 0) throw new Error(`make network namespace: ${why.join(' ')}`);
    return `/proc/${this.#child.pid}/fd/${fd}`;
  }

  /** Lets go of a namespace that `create` made. */
  async release(path: string): Promise<void> {
    await this.#ask(`close ${path.slice(path.lastIndexOf('/') + 1)}`);
  }

  /** Runs a plugin. Its failure is an answer, not an exception. */
  async plugin(call: PluginCall): Promise<PluginRun> {
    const words = [
      'cni',
      call.command,
      call.program,
      call.config,
      call.container,
      call.netns || '-',
      call.args ?? '-',
    ];
    const [status, ns, ...output] = (await this.#ask(words.join(' '))).split(' ');
    return { status: Number(status), milliseconds: Number(ns) / 1e6, output: output.join(' ') };
  }

  async end(): Promise<void> {
    NetnsHost.#all.delete(this);
    if (this.#ended) return;
    const ended = once(this.#child, 'close');
    this.#child.stdin!.end();
    await ended;
  }

  #ask(line: string): Promise<string> {
    if (this.#ended) return Promise.reject(hasEnded());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin!.write(`${line}\n`);
    });
  }
}
