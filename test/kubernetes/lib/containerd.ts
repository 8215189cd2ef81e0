import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DebianPackage, unpackedPackages } from '../../../scripts/lib/debian.mjs';
import { waitUntil } from '../../../src/lab/deadline.ts';
import { collect } from '../../e2e/lab.ts';
import { CriClient } from './cri.ts';
import { PAUSE_IMAGE, packBusybox } from './image.ts';
import { type ClusterNode, CNI_BIN, CNI_CONF, stop, tail } from './node.ts';

/** The containerds that are tested with, by the Debian suite that brings them: 1.6, and one that calls STATUS. */
export const CONTAINERD_SUITES = ['bookworm', 'sid'] as const;
export type ContainerdSuite = (typeof CONTAINERD_SUITES)[number];

/**
 * Debian packages that a runtime node needs: the plugins as old as the containerd, since they have to know the versions
 * of CNI that it speaks; runc of bookworm, which runs with every libc and works with all containerds.
 */
export function runtimePackages(suite: ContainerdSuite): DebianPackage[] {
  return [
    { suite, package: 'containerd' },
    { suite: 'bookworm', package: 'runc' },
    { suite, package: 'containernetworking-plugins' },
  ];
}

const START_TIMEOUT_MS = 60_000;

/**
 * A containerd with state, images and socket of its own in a node. Its containers outlive it, as on any machine, and
 * end with the node.
 */
export class Containerd {
  readonly node: ClusterNode;
  readonly socket: string;
  readonly cri: CriClient;
  readonly #programs: string;
  readonly #config: string;
  #process: ChildProcess | undefined;

  private constructor(node: ClusterNode, programs: string, config: string, socket: string) {
    this.node = node;
    this.#programs = programs;
    this.#config = config;
    this.socket = socket;
    this.cri = new CriClient(socket);
  }

  /** Starts it with an image for pause containers and one to run, and returns when it answers. */
  static async start(node: ClusterNode, suite: ContainerdSuite = 'bookworm'): Promise<Containerd> {
    const [containerd, runc, plugins] = unpackedPackages(runtimePackages(suite)) as [string, string, string];
    const dir = join(node.dir, 'containerd');
    mkdirSync(dir, { recursive: true });
    mkdirSync(node.path(CNI_CONF), { recursive: true });
    cpSync(join(plugins, 'usr/lib/cni'), node.path(CNI_BIN), { recursive: true });
    const socket = join(dir, 'containerd.sock');
    const config = join(dir, 'config.toml');
    writeFileSync(config, configText(dir, socket, join(runc, 'usr/sbin/runc')));
    const started = new Containerd(node, join(containerd, 'usr/bin'), config, socket);
    await started.start();
    const image = join(dir, 'busybox.tar');
    packBusybox(image);
    await started.importImage(image);
    return started;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it, or starts it again, and returns when it answers. */
  async start(): Promise<void> {
    const { node } = this;
    const path = `${this.#programs}:${process.env['PATH']}`;
    const child = node.start('containerd', [join(this.#programs, 'containerd'), '-c', this.#config], {
      PATH: path,
    });
    this.#process = child;
    await waitUntil(`containerd of ${node.name}`, START_TIMEOUT_MS, async because => {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`start containerd: it ended; it said: ${tail(node.log('containerd'))}`);
      try {
        return (await this.cri.conditions())['RuntimeReady']?.status || undefined;
      } catch (error) {
        because((error as Error).message);
        return undefined;
      }
    });
  }

  /** Ends it; its containers go on. */
  async stop(how: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#process) await stop(this.#process, how);
  }

  /** Takes an image from a docker-archive, as `docker save`, `scripts/image.mjs` or `packBusybox` write it. */
  async importImage(tar: string): Promise<void> {
    await this.ctr('images', 'import', '--snapshotter', 'overlayfs', tar);
  }

  /** Runs `ctr` in Kubernetes' namespace. */
  async ctr(...args: string[]): Promise<string> {
    const all = ['--address', this.socket, '--namespace', 'k8s.io', ...args];
    const { status, stdout, stderr } = await collect(spawn(join(this.#programs, 'ctr'), all));
    if (status === 0) return stdout;
    throw new Error(`run ctr ${args.join(' ')}: exit status ${status}: ${stderr}${stdout}`);
  }

  /** Whether pods can be started, by what it tells kubelet. */
  async networkReady(): Promise<boolean> {
    return (await this.cri.conditions())['NetworkReady']?.status ?? false;
  }

  /** Closes the client; the process ends with the node. */
  close(): void {
    this.cri.close();
  }
}

/** Puts a list into the node's CNI folder under the name that ours has. */
export function writeConflist(node: ClusterNode, list: object, name = '05-fimbria.conflist'): void {
  const folder = node.path(CNI_CONF);
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), JSON.stringify(list, null, 2));
}

/** Version 2 of the format, which containerd 1.6 and 2.x both read. */
function configText(dir: string, socket: string, runc: string): string {
  const cri = '[plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${dir}/root"
state = "${dir}/state"
# What is not needed; the first would make /opt/containerd.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${socket}"
${cri}]
  sandbox_image = "${PAUSE_IMAGE}"
  disable_apparmor = true
  # Machines without CAP_SYS_RESOURCE cannot lower it: runc would end with "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  ${cri}.cni]
    bin_dir = "${CNI_BIN}"
    conf_dir = "${CNI_CONF}"
  ${cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    ${cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      ${cri}.containerd.runtimes.runc.options]
        BinaryName = "${runc}"
        SystemdCgroup = false
`;
}
