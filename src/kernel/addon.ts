import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type ErrorDetail, FimbriaError, messageOf } from '../base/errors.ts';
import { packageRoot } from '../base/paths.ts';
import type { MapTypes } from './libbpf/types.ts';

/** A network namespace to work in: a path such as `/proc/PID/ns/net`, or an open descriptor of one. */
export type NetnsRef = string | number;

/**
 * One file descriptor that the addon owns. It is closed by `close()`, by garbage collection, or when the
 * thread that made it ends, whichever comes first. Opened with O_CLOEXEC.
 */
export interface Handle {
  /** The descriptor's number. @throws FimbriaError EBADF after `close()` */
  readonly fd: number;
  readonly closed: boolean;
  /** Closes it; a second call does nothing. */
  close(): void;
  /** Gives the descriptor away: the handle counts as closed and the caller owns the number. */
  release(): number;
}

/** A parsed BPF ELF file inside libbpf. */
export interface NativeObject {
  maps(): NativeMapSpec[];
  mapTypes(map: string): MapTypes | undefined;
  programs(): { name: string; section: string }[];
  setRodata(name: string, value: bigint | Uint8Array): void;
  setMaxEntries(map: string, maxEntries: number): void;
  setPinPath(map: string, path: string | null): void;
  reuseMap(map: string, handle: Handle): void;
  setInnerMap(map: string, handle: Handle): void;
  setAutoload(program: string, autoload: boolean): void;
  load(): void;
  loadAsync(): Promise<void>;
  map(name: string): Handle;
  program(name: string): Handle;
  close(): void;
}

export interface NativeMapSpec {
  name: string;
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  pinned: boolean;
}

export interface NativeMapInfo {
  id: number;
  type: number;
  name: string;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  btfId: number;
  btfKeyTypeId: number;
  btfValueTypeId: number;
}

export interface NativeProgramInfo {
  id: number;
  type: number;
  name: string;
  tag: string;
  runTimeNs: bigint;
  runCount: bigint;
  recursionMisses: bigint;
  translatedBytes: number;
  jitedBytes: number;
  loadTimeNs: bigint;
  verifiedInstructions: number;
  mapIds: number[];
}

/** Something on the event loop: keeps the process alive until `unref()` or `close()`. */
export interface Watch {
  close(): void;
  ref(): void;
  unref(): void;
}

export interface NativeRingBuffer extends Watch {
  poll(): number;
}

export interface TcTarget {
  ifindex: number;
  egress: boolean;
  handle: number;
  priority: number;
  netns?: NetnsRef;
}

/**
 * The native addon: system calls and libbpf, no policy. Every failure arrives as FimbriaError.
 * Functions with a `netns` do their work on a short-lived thread of their own inside that namespace.
 */
export interface NativeAddon {
  setErrorFactory(make: (detail: ErrorDetail) => Error): void;

  objectOpen(path: string, pinRoot?: string): NativeObject;

  mapCreate(spec: {
    type: number;
    name: string;
    keySize: number;
    valueSize: number;
    maxEntries: number;
    flags: number;
    inner?: Handle;
    btfObject?: NativeObject;
    btfMap?: string;
  }): Handle;
  mapFromPin(path: string): Handle;
  mapFromId(id: number): Handle;
  mapInfo(map: Handle): NativeMapInfo;
  /** Out of the kernel's BTF; undefined when the map has none. */
  mapTypes(map: Handle): MapTypes | undefined;
  mapLookup(map: Handle, key: Uint8Array): Buffer | undefined;
  mapUpdate(map: Handle, key: Uint8Array, value: Uint8Array, flags: number): void;
  mapDelete(map: Handle, key: Uint8Array): boolean;
  mapNextKey(map: Handle, key: Uint8Array | undefined): Buffer | undefined;
  /** One step of a batched walk; `undefined` when the kernel cannot batch this type. `next` is absent after the last step. */
  mapLookupBatch(
    map: Handle,
    cursor: Buffer | undefined,
    count: number,
  ): { keys: Buffer; values: Buffer; count: number; next?: Buffer } | undefined;
  mapUpdateBatch(map: Handle, keys: Uint8Array, values: Uint8Array, count: number): void;
  mapDeleteBatch(map: Handle, keys: Uint8Array, count: number): number;

  programFromPin(path: string): Handle;
  programFromId(id: number): Handle;
  programInfo(program: Handle): NativeProgramInfo;
  programTestRun(
    program: Handle,
    data: Uint8Array,
    ctx: Uint8Array,
    repeat: number,
    netns?: NetnsRef,
  ): { retval: number; data: Buffer; ctx: Buffer; durationNs: number };
  /** Slots of equal size in `frames` and `contexts`; `sizes` and `verdicts` hold a native-endian u32 for each. */
  programTestRunBatch(
    program: Handle,
    frames: Uint8Array,
    contexts: Uint8Array,
    sizes: Uint8Array,
    netns?: NetnsRef,
  ): { frames: Buffer; contexts: Buffer; sizes: Buffer; verdicts: Buffer };
  /** Pins a map, program or link. */
  pin(handle: Handle, path: string): void;
  possibleCpus(): number;
  enableStats(): Handle;

  tcAttach(target: TcTarget, program: Handle): void;
  tcQuery(target: TcTarget): { programId: number; handle: number; priority: number } | undefined;
  tcDetach(target: TcTarget): boolean;

  tcxAttach(ifindex: number, egress: boolean, program: Handle, netns?: NetnsRef): Handle;
  tcxQuery(
    ifindex: number,
    egress: boolean,
    netns?: NetnsRef,
  ): { revision: bigint; programs: { programId: number; linkId: number }[] };
  /** `attachType` is the kernel's number; the directory must be of a cgroup v2. */
  cgroupAttach(cgroup: string, attachType: number, program: Handle): Handle;
  cgroupLinkInfo(link: Handle): { id: number; programId: number; cgroupId: bigint; attachType: number };
  linkFromPin(path: string): Handle;
  linkUpdate(link: Handle, program: Handle): void;
  linkDetach(link: Handle): void;
  linkInfo(link: Handle): {
    type: number;
    id: number;
    programId: number;
    ifindex: number;
    attachType: number;
  };

  ringBufferOpen(map: Handle, batch: number, onSample: (data: Buffer) => void): NativeRingBuffer;

  /**
   * A netlink socket with extended acks and strict checking; `groups` are multicast group numbers, `protocol` is
   * NETLINK_ROUTE (0) when absent.
   */
  netlinkOpen(groups: number[], netns?: NetnsRef, protocol?: number): Handle;
  /** Sends a train of requests and resolves with everything received, once each request had its ack, error or done. */
  netlinkTransact(socket: Handle, train: Uint8Array): Promise<Buffer>;
  /**
   * Sends trains one after the other on one thread, each from a socket of its own in its namespace, and resolves
   * with one answer a step. Ends after the first step of which a request was refused: later steps have no answer.
   */
  netlinkSteps(steps: { netns?: NetnsRef; train: Uint8Array }[]): Promise<Buffer[]>;
  /** What waits in the socket's queue: up to 64 datagrams. `overrun`: the kernel had to throw some away, and the rest went, too. */
  netlinkReceive(socket: Handle): { data: Buffer; overrun: boolean };
  watch(socket: Handle, onReadable: () => void): Watch;

  tcpListen(address: string, port: number, backlog: number, netns?: NetnsRef): Handle;
  /** A TCP socket that is bound to no address yet, in `netns`. */
  tcpSocket(netns?: NetnsRef): Handle;
  /** With `dontFragment`, sending what the path's MTU does not hold fails with EMSGSIZE. */
  icmpSocket(netns: NetnsRef | undefined, dontFragment: boolean): Handle;
  /** Sends one datagram and says when, in CLOCK_REALTIME nanoseconds. */
  icmpSend(socket: Handle, address: string, packet: Uint8Array): bigint;
  packetSend(ifindex: number, frame: Uint8Array, netns?: NetnsRef): void;
  /** One IPv4 datagram with its header, from whom, and when the kernel received it; undefined when there is none. */
  icmpReceive(socket: Handle): { data: Buffer; timeNs: bigint } | undefined;

  /** Sends one datagram to a unix socket; a path that begins with `@` is an abstract name. Never waits. */
  unixDatagramSend(path: string, message: Uint8Array): void;

  /** A new network namespace held by nothing but the handle; loopback is down. */
  netnsCreate(): Promise<Handle>;
  /** Of the process's own namespace. @throws ENOPROTOOPT before Linux 5.14 */
  netnsCookie(): bigint;
  /** A new network namespace bind-mounted on `path`, which must be an existing file. */
  netnsBind(path: string, netns?: NetnsRef): Promise<void>;
  unmount(path: string): Promise<void>;
  mount(source: string, target: string, fstype: string): Promise<void>;
  /** Writes a file from inside a namespace: for files below /proc/sys/net. */
  writeFileIn(path: string, text: string, netns?: NetnsRef): Promise<void>;
  readFileIn(path: string, netns?: NetnsRef): Promise<string>;
}

let loaded: NativeAddon | undefined;

function candidates(): string[] {
  const named = process.env['FIMBRIA_NATIVE'];
  if (named !== undefined && named !== '') return [named];
  return ['build/native/Release/fimbria.node', 'build/Release/fimbria.node'].map(path =>
    join(packageRoot(), path),
  );
}

/**
 * The addon, loaded on first use: `$FIMBRIA_NATIVE`, else what the build left in the package.
 * Every thread that calls this gets its own instance.
 * @throws FimbriaError ADDON when it is not built or does not fit this machine
 */
export function native(): NativeAddon {
  if (loaded !== undefined) return loaded;
  const paths = candidates();
  const path = paths.find(candidate => existsSync(candidate));
  if (path === undefined) {
    throw new FimbriaError({
      code: 'ADDON',
      op: 'load',
      object: 'native addon',
      why: `none of ${paths.join(', ')} exists`,
      hint: 'run `npm run build`',
    });
  }
  try {
    const addon = createRequire(import.meta.url)(path) as NativeAddon;
    addon.setErrorFactory(detail => new FimbriaError(detail));
    loaded = addon;
    return addon;
  } catch (cause) {
    throw new FimbriaError({
      code: 'ADDON',
      op: 'load',
      object: path,
      why: messageOf(cause),
      hint: 'check that libbpf1 is installed, then run `npm run build`',
      cause,
    });
  }
}
