import { parseIpv4 } from '../../../src/base/addr.ts';
import { parseMac } from '../../../src/base/mac.ts';
import { PODS } from '../world.ts';
import { readFrame } from './frame.ts';
import type { Case } from './generate.ts';
import type { Random } from './random.ts';
import type { Program } from './specification.ts';

/** Packets that answer others, or report an error about them. */

const QUOTED_BYTES = 28;

const podAt = (address: number) => Object.values(PODS).find(({ ip }) => parseIpv4(ip) === address);

/** Undefined for a packet that has no answer. Checksums stay as right or wrong as they were. */
export function answerTo(one: Case, program: Program, random: Random): Case | undefined {
  const frame = readFrame(one.frame, one.gsoSize !== 0);
  if (!frame.wellFormed || one.gsoSize !== 0) return undefined;
  const answer = random.oneIn(4)
    ? errorAbout(one.frame, frame.headerBytes)
    : reply(one.frame, frame.headerBytes);
  if (!answer) return undefined;
  const made = { ...one, frame: answer, cutTo: 0, tag: 0 };
  // Out of a pod: the one that was asked.
  const answering = program === 'from_container' ? podAt(frame.destination) : undefined;
  if (answering) {
    made.ifindex = answering.ifindex;
    answer.set(parseMac(answering.nodeMac), 0);
    answer.set(parseMac(answering.mac), 6);
  }
  return made;
}

function reply(bytes: Buffer, headerBytes: number): Buffer {
  const copy = Buffer.from(bytes);
  bytes.copy(copy, 26, 30, 34);
  bytes.copy(copy, 30, 26, 30);
  const at = 14 + headerBytes;
  if (copy[23] === 1) {
    if (copy.length > at) copy[at] = copy[at] === 8 ? 0 : 8;
  } else if (copy.length >= at + 4) {
    bytes.copy(copy, at, at + 2, at + 4);
    bytes.copy(copy, at + 2, at, at + 2);
  }
  return copy;
}

/** Port unreachable, from whom it was sent to. */
function errorAbout(bytes: Buffer, headerBytes: number): Buffer | undefined {
  const quoted = bytes.subarray(14, 14 + Math.max(QUOTED_BYTES, headerBytes + 8));
  if (quoted.length < QUOTED_BYTES) return undefined;
  const header = Buffer.alloc(42);
  bytes.copy(header, 0, 0, 34);
  header[14] = 0x45;
  header.writeUInt16BE(28 + quoted.length, 16);
  header.writeUInt16BE(0, 20);
  header[23] = 1;
  bytes.copy(header, 26, 30, 34);
  bytes.copy(header, 30, 26, 30);
  header[34] = 3;
  header[35] = 3;
  return Buffer.concat([header, quoted]);
}
