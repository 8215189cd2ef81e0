import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { machine, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { native } from '../../src/kernel/addon.ts';
import { mountBpffs } from '../../src/kernel/mount.ts';
import { createHeldNetns, type HeldNetns } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';

/** A test's own directory with a bpffs in it; `close` takes both away. */
export interface Scratch {
  directory: string;
  bpffs: string;
  close(): Promise<void>;
}

export async function scratch(): Promise<Scratch> {
  const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-'));
  const bpffs = join(directory, 'bpf');
  await mountBpffs(bpffs);
  return {
    directory,
    bpffs,
    async close() {
      await native().unmount(bpffs);
      rmSync(directory, { recursive: true });
    },
  };
}

/** Compiles `test/native/NAME.bpf.c` and returns the object's path. */
export function compileBpf(name: string, directory: string): string {
  const output = join(directory, `${name}.o`);
  execFileSync('clang', [
    ...['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Wextra', '-Werror'],
    ...[`-I/usr/include/${machine()}-linux-gnu`, '-o', output, '-c'],
    fileURLToPath(new URL(`${name}.bpf.c`, import.meta.url)),
  ]);
  return output;
}

/** A namespace with a veth `test0` that is up, and its peer in another one. */
export interface VethPair {
  netns: HeldNetns;
  peer: HeldNetns;
  rtnetlink: Rtnetlink;
  ifindex: number;
  close(): void;
}

export async function vethPair(): Promise<VethPair> {
  const netns = await createHeldNetns();
  const peer = await createHeldNetns();
  const rtnetlink = Rtnetlink.open({ netns: netns.fd });
  await rtnetlink.createVeth({ name: 'test0', up: true, peer: { name: 'test1', netns: peer.fd } });
  const inPeer = Rtnetlink.open({ netns: peer.fd });
  await inPeer.setLink('test1', { up: true });
  inPeer.close();
  const { ifindex } = (await rtnetlink.link('test0'))!;
  return {
    netns,
    peer,
    rtnetlink,
    ifindex,
    close() {
      rtnetlink.close();
      netns.close();
      peer.close();
    },
  };
}

/** Open descriptors of this process that are BPF objects, sockets of netlink or namespaces. */
export function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Collects garbage now, finalizers included. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise(resolve => setImmediate(resolve));
  }
}

export function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

export function u64(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}
