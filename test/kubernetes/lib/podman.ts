import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackedPackages } from '../../../scripts/lib/debian.mjs';
import { collect, type Outcome } from '../../e2e/lab.ts';
import { packBusybox } from './image.ts';
import { type ClusterNode, CNI_BIN, CNI_CONF } from './node.ts';

/** The last podman that has a CNI backend, with what it needs of Debian 12; later ones have netavark alone. */
const PACKAGES = ['podman', 'conmon', 'runc', 'libsubid4', 'libgpgme11', 'libassuan0', 'libglib2.0-0'].map(
  name => ({ suite: 'bookworm', package: name }),
);

/** A podman in a node, with storage, images and configuration of its own, whose networks are those of CNI. */
export class Podman {
  readonly node: ClusterNode;
  readonly #program: string;
  readonly #global: string[];
  readonly #env: Record<string, string>;

  private constructor(node: ClusterNode, program: string, global: string[], env: Record<string, string>) {
    this.node = node;
    this.#program = program;
    this.#global = global;
    this.#env = env;
  }

  /** Writes its configuration and loads an image to run. `network` is the name of the list in the node's CNI folder. */
  static async create(node: ClusterNode, network: string): Promise<Podman> {
    const roots = unpackedPackages(PACKAGES);
    const [podman, conmon, runc] = roots as [string, string, string];
    const dir = join(node.dir, 'podman');
    mkdirSync(dir, { recursive: true });
    const config = join(dir, 'containers.conf');
    writeFileSync(
      config,
      configText(dir, network, join(conmon, 'usr/bin/conmon'), join(runc, 'usr/sbin/runc')),
    );
    writeFileSync(
      join(dir, 'storage.conf'),
      `[storage]\ndriver = "overlay"\ngraphroot = "${dir}/storage"\nrunroot = "${dir}/run"\n`,
    );
    writeFileSync(join(dir, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
    const libraries = roots.flatMap(root => [
      join(root, 'usr/lib/x86_64-linux-gnu'),
      join(root, 'usr/lib/aarch64-linux-gnu'),
    ]);
    const own = new Podman(node, join(podman, 'usr/bin/podman'), ['--cgroup-manager', 'cgroupfs'], {
      CONTAINERS_CONF: config,
      CONTAINERS_STORAGE_CONF: join(dir, 'storage.conf'),
      LD_LIBRARY_PATH: libraries.join(':'),
    });
    const image = join(dir, 'busybox.tar');
    packBusybox(image);
    await own.must('load', '--signature-policy', join(dir, 'policy.json'), '--input', image);
    return own;
  }

  run(...args: string[]): Promise<Outcome> {
    return collect(this.node.spawn([this.#program, ...this.#global, ...args], this.#env));
  }

  /** As `run`, but throws with what podman said when it fails; returns what it printed. */
  async must(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(...args);
    if (status === 0) return stdout.trim();
    throw new Error(`run podman ${args.join(' ')}: exit status ${status}: ${stderr}${stdout}`);
  }
}

function configText(dir: string, network: string, conmon: string, runc: string): string {
  return `[containers]
# Machines without CAP_SYS_RESOURCE cannot raise limits.
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
apparmor_profile = "unconfined"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = ["${conmon}"]
runtime = "runc"
tmp_dir = "${dir}/tmp"
static_dir = "${dir}/static"
volume_path = "${dir}/volumes"
infra_image = "localhost/pause:1"
[engine.runtimes]
runc = ["${runc}"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["${CNI_BIN}"]
network_config_dir = "${CNI_CONF}"
default_network = "${network}"
`;
}
