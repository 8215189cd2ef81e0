import { createHash, timingSafeEqual } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, statfsSync, unlinkSync } from 'node:fs';
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { dirname, join } from 'node:path';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { packageVersion } from '../base/paths.ts';
import { listenTcp } from '../kernel/netns.ts';
import { apiServerClusterIp } from '../model/service-range.ts';
import { Api } from './api.ts';
import { createServerCertificate, loadAuthority } from './certificates.ts';
import { publishDefinitions } from './definitions.ts';
import { ApiFailure, noSuchResource } from './failure.ts';
import { sendJson, sendText } from './http.ts';
import { lockState } from './lock.ts';
import { createInitialNamespaces, runNamespaceLifecycle } from './namespaces.ts';
import { answerOpenApi } from './openapi/index.ts';
import { type Advertised, keepOwnService } from './own-service.ts';
import { Registry } from './registry.ts';
import { Store } from './store.ts';

export interface ApiServerOptions {
  /** The one file of state. Created when missing. */
  stateFile: string;
  /** A unix socket (mode 0600) that speaks plain HTTP and trusts whoever may open it. */
  socketPath: string;
  /** Where TLS is served. */
  address: string;
  /** 0 takes a free one. */
  port: number;
  /** Where the certificate authority is kept. */
  certDir: string;
  /** Where TLS is served besides, for nodes and pods: the Service `default/kubernetes` leads there. */
  advertise?: Advertised & {
    /** The network namespace that has the address: a path. The server's own when absent. */
    netns?: string;
  };
  /** User to bearer token, for TLS. */
  tokens: Record<string, string>;
  log: Logger;
  /** How many changes are remembered for watches. */
  historyLimit?: number;
  bookmarkIntervalMs?: number;
}

export interface ApiServer {
  /** `https://127.0.0.1:6443` */
  url: string;
  /** PEM of the authority that vouches for `url`. */
  ca: string;
  /** Ends watches and connections, and lets go of the state. */
  close(): Promise<void>;
}

const HISTORY_LIMIT = 4096;
const BOOKMARK_INTERVAL_MS = 30_000;
const TMPFS_MAGIC = 0x01021994;
/** Longer than clients keep an idle connection, so that it is they who close it. */
const KEEP_ALIVE_MS = 65_000;
/** What anyone may ask, to see whether there is a server. */
const PUBLIC_PATHS = ['/healthz', '/livez', '/readyz', '/version'];

/**
 * Starts the embedded API server: the Kubernetes API for one machine. Resolves when both listeners answer.
 * @throws FimbriaError IN_USE when another living server has the state, the socket or the port; DAMAGED when the state cannot be trusted
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { log } = options;
  mkdirSync(dirname(options.stateFile), { recursive: true, mode: 0o700 });
  const unlock = lockState(`${options.stateFile}.lock`);
  const closers: (() => unknown)[] = [unlock];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const store = openStore(options);
    closers.push(() => store.close());
    const registry = new Registry(store);
    createInitialNamespaces(store, registry);
    publishDefinitions(store);
    closers.push(runNamespaceLifecycle(store, registry, log));
    const bookmarkIntervalMs = options.bookmarkIntervalMs ?? BOOKMARK_INTERVAL_MS;
    const api = new Api({ store, registry, bookmarkIntervalMs });
    const handler = requestHandler(api, log);

    const local = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, handler);
    await removeDeadSocket(options.socketPath);
    await listenPrivately(local, options.socketPath);
    closers.push(() => closeServer(local));

    const { advertise } = options;
    const authority = loadAuthority(join(options.certDir, 'ca.pem'));
    const credentials = createServerCertificate(authority, hostsOf(options));
    const secureServer = (): https.Server =>
      https.createServer(
        { cert: credentials.certificate, key: credentials.key, keepAliveTimeout: KEEP_ALIVE_MS },
        authenticated(options.tokens, handler),
      );
    const secure = secureServer();
    await listen(secure, `${options.address}:${options.port}`, { host: options.address, port: options.port });
    closers.push(() => closeServer(secure));
    if (advertise) {
      const inside = secureServer();
      await listen(inside, `${advertise.address}:${advertise.port}`, { fd: await listenTcp(advertise) });
      closers.push(() => closeServer(inside));
      closers.push(keepOwnService(store, registry, advertise, log));
    }
    closers.push(() => api.endWatches());

    const { port } = secure.address() as net.AddressInfo;
    return { url: `https://${options.address}:${port}`, ca: authority.certificate, close: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** What clients may call this server, in an URL. */
function hostsOf({ address, advertise }: ApiServerOptions): string[] {
  const names = ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];
  const inCluster = advertise ? [advertise.address, apiServerClusterIp(advertise.clusterIps)] : [];
  return [...new Set([address, ...inCluster, ...names, 'kubernetes.default.svc.cluster.local'])];
}

function openStore({ stateFile, historyLimit, log }: ApiServerOptions): Store {
  const store = new Store({
    path: stateFile,
    durable: outlivesReboot(dirname(stateFile)),
    historyLimit: historyLimit ?? HISTORY_LIMIT,
    onCompactFailure: error => log.error('cannot compact the cluster state', { path: stateFile, error }),
  });
  if (store.lostBytes > 0) {
    log.warn('cut off a torn record that no client was told about', {
      path: stateFile,
      bytes: store.lostBytes,
    });
  }
  return store;
}

/** Whether it is worth waiting for the disk: what is in memory, or below /run, goes with the next start of the machine. */
function outlivesReboot(directory: string): boolean {
  return !directory.startsWith('/run/') && statfsSync(directory).type !== TMPFS_MAGIC;
}

function requestHandler(api: Api, log: Logger): RequestListener {
  return (request, response) => {
    void answer(api, request, response).catch(error => {
      if (error instanceof ApiFailure) return refuse(request, response, error);
      if (response.headersSent || response.destroyed) return response.destroy();
      log.error('request failed', { method: request.method, url: request.url, error });
      refuse(
        request,
        response,
        new ApiFailure(500, 'InternalError', `Internal error occurred: ${messageOf(error)}`),
      );
    });
  };
}

async function answer(api: Api, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://server');
  switch (url.pathname) {
    case '/healthz':
    case '/livez':
    case '/readyz':
      return sendText(response, 200, 'ok');
    case '/version':
      return sendJson(response, 200, versionInfo());
    case '/':
      return sendJson(response, 200, {
        paths: [
          '/api',
          '/api/v1',
          '/apis',
          '/healthz',
          '/livez',
          '/openapi/v2',
          '/openapi/v3',
          '/readyz',
          '/version',
        ],
      });
  }
  if (answerOpenApi(request, response, url.pathname)) return;
  if (!url.pathname.startsWith('/api')) throw noSuchResource();
  await api.handle(request, response, url);
}

function refuse(request: IncomingMessage, response: ServerResponse, failure: ApiFailure): void {
  // What the client still sends of a refused body would be taken for its next request.
  if (!request.complete) response.setHeader('connection', 'close');
  sendJson(response, failure.httpStatus, failure.status);
}

/** The API's level, for clients that ask what they may expect, and our own release. */
function versionInfo(): object {
  return {
    major: '1',
    minor: '30',
    gitVersion: `v1.30.0+fimbria-${packageVersion()}`,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: `node ${process.version}`,
    platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

function authenticated(tokens: Record<string, string>, handler: RequestListener): RequestListener {
  const known = Object.values(tokens).map(digest);
  return (request, response) => {
    const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const given = digest(bearer);
    // All are compared, each in constant time: how long it takes tells nothing.
    const trusted = known.filter(token => timingSafeEqual(token, given)).length > 0;
    const path = (request.url ?? '/').split('?')[0]!;
    if (trusted || PUBLIC_PATHS.includes(path)) return handler(request, response);
    refuse(request, response, new ApiFailure(401, 'Unauthorized', 'Unauthorized'));
  };
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

async function removeDeadSocket(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (!existsSync(path)) return;
  const answered = await new Promise<boolean>(resolve => {
    const socket = net.connect(path);
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
  if (answered) throw inUse(path, 'another server answers there');
  unlinkSync(path);
}

/** Listens on a unix socket that nobody else could open at any moment. */
async function listenPrivately(server: http.Server, path: string): Promise<void> {
  // The socket is made within the call, under this mask.
  const mask = process.umask(0o177);
  const listening = listen(server, path, { path });
  process.umask(mask);
  await listening;
  chmodSync(path, 0o600);
}

function listen(
  server: http.Server | https.Server,
  name: string,
  where: net.ListenOptions | { fd: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', error => {
      reject(codeOf(error) === 'EADDRINUSE' ? inUse(name, 'another process listens there') : error);
    });
    server.listen(where, resolve);
  });
}

function inUse(object: string, why: string): FimbriaError {
  return new FimbriaError({ code: 'IN_USE', op: 'listen on', object, why });
}

function closeServer(server: http.Server | https.Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
