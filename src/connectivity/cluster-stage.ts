import { codeOf, FimbriaError } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { parseFlat } from '../config/index.ts';
import type { ConfigMap } from '../model/types.ts';
import { modeOf } from './mode.ts';
import type { Stage } from './stage.ts';
import type { Mode } from './types.ts';

/** Where an installation is, and what its parts are called. */
const AGENT = 'cilium';
const CONFIG_MAP = 'cilium-config';

export interface ClusterStageOptions {
  /** Namespace of the agents. */
  readonly namespace: string;
  /** Image that has this program; the agents' when absent. */
  readonly image?: string;
  /** An IPv4 address outside, with a port where something accepts TCP connections. */
  readonly outside?: string;
}

interface DaemonSet {
  spec?: { template?: { spec?: { containers?: { image?: string }[] } } };
}

async function agentImage(client: ClusterClient, namespace: string): Promise<string> {
  const path = `/apis/apps/v1/namespaces/${namespace}/daemonsets/${AGENT}`;
  const found = (await client.rawGet(path)) as DaemonSet;
  const image = found.spec?.template?.spec?.containers?.[0]?.image;
  if (image !== undefined) return image;
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'find',
    object: `image of DaemonSet ${namespace}/${AGENT}`,
    why: 'it has no container',
    hint: 'name one with --image',
  });
}

async function runningMode(client: ClusterClient, namespace: string): Promise<Mode> {
  let data: Record<string, string> = {};
  try {
    data = (await client.get<ConfigMap>('ConfigMap', CONFIG_MAP, namespace)).data ?? {};
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
    throw new FimbriaError({
      code: 'NOT_FOUND',
      op: 'find',
      object: `ConfigMap ${namespace}/${CONFIG_MAP}`,
      why: 'there is none: Fimbria is not installed there',
      hint: 'run `fimbria install`, or name the namespace with --namespace',
    });
  }
  return modeOf(parseFlat(data));
}

const HIGHEST_PORT = 65_535;

/** `ADDRESS` or `ADDRESS:PORT`; port 0 where there is none. @throws FimbriaError USAGE */
export function parseOutside(text: string): { address: string; port: number } {
  const found = /^((?:\d{1,3}\.){3}\d{1,3})(?::(\d{1,5}))?$/.exec(text);
  const port = Number(found?.[2] ?? 0);
  const bytes = found?.[1]?.split('.').map(Number) ?? [256];
  if (bytes.every(byte => byte <= 255) && port <= HIGHEST_PORT) return { address: found?.[1] ?? '', port };
  throw new FimbriaError({
    code: 'USAGE',
    op: 'read',
    object: `--outside ${text}`,
    why: 'it is no IPv4 address, nor one with a port',
    hint: 'write 192.0.2.1, or 192.0.2.1:443 for something that accepts TCP',
  });
}

/** A real cluster as the place of a connectivity test, in the mode that it runs in. */
export async function clusterStage(client: ClusterClient, options: ClusterStageOptions): Promise<Stage> {
  const { namespace } = options;
  const beyond = options.outside === undefined ? undefined : parseOutside(options.outside);
  const mode = await runningMode(client, namespace);
  const image = options.image ?? (await agentImage(client, namespace));
  return {
    client,
    title: `cluster ${client.config.server}`,
    image,
    program: ['fimbria'],
    note: () => ({}),
    modes: () => [mode],
    async outside() {
      if (beyond === undefined) return { none: 'no host is named with --outside' };
      const name = `outside ${beyond.address}`;
      const destination = { kind: 'outside' as const, name, echoes: false, ...beyond };
      return { destination, silent: 'nothing of ours runs there' };
    },
    async logOf(ns, pod) {
      const text = await client.rawGet(`/api/v1/namespaces/${ns}/pods/${pod}/log?container=prober`);
      // A log of one line of JSON reads as JSON.
      return typeof text === 'string' ? text : JSON.stringify(text);
    },
    async close() {},
  };
}
