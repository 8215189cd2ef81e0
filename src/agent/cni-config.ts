import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** The conflist's name: it sorts before others', so that the runtime takes it. */
export const CONFLIST = '05-fimbria.conflist';
/** The network's name in it. */
export const CNI_NETWORK = 'fimbria';
/** The plugin's file. */
export const PLUGIN = 'fimbria-cni';

/** What Cilium appends to the configurations of others in exclusive mode, and so do we. */
const PUT_ASIDE = '.cilium_bak';
/** What runtimes take for a configuration. */
const CONFIGURATION = /\.(conf|conflist|json)$/;

/**
 * Writes the CNI configuration, which is what makes the runtime start pods here; only when the datapath is ready.
 * By rename, so that the runtime never reads half a file. Idempotent. Returns the path.
 */
export function writeCniConfig(directory: string, socket: string): string {
  const path = join(directory, CONFLIST);
  const text = `${JSON.stringify({ cniVersion: '1.0.0', name: CNI_NETWORK, plugins: [{ type: PLUGIN, socket }] }, null, 2)}\n`;
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return path;
  mkdirSync(directory, { recursive: true });
  const fresh = `${path}.new`;
  writeFileSync(fresh, text, { mode: 0o644 });
  renameSync(fresh, path);
  return path;
}

/**
 * Puts the plugin into the runtime's folder, unless the same one is there. By rename, so that a pod that is being set up
 * meanwhile runs the old or the new one. Returns whether it wrote.
 */
export function installPlugin(plugin: string, directory: string): boolean {
  const path = join(directory, PLUGIN);
  if (existsSync(path) && readFileSync(path).equals(readFileSync(plugin))) return false;
  mkdirSync(directory, { recursive: true });
  const fresh = `${path}.new`;
  copyFileSync(plugin, fresh);
  chmodSync(fresh, 0o755);
  renameSync(fresh, path);
  return true;
}

/** Renames the configurations of others, so that no runtime takes one of them for ours. Idempotent. Returns their names. */
export function putOthersAside(directory: string): string[] {
  const others = readdirSync(directory).filter(name => CONFIGURATION.test(name) && name !== CONFLIST);
  for (const name of others) renameSync(join(directory, name), join(directory, name + PUT_ASIDE));
  return others;
}

/** Configurations that {@link putOthersAside} renamed, by the name that they had. */
export function configsAside(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter(name => name.endsWith(PUT_ASIDE))
    .map(name => name.slice(0, -PUT_ASIDE.length));
}

/** Gives one back its name. Where somebody has written a new one meanwhile, that one stays and the old one goes. */
export function restoreConfig(directory: string, name: string): void {
  const path = join(directory, name);
  if (existsSync(path)) rmSync(path + PUT_ASIDE, { force: true });
  else renameSync(path + PUT_ASIDE, path);
}
