/** In the cluster's network: `relay-child.mjs SOCKET HOST PORT` passes what comes to a unix socket on to an address there. */
import { connect, createServer } from 'node:net';

const [, , path, host, port] = process.argv;
createServer({ allowHalfOpen: true }, near => {
  const far = connect({ host, port: Number(port), allowHalfOpen: true });
  near.pipe(far).pipe(near);
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
  near.on('close', () => far.destroy());
  far.on('close', () => near.destroy());
}).listen(path);
