import { type FSWatcher, watch } from 'node:fs';
import type { Controller, ControllerSet } from '../base/controller.ts';
import type { Logger } from '../base/log.ts';
import { assetPath } from '../base/paths.ts';
import { installPlugin, PLUGIN, putOthersAside, writeCniConfig } from './cni-config.ts';

/** A look without a reason, for folders whose changes the kernel does not tell of. */
const INTERVAL_MS = 60_000;

export interface CniWatchOptions {
  confDir: string;
  binDir?: string;
  socket: string;
  /** Rename the configurations of others. */
  exclusive: boolean;
  /** Told of the path each time our configuration is there. */
  written(path: string): void;
  controllers: ControllerSet;
  log: Logger;
}

/**
 * Keeps the runtime's folders as they must be once the datapath is ready: plugin first, then our configuration, others'
 * put aside. What somebody changes there is put right at once.
 */
export class CniWatch {
  readonly #options: CniWatchOptions;
  readonly #controller: Controller;
  #watcher: FSWatcher | undefined;

  constructor(options: CniWatchOptions) {
    this.#options = options;
    this.#controller = options.controllers.add({
      name: 'cni-config',
      intervalMs: INTERVAL_MS,
      run: async () => this.#pass(),
    });
  }

  /** The first pass, repeated until it succeeds; from then on changes are watched. Never rejects. */
  async start(): Promise<void> {
    await this.#controller.trigger().catch(() => {});
  }

  close(): void {
    this.#watcher?.close();
  }

  #pass(): void {
    const { confDir, binDir, socket, exclusive, log } = this.#options;
    if (binDir && installPlugin(assetPath(`build/bin/${PLUGIN}`), binDir))
      log.info('installed the CNI plugin', { path: `${binDir}/${PLUGIN}` });
    this.#options.written(writeCniConfig(confDir, socket));
    if (exclusive) {
      const names = putOthersAside(confDir);
      if (names.length > 0) log.info('put other CNI configurations aside', { names: names.join(' ') });
    }
    this.#watcher ??= watch(confDir, { persistent: false }, () => this.#controller.kick()).on(
      'error',
      error => log.warn('the CNI folder is looked at once a minute only', { error }),
    );
  }
}
