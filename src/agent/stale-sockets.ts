import { setTimeout as delay, setImmediate as yieldLoop } from 'node:timers/promises';
import type { Controller, ControllerSet } from '../base/controller.ts';
import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type SocketTranslation, staleTranslations } from '../datapath/services/stale-sockets.ts';
import type { ServiceTable } from '../datapath/services/table.ts';
import { SockDiag } from '../kernel/sock-diag.ts';
import type { SocketBackend, SocketFrontend } from '../maps/services.ts';
import type { TypedMap } from '../maps/typed.ts';

const UDP = 17;
/** Translations that are looked at before others have a turn. */
const CHUNK = 1024;
/** As long as no program holds what it read from a map, many times over. */
const GRACE_MS = 200;
/** A rollout that replaces one backend after the other is one walk a second. */
const SPACING_MS = 1_000;

export interface StaleSocketsDeps {
  table: ServiceTable;
  translations: TypedMap<SocketBackend, SocketFrontend>;
  /** Network namespaces of the node's pods, by path. */
  podNetns(): string[];
  controllers: ControllerSet;
  log: Logger;
}

const nameOf = ({ address, port }: { address: string; port: number }): string => `${address}:${port}`;

/**
 * Ends UDP sockets that are connected to a backend which their service has lost: the program gets ECONNABORTED, connects
 * anew and is given another, where it would wait for ever. Sockets of pods and of the node; only such as our own
 * programs have connected, told by their cookies. TCP learns of it by itself.
 */
export class StaleSockets {
  readonly #deps: StaleSocketsDeps;
  readonly #controller: Controller;
  /** Backends that went since the last walk; all that are in the map at the first. */
  #gone: Set<string> | 'all' = new Set();
  #canDestroy = true;

  constructor(deps: StaleSocketsDeps) {
    this.#deps = deps;
    this.#controller = deps.controllers.add({
      name: 'stale-sockets',
      spacingMs: SPACING_MS,
      run: () => this.#walk(),
    });
    deps.table.onRetired(backend => {
      if (backend.l4Proto !== UDP) return;
      if (this.#gone !== 'all') this.#gone.add(nameOf(backend));
      this.#controller.kick();
    });
  }

  /** Looks at every translation: of what went while no agent ran. To be called when the table is whole. */
  all(): void {
    this.#gone = 'all';
    this.#controller.kick();
  }

  async #walk(): Promise<void> {
    // The table is not written yet, and a program may be about to use what it has read of it before.
    await delay(GRACE_MS);
    const gone = this.#gone;
    this.#gone = new Set();
    try {
      const stale = await this.#stale(gone);
      if (stale.length > 0) await this.#destroy(stale);
    } catch (error) {
      this.#gone = 'all';
      throw error;
    }
  }

  async #stale(gone: Set<string> | 'all'): Promise<SocketTranslation[]> {
    if (gone !== 'all' && gone.size === 0) return [];
    const found: SocketTranslation[] = [];
    let seen = 0;
    for (const translation of this.#deps.translations.entries()) {
      if (gone === 'all' || gone.has(nameOf(translation[0]))) found.push(translation);
      if (++seen % CHUNK === 0) await yieldLoop();
    }
    return found.length === 0 ? [] : staleTranslations(found, this.#deps.table.list());
  }

  async #destroy(stale: readonly SocketTranslation[]): Promise<void> {
    const { log, podNetns } = this.#deps;
    const wanted = new Map<bigint, Set<string>>();
    for (const [{ socketCookie, ...backend }] of stale)
      wanted.set(socketCookie, (wanted.get(socketCookie) ?? new Set()).add(nameOf(backend)));
    let ended = 0;
    for (const netns of [undefined, ...podNetns()]) {
      if (wanted.size === 0 || !this.#canDestroy) break;
      ended += await this.#destroyIn(netns, wanted);
    }
    if (ended > 0) log.info('ended UDP sockets whose backend is gone', { sockets: ended });
  }

  async #destroyIn(netns: string | undefined, wanted: Map<bigint, Set<string>>): Promise<number> {
    let diag: SockDiag;
    try {
      diag = SockDiag.open(netns === undefined ? {} : { netns });
    } catch (error) {
      // A pod that is going takes its sockets along.
      if (['ENOENT', 'ESRCH', 'EINVAL'].includes(codeOf(error) ?? '')) return 0;
      throw error;
    }
    let ended = 0;
    try {
      for (const socket of await diag.connectedUdp()) {
        const backend = nameOf({ address: socket.remoteAddress, port: socket.remotePort });
        if (!wanted.get(socket.cookie)?.has(backend)) continue;
        if (await diag.destroyUdp(socket)) ended++;
        wanted.delete(socket.cookie);
      }
    } catch (error) {
      if (codeOf(error) !== 'EOPNOTSUPP') throw error;
      this.#canDestroy = false;
      this.#deps.log.warn(
        'UDP sockets whose backend is gone stay connected to it: the kernel has no CONFIG_INET_DIAG_DESTROY',
      );
    } finally {
      diag.close();
    }
    return ended;
  }
}
