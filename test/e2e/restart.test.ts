import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { packageRoot } from '../../src/base/paths.ts';
import { withBadInstruction } from '../datapath/broken.ts';
import { collect, TestLab } from './lab.ts';
import { lostOf, pingAll } from './traffic.ts';

/**
 * Restarts and upgrades under traffic: a ping of 100 a second and a stream, on one node and across, while the agent is
 * killed and started, and restarted with changed programs. FIMBRIA_TEST_FULL=1 does it twenty and five times in
 * every mode.
 */
const lab = new TestLab('restart');
const full = process.env['FIMBRIA_TEST_FULL'] === '1';
const KILLS = full ? 20 : 1;
const CHANGES = full ? 5 : 1;
const address = { a: '', b: '', c: '' };

const common = {
  'ipam.operator.clusterPoolIPv4PodCIDRList': '10.47.0.0/16',
  'endpointRoutes.enabled': true,
};
const MODES: Record<string, Record<string, unknown>> = {
  native: {
    ...common,
    routingMode: 'native',
    autoDirectNodeRoutes: true,
    ipv4NativeRoutingCIDR: '10.47.0.0/16',
  },
  vxlan: { ...common, routingMode: 'tunnel' },
};

test.before(async () => {
  await lab.up('left,right', ...Object.entries(MODES['native']!).map(([k, v]) => `${k}=${v}`));
  address.a = await lab.pod('a', 'left');
  address.b = await lab.pod('b', 'left', 'iperf3', '-s', '-p', '7200');
  address.c = await lab.pod('c', 'right', 'iperf3', '-s', '-p', '7200');
});

test.after.always(() => lab.down());

interface Listed {
  id: number;
  status: { networking: unknown };
}

async function identities(): Promise<unknown[]> {
  const lists = await Promise.all(
    ['left', 'right'].map(node => lab.json<Listed[]>(node, 'cilium', 'endpoint', 'list')),
  );
  return lists.map(list => list.map(e => [e.id, e.status.networking]));
}

/** Pings and streams from pod a to b and c while `work` goes on; what they say in the end. */
async function underTraffic(work: () => Promise<void>): Promise<{ pings: string[]; streams: string[] }> {
  const targets = [address.b, address.c];
  const streams = targets.map(to =>
    lab.spawn(['lab', 'exec', 'a', '--', 'iperf3', '-c', to, '-p', '7200', '-t', '0', '-b', '50M', '-J']),
  );
  const streamed = streams.map(collect);
  const endPings = await pingAll(lab, 'a', targets);
  let pings: string[] = [];
  try {
    await work();
  } finally {
    for (const child of streams) child.kill('SIGINT');
    pings = await endPings();
  }
  return { pings, streams: (await Promise.all(streamed)).map(o => o.stdout) };
}

const sentOf = (ping: string): string => /\d+ packets transmitted, \d+ received/.exec(ping)![0];

interface Stream {
  intervals: { sum: { bits_per_second: number; start: number; bytes: number; retransmits?: number } }[];
}

function carried(stream: string): string {
  const { intervals } = JSON.parse(stream) as Stream;
  const sum = (of: 'bytes' | 'retransmits'): number =>
    intervals.reduce((n, { sum }) => n + (sum[of] ?? 0), 0);
  return `${Math.round(sum('bytes') / 1e6)} MB in ${intervals.length} s with ${sum('retransmits')} segments sent again`;
}

/** Segments of pod a that came twice, as its peers told it: what was sent again had not been lost. */
async function cameTwice(): Promise<number> {
  const [names = '', values = ''] = (await lab.execMust('a', 'grep', '^TcpExt', '/proc/net/netstat')).split(
    '\n',
  );
  return Number(values.split(' ')[names.split(' ').indexOf('TCPDSACKRecvSegs')]);
}

/** Seconds in which a stream stood still; the last, cut short, is none. */
function stalled(stream: string): number[] {
  const { intervals } = JSON.parse(stream) as Stream;
  return intervals
    .slice(0, -1)
    .filter(i => i.sum.bits_per_second === 0)
    .map(i => i.sum.start);
}

for (const [mode, values] of Object.entries(MODES)) {
  test.serial(`${mode}: agents killed and changed under traffic, nothing lost`, async t => {
    if (mode !== 'native') await lab.upgrade(values);
    const before = await identities();
    const twice = await cameTwice();
    const { pings, streams } = await underTraffic(async () => {
      for (let i = 0; i < KILLS; i++) {
        await Promise.all(['left', 'right'].map(node => lab.must('lab', 'node', 'kill', node)));
        await Promise.all(['left', 'right'].map(node => lab.must('lab', 'node', 'start', node)));
      }
      for (let i = 0; i < CHANGES; i++)
        await lab.upgrade({
          ...values,
          'bpf.hostLegacyRouting': i % 2 === 0,
          'endpointRoutes.enabled': i % 4 < 2,
        });
    });
    const numbers = [
      ...pings.map(sentOf),
      ...streams.map(carried),
      `${(await cameTwice()) - twice} came twice`,
    ];
    t.log(`${KILLS} kills, ${CHANGES} changes; ${numbers.join(', ')}`);
    t.deepEqual(pings.map(lostOf), [0, 0], pings.map(p => p.slice(-300)).join('\n'));
    t.deepEqual(streams.map(stalled), [[], []]);
    t.deepEqual(await identities(), before);
  });
}

test.serial('programs that cannot be loaded: the old ones stay, the agent says why', async t => {
  const object = join(packageRoot(), 'build/bpf/lxc.o');
  const bad = `/run/fimbria-lab/${lab.name}/bad.o`;
  const before = await identities();
  const programs = await lab.execMust('left', 'bpftool', 'net', 'show');
  const cases: [Buffer, RegExp][] = [[withBadInstruction(readFileSync(object)), /unknown opcode ff/]];
  if (full) cases.push([Buffer.from('no object at all'), /lxc\.o/]);
  for (const [content, why] of cases) {
    writeFileSync(bad, content);
    const { pings } = await underTraffic(async () => {
      await lab.must('lab', 'node', 'kill', 'left');
      // Only the node sees it: the mount is in its own namespace.
      await lab.execMust('left', 'mount', '--bind', bad, object);
      const outcome = await lab.fimbria('lab', 'node', 'start', 'left');
      await lab.execMust('left', 'umount', object);
      t.is(outcome.status, 1);
      t.regex(outcome.stderr + outcome.stdout, why);
    });
    t.deepEqual(pings.map(lostOf), [0, 0]);
    t.is(await lab.execMust('left', 'bpftool', 'net', 'show'), programs);
  }
  await lab.must('lab', 'node', 'start', 'left');
  t.deepEqual(await identities(), before);
  t.true(await lab.reaches('a', [address.b, address.c]));
});

test.serial('an upgrade that cannot be loaded leaves the overlay to those who run', async t => {
  const object = join(packageRoot(), 'build/bpf/lxc.o');
  const bad = `/run/fimbria-lab/${lab.name}/bad.o`;
  writeFileSync(bad, 'no object at all');
  for (const node of ['left', 'right']) await lab.execMust(node, 'mount', '--bind', bad, object);
  const { pings } = await underTraffic(async () => {
    const sets = Object.entries(MODES['native']!).flatMap(([k, v]) => ['--set', `${k}=${v}`]);
    t.is((await lab.fimbria('lab', 'upgrade', '--reset-values', ...sets)).status, 1);
  });
  t.deepEqual(pings.map(lostOf), [0, 0]);
  for (const node of ['left', 'right']) await lab.execMust(node, 'umount', object);
  await lab.upgrade(MODES['native']!);
  t.true(await lab.reaches('a', [address.b, address.c]));
});
