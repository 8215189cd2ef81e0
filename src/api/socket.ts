import { readFileSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, rename, unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { codeOf, FimbriaError, ignoring, messageOf } from '../base/errors.ts';

/** The kernel's sun_path holds 108 bytes with the closing zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** How a unix socket is put into the file system. */
export interface SocketOptions {
  path: string;
  /** Permission bits; default 0600, or 0660 when a group is named. */
  mode?: number;
  /** Name or number of the group that may connect. */
  group?: string;
}

/** True when somebody accepts connections there, false when the socket is dead, undefined when nothing is there. */
async function isAnswered(path: string): Promise<boolean | undefined> {
  const stat = await ignoring(['ENOENT'], () => lstat(path));
  if (stat === undefined) return undefined;
  if (!stat.isSocket()) {
    throw new FimbriaError({
      code: 'EEXIST',
      op: 'listen on',
      object: path,
      why: 'a file that is not a socket is there',
      hint: 'move it away or name another path with --socket',
    });
  }
  return await new Promise<boolean>((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', error => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else if (code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

/** The number of a group: digits as they are, names from /etc/group. */
export function groupId(group: string, groupFile = '/etc/group'): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of readFileSync(groupFile, 'utf8').split('\n')) {
    const [name, , gid] = line.split(':');
    if (name === group && gid !== undefined) return Number(gid);
  }
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'find group',
    object: group,
    why: `${groupFile} does not have it`,
    hint: 'create it or name another group',
  });
}

/** Where a socket is bound before it is renamed. @throws FimbriaError ENAMETOOLONG */
function temporaryName(path: string): string {
  const temporary = `${path}.${process.pid}`;
  const bytes = Buffer.byteLength(temporary);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return temporary;
  throw new FimbriaError({
    code: 'ENAMETOOLONG',
    op: 'listen on',
    object: path,
    why: `with the process id it has ${bytes} bytes and a socket's path holds ${MAX_SOCKET_PATH_BYTES}`,
    hint: 'name a shorter path with --socket',
  });
}

/**
 * Says no when a living process answers at a path: to be asked before a daemon touches anything that it shares with
 * one that may run already. @throws FimbriaError EADDRINUSE, or ENAMETOOLONG for a path that no socket can have
 */
export async function refuseIfAnswered(path: string): Promise<void> {
  temporaryName(path);
  if (!(await isAnswered(path))) return;
  throw new FimbriaError({
    code: 'EADDRINUSE',
    op: 'listen on',
    object: path,
    why: 'a running agent answers there',
    hint: 'stop it first or name another path with --socket',
  });
}

/** Takes away the temporary names of predecessors that were killed before the rename. */
async function removeDeadSockets(path: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix) || !/^\d+$/.test(name.slice(prefix.length))) continue;
    const left = join(dirname(path), name);
    if ((await isAnswered(left)) === false) await ignoring(['ENOENT'], () => unlink(left));
  }
}

/**
 * Makes `server` listen at a path that nobody else answers at. The socket is bound under a temporary name and
 * renamed when its permissions are right, so it is never reachable with wider ones, and a dead predecessor is
 * replaced without a moment in which the path is missing.
 * @returns takes the path away again, if it is still ours
 * @throws FimbriaError EADDRINUSE when a living process answers there
 */
export async function listenOnSocket(server: Server, options: SocketOptions): Promise<() => Promise<void>> {
  const { path } = options;
  const temporary = temporaryName(path);
  const gid = options.group === undefined ? undefined : groupId(options.group);
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await refuseIfAnswered(path);
  await removeDeadSockets(path);
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error): void =>
      reject(
        new FimbriaError({
          code: codeOf(error) ?? 'LISTEN',
          op: 'listen on',
          object: path,
          why: messageOf(error),
          cause: error,
        }),
      );
    server.once('error', failed);
    // Only the directory's permissions protect the temporary name, so the umask closes the gap before chmod.
    const umask = process.umask(0o177);
    server.listen(temporary, () => {
      server.off('error', failed);
      resolve();
    });
    process.umask(umask);
  });
  try {
    if (gid !== undefined) await chown(temporary, 0, gid);
    await chmod(temporary, options.mode ?? (gid === undefined ? 0o600 : 0o660));
    await rename(temporary, path);
  } catch (error) {
    server.close();
    await ignoring(['ENOENT'], () => unlink(temporary));
    throw error;
  }
  const { ino } = await lstat(path);
  return async () => {
    const now = await ignoring(['ENOENT'], () => lstat(path));
    if (now?.ino === ino) await ignoring(['ENOENT'], () => unlink(path));
  };
}
