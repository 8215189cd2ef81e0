import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collect, type Outcome } from '../../e2e/lab.ts';
import { type Hierarchy, NodeCgroups } from './cgroups.ts';

const PREFIX = 'fimbria-test-node-';

/** Where a node has CNI plugins and configurations: containerd's and Kubernetes' defaults. */
export const CNI_BIN = '/opt/cni/bin';
export const CNI_CONF = '/etc/cni/net.d';

/** What a node has for itself where the machine has one for all; changes stay in the node. */
const OWN_DIRECTORIES = ['/etc', '/opt', '/var/lib', '/var/log', '/usr/libexec'];

/**
 * A machine of a cluster, as far as a container runtime, a kubelet and an agent can tell: a network, a mount and a
 * cgroup namespace with /sys, bpffs, every cgroup hierarchy, /run, /etc, /opt and /var of its own. Mounts made in it
 * are shared among its own mount namespaces (containers with bidirectional propagation work) and with nobody else's.
 *
 * Everything in it ends when this process does, however it does: the holder reads from it, and at the end of that
 * kills the node's cgroup. What remains then are empty cgroups and a folder, which the next `create` sweeps.
 */
export class ClusterNode {
  readonly name: string;
  /** Files of the node that both sides see under one path: sockets, logs, images. */
  readonly dir: string;
  /** The process that holds the namespaces. */
  readonly pid: number;
  readonly cgroups: NodeCgroups;
  readonly #holder: ChildProcess;
  readonly #daemons = new Set<ChildProcess>();

  private constructor(name: string, dir: string, cgroups: NodeCgroups, holder: ChildProcess) {
    this.name = name;
    this.dir = dir;
    this.cgroups = cgroups;
    this.#holder = holder;
    this.pid = holder.pid!;
  }

  /** Makes a node without any link but loopback; `name` needs to be unique among this process's nodes. */
  static async create(name: string): Promise<ClusterNode> {
    await sweep();
    const own = `${PREFIX}${name}-${process.pid}`;
    const dir = join(tmpdir(), own);
    const cgroups = new NodeCgroups(own);
    mkdirSync(join(dir, 'logs'), { recursive: true });
    mkdirSync(join(dir, 'own'), { recursive: true });
    cgroups.make();
    writeFileSync(join(dir, 'init.sh'), initScript(dir, cgroups));
    const holder = spawn('sh', [join(dir, 'init.sh')], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    const node = new ClusterNode(name, dir, cgroups, holder);
    try {
      await ready(holder);
    } catch (error) {
      await node.remove();
      throw error;
    }
    writeFileSync(join(dir, 'enter'), enterScript(node.pid, cgroups), { mode: 0o755 });
    return node;
  }

  get netns(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** Where a path of the node is seen from outside. */
  path(inside: string): string {
    return join(`/proc/${this.pid}/root`, inside);
  }

  /** Starts a command in the node; the caller reads and ends it. */
  spawn(command: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    return spawn(join(this.dir, 'enter'), command, { env: { ...process.env, ...env } });
  }

  /** Runs a command in the node. */
  run(...command: string[]): Promise<Outcome> {
    return collect(this.spawn(command));
  }

  /** As `run`, but throws with what the command said when it fails; returns what it printed. */
  async must(...command: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(...command);
    if (status === 0) return stdout;
    throw new Error(`run ${command.join(' ')} in ${this.name}: exit status ${status}: ${stderr}${stdout}`);
  }

  /** Starts a daemon in the node with its output appended to `logs/<what>.log`. Its pid is the command's own. */
  start(what: string, command: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const log = openSync(this.log(what), 'a');
    const child = spawn(join(this.dir, 'enter'), command, {
      env: { ...process.env, ...env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#daemons.add(child);
    child.once('exit', () => this.#daemons.delete(child));
    return child;
  }

  log(what: string): string {
    return join(this.dir, 'logs', `${what}.log`);
  }

  /** Ends all its processes, containers included, and removes what it had. Repeatable. */
  async remove(): Promise<void> {
    const gone = this.#holder.exitCode === null && this.#holder.signalCode === null;
    const ended = gone ? once(this.#holder, 'exit') : undefined;
    this.#holder.stdin?.destroy();
    await this.cgroups.remove();
    await ended;
    await Promise.all([...this.#daemons].map(child => once(child, 'exit')));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Ends a daemon and waits for its end. Repeatable. */
export async function stop(child: ChildProcess, how: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(how);
  await ended;
}

async function ready(holder: ChildProcess): Promise<void> {
  let text = '';
  let said = '';
  holder.stderr!.on('data', chunk => (said += chunk));
  await new Promise<void>((resolve, reject) => {
    holder.once('error', reject);
    holder.once('exit', status => reject(new Error(`make node: init ended with ${status}: ${said}`)));
    holder.stdout!.on('data', chunk => {
      text += chunk;
      if (text.includes('ready\n')) resolve();
    });
  });
}

/** Removes nodes whose test process is gone; a crash leaves cgroups and a folder. */
async function sweep(): Promise<void> {
  const folders = readdirSync(tmpdir()).filter(name => name.startsWith(PREFIX));
  for (const name of new Set([...folders, ...NodeCgroups.named(PREFIX)])) {
    const owner = /-(\d+)$/.exec(name)?.[1];
    if (!owner || existsSync(`/proc/${owner}`)) continue;
    await new NodeCgroups(name).remove();
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function mountCgroups(all: readonly Hierarchy[]): string {
  const single = all.length === 1 && all[0]?.mountPoint === '/sys/fs/cgroup';
  const mounts = all.map(({ mountPoint, version, options }) =>
    version === 2
      ? `mkdir -p ${mountPoint} && mount -t cgroup2 cgroup2 ${mountPoint}`
      : `mkdir -p ${mountPoint} && mount -t cgroup -o ${options} cgroup ${mountPoint}`,
  );
  return [...(single ? [] : ['mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup']), ...mounts].join('\n');
}

function initScript(dir: string, cgroups: NodeCgroups): string {
  // The namespace's root is where a process is when it is made: the node's cgroup, not the leaf in it.
  const join1 = cgroups.all.map(({ mountPoint }) => `echo 0 >${mountPoint}/${cgroups.name}/cgroup.procs`);
  const unified = cgroups.all.find(({ version }) => version === 2)!.mountPoint;
  const overlays = OWN_DIRECTORIES.filter(existsSync).map(path => {
    const layers = `${dir}/own/${path.slice(1).replaceAll('/', '-')}`;
    return `mkdir -p ${layers}/upper ${layers}/work
mount -t overlay -o lowerdir=${path},upperdir=${layers}/upper,workdir=${layers}/work overlay ${path}`;
  });
  const second = `set -e
mount --make-rshared /
umount -l /sys
mount -t sysfs sysfs /sys
${mountCgroups(cgroups.all)}
echo 0 >${unified}/init/cgroup.procs
mount -t bpf -o mode=700 bpf /sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
mount -t tmpfs -o mode=755 tmpfs ${dir}/own
${overlays.join('\n')}
# Seen on 6.18: a file renamed in a folder of an overlay while somebody lists it is there, but is never listed again. This
# folder is listed by the runtime at each change.
mkdir -p /etc/cni/net.d
mount -t tmpfs -o mode=755 tmpfs /etc/cni/net.d
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
echo ready
read -r _ || :
echo 1 >${unified}/cgroup.kill`;
  writeFileSync(join(dir, 'init2.sh'), `${second}\n`);
  return `set -e
${join1.join('\n')}
exec unshare --net --mount --cgroup --propagation private sh ${dir}/init2.sh
`;
}

function enterScript(pid: number, cgroups: NodeCgroups): string {
  const joins = cgroups.entries().map(file => `echo 0 >${file}`);
  return `#!/bin/sh
set -e
${joins.join('\n')}
exec nsenter --target ${pid} --net --mount --cgroup -- "$@"
`;
}

/** The last lines of a log, for messages. */
export function tail(path: string, lines = 15): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').slice(-lines).join('\n') : '';
}
