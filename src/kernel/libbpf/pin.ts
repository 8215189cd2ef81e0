import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, FimbriaError, messageOf } from '../../base/errors.ts';

/**
 * Makes a directory (mode 0700) and the missing ones above it. Node's own recursive mkdir never returns
 * where the kernel answers ENOENT below an existing directory, as sysfs does when no bpffs is mounted.
 * @throws FimbriaError with the file system's code
 */
export function makeDirectories(path: string): void {
  if (tryMkdir(path)) return;
  if (path !== dirname(path)) makeDirectories(dirname(path));
  if (tryMkdir(path)) return;
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'create',
    object: `directory ${path}`,
    why: 'its file system takes no directories',
    hint: 'mount a bpffs there: mount -t bpf bpffs /sys/fs/bpf',
  });
}

/** Whether the directory is there now; false = something above it is missing. */
function tryMkdir(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (cause) {
    const code = codeOf(cause);
    if (code === 'ENOENT') return false;
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return true;
    throw new FimbriaError({
      code: code ?? 'EIO',
      op: 'create',
      object: `directory ${path}`,
      why: messageOf(cause),
      cause,
    });
  }
}
