import { closeSync, mkdirSync, openSync, rmSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getSystemErrorMap } from 'node:util';
import { FimbriaError } from '../base/errors.ts';
import { type Handle, type NetnsRef, native } from './addon.ts';
import { Rtnetlink } from './rtnetlink.ts';

/**
 * What makes two references the same network namespace: equal device and inode.
 * @throws FimbriaError with the file system's code when there is nothing at `path`
 */
export function netnsIdentity(path: string): { dev: number; ino: number } {
  try {
    const { dev, ino } = statSync(path);
    return { dev, ino };
  } catch (cause) {
    const { code = 'EIO', message } = cause as NodeJS.ErrnoException;
    throw new FimbriaError({ code, op: 'find', object: `network namespace ${path}`, why: message, cause });
  }
}

/**
 * The number by which programs at sockets know the network namespace that this process is in (`bpf_get_netns_cookie`).
 * @throws FimbriaError ENOPROTOOPT before Linux 5.14
 */
export function ownNetnsCookie(): number {
  // The kernel counts namespaces.
  return Number(native().netnsCookie());
}

/** What statfs(2) says of the files that stand for namespaces (linux/magic.h). */
const NSFS_MAGIC = 0x6e736673;

/**
 * Opens a network namespace: as long as the descriptor is open the namespace lives and the path may go. The caller
 * closes it.
 * @throws FimbriaError with the file system's code when there is nothing at `path`, EINVAL when it is no namespace
 */
export function openNetnsFd(path: string): number {
  const refuse = (code: string, why: string, cause?: unknown): FimbriaError =>
    new FimbriaError({ code, op: 'open', object: `network namespace ${path}`, why, cause });
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    if (statfsSync(path).type === NSFS_MAGIC) return fd;
  } catch (cause) {
    if (fd !== undefined) closeSync(fd);
    const { code = 'EIO', message, errno } = cause as NodeJS.ErrnoException;
    const words = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1];
    throw refuse(code, words === undefined ? message : `${words} (${code})`, cause);
  }
  closeSync(fd);
  throw refuse('EINVAL', 'it is no namespace');
}

/**
 * Makes a new network namespace and mounts it on `path`, as `ip netns add` does. Its loopback is down.
 * @throws FimbriaError EEXIST when there is a file already
 */
export async function createNetns(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const mountPoint = createMountPoint(path);
  try {
    await native().netnsBind(mountPoint);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/** Mounts an existing namespace on `path`, so that it outlives its processes. @throws FimbriaError EEXIST */
export async function bindNetns(path: string, netns: NetnsRef): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const mountPoint = createMountPoint(path);
  try {
    await native().netnsBind(mountPoint, netns);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/** Unmounts and removes `path`; the namespace goes when nothing else holds it. False when there is no such file. */
export async function deleteNetns(path: string): Promise<boolean> {
  try {
    await native().unmount(path);
  } catch (error) {
    if (!(error instanceof FimbriaError) || !['EINVAL', 'ENOENT'].includes(error.code)) throw error;
    if (error.code === 'ENOENT') return false;
  }
  rmSync(path, { force: true });
  return true;
}

/** Whether a living network namespace is mounted on `path`. */
export function isNetns(path: string): boolean {
  try {
    Rtnetlink.open({ netns: path }).close();
    return true;
  } catch {
    return false;
  }
}

/** A network namespace that only a descriptor of this process holds: it leaves nothing behind. */
export interface HeldNetns {
  readonly fd: number;
  /** `/proc/PID/fd/N`: how this and other processes reach it while it is open. */
  readonly path: string;
  /** Lets go of it; the namespace ends unless something else holds it. A second call does nothing. */
  close(): void;
}

/** Makes a new network namespace without any file. Its loopback is down. */
export async function createHeldNetns(): Promise<HeldNetns> {
  const handle: Handle = await native().netnsCreate();
  const { fd } = handle;
  return { fd, path: `/proc/${process.pid}/fd/${fd}`, close: () => handle.close() };
}

let procfs = '/proc';

/**
 * Says where the node's `/proc` is, for the whole process and before the first sysctl: a container's own is read-only.
 */
export function useProcfs(path: string): void {
  procfs = path;
}

/** `/proc/sys` path of `net.ipv4.conf.eth0.rp_filter`; a `/` in a name stands for a dot in a device's name, as in sysctl(8). */
function sysctlPath(name: string): string {
  const path = name.replaceAll(/[./]/g, sign => (sign === '.' ? '/' : '.'));
  if (path.split('/').some(part => part === '' || part === '..' || part === '.')) {
    throw new FimbriaError({
      code: 'EINVAL',
      op: 'use',
      object: `sysctl ${name}`,
      why: 'it is no sysctl name',
    });
  }
  return `${procfs}/sys/${path}`;
}

/**
 * Sets a sysctl, in a namespace if one is given.
 * @param name `net.ipv4.conf.eth0.rp_filter`; write a dot of a device's name as `/`
 */
export async function setSysctl(
  name: string,
  value: string | number,
  options: { netns?: NetnsRef } = {},
): Promise<void> {
  await native().writeFileIn(sysctlPath(name), String(value), options.netns);
}

/** A sysctl's value without the line end. */
export async function getSysctl(name: string, options: { netns?: NetnsRef } = {}): Promise<string> {
  return (await native().readFileIn(sysctlPath(name), options.netns)).trimEnd();
}

function createMountPoint(path: string): string {
  try {
    closeSync(openSync(path, 'wx', 0o444));
    return path;
  } catch (cause) {
    const { code = 'EIO', message } = cause as NodeJS.ErrnoException;
    throw new FimbriaError({ code, op: 'create', object: `network namespace ${path}`, why: message, cause });
  }
}

export { ECHO_OVERHEAD_BYTES, icmpEcho, sendableBytes } from './icmp.ts';
export { connectTcp, listenTcp } from './tcp.ts';
