import { FimbriaError } from '../../base/errors.ts';
import { align, HEADER_BYTES } from './train.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const TYPE_MASK = 0x3fff;

/** One netlink message as received. `body` is everything behind the 16-byte header, a view of the input. */
export interface NetlinkMessage {
  type: number;
  flags: number;
  sequence: number;
  /** Number of the socket that it answers, or that asked for what it tells of. */
  port: number;
  body: Buffer;
}

/** How a request ended. `errno` is positive, 0 = success. */
export interface NetlinkEnd {
  errno: number;
  /** The kernel's own words. */
  extack?: string;
  /** A dump was disturbed by a change and may miss or repeat entries. */
  interrupted: boolean;
}

function malformed(why: string): FimbriaError {
  return new FimbriaError({ code: 'EBADMSG', op: 'parse', object: 'netlink message', why });
}

/** The messages in a received chunk. @throws FimbriaError EBADMSG on lengths that cannot be */
export function* messages(chunk: Buffer): Generator<NetlinkMessage> {
  let at = 0;
  while (at + HEADER_BYTES <= chunk.length) {
    const length = chunk.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > chunk.length) {
      throw malformed(`length ${length} at offset ${at} of ${chunk.length} bytes`);
    }
    yield {
      type: chunk.readUInt16LE(at + 4),
      flags: chunk.readUInt16LE(at + 6),
      sequence: chunk.readUInt32LE(at + 8),
      port: chunk.readUInt32LE(at + 12),
      body: chunk.subarray(at + HEADER_BYTES, at + length),
    };
    at += align(length);
  }
}

/** Attributes of a message by type, as views; the last of equal types wins. @throws FimbriaError EBADMSG */
export function attributes(body: Buffer, offset: number): Map<number, Buffer> {
  const result = new Map<number, Buffer>();
  let at = offset;
  while (at + 4 <= body.length) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > body.length) {
      throw malformed(`attribute of ${length} bytes at offset ${at} of ${body.length}`);
    }
    result.set(body.readUInt16LE(at + 2) & TYPE_MASK, body.subarray(at + 4, at + length));
    at += align(length);
  }
  return result;
}

/** The text of a zero-terminated attribute. */
export function text(payload: Buffer): string {
  const end = payload.indexOf(0);
  return payload.toString('utf8', 0, end < 0 ? payload.length : end);
}

/** How the request ended, when this message ends it (ack, error or end of dump). */
export function ending(message: NetlinkMessage): NetlinkEnd | undefined {
  if (message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE) return undefined;
  const { body, flags } = message;
  const result: NetlinkEnd = {
    errno: body.length >= 4 ? -body.readInt32LE(0) : 0,
    interrupted: (flags & NLM_F_DUMP_INTR) !== 0,
  };
  if ((flags & NLM_F_ACK_TLVS) === 0) return result;
  let offset = 4;
  if (message.type === NLMSG_ERROR) {
    if (body.length < 4 + HEADER_BYTES) throw malformed(`error of ${body.length} bytes`);
    offset += (flags & NLM_F_CAPPED) !== 0 ? HEADER_BYTES : align(body.readUInt32LE(4));
  }
  const words = attributes(body, offset).get(NLMSGERR_ATTR_MSG);
  if (words !== undefined) result.extack = text(words);
  return result;
}

/** Whether a dump's part says that the dump was disturbed. */
export function interrupted(message: NetlinkMessage): boolean {
  return (message.flags & NLM_F_DUMP_INTR) !== 0;
}
