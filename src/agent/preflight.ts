import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { ipv4Contains, parseIpv4, parseIpv4Cidr } from '../base/addr.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { findCgroup2Root } from '../kernel/cgroup.ts';
import { BpfMap, MAP_FLAGS } from '../kernel/libbpf/index.ts';
import { mountBpffs } from '../kernel/mount.ts';
import type { AgentOptions } from './options.ts';

const OLDEST_KERNEL = [5, 15] as const;
/** Bits of CapEff in /proc/self/status, and what each is for. */
const CAPABILITIES = [
  [12, 'CAP_NET_ADMIN', 'devices, routes and filters'],
  [13, 'CAP_NET_RAW', 'probes'],
  [21, 'CAP_SYS_ADMIN', 'namespaces and eBPF'],
] as const;
/** What a node's first records take, so that a full disk is found before anything is changed. */
const PROBE_BYTES = 16_384;

/**
 * Looks whether this node can carry an agent before anything on it is changed, each obstacle with its own line.
 * Mounts a bpffs when there is none. @throws FimbriaError naming what is missing and what to do
 */
export async function preflight(
  options: Pick<AgentOptions, 'stateDir' | 'bpfRoot'>,
  log: Logger,
): Promise<void> {
  checkKernel(release());
  checkStateFolder(options.stateDir);
  await ensureBpffs(options.bpfRoot, log);
  probeBpf();
  try {
    findCgroup2Root();
  } catch (error) {
    log.warn('no cgroup v2: pods work, services at the socket will not', { why: messageOf(error) });
  }
}

/** @param status of the process. @throws FimbriaError EPERM */
export function checkPrivileges(status: string = readFileSync('/proc/self/status', 'utf8')): void {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const missing = CAPABILITIES.filter(([bit]) => (effective & (1n << BigInt(bit))) === 0n);
  if (missing.length === 0) return;
  const root = /^Uid:\s+\d+\s+0\s/m.test(status);
  throw new FimbriaError({
    code: 'EPERM',
    op: 'start',
    object: 'agent',
    why: root
      ? `root here lacks ${missing.map(([, name, use]) => `${name} (${use})`).join(', ')}`
      : 'only root can set up a node',
    hint: root ? 'grant it, in a container by privileged or capabilities.add' : 'run it as root',
  });
}

/** @param text of uname: `5.15.0-91-generic`. @throws FimbriaError UNSUPPORTED */
export function checkKernel(text: string): void {
  const [major = 0, minor = 0] = text.split(/[.-]/).map(Number);
  const [needMajor, needMinor] = OLDEST_KERNEL;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return;
  throw new FimbriaError({
    code: 'UNSUPPORTED',
    op: 'use',
    object: `kernel ${text}`,
    why: `Linux ${OLDEST_KERNEL.join('.')} or newer is needed`,
    hint: 'boot a newer kernel',
  });
}

/** Makes the folder and writes as much to it as a start will. @throws FimbriaError with the file system's code */
export function checkStateFolder(stateDir: string): void {
  // One name for ever: what a start that was killed left of it is the next one's.
  const probe = join(stateDir, '.probe');
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    writeFileSync(probe, Buffer.alloc(PROBE_BYTES));
  } catch (error) {
    const code = codeOf(error) ?? 'EIO';
    throw new FimbriaError({
      code,
      op: 'write',
      object: `state folder ${stateDir}`,
      ...(STATE_FOLDER_WORDS[code] ?? { why: messageOf(error), hint: 'name another with --state-dir' }),
      cause: error,
    });
  } finally {
    if (existsSync(probe)) rmSync(probe);
  }
}

// Node's recursive mkdir says ENOENT where a read-only file system said EROFS.
const READ_ONLY = {
  why: 'it cannot be made or its file system is read-only',
  hint: 'mount it read-write, or name another with --state-dir',
};
const STATE_FOLDER_WORDS: Record<string, { why: string; hint: string }> = {
  ENOSPC: { why: 'no space left', hint: 'free some space there, or name another with --state-dir' },
  EDQUOT: { why: 'the quota is used up', hint: 'free some space there, or name another with --state-dir' },
  EROFS: READ_ONLY,
  ENOENT: READ_ONLY,
};

async function ensureBpffs(bpfRoot: string, log: Logger): Promise<void> {
  try {
    if (await mountBpffs(bpfRoot)) log.info('mounted a bpffs', { path: bpfRoot });
  } catch (error) {
    throw new FimbriaError({
      code: codeOf(error) ?? 'EIO',
      op: 'mount',
      object: `bpffs on ${bpfRoot}`,
      why: `there is none, and mounting one failed: ${error instanceof FimbriaError ? error.why : messageOf(error)}`,
      hint: `mount -t bpf bpffs ${bpfRoot}`,
      cause: error,
    });
  }
}

/** Makes one map of each kind that the datapath needs. @throws FimbriaError UNSUPPORTED naming the feature */
function probeBpf(): void {
  const probe = { name: 'fimbria_probe', keySize: 4, valueSize: 4, maxEntries: 1 };
  const kinds = [
    { ...probe, type: 'hash' },
    { ...probe, type: 'lpm_trie', keySize: 8, flags: MAP_FLAGS.NO_PREALLOC },
    { ...probe, type: 'ringbuf', keySize: 0, valueSize: 0, maxEntries: 4096 },
  ] as const;
  for (const kind of kinds) {
    try {
      BpfMap.create(kind).close();
    } catch (error) {
      throw new FimbriaError({
        code: 'UNSUPPORTED',
        op: 'use',
        object: `eBPF maps of type ${kind.type}`,
        why: `the kernel refuses to make one: ${error instanceof FimbriaError ? error.why : messageOf(error)}`,
        hint: 'a kernel with CONFIG_BPF_SYSCALL is needed, and nothing (lockdown, seccomp, RLIMIT_MEMLOCK) may forbid bpf(2)',
        cause: error,
      });
    }
  }
}

/** A pod with the address of a node would take it off the network. @throws FimbriaError OVERLAP */
export function refuseOverlap(nodeIpv4: string, ranges: readonly string[]): void {
  const wrong = ranges.find(cidr => ipv4Contains(parseIpv4Cidr(cidr), parseIpv4(nodeIpv4)));
  if (wrong === undefined) return;
  throw new FimbriaError({
    code: 'OVERLAP',
    op: 'use',
    object: `pod range ${wrong}`,
    why: `this node's own address ${nodeIpv4} lies in it`,
    hint: 'choose pod ranges apart from the network of the nodes (cluster-pool-ipv4-cidr)',
  });
}
