import { type Handle, type NetnsRef, native } from '../addon.ts';

/** Offsets in the kernel's struct __sk_buff, the context of tc programs. */
const SKB = { size: 192, mark: 8, ingressIfindex: 36, ifindex: 40 } as const;

/** Kernel program types that this product meets; others are shown by number. */
const PROGRAM_TYPES: Record<number, string> = {
  1: 'socket_filter',
  2: 'kprobe',
  3: 'sched_cls',
  4: 'sched_act',
  5: 'tracepoint',
  6: 'xdp',
  8: 'cgroup_skb',
  9: 'cgroup_sock',
  13: 'sock_ops',
  15: 'cgroup_device',
  17: 'raw_tracepoint',
  18: 'cgroup_sock_addr',
  26: 'tracing',
  30: 'sk_lookup',
  31: 'syscall',
};

/** What the kernel says about a loaded program. Run counters stand still unless statistics are on. */
export interface ProgramInfo {
  id: number;
  name: string;
  tag: string;
  type: string;
  runTimeNs: bigint;
  runCount: bigint;
  recursionMisses: bigint;
  /** Size after verification, in bytes (8 an instruction). */
  translatedBytes: number;
  /** Size of the machine code, 0 when the JIT is off. */
  jitedBytes: number;
  /** When it was loaded, in nanoseconds since boot. */
  loadTimeNs: bigint;
  /** Instructions that the verifier walked, 0 before Linux 5.16. */
  verifiedInstructions: number;
  mapIds: number[];
}

export interface TestRunOptions {
  /** The packet from the Ethernet header on, at least 14 bytes. */
  data: Uint8Array;
  /** Device the packet belongs to, in `netns`; loopback when absent. Sets `ifindex` and `ingress_ifindex`. */
  ifindex?: number;
  mark?: number;
  /** A whole `struct __sk_buff` in place of one made from `ifindex` and `mark`. */
  ctx?: Uint8Array;
  /** How often to run it; the result is the last run's, the duration the mean. */
  repeat?: number;
  /** Namespace whose devices, routes and neighbours helpers see; the process's own when absent. */
  netns?: NetnsRef;
}

export interface TestRunResult {
  /** The program's return value, such as TC_ACT_OK = 0 or TC_ACT_SHOT = 2. */
  retval: number;
  /** The packet afterwards. */
  data: Buffer;
  mark: number;
  /** `struct __sk_buff` afterwards. */
  ctx: Buffer;
  /** Mean nanoseconds a run. */
  durationNs: number;
}

/** Packets for one call: packet `i` is the first `sizes[i]` bytes of the `i`th slot. */
export interface TestRunBatch {
  /** Slots of equal size, one after another: `frames.length / sizes.length` bytes each. */
  frames: Uint8Array;
  /** Bytes of each packet, at least 14. */
  sizes: Uint32Array;
  /** One `struct __sk_buff` for each packet, 192 bytes. */
  contexts: Uint8Array;
}

/** The same packets afterwards, and what the program returned for each. */
export interface TestRunBatchResult extends TestRunBatch {
  verdicts: Uint32Array;
}

/** A loaded program. The object owns one descriptor; attachments and pins keep the program beyond it. */
export class BpfProgram {
  readonly id: number;
  /** As the kernel has it; at most 15 characters unless BTF carries the whole. */
  readonly name: string;
  /** Hash of its instructions, 16 hex digits. */
  readonly tag: string;
  readonly type: string;
  /** The owned descriptor. */
  readonly handle: Handle;

  private constructor(handle: Handle) {
    const info = native().programInfo(handle);
    this.handle = handle;
    this.id = info.id;
    this.name = info.name;
    this.tag = info.tag;
    this.type = PROGRAM_TYPES[info.type] ?? String(info.type);
  }

  /** Takes over a descriptor that the addon made. */
  static fromHandle(handle: Handle): BpfProgram {
    return new BpfProgram(handle);
  }

  /** Opens a pinned program. @throws FimbriaError ENOENT, or EINVAL when the pin is no program */
  static fromPin(path: string): BpfProgram {
    return new BpfProgram(native().programFromPin(path));
  }

  /** Opens a living program by its id. @throws FimbriaError ENOENT */
  static fromId(id: number): BpfProgram {
    return new BpfProgram(native().programFromId(id));
  }

  /** The descriptor's number, still owned by this object. @throws FimbriaError EBADF after `close()` */
  get fd(): number {
    return this.handle.fd;
  }

  /** Pins the program on a bpffs. @throws FimbriaError EEXIST */
  pin(path: string): void {
    native().pin(this.handle, path);
  }

  /** Runs a tc program on a made-up packet without any device (BPF_PROG_TEST_RUN). */
  testRun(options: TestRunOptions): TestRunResult {
    const ctx = Buffer.alloc(SKB.size);
    if (options.ctx !== undefined) ctx.set(options.ctx.subarray(0, SKB.size));
    const view = new DataView(ctx.buffer, ctx.byteOffset, ctx.byteLength);
    if (options.mark !== undefined) view.setUint32(SKB.mark, options.mark, true);
    if (options.ifindex !== undefined) {
      view.setUint32(SKB.ifindex, options.ifindex, true);
      view.setUint32(SKB.ingressIfindex, options.ifindex, true);
    }
    const result = native().programTestRun(
      this.handle,
      options.data,
      ctx,
      options.repeat ?? 1,
      options.netns,
    );
    return { ...result, mark: result.ctx.readUInt32LE(SKB.mark) };
  }

  /**
   * Runs a tc program once on each of many packets, in order, in one visit to the namespace; blocks meanwhile.
   * @throws FimbriaError for the first packet that the kernel refuses, such as EINVAL; those before it have run
   */
  testRunBatch({ frames, sizes, contexts }: TestRunBatch, netns?: NetnsRef): TestRunBatchResult {
    // Copied, because nobody promises that a Buffer begins at a word's boundary.
    const words = (bytes: Uint8Array): Uint32Array => new Uint32Array(new Uint8Array(bytes).buffer);
    const sizeBytes = new Uint8Array(sizes.buffer, sizes.byteOffset, sizes.byteLength);
    const result = native().programTestRunBatch(this.handle, frames, contexts, sizeBytes, netns);
    return { ...result, sizes: words(result.sizes), verdicts: words(result.verdicts) };
  }

  /** The kernel's present view of the program. */
  info(): ProgramInfo {
    const { type, ...info } = native().programInfo(this.handle);
    return { ...info, type: PROGRAM_TYPES[type] ?? String(type) };
  }

  /** Closes the descriptor; every later use throws EBADF, a second close does nothing. */
  close(): void {
    this.handle.close();
  }
}
