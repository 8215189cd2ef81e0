import { FimbriaError, messageOf } from '../base/errors.ts';
import type { PodRef } from '../endpoint/deps.ts';
import { CNI_NETWORK } from './cni-config.ts';
import { CNI_VERSIONS, type CniResult } from './cni-result.ts';

/** Error codes of the CNI specification 1.1.0, section "Error", and Cilium's own. */
export const CNI = {
  INCOMPATIBLE_VERSION: 1,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  DECODE_FAILURE: 6,
  INVALID_CONFIG: 7,
  TRY_AGAIN_LATER: 11,
  /** No pod can be added now. */
  NOT_AVAILABLE: 50,
  /** As above, and pods that run may not be reached. */
  LIMITED_CONNECTIVITY: 51,
  /** What Cilium's plugin uses for everything of its own. */
  OTHER: 999,
} as const;

/** An error that is answered with this code of the specification. */
export function cniError(cniCode: number, why: string): FimbriaError {
  return new FimbriaError({ code: `CNI_${cniCode}`, op: 'cni', why });
}

/** What of a plugin's configuration is looked at. */
export interface NetworkConfig {
  cniVersion: string;
  /** The network's name, which an attachment belongs to. */
  name: string;
  /** As given; `prevResultOf` reads it. */
  prevResult?: unknown;
  'cni.dev/valid-attachments'?: unknown;
  'cni.dev/attachments'?: unknown;
}

type Fields = Record<string, unknown>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The cniVersion that an error about this configuration is to carry: the caller's, where it can be read. Pure. */
export function versionOf(stdin: string): string {
  try {
    const { cniVersion } = JSON.parse(stdin) as { cniVersion?: unknown };
    return typeof cniVersion === 'string' ? cniVersion : '1.0.0';
  } catch {
    return '1.0.0';
  }
}

/** Reads a plugin's configuration. Pure. @throws FimbriaError with a code of {@link CNI} */
export function parseConfig(stdin: string): NetworkConfig {
  let config: unknown;
  try {
    config = JSON.parse(stdin);
  } catch (error) {
    throw cniError(CNI.DECODE_FAILURE, `network configuration is not JSON: ${messageOf(error)}`);
  }
  if (!isObject(config)) throw cniError(CNI.DECODE_FAILURE, 'network configuration is not a JSON object');
  const { cniVersion, name = CNI_NETWORK } = config;
  if (typeof cniVersion !== 'string')
    throw cniError(CNI.DECODE_FAILURE, 'network configuration has no cniVersion that is a string');
  if (!(CNI_VERSIONS as readonly string[]).includes(cniVersion))
    throw cniError(
      CNI.INCOMPATIBLE_VERSION,
      `incompatible CNI version ${JSON.stringify(cniVersion)}; use one of ${CNI_VERSIONS.join(', ')}`,
    );
  if (typeof name !== 'string' || !name)
    throw cniError(CNI.INVALID_CONFIG, "network configuration: 'name' is not a string");
  return { ...config, cniVersion, name };
}

/**
 * The result of the plugins before ours (ADD) or of all (CHECK); undefined when there is none. Pure.
 * @throws FimbriaError INVALID_CONFIG for what cannot be a result
 */
export function prevResultOf(config: NetworkConfig): CniResult | undefined {
  const { prevResult } = config;
  if (prevResult === undefined || prevResult === null) return undefined;
  const wrong = (what: string): FimbriaError =>
    cniError(CNI.INVALID_CONFIG, `network configuration: prevResult${what}`);
  if (!isObject(prevResult)) throw wrong(' is not an object');
  for (const key of ['interfaces', 'ips', 'routes']) {
    const list = prevResult[key] ?? [];
    if (!Array.isArray(list) || !list.every(isObject)) throw wrong(`.${key} is not a list of objects`);
  }
  if (!isObject(prevResult['dns'] ?? {})) throw wrong('.dns is not an object');
  return prevResult as CniResult;
}

/**
 * The attachments that GC is to leave alone. Runtimes before 1.1.0 was final said `cni.dev/attachments`. Pure.
 * @throws FimbriaError INVALID_CONFIG unless every entry names one: a list that is half read would cost pods their network
 */
export function validAttachments(config: NetworkConfig): { containerId: string; ifname: string }[] {
  const list = config['cni.dev/valid-attachments'] ?? config['cni.dev/attachments'];
  if (!Array.isArray(list))
    throw cniError(CNI.INVALID_CONFIG, "network configuration: 'cni.dev/valid-attachments' is not a list");
  return list.map((entry, index) => {
    const { containerID, ifname } = isObject(entry) ? entry : {};
    if (typeof containerID === 'string' && containerID && typeof ifname === 'string' && ifname)
      return { containerId: containerID, ifname };
    throw cniError(
      CNI.INVALID_CONFIG,
      `network configuration: 'cni.dev/valid-attachments'[${index}] has no containerID and ifname; nothing was removed`,
    );
  });
}

/** What a Pod and a Namespace can be called (RFC 1123). */
const NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;

/**
 * Kubernetes' pod among `K8S_POD_NAME=…;K8S_POD_NAMESPACE=…`; undefined when the runtime named none. Other keys are the
 * runtime's own; of a key that is given twice the last one counts, as with libcni. Pure.
 * @throws FimbriaError INVALID_ENVIRONMENT for what is no list of `KEY=VALUE`, and for names that no Pod can have
 */
export function podOf(cniArgs: string): PodRef | undefined {
  const args = new Map<string, string>();
  for (const pair of cniArgs.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0) args.set(pair.slice(0, at), pair.slice(at + 1));
    else if (pair !== '')
      throw cniError(CNI.INVALID_ENVIRONMENT, `CNI_ARGS: ${JSON.stringify(pair)} is not KEY=VALUE`);
  }
  const name = args.get('K8S_POD_NAME');
  const namespace = args.get('K8S_POD_NAMESPACE');
  const uid = args.get('K8S_POD_UID');
  if (!name || !namespace) return undefined;
  for (const [key, value] of [
    ['K8S_POD_NAME', name],
    ['K8S_POD_NAMESPACE', namespace],
  ] as const) {
    if (!NAME.test(value))
      throw cniError(CNI.INVALID_ENVIRONMENT, `CNI_ARGS: ${key}=${JSON.stringify(value)} is no name`);
  }
  return { name, namespace, ...(uid ? { uid } : {}) };
}

/** A variable that the command cannot do without. @throws FimbriaError INVALID_ENVIRONMENT */
export function required(env: Record<string, string>, key: string): string {
  const value = env[key];
  if (value) return value;
  throw cniError(CNI.INVALID_ENVIRONMENT, `${key} is missing`);
}
