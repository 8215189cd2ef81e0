import { formatIpv4 } from '../base/addr.ts';
import type { NetnsRef } from './addon.ts';
import type { NetlinkMessage } from './netlink/parse.ts';
import { NetlinkSocket, refused } from './netlink/socket.ts';
import { NLM, type Train } from './netlink/train.ts';

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_UDP = 17;
const ESTABLISHED = 1;
/** struct inet_diag_req_v2, and in it struct inet_diag_sockid: ports, two addresses, ifindex, cookie. */
const REQUEST_BYTES = 56;
const REQUEST_ID_AT = 8;
/** struct inet_diag_msg begins with family, state, timer and retransmissions. */
const ANSWER_ID_AT = 4;
const ID_BYTES = 48;
const DPORT_AT = 2;
const DST_AT = 20;
const COOKIE_AT = 40;
const V4_MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');
const ENOENT = 2;

/** A connected UDP socket. */
export interface UdpSocket {
  /** As bpf_get_socket_cookie has it: never another socket's while the machine runs. */
  cookie: bigint;
  /** Whom it is connected to; a mapped address (`::ffff:a.b.c.d`) as IPv4. */
  remoteAddress: string;
  remotePort: number;
  /** What the kernel calls it. */
  id: { family: number; bytes: Buffer };
}

function encodeDump(train: Train, family: number): void {
  const request = Buffer.alloc(REQUEST_BYTES);
  request[0] = family;
  request[1] = IPPROTO_UDP;
  request.writeUInt32LE(1 << ESTABLISHED, 4);
  train.message(SOCK_DIAG_BY_FAMILY, NLM.DUMP, request);
}

function encodeDestroy(train: Train, { id }: UdpSocket): void {
  const request = Buffer.alloc(REQUEST_BYTES);
  request[0] = id.family;
  request[1] = IPPROTO_UDP;
  request.writeUInt32LE(0xffff_ffff, 4);
  id.bytes.copy(request, REQUEST_ID_AT);
  train.message(SOCK_DESTROY, NLM.ACK, request);
}

/** Undefined for a socket whose peer has a real IPv6 address. */
function decodeSocket({ type, body }: NetlinkMessage): UdpSocket | undefined {
  if (type !== SOCK_DIAG_BY_FAMILY || body.length < ANSWER_ID_AT + ID_BYTES) return undefined;
  const family = body[0]!;
  const bytes = Buffer.from(body.subarray(ANSWER_ID_AT, ANSWER_ID_AT + ID_BYTES));
  const mapped = bytes.subarray(DST_AT, DST_AT + V4_MAPPED_PREFIX.length).equals(V4_MAPPED_PREFIX);
  if (family !== AF_INET && !mapped) return undefined;
  return {
    cookie: bytes.readBigUInt64LE(COOKIE_AT),
    remoteAddress: formatIpv4(
      bytes.readUInt32BE(DST_AT + (family === AF_INET ? 0 : V4_MAPPED_PREFIX.length)),
    ),
    remotePort: bytes.readUInt16BE(DPORT_AT),
    id: { family, bytes },
  };
}

/**
 * Sockets of one network namespace, as the kernel's sock_diag tells of them (`ss` asks the same). Needs CAP_NET_ADMIN
 * to destroy.
 */
export class SockDiag {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** @throws FimbriaError ENOENT when the namespace is gone */
  static open(options: { netns?: NetnsRef } = {}): SockDiag {
    return new SockDiag(NetlinkSocket.open(options.netns, NETLINK_SOCK_DIAG));
  }

  close(): void {
    this.#socket.close();
  }

  /** UDP sockets that are connected to an IPv4 address. */
  async connectedUdp(): Promise<UdpSocket[]> {
    const all: UdpSocket[] = [];
    for (const family of [AF_INET, AF_INET6]) {
      const reply = await this.#socket.dump(train => encodeDump(train, family));
      // A kernel without UDP's part of it knows of no such sockets.
      if (reply.errno === ENOENT) continue;
      if (reply.errno !== 0) throw refused(reply, { op: 'list', object: 'UDP sockets' });
      all.push(...reply.messages.map(decodeSocket).filter(socket => socket !== undefined));
    }
    return all;
  }

  /**
   * Ends a connected socket: whoever waits on it, or uses it next, gets ECONNABORTED, and it is connected no more. Only
   * while it is the same socket and connected to the same peer; false otherwise.
   * @throws FimbriaError EOPNOTSUPP on a kernel without CONFIG_INET_DIAG_DESTROY
   */
  async destroyUdp(socket: UdpSocket): Promise<boolean> {
    const [reply] = await this.#socket.transact([train => encodeDestroy(train, socket)]);
    if (reply!.errno === 0) return true;
    // ESTALE: another one has its addresses now.
    if (reply!.errno === ENOENT || reply!.errno === 116) return false;
    throw refused(reply!, {
      op: 'end',
      object: `UDP socket to ${socket.remoteAddress}:${socket.remotePort}`,
    });
  }
}
