import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestLab } from './lab.ts';

/** Servers and clients for services whose backends change all the time. */

/** Opens and closes ports as it is told, a line each, and says when that is done. A port that closes ends what it began. */
const SERVER = `const servers = new Map();
require('readline').createInterface({ input: process.stdin }).on('line', line => {
  const [what, port] = line.split(' ');
  if (what === 'open') servers.set(port, require('http').createServer((q, a) => a.end('ok')).listen(Number(port), '0.0.0.0', () => console.log(line)));
  else { servers.get(port).close(() => console.log(line)); servers.delete(port); }
}).on('close', () => process.exit());`;

/** Ports of one pod that answer HTTP, opened and closed at will. */
export class PortServer {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, () => void>();

  constructor(lab: TestLab, pod: string) {
    this.#child = lab.spawn(['lab', 'exec', pod, '--', process.execPath, '-e', SERVER]);
    createInterface({ input: this.#child.stdout! }).on('line', line => {
      this.#waiting.get(line)?.();
      this.#waiting.delete(line);
    });
  }

  /** Resolves when it answers there. */
  open(port: number): Promise<void> {
    return this.#tell(`open ${port}`);
  }

  /** Nobody new is answered from now on. */
  close(port: number): void {
    this.#child.stdin!.write(`close ${port}\n`);
  }

  end(): void {
    this.#child.stdin!.end();
  }

  #tell(line: string): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.set(line, resolve);
      this.#child.stdin!.write(`${line}\n`);
    });
  }
}

/** Asks one target after the other at a rate, each time anew, until its input ends; then prints what came of it. */
const ASKER = `const [urls, perSecond] = JSON.parse(require('fs').readFileSync(process.argv[1]));
const result = { asked: 0, answered: 0, failed: {} }; let over = false, open = 0;
const end = () => { if (over && open === 0) { console.log(JSON.stringify(result)); process.exit(); } };
const ask = () => {
  if (over) return;
  const url = urls[Math.floor(Math.random() * urls.length)]; let done = false; const began = Date.now();
  const finish = error => { if (done) return; done = true; open--;
    if (error) { const text = error + ' ' + url + ' after ' + (Date.now() - began) + ' ms at ' + new Date(began).toISOString(); result.failed[text] = (result.failed[text] ?? 0) + 1; } else result.answered++; end(); };
  result.asked++; open++;
  const request = require('http').get(url, { agent: false, timeout: 20000 }, a => { a.on('error', e => finish(e.code)); a.resume(); a.on('end', () => finish()); });
  request.on('error', e => finish(e.code ?? e.message)).on('timeout', () => { finish('no answer'); request.destroy(); });
};
const timer = setInterval(ask, 1000 / perSecond);
process.stdin.resume(); process.stdin.on('end', () => { clearInterval(timer); over = true; end(); });`;

/** What came of a place's questions. */
export interface Asked {
  asked: number;
  answered: number;
  /** How often, by error and target. */
  failed: Record<string, number>;
}

/**
 * Asks from a place, at random one of the targets, so many times a second.
 * @param file with a JSON array of the URLs and the rate
 * @returns what ends it and tells
 */
export function askAll(lab: TestLab, place: string, file: string): () => Promise<Asked> {
  const child = lab.spawn(['lab', 'exec', place, '--', process.execPath, '-e', ASKER, file]);
  const outcome = new Promise<string>((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout!.on('data', chunk => (stdout += chunk));
    child.stderr!.on('data', chunk => (stderr += chunk));
    child.on('close', () => (stdout ? resolve(stdout) : reject(new Error(stderr))));
  });
  return async () => {
    child.stdin!.end();
    return JSON.parse(await outcome);
  };
}
