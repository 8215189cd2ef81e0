import type { Controller, ControllerSet } from '../base/controller.ts';
import type { AgentConfig } from '../config/types.ts';
import type { Datapath } from '../datapath/datapath.ts';
import { MASQUERADE_TABLE, sameMasquerade } from '../datapath/masquerade-table.ts';
import { masqueradeSpec } from '../routing/masquerade.ts';
import type { NodeView } from '../routing/nodes.ts';

/** What masquerade has to know of the cluster. */
export interface MasqueradeView {
  self: NodeView;
  peers: readonly NodeView[];
  clusterCidrs: readonly string[];
  /** It is all that there is; else what this node knows by itself. */
  whole: boolean;
}

/**
 * Keeps the rules by which the node's netfilter masquerades, where it is not done in eBPF. By a controller of its
 * own: a kernel that cannot is no reason to leave out routes, and is said in `status`.
 */
export class MasqueradeSync {
  readonly #config: AgentConfig;
  readonly #datapath: Pick<Datapath, 'masquerade' | 'masquerades'>;
  readonly #devices: readonly string[];
  readonly #controller: Controller;
  #view: MasqueradeView | undefined;

  constructor(deps: {
    config: AgentConfig;
    datapath: Pick<Datapath, 'masquerade' | 'masquerades'>;
    /** Names of the devices that carry the node's traffic. */
    devices: readonly string[];
    controllers: ControllerSet;
  }) {
    this.#config = deps.config;
    this.#datapath = deps.datapath;
    this.#devices = deps.devices;
    this.#controller = deps.controllers.add({ name: 'sync-masquerade', run: () => this.#sync() });
  }

  /** The cluster changed. */
  cluster(view: MasqueradeView): void {
    this.#view = view;
    this.#controller.kick();
  }

  /** Resolves when what is known by now is wished for, whether the kernel can do it or not. */
  async settled(): Promise<void> {
    await this.#controller.trigger().catch(() => {});
  }

  async #sync(): Promise<void> {
    const { routingMode, ipv4NativeRoutingCidr, masquerade } = this.#config;
    if (masquerade !== 'netfilter' || !this.#view) return;
    // Rules of an earlier run know peers that are not known yet: they stay until these are.
    if (!this.#view.whole && (await this.#datapath.masquerades())) return;
    const spec = masqueradeSpec({
      ...this.#view,
      routingMode,
      ...(ipv4NativeRoutingCidr ? { nativeRoutingCidr: ipv4NativeRoutingCidr } : {}),
      listed: [],
      devices: this.#devices,
    });
    const table = this.#datapath.masquerade;
    table.replace(new Map([[MASQUERADE_TABLE, spec]]), () => true, sameMasquerade);
    await table.commit();
  }
}
