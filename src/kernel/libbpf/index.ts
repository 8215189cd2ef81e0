/**
 * libbpf for Node: load BPF objects, read and write maps, attach tc programs, consume ring buffers.
 * Needs root (or CAP_BPF and CAP_NET_ADMIN) and the built addon; published as `fimbria/libbpf`.
 *
 * Everything that holds a descriptor has `close()`; what is forgotten is closed by garbage collection.
 * Every failure is a FimbriaError whose `code` is the errno's name, or BPF_OPEN, BPF_LOAD.
 * @packageDocumentation
 */
export { FimbriaError } from '../../base/errors.ts';
export type { Handle, NetnsRef } from '../addon.ts';
export { type CgroupHook, CgroupLink, type CgroupLinkInfo, cgroupId } from './cgroup.ts';
export { BpfMap, type MapCreateOptions } from './map.ts';
export { BpfObject } from './object.ts';
export {
  BpfProgram,
  type ProgramInfo,
  type TestRunBatch,
  type TestRunBatchResult,
  type TestRunOptions,
  type TestRunResult,
} from './program.ts';
export { RingBuffer } from './ringbuf.ts';
export { bpfStatsHold, possibleCpus } from './system.ts';
export { TcFilter, type TcHook } from './tc.ts';
export { TcxLink, type TcxLinkInfo, tcxQuery, tcxSupported } from './tcx.ts';
export {
  type Direction,
  MAP_FLAGS,
  type MapSpec,
  type MapType,
  type MapTypes,
  type ProgramSpec,
  type TypeField,
} from './types.ts';
