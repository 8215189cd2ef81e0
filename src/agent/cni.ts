import type { CniReply, CniRequest } from '../api/types.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import { KeyedLock } from '../base/lock.ts';
import { addEndpoint } from '../endpoint/add.ts';
import { checkEndpoint } from '../endpoint/check.ts';
import type { EndpointDeps, PodRef } from '../endpoint/deps.ts';
import { removeEndpoint } from '../endpoint/remove.ts';
import { HEALTH_CONTAINER } from '../endpoint/types.ts';
import { addResult, CNI_VERSIONS, type CniAddressing } from './cni-result.ts';

/** Error codes of the CNI specification. */
const INCOMPATIBLE_VERSION = 1;
const INVALID_ENVIRONMENT = 4;
const DECODE_FAILURE = 6;
const INVALID_CONFIG = 7;
const UNKNOWN_CONTAINER = 3;
const NOT_AVAILABLE = 50;
/** What Cilium's plugin uses for everything of its own. */
const OTHER = 999;

/** What the CNI handler stands on. */
export interface CniDeps {
  endpoints: EndpointDeps;
  addressing(): CniAddressing;
  /** Why pods cannot be set up yet; undefined when they can. */
  notReady(): string | undefined;
  /** Carries out the DELs that wait in the plugin's queue; undefined when none does. */
  queuedDeletes(): Promise<void> | undefined;
}

/**
 * Answers the plugin's calls. Calls of one container run one after the other, in the order they came; calls of
 * different containers run side by side.
 */
export class CniHandler {
  readonly #deps: CniDeps;
  readonly #lock = new KeyedLock();

  constructor(deps: CniDeps) {
    this.#deps = deps;
  }

  /** Runs alone among the calls about one container. */
  exclusive<T>(containerId: string, work: () => Promise<T>): Promise<T> {
    return this.#lock.run(containerId, work);
  }

  async handle(request: CniRequest): Promise<CniReply> {
    let cniVersion = '1.0.0';
    try {
      const config = parseConfig(request.stdin);
      cniVersion = config.cniVersion;
      if (!(CNI_VERSIONS as readonly string[]).includes(cniVersion)) {
        throw cniError(
          INCOMPATIBLE_VERSION,
          `incompatible CNI version ${cniVersion}; use one of ${CNI_VERSIONS.join(', ')}`,
        );
      }
      if (request.command === 'STATUS') return this.#status(cniVersion);
      if (request.command === 'GC') return { status: 200, body: await this.#gc(config) };
      const containerId = required(request.env, 'CNI_CONTAINERID');
      // A DEL that was queued came before this ADD: done later, it would take the new endpoint away.
      if (request.command === 'ADD') await this.#deps.queuedDeletes();
      return await this.#lock.run(containerId, () => this.#perContainer(request, containerId, cniVersion));
    } catch (error) {
      return failure(cniVersion, error);
    }
  }

  async #perContainer(request: CniRequest, containerId: string, cniVersion: string): Promise<CniReply> {
    const { endpoints } = this.#deps;
    const ifname = required(request.env, 'CNI_IFNAME');
    if (request.command === 'DEL') {
      const endpoint = endpoints.store.byAttachment(containerId, ifname);
      if (endpoint) await removeEndpoint(endpoints, endpoint);
      return { status: 200, body: undefined };
    }
    const netns = required(request.env, 'CNI_NETNS');
    if (request.command === 'CHECK') {
      await checkEndpoint(endpoints, { containerId, ifname, netns });
      return { status: 200, body: undefined };
    }
    const notReady = this.#deps.notReady();
    if (notReady) throw cniError(11, `the agent is not ready: ${notReady}; try again later`);
    const pod = podOf(request.env['CNI_ARGS'] ?? '');
    const endpoint = await addEndpoint(endpoints, { containerId, ifname, netns, ...(pod ? { pod } : {}) });
    return { status: 200, body: addResult(cniVersion, endpoint, this.#deps.addressing()) };
  }

  #status(cniVersion: string): CniReply {
    const why = this.#deps.notReady();
    return why
      ? failure(cniVersion, cniError(NOT_AVAILABLE, `the agent is not ready: ${why}`))
      : { status: 200, body: undefined };
  }

  /** Removes every attachment that the runtime does not name as valid (CNI 1.1.0, section "GC"). */
  async #gc(config: NetworkConfig): Promise<undefined> {
    const valid = config['cni.dev/valid-attachments'];
    if (!Array.isArray(valid))
      throw cniError(INVALID_CONFIG, 'cni.dev/valid-attachments is missing or not a list');
    const keep = new Set(valid.map(a => `${a?.containerID}:${a?.ifname}`));
    const { endpoints } = this.#deps;
    for (const endpoint of endpoints.store.list()) {
      if (endpoint.containerId === HEALTH_CONTAINER || keep.has(`${endpoint.containerId}:${endpoint.ifname}`))
        continue;
      await this.#lock.run(endpoint.containerId, () => removeEndpoint(endpoints, endpoint));
    }
    return undefined;
  }
}

interface NetworkConfig {
  cniVersion: string;
  'cni.dev/valid-attachments'?: { containerID?: string; ifname?: string }[];
}

function parseConfig(stdin: string): NetworkConfig {
  let config: unknown;
  try {
    config = JSON.parse(stdin);
  } catch (error) {
    throw cniError(DECODE_FAILURE, `network configuration is not JSON: ${messageOf(error)}`);
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw cniError(DECODE_FAILURE, 'network configuration is not a JSON object');
  }
  const { cniVersion } = config as { cniVersion?: unknown };
  if (typeof cniVersion !== 'string')
    throw cniError(INVALID_CONFIG, 'network configuration has no cniVersion');
  return config as NetworkConfig;
}

/** Kubernetes' pod among `K8S_POD_NAME=…;K8S_POD_NAMESPACE=…`; undefined when the runtime named none. Pure. */
export function podOf(cniArgs: string): PodRef | undefined {
  const args = new Map(
    cniArgs.split(';').map(pair => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
  const name = args.get('K8S_POD_NAME');
  const namespace = args.get('K8S_POD_NAMESPACE');
  const uid = args.get('K8S_POD_UID');
  return name && namespace ? { name, namespace, ...(uid ? { uid } : {}) } : undefined;
}

function required(env: Record<string, string>, key: string): string {
  const value = env[key];
  if (value) return value;
  throw cniError(INVALID_ENVIRONMENT, `${key} is missing`);
}

function cniError(cniCode: number, why: string): FimbriaError {
  return new FimbriaError({ code: `CNI_${cniCode}`, op: 'cni', why });
}

/** The spec's error object for any failure. */
function failure(cniVersion: string, error: unknown): CniReply {
  const code = codeOf(error) ?? '';
  const known = /^CNI_(\d+)$/.exec(code);
  if (known) return reply(cniVersion, Number(known[1]), (error as FimbriaError).why);
  if (code === 'RANGE_FULL' || code === 'POOL_NOT_AVAILABLE') {
    // The wording is Cilium's, which runbooks and alerts look for.
    const body = JSON.stringify((error as FimbriaError).why);
    return reply(
      cniVersion,
      OTHER,
      `unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure ${body}`,
    );
  }
  return reply(cniVersion, code === 'NOT_FOUND' ? UNKNOWN_CONTAINER : OTHER, messageOf(error));
}

function reply(cniVersion: string, code: number, msg: string): CniReply {
  return {
    status: code === INVALID_CONFIG || code === DECODE_FAILURE || code === INVALID_ENVIRONMENT ? 400 : 500,
    body: { cniVersion, code, msg },
  };
}
