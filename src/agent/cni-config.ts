import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The conflist's name: it sorts before others', so that the runtime takes it. */
export const CONFLIST = '05-fimbria.conflist';

/**
 * Writes the CNI configuration, which is what makes the runtime start pods here; only when the datapath is ready.
 * By rename, so that the runtime never reads half a file. Idempotent. Returns the path.
 */
export function writeCniConfig(directory: string, socket: string): string {
  const path = join(directory, CONFLIST);
  const text = `${JSON.stringify({ cniVersion: '1.0.0', name: 'fimbria', plugins: [{ type: 'fimbria-cni', socket }] }, null, 2)}\n`;
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return path;
  mkdirSync(directory, { recursive: true });
  const fresh = `${path}.new`;
  writeFileSync(fresh, text, { mode: 0o644 });
  renameSync(fresh, path);
  return path;
}
