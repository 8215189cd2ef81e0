import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, FimbriaError } from '../base/errors.ts';
import { ECHO_OVERHEAD_BYTES, icmpEcho, sendableBytes } from '../kernel/netns.ts';
import type { ProbeKind, Target } from './types.ts';

/** An answer that takes longer counts as none. */
const ANSWER_TIMEOUT_MS = 3000;
/** Refused means reached: a server that is about to listen is given this long. */
const REFUSED_PATIENCE_MS = 20_000;
const REFUSED_PAUSE_MS = 250;
const TRANSFER_BYTES = 8 << 20;
/** How long a transfer may stand still; the kernel sends again several times within. */
const TRANSFER_SILENCE_MS = 10_000;
const MESSAGE_BYTES = 512;
/** A router that wants smaller packets is heeded, as often as there can be routers that do. */
const LARGEST_NUMBER_OF_MTUS = 8;

export interface Where extends Pick<Target, 'address' | 'port' | 'echoes'> {
  /** How often it is tried when no answer comes. */
  readonly attempts: number;
}

const failed = (what: string, code: string, why: string): FimbriaError =>
  new FimbriaError({ code, op: 'probe', object: what, why });

const shown = (ms: number): string => `${ms.toFixed(2)} ms`;

/** Tries again what timed out, and for longer what was refused. */
async function patiently<T>({ attempts }: Where, attempt: () => Promise<T>): Promise<T> {
  const until = performance.now() + REFUSED_PATIENCE_MS;
  for (let left = attempts - 1; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (codeOf(error) === 'ECONNREFUSED' && performance.now() < until) await delay(REFUSED_PAUSE_MS);
      else if (codeOf(error) === 'ETIMEDOUT' && left-- > 0) continue;
      else throw error;
    }
  }
}

async function ping(where: Where): Promise<string> {
  const { rttUs } = await patiently(where, () =>
    icmpEcho({ address: where.address, timeoutMs: ANSWER_TIMEOUT_MS }),
  );
  return shown(rttUs / 1000);
}

/** Opens a connection, gives it to `work`, and closes it whatever happens; it fails when it is silent for too long. */
async function connected<T>(
  { address, port }: Where,
  silenceMs: number,
  work: (socket: Socket) => Promise<T>,
): Promise<T> {
  const socket = connect({ host: address, port, allowHalfOpen: true });
  socket.setTimeout(silenceMs, () =>
    socket.destroy(failed('tcp', 'ETIMEDOUT', `no answer within ${silenceMs / 1000} s`)),
  );
  // Whoever awaits sees it; after that nobody has to.
  socket.on('error', () => {});
  try {
    await once(socket, 'connect');
    return await work(socket);
  } finally {
    socket.destroy();
  }
}

async function tcp(where: Where): Promise<string> {
  const message = randomBytes(MESSAGE_BYTES);
  return patiently(where, async () => {
    const start = performance.now();
    const answer = await connected(where, ANSWER_TIMEOUT_MS, async socket => {
      if (!where.echoes) return message;
      socket.end(message);
      const parts: Buffer[] = [];
      for await (const part of socket) parts.push(part);
      return Buffer.concat(parts);
    });
    if (!answer.equals(message)) throw failed('tcp', 'CORRUPT', 'what came back is not what was sent');
    return shown(performance.now() - start);
  });
}

async function udp(where: Where): Promise<string> {
  const { address, port } = where;
  const message = randomBytes(MESSAGE_BYTES);
  return patiently(where, async () => {
    const socket = createSocket('udp4');
    const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    try {
      // Connected, so that a refusal is heard and only this peer is listened to.
      socket.connect(port, address);
      await once(socket, 'connect');
      const start = performance.now();
      socket.send(message);
      const [answer] = (await once(socket, 'message', { signal: timeout })) as [Buffer];
      if (!answer.equals(message)) throw failed('udp', 'CORRUPT', 'what came back is not what was sent');
      return shown(performance.now() - start);
    } catch (error) {
      if (!timeout.aborted) throw error;
      throw failed('udp', 'ETIMEDOUT', `no answer within ${ANSWER_TIMEOUT_MS / 1000} s`);
    } finally {
      socket.close();
    }
  });
}

/**
 * The largest packet that the route promises must arrive whole, and one that does not fit must be told about: by this host
 * itself, or by a router that then asks for smaller ones. Silence is what breaks connections.
 */
async function mtu(where: Where): Promise<string> {
  const { address } = where;
  for (let tries = LARGEST_NUMBER_OF_MTUS; tries > 0; tries--) {
    const bytes = sendableBytes(address);
    const size = bytes - ECHO_OVERHEAD_BYTES;
    try {
      await patiently(where, () =>
        icmpEcho({ address, timeoutMs: ANSWER_TIMEOUT_MS, size, dontFragment: true }),
      );
      return `${bytes} bytes`;
    } catch (error) {
      if (codeOf(error) === 'ETIMEDOUT') {
        throw failed('mtu', 'BLACK_HOLE', `packets of ${bytes} bytes vanish, and nobody says why`);
      }
      if (codeOf(error) !== 'EMSGSIZE') throw error;
    }
  }
  throw failed('mtu', 'EMSGSIZE', 'smaller packets are asked for again and again');
}

/** Random bytes to the server and back; both ways must keep every one of them. */
async function transfer(where: Where): Promise<string> {
  const block = randomBytes(1 << 16);
  const count = TRANSFER_BYTES / block.length;
  const start = performance.now();
  const sent = createHash('sha256');
  const got = createHash('sha256');
  let bytes = 0;
  await connected(where, TRANSFER_SILENCE_MS, async socket => {
    const write = async (): Promise<void> => {
      for (let i = 0; i < count; i++) {
        block.writeUInt32BE(i);
        const copy = Buffer.from(block);
        sent.update(copy);
        if (!socket.write(copy)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
        if (socket.destroyed) return;
      }
      socket.end();
    };
    const read = async (): Promise<void> => {
      for await (const part of socket) {
        got.update(part);
        bytes += part.length;
      }
    };
    await Promise.all([write(), read()]);
  });
  if (bytes !== TRANSFER_BYTES || !sent.digest().equals(got.digest())) {
    throw failed(
      'transfer',
      'CORRUPT',
      `${bytes} of ${TRANSFER_BYTES} bytes came back, not as they were sent`,
    );
  }
  const megabits = (2 * TRANSFER_BYTES * 8) / 1000 / (performance.now() - start);
  return `${TRANSFER_BYTES >> 20} MiB both ways, ${Math.round(megabits)} Mbit/s`;
}

/** How each kind is tried: resolves with what was measured, rejects with why it failed. */
export const PROBES: Readonly<Record<ProbeKind, (where: Where) => Promise<string>>> = {
  ping,
  tcp,
  udp,
  mtu,
  transfer,
};
