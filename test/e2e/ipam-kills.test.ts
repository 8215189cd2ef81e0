import test from 'ava';
import { codeOf } from '../../src/base/errors.ts';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { CiliumNode, CiliumPodIPPool, Deployment, Pod } from '../../src/model/types.ts';
import { deployment } from '../controllers/world.ts';
import { TestLab } from './lab.ts';
import { TestNode } from './node.ts';
import { choices } from './random.ts';

/**
 * Deployments of three pools are scaled at random while operator, API server and agents are killed: no address twice,
 * none lost, and the end is the beginning. FIMBRIA_TEST_FULL=1 scales 500 times with 200 kills.
 */
const lab = new TestLab('ipam-kills');
const full = process.env['FIMBRIA_TEST_FULL'] === '1';
const SCALINGS = full ? 500 : 30;
const KILLS = full ? 200 : 8;
const MOST_PODS = 8;
const TIMEOUT_MS = 60_000;
const NODES = ['left', 'right'];
const POOLS = { east: '10.31.0.0/24', south: '10.32.0.0/24', west: '10.33.0.0/24' };
const pick = choices();
let client: ClusterClient;

test.before(async () => {
  await lab.up(
    NODES.join(),
    'ipam.mode=multi-pool',
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={10.30.0.0/16}',
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=28',
    'ipam.ciliumNodeUpdateRate=1s',
  );
  client = createClient(labPaths(lab.name).localKubeconfig);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

/** Tried again while the API server is away. */
async function persist<T>(what: string, work: () => Promise<T>): Promise<T> {
  return waitUntil(what, TIMEOUT_MS, async because => {
    try {
      return await work();
    } catch (error) {
      if (codeOf(error) !== 'UNAVAILABLE') throw error;
      because(String(error));
      return undefined;
    }
  });
}

async function blocks(): Promise<unknown> {
  const { items } = await client.list<CiliumNode>('CiliumNode');
  return items
    .map(({ metadata, spec }) => [metadata.name, spec.ipam?.pools?.allocated, spec.ipam?.pools?.requested])
    .sort();
}

async function settled(what: string, wanted: (pods: Pod[]) => boolean): Promise<Pod[]> {
  return waitUntil(what, TIMEOUT_MS, async because => {
    const { items } = await client.list<Pod>('Pod');
    because(items.map(p => `${p.metadata.name} ${p.status?.phase} ${p.status?.podIP}`).join(', '));
    return wanted(items) ? items : undefined;
  });
}

/** Ends one of them at once and starts it again. */
async function kill(): Promise<string> {
  const what = pick.one([['operator'], ['apiserver'], ['node', 'left'], ['node', 'right']]);
  const [kind, ...name] = what as [string, ...string[]];
  await lab.must('lab', kind, 'kill', ...name);
  await lab.must('lab', kind, 'start', ...name);
  return what.join(' ');
}

test.serial(
  'scaled at random under kills: no address twice, none lost, the end is the beginning',
  async t => {
    t.log(`seed ${pick.seed}`);
    const nodes = NODES.map(name => new TestNode(lab.name, name));
    // The folder of the plugin's queue, and its lock, stay once a DEL had to wait for an agent; what is in it does not.
    const everything = async (): Promise<object[]> =>
      (await Promise.all(nodes.map(node => node.everything()))).map(all => ({
        ...all,
        files: (all as { files: string[] }).files.filter(f => !/^deleteQueue(\/lock)?$/.test(f)),
      }));
    const before = [await blocks(), ...(await everything())];
    for (const [name, cidr] of Object.entries(POOLS)) {
      await client.create<CiliumPodIPPool>({
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumPodIPPool',
        metadata: { name },
        spec: { ipv4: { cidrs: [cidr], maskSize: 29 } },
      });
      const one = deployment(name, 0);
      one.spec.template.metadata = {
        ...one.spec.template.metadata,
        annotations: { 'ipam.cilium.io/ip-pool': name },
      };
      await client.create<Deployment>(one);
    }

    const wanted = new Map<string, number>();
    const kills = new Map<string, number>();
    const killAt = new Set(
      pick.shuffled(Array.from({ length: SCALINGS }, (_, i) => i)).slice(0, Math.min(KILLS, SCALINGS)),
    );
    let killing: Promise<unknown> = Promise.resolve();
    for (let i = 0; i < SCALINGS; i++) {
      const name = pick.one(Object.keys(POOLS));
      const replicas = pick.number(MOST_PODS + 1);
      wanted.set(name, replicas);
      // A kill runs beside the scalings that follow it; the next one waits for it.
      if (killAt.has(i)) {
        await killing;
        killing = kill().then(what => kills.set(what, (kills.get(what) ?? 0) + 1));
      }
      await persist(`scaling ${name}`, () =>
        client.patch('Deployment', name, { spec: { replicas } }, { subresource: 'scale' }),
      );
      if (!full || i % 10 === 0) await Promise.race([killing, settled('a Pod', () => true).catch(() => {})]);
    }
    await killing;
    t.log([...kills].map(([what, n]) => `${what} ${n}`).join(', '));

    const count = [...wanted.values()].reduce((a, b) => a + b, 0);
    const pods = await settled(
      `${count} Pods to run`,
      all =>
        all.length === count &&
        all.every(
          p => p.metadata.deletionTimestamp === undefined && p.status?.phase === 'Running' && p.status.podIP,
        ),
    );
    const addresses = pods.map(pod => pod.status!.podIP!);
    const texts = pods.map(p => `${p.status!.podIP} ${p.metadata.name} ${p.spec.nodeName}`).sort();
    t.is(new Set(addresses).size, count, texts.join('\n'));
    for (const { metadata, status } of pods) {
      const pool = metadata.annotations!['ipam.cilium.io/ip-pool'] as keyof typeof POOLS;
      t.true(status!.podIP!.startsWith(POOLS[pool].slice(0, POOLS[pool].lastIndexOf('.'))), metadata.name);
    }
    if (count > 0) t.true(await lab.reaches('left', addresses));

    for (const name of Object.keys(POOLS)) {
      await client.delete('Deployment', name);
      // It goes when no node holds a block of it any more.
      await client.delete('CiliumPodIPPool', name);
    }
    await settled('no Pod to be left', all => all.length === 0);
    let now: object[] = [];
    await waitUntil('nodes and blocks to be as in the beginning', TIMEOUT_MS, async because => {
      now = [(await blocks()) as object, ...(await everything())];
      because(JSON.stringify(now));
      return JSON.stringify(now) === JSON.stringify(before) || undefined;
    }).catch(() => {});
    t.deepEqual(now, before);
    for (const node of NODES)
      t.regex(
        await lab.execMust(node, 'fimbria', 'metrics', 'list'),
        /fimbria_ipam_violations +0|fimbria_ipam_violations.*\b0$/m,
      );
  },
);
