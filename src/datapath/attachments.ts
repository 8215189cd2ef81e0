import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ignoring } from '../base/errors.ts';
import type { Target } from '../base/reconcile.ts';
import { BpfProgram, TcFilter, TcxLink, tcxQuery } from '../kernel/libbpf/index.ts';
import type { Rtnetlink } from '../kernel/rtnetlink.ts';
import type { ProgramName, Programs } from './programs.ts';

export type Direction = 'ingress' | 'egress';

/** A program that must run at a device. */
export interface Attachment {
  device: string;
  ifindex: number;
  direction: Direction;
  program: ProgramName;
  /** TCX link, pinned below `<bpf-root>/cilium/devices/<device>/links/`; else a clsact filter. */
  tcx: boolean;
}

/** What the kernel has at that place. */
export interface ActualAttachment {
  programId: number;
  tcx: boolean;
}

/** The table's key: device and direction. */
export function attachmentKey(device: string, direction: Direction): string {
  return `${device} ${direction}`;
}

/**
 * The attachments of this node as a reconciler's target. Replacing a program is one atomic step (TCX link update or
 * filter replace), so a packet always meets either the old or the new one.
 * Only keys that we ever desired are read: other people's filters are never looked at.
 */
export class AttachmentTarget implements Target<Attachment, ActualAttachment> {
  readonly name = 'attachments';
  readonly #programs: Programs;
  readonly #pinRoot: string;
  readonly #rtnl: Rtnetlink;
  readonly #known = new Map<string, Attachment>();
  #alive: ReadonlySet<string> = new Set();

  constructor(programs: Programs, bpfRoot: string, rtnl: Rtnetlink) {
    this.#programs = programs;
    this.#pinRoot = join(bpfRoot, 'cilium', 'devices');
    this.#rtnl = rtnl;
  }

  async read(): Promise<Map<string, ActualAttachment>> {
    const result = new Map<string, ActualAttachment>();
    this.#alive = new Set((await this.#rtnl.links()).map(l => `${l.ifindex} ${l.name}`));
    for (const [key, attachment] of this.#known) {
      if (this.blocked(attachment)) continue;
      const actual = attachment.tcx ? this.#readTcx(attachment) : this.#readFilter(attachment);
      if (actual) result.set(key, actual);
    }
    return result;
  }

  same = (desired: Attachment, actual: ActualAttachment): boolean =>
    desired.tcx === actual.tcx && this.#programs.get(desired.program).id === actual.programId;

  blocked = (desired: Attachment): boolean => !this.#alive.has(`${desired.ifindex} ${desired.device}`);

  /** The device was born with its filter: from now on it is read and taken off as if `update` had put it there. */
  adopt(key: string, attachment: Attachment): void {
    this.#known.set(key, attachment);
  }

  async update(key: string, desired: Attachment): Promise<void> {
    this.#known.set(key, desired);
    const program = this.#programs.get(desired.program);
    if (!desired.tcx) {
      TcFilter.attach({ ifindex: desired.ifindex, direction: desired.direction, program });
      this.#dropTcx(desired);
      return;
    }
    const pin = this.#pin(desired);
    const held = this.#openLink(pin, desired.ifindex);
    if (held) {
      try {
        held.update(program);
      } finally {
        held.close();
      }
    } else {
      mkdirSync(dirname(pin), { recursive: true });
      const link = TcxLink.create({ ifindex: desired.ifindex, direction: desired.direction, program });
      try {
        link.pin(pin);
      } catch (error) {
        link.detach();
        throw error;
      } finally {
        link.close();
      }
    }
    await ignoring(['ENOENT', 'EINVAL', 'ENODEV'], () => TcFilter.detach(desired));
  }

  async delete(key: string): Promise<void> {
    const attachment = this.#known.get(key);
    if (!attachment) return;
    await this.clear(attachment);
    this.#known.delete(key);
  }

  /**
   * The device is about to go, and its filter with it: to take that off first would wait for the kernel's lock, which
   * other devices that go hold for long, and with it everybody who waits for the agent.
   */
  forget(key: string): void {
    const attachment = this.#known.get(key);
    if (attachment) this.#dropTcx(attachment);
    this.#known.delete(key);
  }

  /** Takes off whatever of ours is at that place, by either way of attaching. Repeatable; the device may be gone. */
  async clear(attachment: Attachment): Promise<void> {
    this.#dropTcx(attachment);
    await ignoring(['ENOENT', 'EINVAL', 'ENODEV'], () => TcFilter.detach(attachment));
  }

  /** As `clear` at a device that others use, too: a filter of theirs stays. */
  async clearOurs(attachment: Attachment): Promise<void> {
    this.#dropTcx(attachment);
    const filter = TcFilter.query(attachment);
    if (!filter) return;
    const program = BpfProgram.fromId(filter.programId);
    const { name } = program;
    program.close();
    if (name.startsWith('cil_'))
      await ignoring(['ENOENT', 'EINVAL', 'ENODEV'], () => TcFilter.detach(attachment));
  }

  /** Removes the pins of devices that are not in `devices`: what an earlier configuration attached. */
  sweep(devices: ReadonlySet<string>): void {
    if (!existsSync(this.#pinRoot)) return;
    for (const device of readdirSync(this.#pinRoot)) {
      if (!devices.has(device)) rmSync(join(this.#pinRoot, device), { recursive: true, force: true });
    }
  }

  #pin(attachment: Attachment): string {
    return join(this.#pinRoot, attachment.device, 'links', attachment.program);
  }

  /** The pinned link when it still holds the device; a link of a device that is gone is unpinned. */
  #openLink(pin: string, ifindex: number): TcxLink | undefined {
    if (!existsSync(pin)) return undefined;
    const link = TcxLink.fromPin(pin);
    if (link.info().ifindex === ifindex) return link;
    link.close();
    rmSync(pin, { force: true });
    return undefined;
  }

  #dropTcx(attachment: Attachment): void {
    const pin = this.#pin(attachment);
    if (existsSync(pin)) rmSync(pin, { force: true });
  }

  #readTcx(attachment: Attachment): ActualAttachment | undefined {
    const pin = this.#pin(attachment);
    if (!existsSync(pin)) return undefined;
    const link = TcxLink.fromPin(pin);
    try {
      const info = link.info();
      if (info.ifindex !== attachment.ifindex) return undefined;
      const attached = tcxQuery(attachment.ifindex, attachment.direction).programs;
      return attached.some(p => p.linkId === info.id) ? { programId: info.programId, tcx: true } : undefined;
    } finally {
      link.close();
    }
  }

  #readFilter(attachment: Attachment): ActualAttachment | undefined {
    const found = TcFilter.query(attachment);
    return found && { programId: found.programId, tcx: false };
  }
}
