import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { FimbriaError } from '../../base/errors.ts';
import type { ClusterClient } from '../../cluster/index.ts';
import { createClient, loadKubeconfig } from '../../cluster/index.ts';

/** Where labs keep their files, one directory each. */
export const LABS_ROOT = '/run/fimbria-lab';

/** Options that every command of the cluster takes. */
export interface ClusterOptions {
  kubeconfig?: string;
  namespace?: string;
}

/** A client, and the namespace that is meant where none is named. */
export interface Connection {
  client: ClusterClient;
  namespace: string;
}

/**
 * The kubeconfig that is meant: the option, `$KUBECONFIG`, the only running lab's, or kubectl's own.
 * @throws FimbriaError NO_CLUSTER when there is none or more than one
 */
export function findKubeconfig(
  option: string | undefined,
  env: Record<string, string | undefined> = process.env,
  labsRoot: string = LABS_ROOT,
): string {
  if (option) return option;
  const fromEnv = (env['KUBECONFIG'] ?? '').split(':').find(path => path !== '');
  if (fromEnv !== undefined) return fromEnv;
  const path = (lab: string): string => join(labsRoot, lab, 'kubeconfig');
  const labs = existsSync(labsRoot) ? readdirSync(labsRoot).filter(lab => existsSync(path(lab))) : [];
  const wanted = env['FIMBRIA_LAB'] ? labs.filter(lab => lab === env['FIMBRIA_LAB']) : labs;
  if (wanted.length === 1 && wanted[0] !== undefined) return path(wanted[0]);
  const own = join(env['HOME'] ?? homedir(), '.kube', 'config');
  if (wanted.length === 0 && existsSync(own)) return own;
  throw new FimbriaError({
    code: 'NO_CLUSTER',
    op: 'find cluster',
    why:
      wanted.length === 0
        ? 'no kubeconfig is named and no lab runs'
        : `${wanted.length} labs run: ${wanted.join(', ')}`,
    hint:
      wanted.length === 0
        ? 'name one with --kubeconfig or $KUBECONFIG, or start one with `fimbria lab up`'
        : 'choose with $FIMBRIA_LAB, --kubeconfig or $KUBECONFIG',
  });
}

/** Runs `work` with a client and closes it. */
export async function withCluster<T>(
  options: ClusterOptions,
  work: (at: Connection) => Promise<T>,
): Promise<T> {
  const config = loadKubeconfig(findKubeconfig(options.kubeconfig));
  const client = createClient(config);
  try {
    return await work({ client, namespace: options.namespace ?? config.namespace ?? 'default' });
  } finally {
    client.close();
  }
}
