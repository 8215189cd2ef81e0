import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseIpv4, parseIpv4Cidr } from '../base/addr.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import { createLogger, LOG_LEVELS, type LogLevel } from '../base/log.ts';
import { formatKubeconfig, loadKubeconfig } from '../cluster/index.ts';
import { SERVICE_CLUSTER_IPS } from '../model/service-range.ts';
import { type ApiServer, type ApiServerOptions, startApiServer } from './server.ts';

const USAGE = `usage: fimbria apiserver [options]
  --state DIR             where state and certificates are kept (default /var/lib/fimbria/apiserver)
  --socket PATH           unix socket for agents and operator (default /run/fimbria/apiserver.sock)
  --address IP            where TLS is served (default 127.0.0.1)
  --port N                0 takes a free one, the former one where it is still free (default 6443)
  --advertise-address IP  where nodes and pods reach the server: it serves TLS there too, and the Service
                          default/kubernetes leads there
  --advertise-port N      its port there (default 6443)
  --advertise-netns PATH  the network namespace that has the address (default the server's own)
  --service-cluster-ip-range CIDR   that Service has its first address (default ${SERVICE_CLUSTER_IPS})
  --kubeconfig-out PATH   writes a kubeconfig for TLS there, and local.kubeconfig for the socket beside it,
                          and inside.kubeconfig for the advertised address
  --log-level LEVEL       debug, info, warn or error (default info)
  --lab NAME              the lab that this server belongs to
`;

const OPTIONS = {
  state: { type: 'string', default: '/var/lib/fimbria/apiserver' },
  socket: { type: 'string', default: '/run/fimbria/apiserver.sock' },
  address: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '6443' },
  'advertise-address': { type: 'string' },
  'advertise-port': { type: 'string', default: '6443' },
  'advertise-netns': { type: 'string' },
  'service-cluster-ip-range': { type: 'string', default: SERVICE_CLUSTER_IPS },
  'kubeconfig-out': { type: 'string' },
  'log-level': { type: 'string', default: 'info' },
  lab: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/**
 * `fimbria apiserver`: serves until SIGTERM or SIGINT.
 * @throws FimbriaError USAGE when the arguments cannot be read, else as {@link startApiServer}
 */
export async function apiserverMain(argv: string[]): Promise<void> {
  const values = readArguments(argv);
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const log = createLogger(values['log-level'] as LogLevel).for('apiserver');
  const token = loadToken(join(values.state, 'admin.token'));
  const kubeconfig = values['kubeconfig-out'];
  const port = Number(values.port);
  const advertise = advertisedOf(values);
  const stopped = new Promise<NodeJS.Signals>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  const server = await startOnFormerPort(port === 0 && kubeconfig ? formerPort(kubeconfig) : port, {
    stateFile: join(values.state, 'state'),
    socketPath: values.socket,
    address: values.address,
    port,
    ...(advertise && { advertise }),
    certDir: values.state,
    tokens: { admin: token },
    log,
  });
  const name = values.lab ?? 'fimbria';
  if (kubeconfig) {
    const local = join(dirname(kubeconfig), 'local.kubeconfig');
    writeSecret(local, formatKubeconfig(name, { server: `unix://${values.socket}` }));
    writeSecret(kubeconfig, formatKubeconfig(name, { server: server.url, ca: server.ca, token }));
    if (advertise) {
      const url = `https://${advertise.address}:${advertise.port}`;
      const inside = join(dirname(kubeconfig), 'inside.kubeconfig');
      writeSecret(inside, formatKubeconfig(name, { server: url, ca: server.ca, token }));
    }
  }
  log.info('serving', { url: server.url, socket: values.socket, state: values.state });
  const signal = await stopped;
  log.info('stopping', { signal });
  await server.close();
}

function advertisedOf(values: ReturnType<typeof readArguments>): ApiServerOptions['advertise'] {
  const address = values['advertise-address'];
  const netns = values['advertise-netns'];
  if (address === undefined) return undefined;
  return {
    address,
    port: Number(values['advertise-port']),
    clusterIps: values['service-cluster-ip-range'],
    ...(netns !== undefined && { netns }),
  };
}

function readArguments(argv: string[]) {
  try {
    const { values } = parseArgs({ args: argv, options: OPTIONS, strict: true });
    checkPort('port', values.port, 0);
    checkPort('advertise-port', values['advertise-port'], 1);
    parseIpv4Cidr(values['service-cluster-ip-range']);
    const advertised = values['advertise-address'];
    if (advertised !== undefined && [0, 127].includes(parseIpv4(advertised) >>> 24)) {
      throw new TypeError(`--advertise-address ${advertised} leads nowhere from elsewhere`);
    }
    if (!LOG_LEVELS.includes(values['log-level'] as LogLevel)) {
      throw new TypeError(`--log-level ${values['log-level']} is none of ${LOG_LEVELS.join(', ')}`);
    }
    return values;
  } catch (error) {
    throw new FimbriaError({
      code: 'USAGE',
      op: 'read',
      object: 'arguments',
      why: messageOf(error),
      hint: 'see `fimbria apiserver --help`',
    });
  }
}

function checkPort(option: string, text: string, least: number): void {
  if (/^\d{1,5}$/.test(text) && Number(text) >= least && Number(text) <= 65535) return;
  throw new TypeError(`--${option} ${text} is not a port`);
}

/** Clients keep the address that they were given, so a server that chose its port tries to keep it. */
async function startOnFormerPort(former: number, options: ApiServerOptions): Promise<ApiServer> {
  try {
    return await startApiServer({ ...options, port: former });
  } catch (error) {
    if (codeOf(error) !== 'IN_USE' || former === options.port) throw error;
    return await startApiServer(options);
  }
}

function formerPort(kubeconfig: string): number {
  try {
    return Number(new URL(loadKubeconfig(kubeconfig).server).port);
  } catch {
    // None was written yet, or not by us.
    return 0;
  }
}

function loadToken(path: string): string {
  if (existsSync(path)) {
    const known = readFileSync(path, 'utf8').trim();
    if (known !== '') return known;
  }
  const token = randomBytes(32).toString('base64url');
  writeSecret(path, `${token}\n`);
  return token;
}

function writeSecret(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  chmodSync(`${path}.new`, 0o600);
  renameSync(`${path}.new`, path);
}
