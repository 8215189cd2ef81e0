import { join } from 'node:path';
import { FimbriaError } from '../base/errors.ts';

/** Where every lab lives, one directory each. */
export const LABS_ROOT = '/run/fimbria-lab';

/** The network between the nodes. */
export const UNDERLAY_PREFIX_LENGTH = 24;
export const OUTSIDE_IP = '192.168.10.1';
/** The target of `lab exec` that is a host outside the cluster. */
export const OUTSIDE = 'outside';

const FIRST_NODE_OCTET = 100;
const MOST_NODES = 100;
/** Socket paths below a lab's directory must stay within the 107 bytes that a unix socket's address holds. */
const LONGEST_LAB_NAME = 24;
const LONGEST_NODE_NAME = 40;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

function badName(what: string, name: string, why: string): FimbriaError {
  return new FimbriaError({
    code: 'INVALID',
    op: 'use',
    object: `${what} name ${JSON.stringify(name)}`,
    why,
  });
}

function checkLabel(what: string, name: string, longest: number): void {
  if (!LABEL.test(name))
    throw badName(what, name, 'a name has lower-case letters, digits and inner dashes only');
  if (name.length > longest) throw badName(what, name, `a name has at most ${longest} characters`);
}

/** Throws INVALID unless `name` can name a lab: it becomes a directory, a cgroup and a word of command lines. */
export function checkLabName(name: string): string {
  checkLabel('lab', name, LONGEST_LAB_NAME);
  return name;
}

/** One node of a lab: a name and its address in the underlay. */
export interface LabNode {
  readonly name: string;
  readonly ip: string;
}

/**
 * The nodes that `--nodes` means: a count (`3` gives node-0 node-1 node-2) or a list of names (`ctr,w1,w2`).
 * Throws INVALID on a bad count, a bad or repeated name, or one that means something else to `lab exec`.
 */
export function parseNodes(spec: string): LabNode[] {
  const count = /^\d+$/.test(spec) ? Number(spec) : undefined;
  const names =
    count === undefined
      ? spec.split(',')
      : Array.from({ length: Math.min(count, MOST_NODES + 1) }, (_, i) => `node-${i}`);
  if (names.length === 0 || names.length > MOST_NODES) {
    throw new FimbriaError({
      code: 'INVALID',
      op: 'use',
      object: `--nodes ${spec}`,
      why: `a lab has 1 to ${MOST_NODES} nodes`,
    });
  }
  const seen = new Set<string>();
  return names.map((name, index) => {
    checkLabel('node', name, LONGEST_NODE_NAME);
    if (name === OUTSIDE) throw badName('node', name, 'it names the host outside the cluster');
    if (seen.has(name)) throw badName('node', name, 'it is given twice');
    seen.add(name);
    return { name, ip: `192.168.10.${FIRST_NODE_OCTET + index}` };
  });
}

/** The files of one lab. All lie below `dir`. */
export interface LabPaths {
  readonly dir: string;
  readonly state: string;
  /** TLS on 127.0.0.1: for kubectl on the machine. */
  readonly kubeconfig: string;
  /** Through the unix socket: for everything inside the lab, whatever its network namespace. */
  readonly localKubeconfig: string;
  /** TLS on the first node's address: for kubectl in nodes, pods and outside. */
  readonly insideKubeconfig: string;
  readonly apiserverDir: string;
  readonly apiserverSocket: string;
  /** Flat keys, one file each, as a mounted ConfigMap shows them. */
  readonly configDir: string;
  /** What ip-masq-agent is told; there when values say something of it. */
  readonly masqueradeList: string;
  readonly logs: string;
  /** On PATH of `lab exec`. */
  readonly bin: string;
  /** One directory for each pod sandbox's records, by pod uid. */
  readonly pods: string;
  /** What a node sees as its own /run/fimbria, /var/lib/fimbria and /etc/cni/net.d. */
  node(name: string): { run: string; lib: string; cni: string; socket: string };
  /** The log of one process, such as `agent-node-0`. */
  log(process: string): string;
}

/** Where the lab called `name` keeps its files. Pure. */
export function labPaths(name: string, root: string = LABS_ROOT): LabPaths {
  const dir = join(root, name);
  return {
    dir,
    state: join(dir, 'state.json'),
    kubeconfig: join(dir, 'kubeconfig'),
    localKubeconfig: join(dir, 'local.kubeconfig'),
    insideKubeconfig: join(dir, 'inside.kubeconfig'),
    apiserverDir: join(dir, 'apiserver'),
    apiserverSocket: join(dir, 'apiserver.sock'),
    configDir: join(dir, 'config'),
    masqueradeList: join(dir, 'config-more', 'ip-masq-agent'),
    logs: join(dir, 'logs'),
    bin: join(dir, 'bin'),
    pods: join(dir, 'pods'),
    node: node => {
      const base = join(dir, 'nodes', node);
      const run = join(base, 'run');
      return { run, lib: join(base, 'lib'), cni: join(base, 'cni'), socket: join(run, 'fimbria.sock') };
    },
    log: process => join(dir, 'logs', `${process}.log`),
  };
}
