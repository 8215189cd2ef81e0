import { codeOf } from '../../base/errors.ts';
import { type Handle, type NetnsRef, native } from '../addon.ts';
import type { BpfProgram } from './program.ts';
import type { Direction } from './types.ts';

const ATTACH_TYPES: Record<number, Direction> = { 46: 'ingress', 47: 'egress' };

/** What the kernel says about a link. */
export interface TcxLinkInfo {
  id: number;
  programId: number;
  /** 0 when the device is gone or the link was detached. */
  ifindex: number;
  attachType: Direction | undefined;
}

/**
 * A TCX link (Linux 6.6): an attachment with an owner. It lasts while this object or a pin holds it, so
 * pin what must outlive the process.
 */
export class TcxLink {
  readonly handle: Handle;

  private constructor(handle: Handle) {
    this.handle = handle;
  }

  /**
   * Attaches a program behind those already there.
   * @throws FimbriaError ENODEV for an unknown device, EINVAL where the kernel has no TCX
   */
  static create(options: {
    ifindex: number;
    direction: Direction;
    program: BpfProgram;
    /** Namespace of the device; the process's own when absent. */
    netns?: NetnsRef;
  }): TcxLink {
    return new TcxLink(
      native().tcxAttach(
        options.ifindex,
        options.direction === 'egress',
        options.program.handle,
        options.netns,
      ),
    );
  }

  /** Opens a pinned link. @throws FimbriaError ENOENT, or EINVAL when the pin is no link */
  static fromPin(path: string): TcxLink {
    return new TcxLink(native().linkFromPin(path));
  }

  /** The descriptor's number, still owned by this object. @throws FimbriaError EBADF after `close()` */
  get fd(): number {
    return this.handle.fd;
  }

  /**
   * Swaps the program atomically; no packet passes without one.
   * @throws FimbriaError EEXIST when another link has that program on the same side of the device
   */
  update(program: BpfProgram): void {
    native().linkUpdate(this.handle, program.handle);
  }

  pin(path: string): void {
    native().pin(this.handle, path);
  }

  /** Takes the program off the device, though pins and descriptors remain; repeatable. */
  detach(): void {
    native().linkDetach(this.handle);
  }

  info(): TcxLinkInfo {
    const { id, programId, ifindex, attachType } = native().linkInfo(this.handle);
    return { id, programId, ifindex, attachType: ATTACH_TYPES[attachType] };
  }

  /** Closes the descriptor, and with it the attachment unless it is pinned. A second call does nothing. */
  close(): void {
    this.handle.close();
  }
}

/** The programs attached to one side of a device by TCX, in the order they run. */
export function tcxQuery(
  ifindex: number,
  direction: Direction,
  netns?: NetnsRef,
): { revision: bigint; programs: { programId: number; linkId: number }[] } {
  return native().tcxQuery(ifindex, direction === 'egress', netns);
}

/** Whether this kernel has TCX. Asks about the loopback device; changes nothing. */
export function tcxSupported(): boolean {
  try {
    tcxQuery(1, 'ingress');
    return true;
  } catch (error) {
    if (codeOf(error) === 'EINVAL') return false;
    throw error;
  }
}
