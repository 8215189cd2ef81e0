import { getSystemErrorName } from 'node:util';
import { type ErrorDetail, FimbriaError } from '../../base/errors.ts';
import { type Handle, type NetnsRef, native } from '../addon.ts';
import { ending, interrupted, messages, type NetlinkMessage } from './parse.ts';
import { NLM, Train } from './train.ts';

const TRAIN_REQUESTS = 100;
const DUMP_ATTEMPTS = 5;

/** Appends exactly one request to a train. */
export type Request = (train: Train) => void;

/** What came back for one request: its messages, and how it ended. */
export interface Reply {
  messages: NetlinkMessage[];
  /** Positive, 0 = success. */
  errno: number;
  extack?: string;
  interrupted: boolean;
}

/** The error for a request that the kernel refused. */
export function refused(reply: Reply, detail: Omit<ErrorDetail, 'code' | 'why'>): FimbriaError {
  const code = getSystemErrorName(-reply.errno);
  return new FimbriaError({
    ...detail,
    code,
    errno: reply.errno,
    why: reply.extack === undefined ? code : `${reply.extack} (${code})`,
    ...(reply.extack === undefined ? {} : { extack: reply.extack }),
  });
}

/**
 * A netlink socket that stays in the namespace it was opened in. Requests are answered in order;
 * concurrent callers queue. The waiting happens on a thread of the pool, since the kernel may hold its lock
 * for long.
 */
export class NetlinkSocket {
  readonly #handle: Handle;
  #sequence = 1;
  #port = 0;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(handle: Handle) {
    this.#handle = handle;
  }

  /** @param protocol the kernel's number, NETLINK_ROUTE when absent */
  static open(netns?: NetnsRef, protocol = 0): NetlinkSocket {
    return new NetlinkSocket(native().netlinkOpen([], netns, protocol));
  }

  /**
   * Sends requests, as many at a time as is good, and resolves with one reply for each, in order. A refused
   * request does not stop those behind it.
   * @throws FimbriaError when the socket itself fails
   */
  transact(requests: Request[]): Promise<Reply[]> {
    const turn = this.#tail.then(async () => {
      const replies: Reply[] = [];
      for (let i = 0; i < requests.length; i += TRAIN_REQUESTS) {
        replies.push(...(await this.#send(requests.slice(i, i + TRAIN_REQUESTS))));
      }
      return replies;
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }

  /** One dump; asked again when a change disturbed it. */
  async dump(request: Request): Promise<Reply> {
    for (let attempt = 1; ; attempt++) {
      const [reply] = await this.transact([request]);
      if (!reply!.interrupted || attempt === DUMP_ATTEMPTS) return reply!;
    }
  }

  /** The kernel's number of this socket, as answers have it; 0 before the first. */
  get port(): number {
    return this.#port;
  }

  close(): void {
    this.#handle.close();
  }

  async #send(requests: Request[]): Promise<Reply[]> {
    const first = this.#sequence;
    const train = trainOf(requests, first);
    this.#sequence = (first + requests.length) >>> 0 || 1;
    const answer = await native().netlinkTransact(this.#handle, train);
    for (const { port } of messages(answer)) this.#port = port;
    return repliesIn(answer, requests.length, first);
  }
}

/** The bytes of some requests, numbered from `first`. */
export function trainOf(requests: readonly Request[], first = 1): Buffer {
  const train = new Train(first);
  for (const request of requests) request(train);
  return train.bytes();
}

/** One reply for each request of a train, in order. @throws FimbriaError EBADMSG */
export function repliesIn(answer: Buffer, count: number, first = 1): Reply[] {
  const replies: Reply[] = Array.from({ length: count }, () => ({
    messages: [],
    errno: 0,
    interrupted: false,
  }));
  for (const message of messages(answer)) {
    const reply = replies[message.sequence - first];
    if (reply === undefined) continue;
    if (interrupted(message)) reply.interrupted = true;
    const end = ending(message);
    if (end === undefined) {
      reply.messages.push(message);
      continue;
    }
    reply.errno = end.errno;
    if (end.extack !== undefined) reply.extack = end.extack;
  }
  return replies;
}

/** Flags for a request that gets one answer and an ack. */
export const GET = NLM.ACK;
