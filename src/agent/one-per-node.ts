import { connect, createServer, type Server } from 'node:net';
import { codeOf, FimbriaError } from '../base/errors.ts';

/** An abstract socket: one per network namespace, gone with its process however that ends. */
const NAME = '\0fimbria-agent';
const ASK_TIMEOUT_MS = 1_000;

/**
 * Says that this network namespace has its agent; `close` gives it up. Paths can be told apart by options, the
 * node's devices and routes cannot. @throws FimbriaError EADDRINUSE naming the other agent
 */
export async function claimNode(): Promise<{ close(): void }> {
  const server = createServer(socket => socket.on('error', () => {}).end(`${process.pid}`));
  try {
    await listen(server);
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    const pid = await otherAgent();
    throw new FimbriaError({
      code: 'EADDRINUSE',
      op: 'start',
      object: 'agent',
      why: `another agent runs on this node${pid ? ` (pid ${pid})` : ''}`,
      hint: 'there is one per node; stop the other first',
      cause: error,
    });
  }
  return { close: () => void server.close() };
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(NAME, () => {
      server.off('error', reject);
      server.unref();
      resolve();
    });
  });
}

/** Its pid, as it sees it; undefined when it does not answer. */
function otherAgent(): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = connect(NAME);
    socket.setTimeout(ASK_TIMEOUT_MS, () => socket.destroy());
    let text = '';
    socket.on('data', chunk => (text += chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(/^\d+$/.test(text) ? text : undefined));
  });
}
