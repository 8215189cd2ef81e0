import test from 'ava';
import type { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { CtDirection, LbScope, LbServiceFlag, NatDirection } from '../../src/maps/abi.gen.ts';
import { ctMap, natMap } from '../../src/maps/flows.ts';
import { answerTo } from './fuzz/answer.ts';
import { type Case, generate } from './fuzz/generate.ts';
import { Random } from './fuzz/random.ts';
import {
  brokenRefusal,
  brokenTranslation,
  isRefusal,
  reasonsOf,
  type TranslatingProgram,
} from './fuzz/translated.ts';
import {
  builtObject,
  CONFIGURATIONS,
  type Configuration,
  configurationName,
  ipNumber,
  Loaded,
  Namespace,
  NODE_IPV4,
  Probes,
  SKB,
  VERDICT,
} from './harness.ts';
import { putService } from './services.ts';
import { ELSEWHERE, fillMaps, furnish, NODE, PODS } from './world.ts';

/**
 * Random and malformed packets to services, their backends and the world, and answers to what became of them: whatever
 * is chosen, no verdict or reason outside the specification, every drop counted, checksums as right as they were, and
 * maps that hold only what can be. Seed and number of packets as in fuzz.test.ts; half of them run here.
 */

const PACKETS = Number(process.env['FIMBRIA_FUZZ_PACKETS'] ?? 1_000_000) / 2;
const SEED = Number(process.env['FIMBRIA_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const BATCH = 512;
const PROGRAMS: Record<TranslatingProgram, 'lxc' | 'host' | 'netdev' | 'overlay'> = {
  from_container: 'lxc',
  to_container: 'lxc',
  from_host: 'host',
  from_netdev: 'netdev',
  to_netdev: 'netdev',
  from_overlay: 'overlay',
};
const TCP = 6;
const UDP = 17;
const VIPS = ['10.96.0.1', '10.96.0.2', '10.96.0.3', '10.0.250.1', '10.0.250.2', '10.0.250.3', '10.0.250.4'];
/** What nothing but user space writes. */
const READ_ONLY = ['cilium_lxc', 'cilium_ipcache', 'cilium_lb4_services_v2', 'cilium_lb4_backends_v3'];

let namespace: Namespace;
const probes = new Probes();
/** Only a probe gives a packet the key that it has out of a tunnel. */
let overlayProbe: string;
test.before(async () => {
  namespace = await Namespace.create();
  furnish(namespace);
  overlayProbe = probes.compile('overlay_probe');
});
test.after.always(() => {
  namespace?.close();
  probes.close();
});

function load(name: 'lxc' | 'host' | 'netdev' | 'overlay', c: Configuration): Loaded {
  const more = { cfg_node_port: true, cfg_pod_lb: true, cfg_masquerade: true, cfg_dsr: !c.tunnel };
  const path = name === 'overlay' ? overlayProbe : builtObject(name);
  const loaded = new Loaded(path, c, namespace.path, { more });
  fillMaps(loaded);
  const { LB_F_CLUSTER_IP, LB_F_LOAD_BALANCER, LB_F_NODE_PORT, LB_F_DSR } = LbServiceFlag;
  const { LB_F_SOURCE_RANGES, LB_F_AFFINITY, LB_F_TWO_SCOPES, LB_F_LOCAL } = LbServiceFlag;
  const all = [PODS.client.ip, PODS.server.ip, PODS.walled.ip, ELSEWHERE.remotePod, ELSEWHERE.neighbourPod];
  const plans: [string, number, string[], number][] = [
    ['10.96.0.1', LB_F_CLUSTER_IP, all, 80],
    ['10.96.0.2', LB_F_CLUSTER_IP, [PODS.client.ip], 80],
    ['10.96.0.3', LB_F_CLUSTER_IP, [], 80],
    ['10.0.250.1', LB_F_LOAD_BALANCER | LB_F_AFFINITY, [...all, ELSEWHERE.remoteNode, NODE_IPV4], 80],
    ['10.0.250.2', LB_F_LOAD_BALANCER | LB_F_SOURCE_RANGES, all, 80],
    ['10.0.250.3', LB_F_LOAD_BALANCER | LB_F_DSR, [ELSEWHERE.remotePod, ELSEWHERE.neighbourPod], 80],
    ['10.0.250.4', LB_F_LOAD_BALANCER | LB_F_TWO_SCOPES | LB_F_LOCAL, [], 80],
    ['0.0.0.0', LB_F_NODE_PORT, all, 30_080],
  ];
  let revNatIndex = 0;
  for (const [address, flags, ips, port] of plans)
    for (const l4Proto of [TCP, UDP]) {
      const backends = ips.map(ip => `${ip}:8080`);
      const service = {
        address,
        flags,
        port,
        l4Proto,
        backends,
        affinityTimeoutS: 60,
        revNatIndex: ++revNatIndex,
      };
      putService(loaded, { ...service, sourceRanges: ['198.18.0.0/15'] });
      if (flags & LB_F_TWO_SCOPES)
        putService(loaded, {
          ...service,
          scope: LbScope.LB_SCOPE_INTERNAL,
          backends: [`${PODS.server.ip}:8080`],
          revNatIndex: ++revNatIndex,
        });
    }
  return loaded;
}

/** A packet where this program meets it; half of them to a service, some to the world or a translated port. */
function packetFor(program: TranslatingProgram, random: Random): Case {
  const made = generate(program === 'to_netdev' ? 'from_container' : program, random, false);
  if (program === 'to_netdev') made.ifindex = NODE.ifindex;
  made.gsoSize = 0;
  const frame = made.frame;
  if (frame.length < 38 || frame.readUInt16BE(12) !== 0x0800 || random.oneIn(3)) return made;
  const port = 14 + (frame[14]! & 0xf) * 4 + 2;
  const target = random.pick([...VIPS, NODE_IPV4, ELSEWHERE.world, ELSEWHERE.world, '169.254.42.1']);
  frame.writeUInt32BE(ipNumber(target), 30);
  if (random.oneIn(4))
    frame.writeUInt32BE(ipNumber(random.pick([ELSEWHERE.world, '198.19.7.7', NODE_IPV4])), 26);
  if (port + 2 <= frame.length)
    frame.writeUInt16BE(target === NODE_IPV4 ? random.pick([30_080, 40_000]) : 80, port);
  if (port + 2 <= frame.length && random.oneIn(2)) frame.writeUInt16BE(40_000 + random.below(8), port - 2);
  return made;
}

const text = (map: BpfMap): string[] =>
  Array.from(map.entries(), ([key, value]) => `${key.toString('hex')} ${value.toString('hex')}`).sort();
const contents = (loaded: Loaded): string => JSON.stringify(READ_ONLY.map(name => text(loaded.map(name))));

/** What conntrack and translation may hold. */
function brokenEntries(loaded: Loaded): string | undefined {
  for (const [name, protocols] of [
    ['cilium_ct4_global', [TCP]],
    ['cilium_ct_any4_global', [1, UDP]],
  ] as const)
    for (const [tuple, entry] of ctMap(loaded.map(name)).entries()) {
      if (
        !(protocols as readonly number[]).includes(tuple.l4Proto) ||
        tuple.direction > CtDirection.CT_SERVICE
      )
        return `${name}: ${JSON.stringify(tuple)}`;
      if (entry.expiresS === 0 || (tuple.direction === CtDirection.CT_SERVICE && entry.backendId === 0))
        return `${name}: ${JSON.stringify(tuple)} lives for ever, or has no backend`;
    }
  const nat = natMap(loaded.map('cilium_snat_v4_external'));
  for (const [tuple, entry] of nat.entries()) {
    const isOut = tuple.direction === NatDirection.NAT_OUT;
    const twin = nat.get(
      isOut
        ? {
            ...tuple,
            saddr: tuple.daddr,
            daddr: entry.address,
            sport: tuple.dport,
            dport: entry.port,
            direction: NatDirection.NAT_IN,
          }
        : {
            ...tuple,
            saddr: entry.address,
            daddr: tuple.saddr,
            sport: entry.port,
            dport: tuple.sport,
            direction: NatDirection.NAT_OUT,
          },
    );
    const own = isOut ? [tuple.saddr, tuple.sport] : [tuple.daddr, tuple.dport];
    if (!twin || twin.address !== own[0] || twin.port !== own[1])
      return `translation ${JSON.stringify(tuple)} has no twin`;
  }
  return undefined;
}

for (const configuration of CONFIGURATIONS) {
  for (const [program, object] of Object.entries(PROGRAMS) as [
    TranslatingProgram,
    (typeof PROGRAMS)[TranslatingProgram],
  ][]) {
    test.serial(`${configurationName(configuration)}: ${program}`, t => {
      t.timeout(300_000);
      t.log(`FIMBRIA_FUZZ_SEED=${SEED}`);
      const random = new Random(SEED, `services ${configurationName(configuration)} ${program}`);
      const loaded = load(object, configuration);
      t.teardown(() => loaded.close());
      const before = contents(loaded);
      const reasons = reasonsOf(program, configuration);
      const due = PACKETS / CONFIGURATIONS.length / Object.keys(PROGRAMS).length;
      let earlier: Case[] = [];
      const tally = { drop: 0, pass: 0, redirect: 0, translated: 0, refused: 0 };
      for (let done = 0; done < due; done += BATCH) {
        // A new life now and then; in between, packets meet what others have left behind.
        if (done % (BATCH * 4) === 0) loaded.forgetFlows();
        const cases = Array.from({ length: BATCH }, () => {
          const about = earlier.length > 0 && random.oneIn(3) ? random.pick(earlier) : undefined;
          const answer = about && answerTo(about, program === 'to_netdev' ? 'from_netdev' : program, random);
          return answer ?? packetFor(program, random);
        });
        const size = Math.max(...cases.map(({ frame }) => frame.length)) + 16;
        const frames = Buffer.alloc(BATCH * size);
        const contexts = Buffer.alloc(BATCH * SKB.bytes);
        for (const [i, { frame, mark, ifindex, vni }] of cases.entries()) {
          frames.set(frame, i * size);
          if (object === 'overlay') contexts.writeUInt32LE(vni, i * SKB.bytes + SKB.cb);
          contexts.writeUInt32LE(mark, i * SKB.bytes + SKB.mark);
          contexts.writeUInt32LE(ifindex, i * SKB.bytes + SKB.ifindex);
          contexts.writeUInt32LE(ifindex, i * SKB.bytes + SKB.ingressIfindex);
        }
        const sizes = Uint32Array.from(cases, ({ frame }) => frame.length);
        const result = loaded.runBatch(`${object === 'overlay' ? 'probe' : 'cil'}_${program}`, {
          frames,
          sizes,
          contexts,
        });
        let drops = 0;
        earlier = [];
        for (const [i, { frame, ...rest }] of cases.entries()) {
          const verdict = result.verdicts[i]!;
          const after = Buffer.from(result.frames.subarray(i * size, i * size + result.sizes[i]!));
          const passed = verdict === VERDICT.pass;
          tally[verdict === VERDICT.drop ? 'drop' : passed ? 'pass' : 'redirect']++;
          if (verdict === VERDICT.drop) drops++;
          else if (program === 'from_netdev' && verdict === VERDICT.redirect && isRefusal(frame, after)) {
            // A drop as well, and counted as one.
            drops++;
            tally.refused++;
            const wrong = brokenRefusal(frame, after);
            if (wrong) t.fail(`${wrong}\n${frame.toString('hex')}\n${after.toString('hex')}`);
          } else {
            if (!after.subarray(26, 34).equals(frame.subarray(26, 34))) tally.translated++;
            const wrong =
              !passed && verdict !== VERDICT.redirect
                ? `verdict ${verdict}`
                : brokenTranslation(program, frame, after, passed && !isMarked(rest.mark));
            if (wrong)
              t.fail(`${wrong}\n${JSON.stringify(rest)}\n${frame.toString('hex')}\n${after.toString('hex')}`);
            if (after.length >= 60 && after.length === frame.length) earlier.push({ ...rest, frame: after });
          }
        }
        let counted = 0;
        for (const { reason, packets } of result.metrics) {
          if (reason < 130) continue;
          if (!reasons.has(reason)) t.fail(`drop for reason ${reason}`);
          counted += Number(packets);
        }
        if (counted !== drops) t.fail(`${drops} drops, ${counted} counted`);
      }
      t.log(JSON.stringify(tally));
      if (['from_container', 'from_netdev', 'to_netdev'].includes(program))
        t.true(tally.translated > due / 200, 'enough were translated');
      t.is(brokenEntries(loaded), undefined);
      t.is(contents(loaded), before, 'maps read the same');
    });
  }
}

/** Packets of which another program has said that they are as they must leave. */
function isMarked(mark: number): boolean {
  return (mark & 0xf00) === 0x300 || (mark & 0xf00) === 0x400;
}
