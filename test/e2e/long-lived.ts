import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestLab } from './lab.ts';

/** Connections and datagram sockets that stay open for as long as a test wants, and servers that tell one flow from another. */

/**
 * Answers whatever comes with its name and the number of times that this connection, or this sender of datagrams, has
 * asked: who begins again at 1 has lost his flow on the way.
 */
export function countingServer(name: string, port: number): string[] {
  return [
    process.execPath,
    '-e',
    `require('net').createServer(s => { let n = 0; s.on('error', () => {}); s.on('data', () => s.write(${JSON.stringify(name)} + ' ' + ++n)); }).listen(${port}, '0.0.0.0');
     const counts = new Map(), u = require('dgram').createSocket('udp4');
     u.on('message', (m, { address, port }) => { const key = address + ':' + port, n = (counts.get(key) ?? 0) + 1; counts.set(key, n); u.send(${JSON.stringify(name)} + ' ' + n, port, address); });
     u.bind(${port}, '0.0.0.0');`,
  ];
}

/** Opens everything, then asks once on each flow for every line that it is told, and prints all answers. */
const CLIENT = `const flows = JSON.parse(process.argv[1]).map(({ proto, address, port }) => {
  let told = () => {};
  const hear = text => { told(String(text)); told = () => {}; };
  if (proto === 'tcp') {
    const s = require('net').connect(port, address); s.on('data', hear); s.on('error', e => hear(e.code)); s.on('close', () => { s.over = true; hear('closed'); });
    return () => new Promise(done => { told = done; if (s.over) hear('closed'); else s.write('x'); });
  }
  const u = require('dgram').createSocket('udp4'); u.on('message', hear); u.on('error', e => hear(e.code));
  const open = new Promise(done => u.connect(port, address, done));
  return () => new Promise(done => { told = done; open.then(() => u.send('x', e => e && hear(e.code))); });
});
const late = ms => new Promise(done => setTimeout(done, ms, 'nothing'));
require('readline').createInterface({ input: process.stdin })
  .on('line', async () => console.log(JSON.stringify(await Promise.all(flows.map(ask => Promise.race([ask(), late(60000)]))))))
  .on('close', () => process.exit());`;

export interface FlowTarget {
  proto: 'tcp' | 'udp';
  address: string;
  port: number;
}

/** Flows from one place. `end` closes them. */
export class LongFlows {
  readonly targets: readonly FlowTarget[];
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(lab: TestLab, place: string, targets: readonly FlowTarget[]) {
    this.targets = targets;
    const flows = JSON.stringify(targets);
    this.#child = lab.spawn(['lab', 'exec', place, '--', process.execPath, '-e', CLIENT, flows]);
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** One answer for each flow: the server's name and its count, or what went wrong. */
  async ask(): Promise<string[]> {
    this.#child.stdin!.write('ask\n');
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the flows ended');
    return JSON.parse(value);
  }

  end(): void {
    this.#child.stdin!.end();
  }
}
