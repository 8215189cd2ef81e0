import type { Controller, ControllerSet } from '../base/controller.ts';
import type { AgentConfig } from '../config/types.ts';
import type { Datapath } from '../datapath/datapath.ts';
import { MASQUERADE_TABLE, sameMasquerade } from '../datapath/masquerade-table.ts';
import { masqueradeSpec } from '../routing/masquerade.ts';
import type { NodeView } from '../routing/nodes.ts';
import type { MasqueradeList } from './masquerade-list.ts';

/** A mounted file may change without a word. */
const LOOK_INTERVAL_MS = 30_000;

/** What masquerade has to know of the cluster. */
export interface MasqueradeView {
  self: NodeView;
  peers: readonly NodeView[];
  clusterCidrs: readonly string[];
  /** It is all that there is; else what this node knows by itself. */
  whole: boolean;
}

/** What the sync works with. */
export interface MasqueradeDeps {
  config: AgentConfig;
  datapath: Pick<Datapath, 'masquerade' | 'masquerades' | 'notMasqueraded'>;
  /** Names of the devices that carry the node's traffic. */
  devices: readonly string[];
  list: Pick<MasqueradeList, 'read' | 'watch'>;
  controllers: ControllerSet;
}

/**
 * Keeps what masquerade goes by: the list of those who see pods as they are, for programs, and the rules of the node's
 * netfilter where it is not done in eBPF. By a controller of its own: a kernel that cannot, or a list that cannot be
 * read, is no reason to leave out routes, and is said in `status`.
 */
export class MasqueradeSync {
  readonly #deps: MasqueradeDeps;
  readonly #controller: Controller;
  #view: MasqueradeView | undefined;
  /** The last that could be read. */
  #listed: readonly string[] = [];

  constructor(deps: MasqueradeDeps) {
    this.#deps = deps;
    this.#controller = deps.controllers.add({
      name: 'sync-masquerade',
      ...(deps.config.ipMasqAgent ? { intervalMs: LOOK_INTERVAL_MS } : {}),
      run: () => this.#sync(),
    });
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
    const [list] = await Promise.allSettled([this.#syncList()]);
    await this.#syncRules();
    if (list.status === 'rejected') throw list.reason;
  }

  async #syncList(): Promise<void> {
    const { config, datapath, list } = this.#deps;
    if (!config.ipMasqAgent || config.masquerade === 'none') return;
    list.watch(() => this.#controller.kick());
    this.#listed = list.read();
    datapath.notMasqueraded.replace(
      new Map(this.#listed.map(prefix => [prefix, true])),
      () => true,
      () => true,
    );
    await datapath.notMasqueraded.commit();
  }

  async #syncRules(): Promise<void> {
    const { config, datapath, devices } = this.#deps;
    const { routingMode, ipv4NativeRoutingCidr } = config;
    if (config.masquerade !== 'netfilter' || !this.#view) return;
    // Rules of an earlier run know peers that are not known yet: they stay until these are.
    if (!this.#view.whole && (await datapath.masquerades())) return;
    const spec = masqueradeSpec({
      ...this.#view,
      routingMode,
      ...(ipv4NativeRoutingCidr ? { nativeRoutingCidr: ipv4NativeRoutingCidr } : {}),
      listed: this.#listed,
      devices,
    });
    datapath.masquerade.replace(new Map([[MASQUERADE_TABLE, spec]]), () => true, sameMasquerade);
    await datapath.masquerade.commit();
  }
}
