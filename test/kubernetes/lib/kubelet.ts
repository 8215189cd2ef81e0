import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Containerd } from './containerd.ts';
import { kubernetesProgram } from './control-plane.ts';
import { PAUSE_IMAGE } from './image.ts';
import { type ClusterNode, stop } from './node.ts';

/** Keeps Pods away until an agent is ready, as Cilium's documents advise. */
const TAINT = 'node.cilium.io/agent-not-ready=true:NoExecute';

/** A small machine of a test, not one with a quota for everything. */
const CONFIG = {
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  // Whoever is in the cluster's network is part of the test.
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: 'AlwaysAllow' },
  cgroupDriver: 'cgroupfs',
  cgroupsPerQOS: false,
  enforceNodeAllocatable: [],
  failSwapOn: false,
  // Machines without CAP_SYS_RESOURCE cannot lower it.
  oomScoreAdj: 0,
  evictionHard: {
    'memory.available': '1Mi',
    'nodefs.available': '0%',
    'imagefs.available': '0%',
    'nodefs.inodesFree': '0%',
  },
  imageGCHighThresholdPercent: 100,
  resolvConf: '',
  // Nobody answers there; without one, every Pod gets a warning.
  clusterDNS: ['10.96.0.10'],
  readOnlyPort: 0,
  maxPods: 200,
  // The defaults, 5 and 10 requests a second, are what a rollout of 60 Pods would wait for.
  kubeAPIQPS: 100,
  kubeAPIBurst: 200,
  eventRecordQPS: 0,
  syncFrequency: '2s',
  nodeStatusUpdateFrequency: '2s',
  makeIPTablesUtilChains: false,
};

/** The kubelet of a node that has a container runtime. It ends with the node. */
export class Kubelet {
  /** Manifests of Pods that it runs without being told by the API server. */
  readonly manifests: string;
  readonly #node: ClusterNode;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  constructor(node: ClusterNode, containerd: Containerd, about: { ip: string; kubeconfig: string }) {
    const dir = join(node.dir, 'kubelet');
    mkdirSync(dir, { recursive: true });
    const config = join(dir, 'config.yaml');
    this.manifests = join(dir, 'manifests');
    mkdirSync(this.manifests, { recursive: true });
    writeFileSync(config, stringify({ ...CONFIG, staticPodPath: this.manifests, fileCheckFrequency: '1s' }));
    this.#node = node;
    this.#args = [
      `--config=${config}`,
      `--kubeconfig=${about.kubeconfig}`,
      `--cert-dir=${dir}`,
      `--hostname-override=${node.name}`,
      `--node-ip=${about.ip}`,
      '--container-runtime=remote',
      `--container-runtime-endpoint=unix://${containerd.socket}`,
      `--pod-infra-container-image=${PAUSE_IMAGE}`,
      `--register-with-taints=${TAINT}`,
    ];
  }

  /** Starts it; the node registers by itself. */
  start(): void {
    this.#process = this.#node.start('kubelet', [kubernetesProgram('kubelet'), ...this.#args]);
  }

  /** Ends it; its pods go on. */
  async stop(): Promise<void> {
    if (this.#process) await stop(this.#process);
  }
}
