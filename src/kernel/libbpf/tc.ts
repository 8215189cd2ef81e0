import { type NetnsRef, native, type TcTarget } from '../addon.ts';
import type { BpfProgram } from './program.ts';
import type { Direction } from './types.ts';

/** One slot for a direct-action filter on a device's clsact hook. */
export interface TcHook {
  ifindex: number;
  direction: Direction;
  /** Filter handle within its priority, 1 when absent. */
  handle?: number;
  /** 1 when absent; lower runs first. */
  priority?: number;
  /** Namespace of the device; the process's own when absent. */
  netns?: NetnsRef;
}

function target(hook: TcHook): TcTarget {
  return {
    ifindex: hook.ifindex,
    egress: hook.direction === 'egress',
    handle: hook.handle ?? 1,
    priority: hook.priority ?? 1,
    ...(hook.netns === undefined ? {} : { netns: hook.netns }),
  };
}

/**
 * Direct-action programs on clsact, which every kernel has. The filter belongs to the device: it outlives
 * the process and goes with the device.
 */
export const TcFilter = {
  /**
   * Attaches a program; creates clsact when it is missing and atomically replaces what has the slot.
   * Repeatable. @throws FimbriaError ENODEV when there is no such device
   */
  attach(hook: TcHook & { program: BpfProgram }): void {
    native().tcAttach(target(hook), hook.program.handle);
  },

  /** What has the slot, or undefined. */
  query(hook: TcHook): { programId: number; handle: number; priority: number } | undefined {
    return native().tcQuery(target(hook));
  },

  /** Empties the slot; false when nothing was there. clsact and other filters stay. */
  detach(hook: TcHook): boolean {
    return native().tcDetach(target(hook));
  },
} as const;
