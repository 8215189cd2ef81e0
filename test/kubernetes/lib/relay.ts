import { existsSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitUntil } from '../../../src/lab/deadline.ts';
import { type ClusterNode, tail } from './node.ts';

/**
 * A port of the machine's 127.0.0.1 that leads to an address of a cluster's network, which the machine has no way into.
 * Bytes are passed as they are, so TLS is between the ends. It ends with this process.
 */
export class Relay {
  readonly port: number;
  readonly #server: Server;
  readonly #open: Set<Socket>;

  private constructor(server: Server, open: Set<Socket>) {
    this.#server = server;
    this.#open = open;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(inside: ClusterNode, host: string, port: number): Promise<Relay> {
    const path = join(inside.dir, `relay-${port}.sock`);
    const script = fileURLToPath(new URL('relay-child.mjs', import.meta.url));
    const child = inside.start('relay', [process.execPath, script, path, host, String(port)]);
    await waitUntil(`relay to ${host}:${port}`, 60_000, () => {
      if (child.exitCode !== null) throw new Error(`start relay: it said ${tail(inside.log('relay'))}`);
      return existsSync(path) || undefined;
    });
    const open = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, near => {
      const far = connect({ path, allowHalfOpen: true });
      near.pipe(far).pipe(near);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          open.delete(one);
          other.destroy();
        });
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new Relay(server, open);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }
}
