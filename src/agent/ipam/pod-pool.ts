import { codeOf, FimbriaError, messageOf } from '../../base/errors.ts';
import type { ClusterClient, Informer } from '../../cluster/types.ts';
import type { PodRef } from '../../endpoint/deps.ts';
import { choosePool, type PoolChoice } from '../../ipam/pool-choice.ts';
import type { CiliumPodIPPool, Namespace, Pod } from '../../model/types.ts';

/** What the choice of a Pod's pool is read from. */
export interface PodPoolDeps {
  client: Pick<ClusterClient, 'get'>;
  pods: Pick<Informer<Pod>, 'get'>;
  namespaces: Pick<Informer<Namespace>, 'get'>;
  pools: Pick<Informer<CiliumPodIPPool>, 'get'>;
  defaultPool: string;
}

/**
 * Which pool a Pod's address comes from. What the watches have not brought yet is asked of the server; an address
 * cannot be changed later, so there is no guess when that is away.
 * @throws FimbriaError UNKNOWN_POOL naming the pool and who named it, NO_POOL_MATCH, POOL_UNDECIDED
 */
export async function poolOfPod(deps: PodPoolDeps, ref: PodRef | undefined): Promise<PoolChoice> {
  const { client, defaultPool } = deps;
  if (ref === undefined) return { pool: defaultPool, source: "this node's default" };
  const who = `${ref.namespace}/${ref.name}`;
  try {
    const seen = deps.pods.get(ref.name, ref.namespace);
    // A Pod of the same name may have been there before.
    const current = seen !== undefined && (ref.uid === undefined || seen.metadata.uid === ref.uid);
    const pod = current ? seen : await ifThere(client.get<Pod>('Pod', ref.name, ref.namespace));
    const namespace =
      deps.namespaces.get(ref.namespace) ??
      (await ifThere(client.get<Namespace>('Namespace', ref.namespace)));
    const annotations = pod?.metadata.annotations;
    const choice = choosePool(
      { name: ref.name, namespace: ref.namespace, ...(annotations ? { annotations } : {}) },
      namespace?.metadata.annotations,
      defaultPool,
    );
    if (choice === undefined) {
      throw new FimbriaError({
        code: 'NO_POOL_MATCH',
        op: 'allocate',
        object: `address for ${who}`,
        why: 'ipam.cilium.io/require-pool-match is true, and neither the Pod nor its Namespace names a pool',
        hint: 'annotate one of them with ipam.cilium.io/ip-pool',
      });
    }
    const known =
      deps.pools.get(choice.pool) ??
      (await ifThere(client.get<CiliumPodIPPool>('CiliumPodIPPool', choice.pool)));
    if (known !== undefined) return choice;
    throw new FimbriaError({
      code: 'UNKNOWN_POOL',
      op: 'allocate',
      object: `address for ${who}`,
      why: `there is no CiliumPodIPPool ${JSON.stringify(choice.pool)}, which is named by ${choice.source}`,
      hint: 'create the pool, or name another',
    });
  } catch (error) {
    if (codeOf(error) === 'UNKNOWN_POOL' || codeOf(error) === 'NO_POOL_MATCH') throw error;
    throw new FimbriaError({
      code: 'POOL_UNDECIDED',
      op: 'choose',
      object: `pool for ${who}`,
      why: messageOf(error),
      hint: 'it is tried again',
      cause: error,
    });
  }
}

async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}
