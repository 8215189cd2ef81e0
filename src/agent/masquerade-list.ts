import { existsSync, type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf } from '../base/errors.ts';
import { nonMasqueradeCidrs } from '../config/masquerade-list.ts';

/**
 * The file that says which destinations pods reach with their own address. A missing one stands for the usual list.
 * Kubernetes replaces a mounted ConfigMap by a link of the folder, so the folder is watched; where that is not possible
 * `read` must be called by the clock.
 */
export class MasqueradeList {
  readonly #path: string;
  #watcher: FSWatcher | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** What it says now. @throws FimbriaError BAD_VALUES; whoever has a list keeps it then */
  read(): string[] {
    try {
      return nonMasqueradeCidrs(readFileSync(this.#path, 'utf8'));
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) throw error;
      return nonMasqueradeCidrs(undefined);
    }
  }

  /** Calls back after changes, or what may be one; once. A folder that is not there is looked for at each call. */
  watch(onChange: () => void): void {
    const folder = dirname(this.#path);
    if (this.#watcher || !existsSync(folder)) return;
    this.#watcher = watch(folder, onChange).unref();
    this.#watcher.on('error', () => this.close());
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
