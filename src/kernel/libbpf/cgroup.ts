import { statSync } from 'node:fs';
import { type Handle, native } from '../addon.ts';
import type { BpfProgram } from './program.ts';

/** The kernel's numbers of what a program may be attached to at a cgroup's sockets, by libbpf's section names. */
const HOOKS = {
  connect4: 10,
  connect6: 11,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
  sock_release: 34,
} as const;

/** A moment in the life of a socket at which programs of its cgroup run. */
export type CgroupHook = keyof typeof HOOKS;

/** What the kernel says about a link. */
export interface CgroupLinkInfo {
  id: number;
  programId: number;
  /** Inode number of the cgroup's directory; 0n when it is gone or the link was detached. */
  cgroupId: bigint;
}

/**
 * A program at a cgroup v2, beside those of others. It lasts while this object or a pin holds it, so pin what must
 * outlive the process.
 */
export class CgroupLink {
  readonly handle: Handle;

  private constructor(handle: Handle) {
    this.handle = handle;
  }

  /**
   * @param options.cgroup directory of the cgroup; programs see it and all below
   * @throws FimbriaError ENOENT, or EBADF when the directory is no cgroup of version 2
   */
  static create(options: { cgroup: string; hook: CgroupHook; program: BpfProgram }): CgroupLink {
    return new CgroupLink(native().cgroupAttach(options.cgroup, HOOKS[options.hook], options.program.handle));
  }

  /** Opens a pinned link. @throws FimbriaError ENOENT, or EINVAL when the pin is no link */
  static fromPin(path: string): CgroupLink {
    return new CgroupLink(native().linkFromPin(path));
  }

  /** Swaps the program atomically; no socket goes without one. */
  update(program: BpfProgram): void {
    native().linkUpdate(this.handle, program.handle);
  }

  pin(path: string): void {
    native().pin(this.handle, path);
  }

  /** Takes the program off the cgroup, though pins and descriptors remain; repeatable. */
  detach(): void {
    native().linkDetach(this.handle);
  }

  info(): CgroupLinkInfo {
    const { id, programId, cgroupId } = native().cgroupLinkInfo(this.handle);
    return { id, programId, cgroupId };
  }

  /** Closes the descriptor, and with it the attachment unless it is pinned. A second call does nothing. */
  close(): void {
    this.handle.close();
  }
}

/** The number by which the kernel knows a cgroup: `CgroupLinkInfo.cgroupId`. @throws Error ENOENT */
export function cgroupId(directory: string): bigint {
  return statSync(directory, { bigint: true }).ino;
}
