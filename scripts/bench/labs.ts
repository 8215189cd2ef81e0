import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/base/paths.ts';
import { findCgroup2 } from '../../src/lab/cgroup.ts';
import { labPaths } from '../../src/lab/names.ts';
import { findProcess, isAlive } from '../../src/lab/processes.ts';
import { labNames } from '../../src/lab/state.ts';
import { cgroupOf, execute, ip, netnsOf } from './netns.ts';

/** Where one end of a measurement is. */
export interface Place {
  readonly netns: string;
  readonly cgroup: string;
  readonly address: string;
}

const PREFIX = 'bench-';

/** A lab of the bench, driven by the command line as users do. */
export class BenchLab {
  static readonly #all = new Set<BenchLab>();
  static readonly #running = new Set<ChildProcess>();
  static #ending = false;
  readonly name: string;

  constructor(part: string) {
    this.name = `${PREFIX}${process.pid}-${part}`;
    BenchLab.#all.add(this);
  }

  /** Takes down every lab of this run, after ending the commands that still work on them. */
  static async downAll(): Promise<void> {
    BenchLab.#ending = true;
    await Promise.all(
      [...BenchLab.#running].map(async child => {
        const ended = once(child, 'close');
        child.kill('SIGINT');
        await ended;
      }),
    );
    await Promise.all([...BenchLab.#all].map(lab => lab.down()));
  }

  /** Takes down what runs left behind that did not live to do it. Returns their names. */
  static async sweep(): Promise<string[]> {
    const left = labNames().filter(name => {
      const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
      return pid !== undefined && !isAlive(Number(pid));
    });
    for (const name of left) await fimbria(['lab', 'down', '--lab', name]);
    return left;
  }

  async up(nodes: number, values: readonly string[]): Promise<void> {
    await this.run('lab', 'up', '--nodes', `${nodes}`, ...values.flatMap(v => ['--set', v]));
  }

  async down(): Promise<void> {
    BenchLab.#all.delete(this);
    await fimbria(['lab', 'down', '--lab', this.name]);
  }

  /** Runs `fimbria …` for this lab; returns what it printed. @throws Error with what it said */
  async run(...args: string[]): Promise<string> {
    // Once the labs go down nothing more is begun: the caller's course stops here.
    if (BenchLab.#ending) return new Promise(() => {});
    return fimbria(args, this.name, BenchLab.#running);
  }

  /**
   * Joins the two nodes by a veth pair in place of the lab's bridge, so that the wire costs what it costs between the
   * bare nodes they are compared with. The agents are restarted: their device is another one.
   */
  async joinDirectly(): Promise<void> {
    const nodes = ['node-0', 'node-1'];
    await Promise.all(nodes.map(node => this.run('lab', 'node', 'stop', node)));
    const [left, right] = nodes.map(node => netnsOf(this.pid('node', node)));
    ip(right!, ['link del eth0']);
    ip(left!, ['link del eth0', `link add eth0 type veth peer name eth0 netns ${right}`]);
    for (const [i, netns] of [left!, right!].entries()) {
      ip(netns, [`addr add 192.168.10.${100 + i}/24 brd 192.168.10.255 dev eth0`, 'link set eth0 up']);
    }
    await Promise.all(nodes.map(node => this.run('lab', 'node', 'start', node)));
  }

  /**
   * Puts a host that is no node beside a node, at the other end of its device in place of the lab's bridge, so that what
   * comes from outside costs what it costs elsewhere. @returns where that host is
   */
  async joinOutside(node: string, netns: string): Promise<Place> {
    const outside = { netns, cgroup: '', address: '192.168.10.1' };
    await this.run('lab', 'node', 'stop', node);
    const inside = netnsOf(this.pid('node', node));
    ip(inside, ['link del eth0', `link add eth0 type veth peer name eth0 netns ${netns}`]);
    ip(netns, [`addr add ${outside.address}/24 dev eth0`, 'link set eth0 up']);
    ip(inside, [
      'addr add 192.168.10.100/24 brd 192.168.10.255 dev eth0',
      'link set eth0 up',
      `route add default via ${outside.address}`,
    ]);
    await this.run('lab', 'node', 'start', node);
    return outside;
  }

  /** Adds pods that only pause, by name the node of each. Returns where they are, in the same order. */
  async pods(nodes: Readonly<Record<string, string>>): Promise<Place[]> {
    const names = Object.keys(nodes);
    await Promise.all(names.map(name => this.run('lab', 'pod', 'add', name, '--node', nodes[name]!)));
    const rows: { name: string; ip: string }[] = JSON.parse(
      await this.run('lab', 'pod', 'list', '-o', 'json'),
    );
    return names.map(name => {
      const address = rows.find(row => row.name === name)?.ip ?? '';
      const pid = this.pid('pod', `default/${name}`);
      return { netns: netnsOf(pid), cgroup: cgroupOf(pid, findCgroup2()), address };
    });
  }

  /** The only process of the lab with this role. @throws Error when it is not running */
  pid(role: 'node' | 'agent' | 'pod' | 'controllers', name?: string): number {
    const found = findProcess(this.name, role, name);
    if (!found) throw new Error(`lab ${this.name}: no ${role} ${name ?? ''} is running`);
    return found.pid;
  }

  socket(node: string): string {
    return labPaths(this.name).node(node).socket;
  }

  /** A pin in the node's bpffs, as the machine reaches it. */
  pin(node: string, name: string): string {
    return `/proc/${this.pid('node', node)}/root/sys/fs/bpf/tc/globals/${name}`;
  }

  /** Memory of a node's agent, in MB, shared pages included. */
  agentMemoryMb(node: string): number {
    const status = readFileSync(`/proc/${this.pid('agent', node)}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  }

  /** What the node's agent said at its last start: milliseconds until a probe packet had crossed the datapath. */
  readyAfterMs(node: string): number {
    const log = readFileSync(labPaths(this.name).log(`agent-${node}`), 'utf8');
    const line = log.split('\n').findLast(l => l.includes('a probe packet crossed'));
    const found = /"?sinceStartMs"?[=:]\s*"?(\d+)/.exec(line ?? '');
    return Number(found?.[1] ?? Number.NaN);
  }
}

/** Runs the built command line in a process group of its own: Ctrl-C is dealt with in order, by us. */
async function fimbria(args: readonly string[], lab?: string, running?: Set<ChildProcess>): Promise<string> {
  const env = lab
    ? { ...process.env, FIMBRIA_LAB: lab, KUBECONFIG: labPaths(lab).localKubeconfig }
    : process.env;
  const program = join(packageRoot(), 'dist/fimbria.js');
  const child = spawn(process.execPath, [program, ...args], { env, detached: true });
  running?.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', chunk => (stdout += chunk));
  child.stderr.on('data', chunk => (stderr += chunk));
  const [status] = await once(child, 'close');
  running?.delete(child);
  if (status !== 0) throw new Error(`fimbria ${args.join(' ')} ended with ${status}: ${stderr.trim()}`);
  return stdout;
}

/** Installs the Debian package with the `ptp` and `bridge` plugins where it is missing. Returns their folder. */
export function pluginFolder(say: (text: string) => void): string {
  const folder = '/usr/lib/cni';
  const name = 'containernetworking-plugins';
  try {
    execute('test', ['-x', `${folder}/ptp`, '-a', '-x', `${folder}/bridge`]);
  } catch {
    say(`installing ${name}: the ptp and bridge plugins to compare with`);
    execute('env', [
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      '-q',
      '-y',
      'install',
      '--no-install-recommends',
      name,
    ]);
  }
  return folder;
}
