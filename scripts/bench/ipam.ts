import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assetPath } from '../../src/base/paths.ts';
import { type ClusterClient, createClient, formatKubeconfig } from '../../src/cluster/index.ts';
import { AddressPools } from '../../src/ipam/pools.ts';
import type { CiliumNode } from '../../src/model/types.ts';

const POOLS = ['a', 'b', 'c'];
/** Of what /proc/PID/stat counts. */
const TICKS_PER_SECOND = 100;

/** What addresses cost. */
export interface IpamResult {
  readonly nodes: number;
  readonly pools: number;
  /** CPU seconds of the operator from its start until every node has its blocks. */
  readonly operatorCpuSeconds: number;
  /** CPU milliseconds of the operator for each further node, over a hundred of them. */
  readonly oneMoreNodeCpuMs: number;
  /** Microseconds of claiming and freeing one address with 10,000 in use. */
  readonly addressUs: number;
}

const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
};

/** Resolves when a process has done what it still had to do: what follows is not to be charged with it. */
async function atRest(pid: number): Promise<void> {
  for (let before = -1, now = cpuSeconds(pid); now > before; before = now, now = cpuSeconds(pid))
    await new Promise(resolve => setTimeout(resolve, 500));
}

function addNode(client: ClusterClient, name: string): Promise<unknown> {
  return client.create<CiliumNode>({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNode',
    metadata: { name },
    spec: { ipam: { pools: { requested: POOLS.map(pool => ({ pool, needed: { 'ipv4-addrs': 16 } })) } } },
  });
}

/** Resolves when so many nodes have blocks of all pools. */
async function served(client: ClusterClient, count: number): Promise<void> {
  const informer = client.informer<CiliumNode>('CiliumNode');
  const done = new Set<string>();
  await new Promise<void>(resolve => {
    const look = ({ metadata, spec }: CiliumNode): void => {
      if (spec.ipam?.pools?.allocated?.length === POOLS.length) done.add(metadata.name);
      if (done.size >= count) resolve();
    };
    informer.on({ added: look, updated: look });
  });
  informer.close();
}

/** The operator as a process of its own on an embedded API server of the bench's, and an agent's allocator. */
export async function ipamCosts(nodes: number, more = 100): Promise<IpamResult> {
  const dir = mkdtempSync(join(tmpdir(), 'fimbria-bench-ipam-'));
  const children: ChildProcess[] = [];
  const start = (script: string, ...args: string[]): ChildProcess => {
    const child = spawn(process.execPath, [assetPath(`dist/${script}`), ...args], { stdio: 'ignore' });
    children.push(child);
    return child;
  };
  const server = `unix://${dir}/api.sock`;
  const client = createClient({ server });
  try {
    const config = join(dir, 'config');
    mkdirSync(config);
    writeFileSync(join(config, 'ipam'), 'multi-pool');
    const flat = POOLS.map((pool, i) => `${pool}=ipv4-cidrs:${20 + i}.0.0.0/8;ipv4-mask-size:27`).join(' ');
    writeFileSync(join(config, 'auto-create-cilium-pod-ip-pools'), flat);
    writeFileSync(join(dir, 'kubeconfig'), formatKubeconfig('bench', { server }));
    start(
      'fimbria.js',
      'apiserver',
      '--state',
      join(dir, 'state'),
      '--socket',
      join(dir, 'api.sock'),
      '--port',
      '0',
    );
    for (let attempt = 0; attempt < 200; attempt++) {
      if (
        await client.serverVersion().then(
          () => true,
          () => false,
        )
      )
        break;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
    for (let i = 0; i < nodes; i += 50)
      await Promise.all(
        Array.from({ length: Math.min(50, nodes - i) }, (_, j) => addNode(client, `n${i + j}`)),
      );
    const operator = start(
      'fimbria-operator.js',
      '--kubeconfig',
      join(dir, 'kubeconfig'),
      '--config-dir',
      config,
    );
    await served(client, nodes);
    const operatorCpuSeconds = cpuSeconds(operator.pid!);
    await atRest(operator.pid!);
    const beforeMore = cpuSeconds(operator.pid!);
    for (let i = 0; i < more; i++) await addNode(client, `more${i}`);
    await served(client, nodes + more);
    const oneMoreNodeCpuMs = ((cpuSeconds(operator.pid!) - beforeMore) * 1000) / more;
    return { nodes, pools: POOLS.length, operatorCpuSeconds, oneMoreNodeCpuMs, addressUs: addressTime() };
  } finally {
    client.close();
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(dir, { recursive: true, force: true });
  }
}

function addressTime(): number {
  const pools = new AddressPools([{ pool: 'default', cidr: '10.0.0.0/18' }]);
  const owner = (id: number) => ({ kind: 'endpoint', containerId: `c${id}`, ifname: 'eth0' }) as const;
  for (let i = 0; i < 10_000; i++) pools.allocate('default', owner(i));
  const rounds = 20_000;
  const begun = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) pools.release(pools.allocate('default', owner(-1)), owner(-1));
  return Number(process.hrtime.bigint() - begun) / 1000 / rounds;
}
