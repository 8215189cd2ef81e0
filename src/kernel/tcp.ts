import { Socket } from 'node:net';
import { FimbriaError } from '../base/errors.ts';
import { type NetnsRef, native } from './addon.ts';

/**
 * Opens a listening TCP socket inside a namespace. The descriptor is the caller's: give it to
 * `server.listen({ fd })`, which then owns it.
 * @param options.address IPv4, `0.0.0.0` for all
 * @param options.port 0 = any free one
 */
export async function listenTcp(options: {
  address: string;
  port: number;
  netns?: NetnsRef;
  backlog?: number;
}): Promise<number> {
  const { address, port, netns, backlog = 128 } = options;
  return native().tcpListen(address, port, backlog, netns).release();
}

/**
 * Connects from inside a namespace. The socket is an ordinary one of Node's and the caller's to destroy.
 * @throws FimbriaError ETIMEDOUT after `timeoutMs`, or the connection's own code
 */
export function connectTcp(options: {
  address: string;
  port: number;
  timeoutMs: number;
  netns?: NetnsRef;
}): Promise<Socket> {
  const object = `to ${options.address}:${options.port}`;
  return new Promise((resolve, reject) => {
    const socket = new Socket({ fd: native().tcpSocket(options.netns).release(), allowHalfOpen: false });
    const fail = (code: string, why: string, cause?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new FimbriaError({ code, op: 'connect', object, why, cause }));
    };
    const timer = setTimeout(
      () => fail('ETIMEDOUT', `no answer within ${options.timeoutMs} ms`),
      options.timeoutMs,
    );
    const onError = (error: NodeJS.ErrnoException): void => fail(error.code ?? 'EIO', error.message, error);
    socket.once('error', onError);
    socket.connect({ host: options.address, port: options.port }, () => {
      clearTimeout(timer);
      socket.off('error', onError);
      resolve(socket);
    });
  });
}
