import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument, stringify } from 'yaml';
import { FimbriaError, messageOf } from '../base/errors.ts';
import type { ClusterConfig } from './types.ts';

interface Named<K extends string, T> {
  name: string;
  value: T | undefined;
  key: K;
}

interface ClusterEntry {
  server?: string;
  'certificate-authority'?: string;
  'certificate-authority-data'?: string;
  'tls-server-name'?: string;
  'insecure-skip-tls-verify'?: boolean;
}

interface UserEntry {
  token?: string;
  tokenFile?: string;
  'client-certificate'?: string;
  'client-certificate-data'?: string;
  'client-key'?: string;
  'client-key-data'?: string;
  exec?: unknown;
  'auth-provider'?: unknown;
}

interface ContextEntry {
  cluster?: string;
  user?: string;
  namespace?: string;
}

/**
 * Reads a kubeconfig's current context. Relative file names are relative to the file, as kubectl has it.
 * @throws FimbriaError NOT_FOUND when there is no such file, INVALID when it cannot be used
 */
export function loadKubeconfig(path: string): ClusterConfig {
  const invalid = (why: string, hint?: string): FimbriaError =>
    new FimbriaError({ code: 'INVALID', op: 'read kubeconfig', object: path, why, ...(hint && { hint }) });
  const document = parseText(readText(path, invalid), invalid);
  const context = pick<'context', ContextEntry>(document, 'contexts', 'context', document['current-context']);
  if (!context.value) throw invalid(`no context named "${context.name}"`, 'set current-context');
  const cluster = pick<'cluster', ClusterEntry>(document, 'clusters', 'cluster', context.value.cluster).value;
  if (!cluster?.server) throw invalid(`context "${context.name}" names no cluster with a server`);
  const user = pick<'user', UserEntry>(document, 'users', 'user', context.value.user).value ?? {};
  if (user.exec ?? user['auth-provider']) {
    throw invalid(
      'exec and auth-provider plugins are not supported',
      'use a token or a client certificate, such as a service account has',
    );
  }
  const base = dirname(resolve(path));
  const text = (data: string | undefined): string | undefined =>
    data ? Buffer.from(data, 'base64').toString('utf8') : undefined;
  /** kubectl takes the data where both are given, and a token's file. */
  const file = (name: string | undefined, data?: string): string | undefined => {
    if (!name || data) return undefined;
    const at = resolve(base, name);
    try {
      readFileSync(at);
    } catch (error) {
      throw invalid(`cannot read a file that it names: ${messageOf(error)}`);
    }
    return at;
  };
  return defined({
    server: cluster.server,
    ca: text(cluster['certificate-authority-data']),
    caFile: file(cluster['certificate-authority'], cluster['certificate-authority-data']),
    tlsServerName: cluster['tls-server-name'],
    insecureSkipTlsVerify: cluster['insecure-skip-tls-verify'],
    token: user.token,
    tokenFile: user.tokenFile === undefined ? undefined : resolve(base, user.tokenFile),
    clientCertificate: text(user['client-certificate-data']),
    clientCertificateFile: file(user['client-certificate'], user['client-certificate-data']),
    clientKey: text(user['client-key-data']),
    clientKeyFile: file(user['client-key'], user['client-key-data']),
    namespace: context.value.namespace,
  });
}

function readText(path: string, invalid: (why: string) => FimbriaError): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (existsSync(path)) throw invalid(messageOf(error));
    throw new FimbriaError({ code: 'NOT_FOUND', op: 'read kubeconfig', object: path, why: 'no such file' });
  }
}

/** The parser's own words quote the text, in which there are tokens and keys: only what and where is told. */
function parseText(text: string, invalid: (why: string) => FimbriaError): Record<string, unknown> {
  const parsed = parseDocument(text, { logLevel: 'silent', prettyErrors: false });
  const [problem] = [...parsed.errors, ...parsed.warnings];
  if (problem) {
    const line = text.slice(0, problem.pos[0]).split('\n').length;
    throw invalid(`it is no YAML (${problem.code.toLowerCase().replaceAll('_', ' ')} in line ${line})`);
  }
  let value: unknown;
  try {
    value = parsed.toJS();
  } catch {
    throw invalid('it is no YAML (an alias leads nowhere)');
  }
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** The configuration that a Pod finds in itself, or undefined outside a cluster. */
export function inClusterConfig(
  env: NodeJS.ProcessEnv = process.env,
  directory = '/var/run/secrets/kubernetes.io/serviceaccount',
): ClusterConfig | undefined {
  const host = env['KUBERNETES_SERVICE_HOST'];
  if (!host || !existsSync(`${directory}/token`)) return undefined;
  const authority = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return {
    server: `https://${authority}:${env['KUBERNETES_SERVICE_PORT'] || '443'}`,
    caFile: `${directory}/ca.crt`,
    tokenFile: `${directory}/token`,
    namespace: readFileSync(`${directory}/namespace`, 'utf8').trim(),
  };
}

/**
 * How a daemon reaches its cluster: by a kubeconfig, else by the service account of the Pod it runs in.
 * @throws FimbriaError NOT_FOUND or INVALID when the kubeconfig cannot be used, NO_CLUSTER when there is neither
 */
export function daemonClusterConfig(kubeconfig: string | undefined): ClusterConfig {
  const config = kubeconfig === undefined ? inClusterConfig() : loadKubeconfig(kubeconfig);
  if (config !== undefined) return config;
  throw new FimbriaError({
    code: 'NO_CLUSTER',
    op: 'find cluster',
    why: 'no kubeconfig is named and this Pod has no service account token',
    hint: 'set automountServiceAccountToken, or name a file with --kubeconfig',
  });
}

/** The text of a kubeconfig with one context. */
export function formatKubeconfig(name: string, config: ClusterConfig): string {
  const base64 = (pem: string | undefined): string | undefined => pem && Buffer.from(pem).toString('base64');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name, cluster: defined({ server: config.server, 'certificate-authority-data': base64(config.ca) }) },
    ],
    users: [{ name, user: defined({ token: config.token }) }],
    contexts: [{ name, context: defined({ cluster: name, user: name, namespace: config.namespace }) }],
    'current-context': name,
  });
}

function pick<K extends string, T>(
  document: Record<string, unknown>,
  list: string,
  key: K,
  wanted: unknown,
): Named<K, T> {
  const entries = Array.isArray(document[list]) ? (document[list] as Record<string, unknown>[]) : [];
  const name = String(wanted ?? '');
  return { name, key, value: entries.find(entry => entry['name'] === name)?.[key] as T | undefined };
}

function defined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
