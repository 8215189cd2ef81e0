import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A real datagram socket, as a service manager has one, and what arrived at it. */
export class Datagrams {
  readonly path: string;
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #wake = (): void => {};

  private constructor(directory: string, path: string) {
    this.#directory = directory;
    this.path = path;
    this.#child = spawn(join(directory, 'receive'), [path], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', line => {
      this.#lines.push(line);
      this.#wake();
    });
  }

  /** @param abstract an abstract name instead of a file */
  static async open(abstract = false): Promise<Datagrams> {
    const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-notify-'));
    const source = fileURLToPath(new URL('testdata/receive.c', import.meta.url));
    execFileSync('cc', ['-Wall', '-Werror', '-o', join(directory, 'receive'), source]);
    const datagrams = new Datagrams(
      directory,
      abstract ? `@fimbria-test-${process.pid}` : join(directory, 'notify'),
    );
    await datagrams.next('bound');
    return datagrams;
  }

  /** Resolves when that line has come; those before it are dropped. */
  async next(wanted: string): Promise<void> {
    for (;;) {
      const at = this.#lines.indexOf(wanted);
      if (at >= 0) {
        this.#lines.splice(0, at + 1);
        return;
      }
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#child.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
