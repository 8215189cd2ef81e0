import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ignoring } from '../base/errors.ts';
import type { Target } from '../base/reconcile.ts';
import { type CgroupHook, CgroupLink, cgroupId } from '../kernel/libbpf/index.ts';
import type { ProgramName, Programs } from './programs.ts';

/** The programs of `bpf/sock.c` and where each runs. */
export const SOCKET_PROGRAMS = {
  cil_sock4_connect: 'connect4',
  cil_sock4_sendmsg: 'sendmsg4',
  cil_sock4_recvmsg: 'recvmsg4',
  cil_sock4_getpeername: 'getpeername4',
  cil_sock6_connect: 'connect6',
  cil_sock6_sendmsg: 'sendmsg6',
  cil_sock6_recvmsg: 'recvmsg6',
  cil_sock6_getpeername: 'getpeername6',
  cil_sock_release: 'sock_release',
} as const satisfies Partial<Record<ProgramName, CgroupHook>>;

export type SocketProgram = keyof typeof SOCKET_PROGRAMS;

/** One program at the node's cgroup. */
export interface SocketSpec {
  program: SocketProgram;
  hook: CgroupHook;
}

/** Where the links are pinned, as Cilium does. */
export function socketPinRoot(bpfRoot: string): string {
  return join(bpfRoot, 'cilium', 'socketlb', 'links', 'cgroup');
}

/**
 * Socket programs at one cgroup as a reconciler's target, keyed by program; what is read is the program's id.
 * Replacing a program is one atomic step.
 */
export class SocketTarget implements Target<SocketSpec, number> {
  readonly name = 'socket programs';
  readonly #programs: Programs;
  readonly #cgroup: string;
  readonly #pins: string;

  constructor(programs: Programs, bpfRoot: string, cgroup: string) {
    this.#programs = programs;
    this.#cgroup = cgroup;
    this.#pins = socketPinRoot(bpfRoot);
  }

  async read(): Promise<Map<string, number>> {
    const result = new Map<string, number>();
    for (const name of existsSync(this.#pins) ? readdirSync(this.#pins) : []) {
      const link = this.#open(name);
      result.set(name, link?.info().programId ?? 0);
      link?.close();
    }
    return result;
  }

  same = ({ program }: SocketSpec, programId: number): boolean =>
    this.#programs.get(program).id === programId;

  async update(name: string, { program: wanted, hook }: SocketSpec): Promise<void> {
    const program = this.#programs.get(wanted);
    const held = this.#open(name);
    if (held) {
      try {
        held.update(program);
      } finally {
        held.close();
      }
      return;
    }
    const pin = join(this.#pins, name);
    mkdirSync(dirname(pin), { recursive: true });
    const link = CgroupLink.create({ cgroup: this.#cgroup, hook, program });
    try {
      link.pin(pin);
    } catch (error) {
      link.detach();
      throw error;
    } finally {
      link.close();
    }
  }

  async delete(name: string): Promise<void> {
    await removeSocketLink(join(this.#pins, name));
  }

  /** The pinned link while it holds our cgroup; one of another cgroup, or of one that is gone, is taken off. */
  #open(name: string): CgroupLink | undefined {
    const pin = join(this.#pins, name);
    if (!existsSync(pin)) return undefined;
    const link = CgroupLink.fromPin(pin);
    if (link.info().cgroupId === cgroupId(this.#cgroup)) return link;
    link.detach();
    link.close();
    rmSync(pin, { force: true });
    return undefined;
  }
}

/** Takes a program off its cgroup by the link's pin, also where somebody else holds a descriptor. Repeatable. */
export async function removeSocketLink(pin: string): Promise<void> {
  await ignoring(['ENOENT'], () => {
    const link = CgroupLink.fromPin(pin);
    link.detach();
    link.close();
  });
  rmSync(pin, { force: true });
}

/** What an earlier configuration attached. */
export async function removeSocketLinks(bpfRoot: string): Promise<void> {
  const pins = socketPinRoot(bpfRoot);
  for (const name of existsSync(pins) ? readdirSync(pins) : []) await removeSocketLink(join(pins, name));
}
