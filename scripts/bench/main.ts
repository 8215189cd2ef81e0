/**
 * Measures the datapath and the agent beside what people would use instead, in interleaved rounds of one run: p50 of
 * short slices, client and server on one CPU, ratios within a round.
 *
 *   npm run bench [-- --quick] [--only ipam,scale,apiserver,traffic,ebpf,ipcache,services] [--cpu N] [--output FILE]
 *
 * Nothing of the machine is touched but namespaces, labs and files of the bench's own, which it takes away again.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { apiserverLoad } from './apiserver.ts';
import { inCgroups, PeerCgroups } from './cgroups.ts';
import { packetTime } from './ebpf.ts';
import { ipamCosts } from './ipam.ts';
import { ipcacheCurve } from './ipcache.ts';
import { BenchLab, pluginFolder } from './labs.ts';
import { NetnsHost } from './netns.ts';
import { type Peers, Scratch, setUpPeers } from './peers.ts';
import { type Results, report } from './report.ts';
import { interleave } from './rounds.ts';
import { scaleCurve } from './scale.ts';
import { serviceCosts } from './services/index.ts';
import { connectionCases, type LabPods, roundTripCases, streamCases } from './traffic.ts';

const PARTS = ['ipam', 'scale', 'apiserver', 'traffic', 'ebpf', 'ipcache', 'services'];
/** Parts that need no lab. */
const ALONE = ['ipam', 'scale', 'apiserver'];
/** Parts that need the three labs of the datapath's ways. */
const WAYS = ['traffic', 'ebpf', 'ipcache'];

/** As the others, which are given `ipMasq: false`. */
const PLAIN = 'enableIPv4Masquerade=false';
const NATIVE = [
  PLAIN,
  'routingMode=native',
  'autoDirectNodeRoutes=true',
  'ipv4NativeRoutingCIDR=10.244.0.0/16',
  'endpointRoutes.enabled=true',
];
const BPF = [...NATIVE, 'bpf.hostLegacyRouting=false'];
const LEGACY = [...NATIVE, 'bpf.hostLegacyRouting=true'];
const VXLAN = [PLAIN, 'routingMode=tunnel', 'tunnelProtocol=vxlan', 'bpf.hostLegacyRouting=false'];

const FULL = {
  rounds: 21,
  extraRounds: 10,
  sliceMs: 150,
  streamMs: 40,
  streamSlices: 9,
  packetRounds: 7,
  restarts: 3,
  pods: [10, 50, 250],
  entries: [1_000, 10_000, 100_000],
  nodes: 5_000,
  serverMs: 10_000,
  services: [10, 10_000],
  changes: 200,
};
const QUICK = {
  rounds: 7,
  extraRounds: 4,
  sliceMs: 100,
  streamMs: 40,
  streamSlices: 5,
  packetRounds: 3,
  restarts: 1,
  pods: [10, 50],
  entries: [1_000, 10_000, 100_000],
  nodes: 1_000,
  serverMs: 3_000,
  services: [10, 1_000],
  changes: 50,
};

/** Above this load average the machine has other things to do than this. */
const BUSY_LOAD = 1;

const say = (text: string): void => void process.stdout.write(`==> ${text}\n`);
const progress = (text: string): void => void process.stdout.write(`    ${text}\n`);

const scratch = new Scratch();
const cgroups = new PeerCgroups();

async function cleanUp(): Promise<void> {
  await Promise.allSettled([BenchLab.downAll(), NetnsHost.endAll()]);
  scratch.remove();
  cgroups.remove();
}

/** A lab whose nodes a veth pair joins, with two pods here and one there. */
async function pair(part: string, values: readonly string[]): Promise<LabPods> {
  const lab = new BenchLab(part);
  await lab.up(2, values);
  await lab.joinDirectly();
  const [here, near, far] = await lab.pods({ here: 'node-0', near: 'node-0', far: 'node-1' });
  return { lab, pods: { here: here!, near: near!, far: far! } };
}

async function measure(
  results: Results,
  size: typeof FULL,
  only: readonly string[],
  cpu: number,
): Promise<void> {
  if (only.includes('ipam')) {
    say(`blocks for ${size.nodes.toLocaleString('en')} nodes of three pools`);
    results.ipam = await ipamCosts(size.nodes);
  }
  if (!only.some(part => part !== 'ipam')) return;
  const plugins = pluginFolder(say);
  const counts = { rounds: size.rounds, extraRounds: size.extraRounds, progress };
  const slices = { cpu, milliseconds: size.sliceMs };
  if (only.includes('scale')) {
    say(`CNI plugins and the agent over ${size.pods.join(', ')} pods of one node`);
    results.scale = await scaleCurve(scratch, {
      ...counts,
      sizes: size.pods,
      restarts: size.restarts,
      values: BPF,
      slice: slices,
      plugins,
    });
  }
  if (only.includes('apiserver')) {
    say('the embedded API server, state on the disk');
    results.apiserver = await apiserverLoad({
      folder: join(scratch.dir, 'apiserver'),
      milliseconds: size.serverMs,
    });
  }
  if (only.every(part => ALONE.includes(part))) return;
  say('the peers');
  const bare = await setUpPeers(plugins, scratch);
  if (only.some(part => WAYS.includes(part))) await measureWays(results, size, only, cpu, bare);
  if (!only.includes('services')) return;
  say(`services: ${size.services.map(n => n.toLocaleString('en')).join(' and ')} of them`);
  let seats: [string, string] | undefined;
  const seatsOf = (pod: string): [string, string] => (seats ??= cgroups.asDeepAs(pod));
  results.services = await serviceCosts(bare, seatsOf, {
    ...counts,
    sizes: size.services,
    slice: slices,
    packetRounds: size.packetRounds,
    changes: size.changes,
    pair,
    values: BPF,
  });
}

/** What is measured on the three ways of the datapath, beside the peers. */
async function measureWays(
  results: Results,
  size: typeof FULL,
  only: readonly string[],
  cpu: number,
  bare: Peers,
): Promise<void> {
  const counts = { rounds: size.rounds, extraRounds: size.extraRounds, progress };
  const slices = { cpu, milliseconds: size.sliceMs };
  say('three labs of two nodes (Host: BPF, Host: Legacy, VXLAN)');
  const [bpf, legacy, vxlan] = await Promise.all([
    pair('bpf', BPF),
    pair('legacy', LEGACY),
    pair('vxlan', VXLAN),
  ]);
  const own = { bpf, legacy, vxlan };
  const peers = inCgroups(bare, cgroups.asDeepAs(bpf.pods.here.cgroup));
  if (only.includes('traffic')) {
    say('round trips');
    results.roundTrip = await interleave(roundTripCases(peers, own, slices), counts);
    say('connections');
    results.connection = await interleave(connectionCases(peers, own, slices), counts);
    say('streams');
    const streams = streamCases(peers, own, { cpu, milliseconds: size.streamMs, slices: size.streamSlices });
    results.stream = await interleave(streams, counts);
  }
  if (only.includes('ebpf')) {
    say('eBPF time of a packet');
    const options = { ...slices, rounds: size.packetRounds };
    const nodes = ['node-0', 'node-1'];
    results.packetTimes = {
      same: await packetTime(bpf.lab, nodes, [bpf.pods.here, bpf.pods.near], options),
      native: await packetTime(bpf.lab, nodes, [bpf.pods.here, bpf.pods.far], options),
      vxlan: await packetTime(vxlan.lab, nodes, [vxlan.pods.here, vxlan.pods.far], options),
    };
  }
  if (only.includes('ipcache')) {
    say(`the same over ${size.entries.map(n => n.toLocaleString('en')).join(', ')} ipcache entries`);
    const { packetRounds } = size;
    results.ipcache = await ipcacheCurve(bpf, peers, {
      ...counts,
      sizes: size.entries,
      slice: slices,
      packetRounds,
    });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: PARTS.join(',') },
      cpu: { type: 'string', default: `${availableParallelism() - 1}` },
      output: { type: 'string' },
    },
  });
  const only = values.only.split(',');
  const unknown = only.filter(part => !PARTS.includes(part));
  if (unknown.length > 0) throw new Error(`--only ${unknown}: there are ${PARTS.join(', ')}`);
  const size = values.quick ? QUICK : FULL;
  const begunMs = performance.now();
  for (const name of await BenchLab.sweep()) say(`took down ${name}, which an earlier bench left`);
  Scratch.sweep();
  PeerCgroups.sweep();
  const results: Results = {
    takenAt: new Date().toISOString(),
    machine: {
      kernel: release(),
      cpu: cpus()[0]?.model ?? 'unknown',
      cpus: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      node: process.version,
      loadBefore: Number(loadavg()[0]!.toFixed(2)),
    },
    settings: { ...size, only, cpu: Number(values.cpu) },
  };
  if (loadavg()[0]! > BUSY_LOAD)
    say(`load average ${loadavg()[0]!.toFixed(1)}: the machine is busy; ratios hold, milliseconds do not`);
  await measure(results, size, only, Number(values.cpu));
  process.stdout.write(report(results));
  if (values.output) {
    writeFileSync(values.output, `${JSON.stringify(results, null, 2)}\n`);
    say(`written: ${values.output}`);
  }
  say(`took ${((performance.now() - begunMs) / 1000).toFixed(0)} s; taking everything down`);
}

let ending = false;
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, async () => {
    if (ending) return;
    ending = true;
    say('interrupted: taking everything down');
    await cleanUp();
    process.exit(130);
  });
}

try {
  await main();
  if (!ending) await cleanUp();
} catch (error) {
  // What is interrupted fails on its way; the signal's own course ends the process.
  if (!ending) {
    ending = true;
    process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
    await cleanUp();
    process.exitCode = 1;
  }
}
