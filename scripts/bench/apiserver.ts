import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { packageRoot } from '../../src/base/paths.ts';
import { type Summary, summarize } from './stats.ts';

/** What the embedded API server bears: writes that outlive a power cut, and how soon watches tell of them. */
export interface ApiserverResult {
  /** Writers at a time, watchers, and writes per second that were answered. */
  readonly throughput: { writers: number; watchers: number; writesPerSecond: number };
  /** From before the request to each watcher's line, over all of them, ms. */
  readonly delay: { watchers: number; writesPerSecond: number; ms: Summary };
  /** The disk by itself: appending 1.5 KB and waiting, with nothing else of ours running. */
  readonly diskMs: Summary;
}

export interface ApiserverOptions {
  /** A folder on the disk whose waits are to count. */
  folder: string;
  milliseconds: number;
}

const WRITERS = 32;
const FEW_WATCHERS = 3;
const MANY_WATCHERS = 50;
const PACE_PER_SECOND = 100;
const DISK_WAITS = 500;
const READY_TIMEOUT_MS = 30_000;
const MAPS = '/api/v1/namespaces/default/configmaps';

/** Starts a server of its own and measures it; the server ends with the call. */
export async function apiserverLoad(options: ApiserverOptions): Promise<ApiserverResult> {
  const { folder, milliseconds } = options;
  mkdirSync(folder, { recursive: true });
  const socketPath = join(folder, 'api.sock');
  const child = spawn(
    process.execPath,
    ['dist/fimbria.js', 'apiserver', '--state', join(folder, 'state'), '--socket', socketPath, '--port', '0'],
    { cwd: packageRoot(), stdio: ['ignore', 'ignore', 'inherit'] },
  );
  try {
    await ready(child, socketPath);
    const client = new Client(socketPath);
    for (let i = 0; i < WRITERS; i++) await client.create(`w${i}`);
    return {
      diskMs: diskWaits(folder),
      throughput: await throughput(client, milliseconds),
      delay: await delay(client, milliseconds),
    };
  } finally {
    child.kill('SIGKILL');
  }
}

function diskWaits(folder: string): Summary {
  const fd = openSync(join(folder, 'disk'), 'a');
  const record = Buffer.alloc(1500, 'x');
  const waits = Array.from({ length: DISK_WAITS }, () => {
    const begunMs = performance.now();
    writeSync(fd, record);
    fdatasyncSync(fd);
    return performance.now() - begunMs;
  });
  closeSync(fd);
  return summarize(waits);
}

async function throughput(client: Client, milliseconds: number): Promise<ApiserverResult['throughput']> {
  const watches = await client.watchAll(FEW_WATCHERS, () => {});
  const endMs = performance.now() + milliseconds;
  const begunMs = performance.now();
  let written = 0;
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, i) => {
      for (let n = 0; performance.now() < endMs; n++, written++) await client.write(`w${i}`, String(n));
    }),
  );
  const writesPerSecond = (1000 * written) / (performance.now() - begunMs);
  for (const watch of watches) watch.destroy();
  return { writers: WRITERS, watchers: FEW_WATCHERS, writesPerSecond };
}

async function delay(client: Client, milliseconds: number): Promise<ApiserverResult['delay']> {
  const delays: number[] = [];
  const watches = await client.watchAll(MANY_WATCHERS, line => {
    const sentMs = Number(/"at":"([\d.]+)"/.exec(line)?.[1]);
    if (sentMs > 0) delays.push(performance.now() - sentMs);
  });
  const count = Math.round((milliseconds / 1000) * PACE_PER_SECOND);
  const begunMs = performance.now();
  const writes: Promise<void>[] = [];
  for (let n = 0; n < count; n++) {
    const dueMs = begunMs + (n * 1000) / PACE_PER_SECOND;
    await new Promise(resolve => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    writes.push(client.write(`w${n % WRITERS}`, String(performance.now())));
  }
  await Promise.all(writes);
  const expected = count * MANY_WATCHERS;
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  while (delays.length < expected && performance.now() < deadlineMs)
    await new Promise(resolve => setTimeout(resolve, 5));
  for (const watch of watches) watch.destroy();
  if (delays.length < expected)
    throw new Error(`measure watches: ${delays.length} of ${expected} events came`);
  const writesPerSecond = (1000 * count) / (performance.now() - begunMs);
  return { watchers: MANY_WATCHERS, writesPerSecond, ms: summarize(delays) };
}

async function ready(child: ChildProcess, socketPath: string): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  const client = new Client(socketPath);
  while (performance.now() < deadlineMs && child.exitCode === null) {
    const status = await client.request('GET', '/readyz').catch(() => 0);
    if (status === 200) return;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  throw new Error(
    `start the API server: not ready after ${READY_TIMEOUT_MS / 1000} s; npm run build makes dist/fimbria.js`,
  );
}

/** As little as a client can do, so that it is the server that is measured. */
class Client {
  readonly #socketPath: string;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: WRITERS });

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Resolves to the status when the whole answer is read. */
  request(method: string, path: string, body?: object, type = 'application/json'): Promise<number> {
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': type };
      const options = { socketPath: this.#socketPath, agent: this.#agent, method, path, headers };
      const request = http.request(options, response => {
        response.resume().on('end', () => resolve(response.statusCode ?? 0));
      });
      request.on('error', reject).end(body && JSON.stringify(body));
    });
  }

  async create(name: string): Promise<void> {
    const map = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name },
      data: { filler: 'x'.repeat(1000) },
    };
    this.#check(await this.request('POST', MAPS, map));
  }

  async write(name: string, at: string): Promise<void> {
    this.#check(
      await this.request('PATCH', `${MAPS}/${name}`, { data: { at } }, 'application/merge-patch+json'),
    );
  }

  /** Opens watches from now on; resolves when all have begun. */
  watchAll(count: number, onLine: (line: string) => void): Promise<http.ClientRequest[]> {
    const watch = (): Promise<http.ClientRequest> =>
      new Promise((resolve, reject) => {
        const path = `${MAPS}?watch=1&resourceVersion=0`;
        const request = http.request({ socketPath: this.#socketPath, agent: false, path }, response => {
          let rest = '';
          let begun = false;
          response.setEncoding('utf8').on('data', (text: string) => {
            const lines = (rest + text).split('\n');
            rest = lines.pop() ?? '';
            for (const line of lines) if (line.startsWith('{"type":"MODIFIED"')) onLine(line);
            if (!begun) resolve(request);
            begun = true;
          });
          response.on('error', () => {});
        });
        request.on('error', reject).end();
      });
    return Promise.all(Array.from({ length: count }, watch));
  }

  #check(status: number): void {
    if (status >= 300) throw new Error(`write to the API server: status ${status}`);
  }
}
