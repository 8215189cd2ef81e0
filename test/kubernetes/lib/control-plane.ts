import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackedPackages } from '../../../scripts/lib/debian.mjs';
import { kubernetesBuilt, kubernetesFolder } from '../../../scripts/lib/kubernetes.mjs';
import { createAuthority, createServerCertificate } from '../../../src/apiserver/certificates.ts';
import { createClient, formatKubeconfig } from '../../../src/cluster/index.ts';
import { waitUntil } from '../../../src/lab/deadline.ts';
import { type ClusterNode, stop, tail } from './node.ts';
import { Relay } from './relay.ts';

/** The control plane's address in the underlay, and what it gives to Services and nodes. */
export const API_HOST = '192.168.10.10';
export const API_PORT = 6443;
const SERVICE_RANGE = '10.96.0.0/16';
const FIRST_SERVICE = '10.96.0.1';
const NODE_RANGE = '10.244.0.0/16';
const ETCD = 'http://127.0.0.1:2379';
const START_TIMEOUT_MS = 120_000;

/** Where a program of Kubernetes is. @throws Error when it was not built: nothing of it can be tested then */
export function kubernetesProgram(name: string): string {
  if (!kubernetesBuilt()) {
    throw new Error(
      `find ${name} of Kubernetes: it is not built; node scripts/kubernetes/build.mjs builds it`,
    );
  }
  return join(kubernetesFolder(), name);
}

/**
 * etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a network of their own. The API is TLS with an
 * authority made here; administrator and kubelets have tokens.
 */
export class ControlPlane {
  readonly node: ClusterNode;
  readonly ca: string;
  /** For programs on the machine, through a relay. */
  readonly kubeconfig: string;
  readonly #dir: string;
  readonly #relay: Relay;
  readonly #tokens: ReadonlyMap<string, string>;
  readonly #running = new Map<string, ChildProcess>();

  private constructor(
    node: ClusterNode,
    dir: string,
    ca: string,
    tokens: ReadonlyMap<string, string>,
    relay: Relay,
  ) {
    this.node = node;
    this.ca = ca;
    this.#dir = dir;
    this.#tokens = tokens;
    this.#relay = relay;
    this.kubeconfig = this.#writeKubeconfig('machine', 'admin', `https://127.0.0.1:${relay.port}`);
  }

  /** Starts all of it in a node that has {@link API_HOST}; returns when the API answers. */
  static async start(node: ClusterNode, nodeNames: readonly string[]): Promise<ControlPlane> {
    const dir = join(node.dir, 'control-plane');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const authority = createAuthority('fimbria-test-ca');
    const hosts = ['localhost', 'kubernetes.default.svc', '127.0.0.1', FIRST_SERVICE, API_HOST];
    const server = createServerCertificate(authority, hosts);
    const accounts = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const tokens = new Map(['admin', ...nodeNames].map(name => [name, randomBytes(16).toString('hex')]));
    const rows = [...tokens].map(([name, token]) =>
      name === 'admin'
        ? `${token},admin,1,"system:masters"`
        : `${token},system:node:${name},${name},"system:nodes"`,
    );
    const files = {
      'ca.crt': authority.certificate,
      'apiserver.crt': server.certificate,
      'apiserver.key': server.key,
      'sa.key': accounts.privateKey.export({ type: 'pkcs1', format: 'pem' }),
      'sa.pub': accounts.publicKey.export({ type: 'spki', format: 'pem' }),
      'tokens.csv': `${rows.join('\n')}\n`,
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text, { mode: 0o600 });
    const relay = await Relay.start(node, '127.0.0.1', API_PORT);
    const plane = new ControlPlane(node, dir, authority.certificate, tokens, relay);
    plane.#startEtcd();
    await plane.startApiserver();
    plane.#startControllers();
    return plane;
  }

  /** A kubeconfig for a user of the cluster's own network: `admin`, or a node's name. */
  kubeconfigFor(user: string): string {
    return this.#writeKubeconfig(user, user, `https://${API_HOST}:${API_PORT}`);
  }

  #writeKubeconfig(file: string, user: string, server: string): string {
    const path = join(this.#dir, `${file}.kubeconfig`);
    const config = { server, ca: this.ca, token: this.#tokens.get(user)! };
    writeFileSync(path, formatKubeconfig(user, config), { mode: 0o600 });
    return path;
  }

  #start(name: string, program: string, args: readonly string[]): void {
    this.#running.set(name, this.node.start(name, [program, ...args]));
  }

  #startEtcd(): void {
    const [etcd] = unpackedPackages([{ suite: 'bookworm', package: 'etcd-server' }]);
    const data = join(this.#dir, 'etcd');
    mkdirSync(data, { mode: 0o700, recursive: true });
    this.#start('etcd', join(etcd!, 'usr/bin/etcd'), [
      `--data-dir=${data}`,
      // Nothing of it outlives the test.
      '--unsafe-no-fsync',
      `--listen-client-urls=${ETCD}`,
      `--advertise-client-urls=${ETCD}`,
    ]);
  }

  /** Starts the API server, or starts it again, and returns when it answers. */
  async startApiserver(): Promise<void> {
    const file = (name: string): string => join(this.#dir, name);
    this.#start('kube-apiserver', kubernetesProgram('kube-apiserver'), [
      `--etcd-servers=${ETCD}`,
      `--secure-port=${API_PORT}`,
      `--advertise-address=${API_HOST}`,
      `--service-cluster-ip-range=${SERVICE_RANGE}`,
      `--tls-cert-file=${file('apiserver.crt')}`,
      `--tls-private-key-file=${file('apiserver.key')}`,
      `--cert-dir=${this.#dir}`,
      `--client-ca-file=${file('ca.crt')}`,
      `--token-auth-file=${file('tokens.csv')}`,
      `--service-account-key-file=${file('sa.pub')}`,
      `--service-account-signing-key-file=${file('sa.key')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      '--authorization-mode=Node,RBAC',
      // Nobody looks nodes up by name here.
      '--kubelet-preferred-address-types=InternalIP',
      '--allow-privileged=true',
    ]);
    const client = createClient(this.kubeconfig);
    try {
      await waitUntil('the API server', START_TIMEOUT_MS, async because => {
        this.check('kube-apiserver');
        this.check('etcd');
        try {
          return (await client.rawGet('/readyz')) === 'ok' || undefined;
        } catch (error) {
          because((error as Error).message);
          return undefined;
        }
      });
    } finally {
      client.close();
    }
  }

  /** Ends the API server, as a failed machine does; everything else runs on. */
  async stopApiserver(how: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await stop(this.#running.get('kube-apiserver')!, how);
  }

  #startControllers(): void {
    const kubeconfig = `--kubeconfig=${this.kubeconfigFor('admin')}`;
    const common = [kubeconfig, '--leader-elect=false', '--port=0', '--secure-port=0'];
    this.#start('kube-controller-manager', kubernetesProgram('kube-controller-manager'), [
      ...common,
      `--service-account-private-key-file=${join(this.#dir, 'sa.key')}`,
      `--root-ca-file=${join(this.#dir, 'ca.crt')}`,
      `--service-cluster-ip-range=${SERVICE_RANGE}`,
      '--allocate-node-cidrs=true',
      `--cluster-cidr=${NODE_RANGE}`,
      '--concurrent-deployment-syncs=2',
      // A test that ends a node does not wait as long as people would.
      '--node-monitor-period=2s',
      '--node-monitor-grace-period=20s',
    ]);
    this.#start('kube-scheduler', kubernetesProgram('kube-scheduler'), common);
  }

  /** @throws Error with the end of its log when a part of it has ended */
  check(name: string): void {
    const child = this.#running.get(name);
    if (child === undefined || (child.exitCode === null && child.signalCode === null)) return;
    throw new Error(`run ${name}: it ended; it said: ${tail(this.node.log(name))}`);
  }

  /** Closes the way in; the processes end with the node. */
  close(): void {
    this.#relay.close();
  }
}
