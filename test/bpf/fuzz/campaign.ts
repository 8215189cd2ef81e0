import { isDeepStrictEqual } from 'node:util';
import { DropReason, EventSize } from '../../../src/maps/abi.gen.ts';
import type { DatapathEvent } from '../../../src/maps/events.ts';
import type { MetricsRow } from '../../../src/maps/metrics.ts';
import { type Configuration, configurationName, type Loaded, SKB, VERDICT } from '../harness.ts';
import { answerTo } from './answer.ts';
import type { Seen } from './conntrack.ts';
import { type Case, generate } from './generate.ts';
import { brokenInvariant } from './invariants.ts';
import type { Oracle } from './oracle.ts';
import type { Decision, Meeting } from './passage.ts';
import type { Random } from './random.ts';
import { type Allowance, allowance, type Program, type Verdict } from './specification.ts';

/** Runs many packets through one program and holds each beside the oracle. */

/** Below what the ring buffer holds of events. */
const BATCH = 512;

/** How often each verdict and each reason came up. */
export type Tally = Map<string, number>;

export interface Campaign {
  program: Program;
  configuration: Configuration;
  oracle: Oracle;
  random: Random;
  /** The object as built, and the one whose programs prepare the packet and tell more. */
  built: Loaded;
  probe: Loaded;
}

/** A campaign, and what is so in one that is not so in the other. */
interface Rules extends Campaign {
  /** Ahead of the kernel's clock. */
  clockOffsetS?: number;
  allowed: Allowance;
  broken(meeting: Meeting, outcome: Outcome, wanted: Decision): string | undefined;
  /** Of the packet that became this frame. */
  seen?(frame: Buffer): Omit<Seen, 'isTraced'>;
}

/** What a program made of one packet. */
export interface Outcome {
  verdict: Verdict | number;
  bytes: Buffer;
  mark: number;
  tunnel: { vni: number; remote: number } | undefined;
  packetType: number;
}

/** @throws Error that shows the first packet which fared otherwise than specified */
export function run(campaign: Campaign, packets: number, tally: Tally): void {
  for (let done = 0, batch = 0; done < packets; batch++) {
    // Every third batch goes through the probe; what comes out of a tunnel has a key, which only the probe can give.
    const prepared = campaign.program.endsWith('_overlay') ? batch % 4 !== 0 : batch % 3 === 0;
    const traced = batch % 8 !== 7;
    const cases = Array.from({ length: Math.min(BATCH, packets - done) }, () =>
      generate(campaign.program, campaign.random, prepared),
    );
    for (let i = 1; i < cases.length; i++)
      if (campaign.random.oneIn(6))
        cases[i] = answerTo(cases[campaign.random.below(i)]!, campaign.program, campaign.random) ?? cases[i]!;
    forget(campaign);
    const wrong = check(rulesOf(campaign), cases, prepared, traced, tally);
    if (wrong) throw new Error(locate(campaign, cases, prepared, traced, wrong));
    done += cases.length;
  }
}

function forget({ built, probe, oracle }: Campaign): void {
  for (const loaded of [built, probe]) loaded.forgetFlows();
  oracle.tables.forget();
}

const rulesOf = (c: Campaign): Rules => ({
  ...c,
  allowed: allowance(c.program, c.configuration),
  broken: (meeting, outcome) => brokenInvariant(c.program, meeting, outcome),
});

/** The first packet that is wrong without the others. It runs twice, since only the second time its counter is there. */
function locate(c: Campaign, cases: Case[], prepared: boolean, traced: boolean, wrong: string): string {
  for (const each of cases) {
    forget(c);
    const alone = check(rulesOf(c), [each, each], prepared, traced, new Map());
    if (alone) return `${alone}\n${describe(c, each, prepared)}`;
  }
  return `${wrong}; each packet of this batch is right by itself`;
}

export function describe(c: Campaign, { frame, ...rest }: Case, prepared: boolean): string {
  const fields = Object.entries(rest).map(([name, value]) => `${name} ${value}`);
  return [
    `${prepared ? 'probe' : 'cil'}_${c.program} (${configurationName(c.configuration)}): ${fields.join(', ')}`,
    frame.toString('hex'),
  ].join('\n');
}

const meetingOf = (c: Case, program: Program, prepared: boolean): Meeting => ({
  bytes: c.cutTo === 0 ? c.frame : c.frame.subarray(0, c.cutTo),
  ifindex: c.ifindex,
  mark: c.mark,
  gsoSize: c.gsoSize,
  tagged: c.tag !== 0,
  vni: prepared && program.endsWith('_overlay') ? c.vni : undefined,
});

/** What is wrong with a batch, undefined when nothing. */
export function check(
  c: Rules,
  cases: Case[],
  prepared: boolean,
  traced: boolean,
  tally: Tally,
): string | undefined {
  const loaded = prepared ? c.probe : c.built;
  loaded.runtime.set(0, { trace: traced, clockOffsetS: c.clockOffsetS ?? 0 });
  const name = `${prepared ? 'probe' : 'cil'}_${c.program}`;
  const { refused, outcomes, metrics, events } = runBatch(loaded, name, cases);
  if (refused) return refused;
  const { allowed } = c;
  const due = new Counters();
  const reported = new Counters();
  let next = 0;
  for (const [i, each] of cases.entries()) {
    const meeting = meetingOf(each, c.program, prepared);
    const outcome = outcomes[i]!;
    const seen = c.seen && { ...c.seen(outcome.bytes), isTraced: traced };
    const wanted = c.oracle.decide(c.program, meeting, seen);
    const wrong = c.broken(meeting, outcome, wanted) ?? difference(wanted, outcome, c.program, prepared);
    if (wrong) return c.seen ? `${wrong}\n${describe(c, each, prepared)}` : wrong;
    const reason = Object.keys(DropReason).find(
      name => DropReason[name as keyof typeof DropReason] === wanted.counted,
    );
    if (!allowed.verdicts.includes(wanted.verdict)) return `verdict ${wanted.verdict} is not allowed`;
    if (isDrop(wanted) && !allowed.reasons.some(r => r === reason)) return `${reason} is not allowed`;
    add(tally, wanted.verdict);
    if (isDrop(wanted)) add(tally, reason!);

    const told = wanted.told ?? outcome;
    const bytes = told.bytes.length;
    if (wanted.counted !== undefined) due.count(wanted.counted, wanted.direction, '', 0, bytes);
    if (!isDrop(wanted) && (!traced || wanted.point === undefined)) continue;
    const event = events[next++];
    if (!event) return 'event missing';
    const untrue = misreport(event, wanted, { ...outcome, ...told }, each.ifindex, bytes);
    if (untrue) return c.seen ? `${untrue}\n${describe(c, each, prepared)}` : untrue;
    if (wanted.counted === undefined) continue;
    reported.count(wanted.counted, event.direction, event.sourceFile, event.sourceLine, bytes);
  }
  if (next !== events.length) return `${events.length - next} events too many`;
  const counted = new Counters();
  const placed = new Counters();
  for (const row of metrics) {
    counted.add(row, '', 0);
    const forwardedUntold = !traced && row.reason === DropReason.REASON_FORWARDED;
    if (row.reason !== DropReason.REASON_INTERFACE && !forwardedUntold)
      placed.add(row, row.sourceFile, row.sourceLine);
  }
  return due.difference('counted', counted) ?? reported.difference('counted where the events say', placed);
}

function runBatch(loaded: Loaded, name: string, cases: Case[]) {
  const slot = Math.max(...cases.map(({ frame }) => frame.length));
  const frames = Buffer.alloc(cases.length * slot);
  const contexts = Buffer.alloc(cases.length * SKB.bytes);
  const sizes = new Uint32Array(cases.length);
  for (const [i, each] of cases.entries()) {
    frames.set(each.frame, i * slot);
    sizes[i] = each.frame.length;
    const at = i * SKB.bytes;
    contexts.writeUInt32LE(each.mark, at + SKB.mark);
    contexts.writeUInt32LE(each.ifindex, at + SKB.ifindex);
    contexts.writeUInt32LE(each.ifindex, at + SKB.ingressIfindex);
    contexts.writeUInt32LE(each.gsoSize, at + SKB.gsoSize);
    contexts.writeUInt32LE(each.gsoSize === 0 ? 0 : 2, at + SKB.gsoSegs);
    contexts.writeUInt32LE(each.vni, at + SKB.cb);
    contexts.writeUInt32LE(each.cutTo, at + SKB.cb + 4);
    contexts.writeUInt32LE(each.tag, at + SKB.cb + 8);
  }
  let result: ReturnType<Loaded['runBatch']>;
  try {
    result = loaded.runBatch(name, { frames, sizes, contexts });
  } catch (error) {
    return { refused: String(error), outcomes: [], metrics: [], events: [] };
  }
  const after = Buffer.from(result.contexts.buffer, result.contexts.byteOffset, result.contexts.length);
  const bytes = Buffer.from(result.frames.buffer, result.frames.byteOffset, result.frames.length);
  const outcomes = cases.map((_, i): Outcome => {
    const at = i * SKB.bytes;
    const vni = after.readUInt32LE(at + SKB.cb);
    return {
      verdict: VERDICTS.get(result.verdicts[i]!) ?? result.verdicts[i]!,
      bytes: bytes.subarray(i * slot, i * slot + result.sizes[i]!),
      mark: after.readUInt32LE(at + SKB.mark),
      tunnel: vni === 0 ? undefined : { vni, remote: after.readUInt32LE(at + SKB.cb + 4) },
      packetType: after.readUInt32LE(at + SKB.cb + 8),
    };
  });
  return { refused: undefined, outcomes, metrics: result.metrics, events: result.events };
}

const VERDICTS = new Map<number, Verdict>(
  Object.entries(VERDICT).map(([name, number]) => [number, name as Verdict]),
);

function difference(wanted: Decision, got: Outcome, program: Program, prepared: boolean): string | undefined {
  const differs = (what: string, want: unknown, have: unknown): string =>
    `${what}: specified ${JSON.stringify(want)}, got ${JSON.stringify(have)}; decision ${JSON.stringify({ ...wanted, bytes: undefined })}`;
  if (got.verdict !== wanted.verdict) return differs('verdict', wanted.verdict, got.verdict);
  if (got.mark !== wanted.mark) return differs('mark', wanted.mark, got.mark);
  if (!sameBytes(wanted, got.bytes))
    return differs('bytes', Buffer.from(wanted.bytes).toString('hex'), got.bytes.toString('hex'));
  if (!prepared) return undefined;
  if (wanted.forHost && got.packetType !== 0) return differs('packet type', 0, got.packetType);
  if (!program.endsWith('_overlay') && !isDeepStrictEqual(got.tunnel, wanted.tunnel))
    return differs('tunnel key', wanted.tunnel, got.tunnel);
  return undefined;
}

/** Whether it is counted as dropped, whatever its sender is told. */
const isDrop = ({ verdict, told }: Decision): boolean => verdict === 'drop' || told !== undefined;

/** Equal but for the two ways in which ones' complement writes zero; UDP's 0 stays alone. */
function sameBytes({ bytes, sums }: Decision, got: Buffer): boolean {
  if (sums.size === 0) return got.equals(bytes);
  if (got.length !== bytes.length) return false;
  const copy = Buffer.from(bytes);
  for (const at of sums) {
    const [want, have] = [copy.readUInt16BE(at), got.readUInt16BE(at)];
    if (want % 0xffff === have % 0xffff) copy.writeUInt16BE(have, at);
  }
  return got.equals(copy);
}

/** What an event says that is not so. */
function misreport(
  event: DatapathEvent,
  wanted: Decision,
  outcome: Outcome,
  ifindex: number,
  packetBytes: number,
): string | undefined {
  const said = {
    type: event.type,
    code: event.code,
    direction: event.direction,
    endpointId: event.endpointId,
    source: event.sourceIdentity,
    destination: event.destinationIdentity,
    ifindex: event.ifindex,
    mark: event.mark,
    packetBytes: event.packetBytes,
  };
  const so: typeof said = {
    type: isDrop(wanted) ? 'drop' : 'trace',
    code: isDrop(wanted) ? wanted.counted! : wanted.point!,
    direction: wanted.direction,
    endpointId: wanted.endpointId,
    source: wanted.source,
    destination: wanted.destination,
    ifindex,
    mark: outcome.mark,
    packetBytes,
  };
  for (const key of Object.keys(so) as (keyof typeof so)[])
    if (said[key] !== so[key]) return `event: ${key} is ${said[key]}, not ${so[key]}`;
  const shown = Buffer.from(outcome.bytes).subarray(0, EventSize.EVENT_PACKET_BYTES);
  return shown.equals(event.packet) ? undefined : 'event: it shows another packet';
}

/** Packets and bytes by reason, direction and place. */
class Counters {
  readonly #rows = new Map<string, { packets: number; bytes: number }>();

  #at(key: string): { packets: number; bytes: number } {
    let row = this.#rows.get(key);
    if (!row) {
      row = { packets: 0, bytes: 0 };
      this.#rows.set(key, row);
    }
    return row;
  }

  count(reason: number, direction: string, file: string, line: number, bytes: number): void {
    const row = this.#at(`reason ${reason} ${direction} ${file} ${line}`);
    row.packets++;
    row.bytes += bytes;
  }

  add({ reason, direction, packets, bytes }: MetricsRow, file: string, line: number): void {
    const row = this.#at(`reason ${reason} ${direction} ${file} ${line}`);
    row.packets += Number(packets);
    row.bytes += Number(bytes);
  }

  difference(what: string, got: Counters): string | undefined {
    for (const key of new Set([...this.#rows.keys(), ...got.#rows.keys()])) {
      const [want, have] = [this.#rows.get(key), got.#rows.get(key)];
      if (!isDeepStrictEqual(want, have))
        return `${what}: ${key}: specified ${JSON.stringify(want)}, got ${JSON.stringify(have)}`;
    }
    return undefined;
  }
}

function add(tally: Tally, what: string): void {
  tally.set(what, (tally.get(what) ?? 0) + 1);
}
