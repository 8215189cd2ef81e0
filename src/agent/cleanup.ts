import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { refuseIfAnswered } from '../api/socket.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import { readJournal } from '../base/journal.ts';
import { datapathRemains, type Remain } from '../datapath/remains.ts';
import { deleteNetns } from '../kernel/netns.ts';
import { Rtnetlink } from '../kernel/rtnetlink.ts';
import { CONFLIST, configsAside, PLUGIN, restoreConfig } from './cni-config.ts';
import { healthNetnsPath } from './node-mounts.ts';

/** Where the agent of this node kept its things. */
export interface CleanupPaths {
  socket: string;
  stateDir: string;
  bpfRoot: string;
  cniConfDir: string;
  /** Where the agent installed the CNI plugin; undefined: somebody else did. */
  cniBinDir?: string;
}

/** How to clean up. */
export interface CleanupOptions {
  /** Only say what would go. */
  dryRun: boolean;
  /** Go on although an agent answers. */
  force: boolean;
  /** Told of each thing before it goes. */
  say(what: string): Promise<void> | void;
}

/**
 * Takes everything of ours off this node: the CNI configuration, so that the runtime starts no more pods here;
 * routes, filters, devices, maps; the health namespace; the agent's state. What is not ours is never touched, and
 * sysctls stay as they are. Repeatable; one failure does not keep the rest.
 * @returns how many things there were
 * @throws FimbriaError AGENT_RUNNING while an agent would bring all of it back; or what could not be removed
 */
export async function cleanUp(paths: CleanupPaths, options: CleanupOptions): Promise<number> {
  if (!options.dryRun && !options.force) await refuseWhileRunning(paths.socket);
  const rtnl = Rtnetlink.open();
  try {
    const remains = await findRemains(paths, rtnl);
    const failures: unknown[] = [];
    for (const { what, remove } of remains) {
      await options.say(what);
      if (options.dryRun) continue;
      try {
        await remove();
      } catch (error) {
        failures.push(error);
      }
    }
    if (!options.dryRun) removeEmptyFolders(paths);
    if (failures.length > 0) {
      throw new FimbriaError({
        code: 'CLEANUP',
        op: 'clean up',
        object: `${failures.length} of ${remains.length} things`,
        why: messageOf(failures[0]),
        hint: 'run it again',
        cause: failures[0],
      });
    }
    return remains.length;
  } finally {
    rtnl.close();
  }
}

async function findRemains(paths: CleanupPaths, rtnl: Rtnetlink): Promise<Remain[]> {
  const journal = join(paths.stateDir, 'journal');
  const health = healthNetnsPath(paths.stateDir);
  const conflist = join(paths.cniConfDir, CONFLIST);
  const queue = join(dirname(paths.socket), 'deleteQueue');
  const file = (path: string): Remain[] =>
    existsSync(path) ? [{ what: `file ${path}`, remove: () => rmSync(path, { force: true }) }] : [];
  return [
    ...file(conflist),
    ...file(`${conflist}.new`),
    ...configsAside(paths.cniConfDir).map(name => ({
      what: `suffix .cilium_bak of ${join(paths.cniConfDir, name)}`,
      remove: () => restoreConfig(paths.cniConfDir, name),
    })),
    ...(await datapathRemains(rtnl, paths.bpfRoot, readJournal(journal))),
    ...(existsSync(health)
      ? [{ what: `namespace ${health}`, remove: async () => void (await deleteNetns(health)) }]
      : []),
    ...(existsSync(queue)
      ? [{ what: `folder ${queue}`, remove: () => rmSync(queue, { recursive: true, force: true }) }]
      : []),
    ...file(paths.socket),
    // The plugin stays to the end: a runtime that is stopping pods meanwhile asks it.
    ...(paths.cniBinDir ? file(join(paths.cniBinDir, PLUGIN)) : []),
    // Last: a clean-up that was interrupted reads again which routes are ours.
    ...file(`${journal}.new`),
    ...file(journal),
  ];
}

/** Folders that we may have made; those in which others have something stay. */
function removeEmptyFolders({ bpfRoot, stateDir, socket }: CleanupPaths): void {
  const devices = join(bpfRoot, 'cilium', 'devices');
  const perDevice = existsSync(devices) ? readdirSync(devices).map(name => join(devices, name)) : [];
  for (const folder of [
    ...perDevice.map(device => join(device, 'links')),
    ...perDevice,
    devices,
    ...['socketlb/links/cgroup', 'socketlb/links', 'socketlb'].map(name => join(bpfRoot, 'cilium', name)),
    join(bpfRoot, 'cilium'),
    join(bpfRoot, 'tc', 'globals'),
    join(bpfRoot, 'tc'),
    join(dirname(stateDir), 'netns'),
    stateDir,
    dirname(socket),
  ]) {
    try {
      rmdirSync(folder);
    } catch (error) {
      // EPERM: a bpffs says so of a folder that is not empty; EBUSY: somebody has mounted it.
      if (!['ENOENT', 'ENOTEMPTY', 'EBUSY', 'EPERM'].includes(codeOf(error) ?? '')) throw error;
    }
  }
}

async function refuseWhileRunning(socket: string): Promise<void> {
  try {
    await refuseIfAnswered(socket);
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    throw new FimbriaError({
      code: 'AGENT_RUNNING',
      op: 'clean up',
      object: 'this node',
      why: `an agent answers at ${socket} and would bring it all back`,
      hint: 'stop it first, or use --force',
    });
  }
}
