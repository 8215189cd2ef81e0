import { fileURLToPath } from 'node:url';
import { type Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** What a pod of the CRI is made of here. */
export interface SandboxOptions {
  name: string;
  namespace?: string;
  uid?: string;
  attempt?: number;
  /** The node's network namespace instead of one of its own. */
  hostNetwork?: boolean;
  portMappings?: { protocol?: 'TCP' | 'UDP'; containerPort: number; hostPort: number; hostIp?: string }[];
  sysctls?: Record<string, string>;
  /** Where container logs go. */
  logDirectory: string;
}

/** A pod sandbox as `PodSandboxStatus` tells. */
export interface SandboxStatus {
  id: string;
  state: 'SANDBOX_READY' | 'SANDBOX_NOTREADY';
  /** Empty for the host's network, and before there is one. */
  ip: string;
  /** The pause process, as the node's mount namespace knows it. */
  pid: number;
  /** The verbose part as the runtime gives it. */
  info: Record<string, unknown>;
}

type Method = (
  request: object,
  options: { deadline: number },
  done: (error: ServiceError | null, reply: Record<string, unknown>) => void,
) => void;

const definition = loadSync(fileURLToPath(new URL('cri.proto', import.meta.url)), {
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
});

/**
 * Speaks the Container Runtime Interface to a runtime's socket, as kubelet does. Every call has a deadline and rejects
 * with gRPC's error, whose `details` is the runtime's message. The caller closes it.
 */
export class CriClient {
  readonly #client: Client & Record<string, Method>;
  readonly #timeoutMs: number;

  constructor(socketPath: string, timeoutMs = 60_000) {
    // biome-ignore lint/suspicious/noExplicitAny: made at run time from the .proto file
    const { RuntimeService } = (loadPackageDefinition(definition) as any).runtime.v1;
    this.#timeoutMs = timeoutMs;
    this.#client = new RuntimeService(`unix://${socketPath}`, credentials.createInsecure(), {
      // Without it the path is sent as the authority, which Go's server refuses.
      'grpc.default_authority': 'localhost',
    });
  }

  close(): void {
    this.#client.close();
  }

  call<T>(method: string, request: object = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + this.#timeoutMs;
      this.#client[method]!.call(this.#client, request, { deadline }, (error, reply) =>
        error ? reject(error) : resolve(reply as T),
      );
    });
  }

  /** `containerd 1.6.20~ds1`, for messages. */
  async version(): Promise<{ name: string; version: string }> {
    const reply = await this.call<{ runtime_name: string; runtime_version: string }>('Version');
    return { name: reply.runtime_name, version: reply.runtime_version };
  }

  /** The conditions `RuntimeReady` and `NetworkReady`, which make a node Ready. */
  async conditions(): Promise<Record<string, { status: boolean; reason: string; message: string }>> {
    type Condition = { type: string; status: boolean; reason: string; message: string };
    const { status } = await this.call<{ status: { conditions: Condition[] } }>('Status');
    return Object.fromEntries(status.conditions.map(({ type, ...rest }) => [type, rest]));
  }

  /** The version of the CNI configuration that it has loaded last; undefined while it has none. */
  async cniVersion(): Promise<string | undefined> {
    type Loaded = { Networks?: { Config?: { Name: string; CNIVersion: string } }[] };
    const { info } = await this.call<{ info: Record<string, string> }>('Status', { verbose: true });
    const { Networks = [] } = JSON.parse(info['cniconfig'] ?? '{}') as Loaded;
    return Networks.map(network => network.Config).find(config => config?.Name !== 'cni-loopback')
      ?.CNIVersion;
  }

  /** Sets a pod up, network included. Returns its id. @throws ServiceError with the plugin's message */
  async runSandbox(options: SandboxOptions): Promise<string> {
    const config = sandboxConfig(options);
    const reply = await this.call<{ pod_sandbox_id: string }>('RunPodSandbox', { config });
    return reply.pod_sandbox_id;
  }

  async stopSandbox(id: string): Promise<void> {
    await this.call('StopPodSandbox', { pod_sandbox_id: id });
  }

  async removeSandbox(id: string): Promise<void> {
    await this.call('RemovePodSandbox', { pod_sandbox_id: id });
  }

  async sandboxStatus(id: string): Promise<SandboxStatus> {
    type Reply = {
      status: { state: SandboxStatus['state']; network?: { ip: string } };
      info: Record<string, string>;
    };
    const { status, info } = await this.call<Reply>('PodSandboxStatus', {
      pod_sandbox_id: id,
      verbose: true,
    });
    const verbose = JSON.parse(info['info'] ?? '{}') as { pid?: number };
    return { id, state: status.state, ip: status.network?.ip ?? '', pid: verbose.pid ?? 0, info: verbose };
  }

  async sandboxes(): Promise<{ id: string; name: string; state: SandboxStatus['state'] }[]> {
    type Reply = { items: { id: string; metadata: { name: string }; state: SandboxStatus['state'] }[] };
    const { items } = await this.call<Reply>('ListPodSandbox');
    return items.map(({ id, metadata, state }) => ({ id, name: metadata.name, state }));
  }

  /** Creates and starts a container in a sandbox. Returns its id. */
  async runContainer(
    sandboxId: string,
    sandbox: SandboxOptions,
    image: string,
    command: string[],
  ): Promise<string> {
    const { container_id } = await this.call<{ container_id: string }>('CreateContainer', {
      pod_sandbox_id: sandboxId,
      sandbox_config: sandboxConfig(sandbox),
      config: { metadata: { name: 'main' }, image: { image }, command, log_path: 'main.log', linux: {} },
    });
    await this.call('StartContainer', { container_id });
    return container_id;
  }

  /** Runs a command in a container and returns what it printed. */
  async exec(containerId: string, ...cmd: string[]): Promise<{ status: number; output: string }> {
    type Reply = { stdout: Buffer; stderr: Buffer; exit_code: number };
    const reply = await this.call<Reply>('ExecSync', { container_id: containerId, cmd, timeout: 30 });
    return { status: reply.exit_code, output: `${reply.stdout}${reply.stderr}` };
  }
}

function sandboxConfig(options: SandboxOptions): object {
  const { name, namespace = 'default', uid = `uid-${name}`, attempt = 0 } = options;
  return {
    metadata: { name, namespace, uid, attempt },
    // One of the host's network has the host's.
    hostname: options.hostNetwork ? '' : name,
    log_directory: options.logDirectory,
    dns_config: {},
    port_mappings: (options.portMappings ?? []).map(mapping => ({
      protocol: mapping.protocol ?? 'TCP',
      container_port: mapping.containerPort,
      host_port: mapping.hostPort,
      host_ip: mapping.hostIp ?? '',
    })),
    linux: {
      cgroup_parent: `/pods/${uid}`,
      sysctls: options.sysctls ?? {},
      security_context: {
        namespace_options: {
          network: options.hostNetwork ? 'NODE' : 'POD',
          pid: 'CONTAINER',
          ipc: 'POD',
        },
      },
    },
  };
}
