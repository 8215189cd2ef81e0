import type { Controller, ControllerSet } from '../base/controller.ts';
import type { DriftLedger } from '../base/drift.ts';
import type { Datapath } from '../datapath/datapath.ts';
import type { EndpointMender } from '../endpoint/mend.ts';
import { NftablesMonitor, type NftChange } from '../kernel/nftables.ts';
import { NetlinkMonitor } from '../kernel/rtnetlink.ts';

/** What the kernel never tells of (map entries, pins, TCX links) is looked at this often. */
const FULL_PASS_INTERVAL_MS = 30_000;

/** What watching stands on. */
export interface DriftDeps {
  datapath: Datapath;
  controllers: ControllerSet;
  ledger: DriftLedger;
  mender: EndpointMender;
  /** Makes the health endpoint stand; says whether it had to. */
  ensureHealth(): Promise<boolean>;
}

/**
 * Finds what others changed of ours and has it repaired: a moment after the kernel's notification where there is
 * one, by the clock elsewhere. Notifications in quick succession become one pass; a quarrel over the same thing
 * slows the passes down (`DriftLedger`). Own changes ask for nothing (`goesAgainst`).
 */
export class DriftWatch {
  readonly #deps: DriftDeps;
  readonly #controller: Controller;
  readonly #monitor: NetlinkMonitor;
  readonly #rules: NftablesMonitor | undefined;
  #soon: NodeJS.Timeout | undefined;
  readonly #clock: NodeJS.Timeout;
  /** The next pass looks at everything. */
  #full = true;

  constructor(deps: DriftDeps) {
    this.#deps = deps;
    this.#controller = deps.controllers.add({
      name: 'datapath-resync',
      run: () => this.#pass(),
    });
    this.#monitor = new NetlinkMonitor({
      groups: ['link', 'ipv4-ifaddr', 'ipv4-route', 'tc', 'ipv4-netconf'],
      onEvent: event => {
        if (this.#soon === undefined && deps.datapath.goesAgainst(event)) this.#passSoon();
      },
      onOverrun: () => this.#passSoon(),
    }).unref();
    this.#rules = watchRules(
      change => {
        if (this.#soon === undefined && deps.datapath.goesAgainstRules(change)) this.#passSoon();
      },
      () => this.#passSoon(),
    );
    // Not the controller's own interval: every notified pass would put the full one off.
    this.#clock = setInterval(() => {
      this.#full = true;
      this.#controller.kick();
    }, FULL_PASS_INTERVAL_MS).unref();
    this.#controller.kick();
  }

  close(): void {
    clearInterval(this.#clock);
    clearTimeout(this.#soon);
    this.#monitor.close();
    this.#rules?.close();
  }

  #passSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#controller.kick();
    }, this.#deps.ledger.delayMs).unref();
  }

  async #pass(): Promise<void> {
    const { datapath, ledger, mender, ensureHealth } = this.#deps;
    const scope = this.#full ? 'all' : 'notified';
    this.#full = false;
    const failures: unknown[] = [];
    const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch(error => failures.push(error));
    const mended = async (devices: string[]): Promise<void> => {
      const atMs = Date.now();
      if (devices.length > 0)
        ledger.note(
          'endpoint devices',
          devices.map(key => ({ key, what: 'missing', atMs })),
        );
    };
    await attempt(datapath.resync(scope));
    await attempt(mender.mend().then(mended));
    await attempt(ensureHealth().then(made => mended(made ? ['lxc_health'] : [])));
    ledger.endOfPass();
    if (failures.length === 0) return;
    this.#full = true;
    throw failures[0];
  }
}

/** Nothing where the kernel has no netfilter: then there are no rules to watch over. */
function watchRules(
  onChange: (change: NftChange) => void,
  onOverrun: () => void,
): NftablesMonitor | undefined {
  try {
    return new NftablesMonitor({ onChange, onOverrun }).unref();
  } catch {
    return undefined;
  }
}
