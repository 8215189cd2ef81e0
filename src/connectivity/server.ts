import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { FimbriaError, messageOf } from '../base/errors.ts';

/**
 * Sends back what comes in, by TCP and by UDP, until the signal. A host of several addresses names the one that is asked:
 * its UDP answers would come from whichever the route back prefers.
 * @throws FimbriaError LISTEN when the port is somebody else's
 */
export async function serve(address: string, port: number, signal: AbortSignal): Promise<void> {
  const tcp = createServer({ allowHalfOpen: true }, socket => {
    // A client that goes away in the middle is no failure of the server.
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  const udp = createSocket('udp4', (message, from) => udp.send(message, from.port, from.address));
  try {
    tcp.listen({ port, host: address });
    udp.bind(port, address);
    await Promise.all([once(tcp, 'listening'), once(udp, 'listening')]);
  } catch (cause) {
    tcp.close();
    udp.close();
    throw new FimbriaError({
      code: 'LISTEN',
      op: 'listen',
      object: `on ${address}:${port}`,
      why: messageOf(cause),
      hint: 'choose another with --port',
      cause,
    });
  }
  if (!signal.aborted) await once(signal, 'abort');
  tcp.close();
  udp.close();
}
