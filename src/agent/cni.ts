import type { CniReply, CniRequest } from '../api/types.ts';
import { codeOf, type FimbriaError, messageOf } from '../base/errors.ts';
import { KeyedLock } from '../base/lock.ts';
import { addEndpoint } from '../endpoint/add.ts';
import { checkEndpoint } from '../endpoint/check.ts';
import type { EndpointDeps } from '../endpoint/deps.ts';
import { removeEndpoint } from '../endpoint/remove.ts';
import { HEALTH_CONTAINER } from '../endpoint/types.ts';
import { CNI_NETWORK } from './cni-config.ts';
import {
  CNI,
  cniError,
  type NetworkConfig,
  parseConfig,
  podOf,
  prevResultOf,
  required,
  validAttachments,
  versionOf,
} from './cni-request.ts';
import { addResult, type CniAddressing, type CniResult } from './cni-result.ts';

/** Why pods cannot be set up yet. */
export interface NotReady {
  why: string;
  /** Packets were seen not to cross the datapath: pods that run may be cut off as well. */
  limited?: boolean;
}

/** What the CNI handler stands on. */
export interface CniDeps {
  endpoints: EndpointDeps;
  addressing(): CniAddressing;
  /** Undefined when pods can be set up. */
  notReady(): NotReady | undefined;
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

  /** Never rejects: whatever fails is an error object of the specification. */
  async handle(request: CniRequest): Promise<CniReply> {
    try {
      const config = parseConfig(request.stdin);
      return { status: 200, body: await this.#answer(request, config) };
    } catch (error) {
      return failure(versionOf(request.stdin), error);
    }
  }

  async #answer({ command, env }: CniRequest, config: NetworkConfig): Promise<CniResult | undefined> {
    switch (command) {
      case 'STATUS':
        return this.#status();
      case 'GC':
        return await this.#gc(config);
      case 'ADD': {
        const containerId = required(env, 'CNI_CONTAINERID');
        // A DEL that was queued came before this ADD: done later, it would take the new endpoint away.
        await this.#deps.queuedDeletes();
        return await this.#lock.run(containerId, () => this.#add(env, config));
      }
      case 'DEL':
        return await this.#lock.run(required(env, 'CNI_CONTAINERID'), () => this.#del(env));
      case 'CHECK':
        return await this.#lock.run(required(env, 'CNI_CONTAINERID'), () => this.#check(env, config));
    }
  }

  async #add(env: CniRequest['env'], config: NetworkConfig): Promise<CniResult> {
    const { endpoints, addressing } = this.#deps;
    const notReady = this.#deps.notReady();
    const pod = podOf(env['CNI_ARGS'] ?? '');
    const previous = prevResultOf(config);
    const attachment = {
      containerId: required(env, 'CNI_CONTAINERID'),
      ifname: required(env, 'CNI_IFNAME'),
      netns: required(env, 'CNI_NETNS'),
      network: config.name,
    };
    if (notReady)
      throw cniError(CNI.TRY_AGAIN_LATER, `the agent is not ready: ${notReady.why}; try again later`);
    const endpoint = await addEndpoint(endpoints, { ...attachment, ...(pod ? { pod } : {}) });
    return addResult(config.cniVersion, endpoint, addressing(), previous);
  }

  async #del(env: CniRequest['env']): Promise<undefined> {
    const { endpoints } = this.#deps;
    const containerId = required(env, 'CNI_CONTAINERID');
    const endpoint = endpoints.store.byAttachment(containerId, required(env, 'CNI_IFNAME'));
    if (endpoint) await removeEndpoint(endpoints, endpoint);
    return undefined;
  }

  async #check(env: CniRequest['env'], config: NetworkConfig): Promise<undefined> {
    const listed = prevResultOf(config);
    if (!listed)
      throw cniError(
        CNI.INVALID_CONFIG,
        "network configuration: prevResult is missing; CHECK needs ADD's result",
      );
    await checkEndpoint(this.#deps.endpoints, {
      containerId: required(env, 'CNI_CONTAINERID'),
      ifname: required(env, 'CNI_IFNAME'),
      netns: required(env, 'CNI_NETNS'),
      addresses: (listed.ips ?? []).map(({ address }) => String(address)),
      routes: (listed.routes ?? []).map(({ dst }) => String(dst)),
    });
    return undefined;
  }

  #status(): undefined {
    const notReady = this.#deps.notReady();
    if (!notReady) return undefined;
    const code = notReady.limited ? CNI.LIMITED_CONNECTIVITY : CNI.NOT_AVAILABLE;
    throw cniError(code, `the agent is not ready: ${notReady.why}`);
  }

  /**
   * Removes every attachment to this network that the runtime does not name as valid, as many as it can, and then says
   * what it could not (CNI 1.1.0, section "GC"). Those of other networks are not in this runtime's list.
   */
  async #gc(config: NetworkConfig): Promise<undefined> {
    const keep = new Set(validAttachments(config).map(a => `${a.containerId}:${a.ifname}`));
    const { endpoints } = this.#deps;
    const failures: unknown[] = [];
    for (const endpoint of endpoints.store.list()) {
      const { containerId, ifname, network = CNI_NETWORK } = endpoint;
      if (containerId === HEALTH_CONTAINER || network !== config.name || keep.has(`${containerId}:${ifname}`))
        continue;
      endpoints.log.info('removing an endpoint that the runtime does not know', { endpoint: endpoint.id });
      await this.#lock
        .run(containerId, () => removeEndpoint(endpoints, endpoint))
        .catch(error => failures.push(error));
    }
    if (failures.length > 0)
      throw cniError(CNI.OTHER, `could not remove ${failures.length}: ${messageOf(failures[0])}`);
    return undefined;
  }
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
      CNI.OTHER,
      `unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure ${body}`,
    );
  }
  return reply(cniVersion, code === 'NOT_FOUND' ? CNI.UNKNOWN_CONTAINER : CNI.OTHER, messageOf(error));
}

function reply(cniVersion: string, code: number, msg: string): CniReply {
  const callers: readonly number[] = [CNI.INVALID_CONFIG, CNI.DECODE_FAILURE, CNI.INVALID_ENVIRONMENT];
  return { status: callers.includes(code) ? 400 : 500, body: { cniVersion, code, msg } };
}
