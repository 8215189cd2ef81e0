/** The client of the Kubernetes API, for agents, operator, controllers and the command line. */
export type { CallCount } from './calls.ts';
export { type ClientOptions, createClient } from './client.ts';
export type { ClusterErrorCode } from './errors.ts';
export { EventRecorder, type EventSubject } from './events.ts';
export { daemonClusterConfig, formatKubeconfig, inClusterConfig, loadKubeconfig } from './kubeconfig.ts';
export { clientFamilies } from './metrics.ts';
export type {
  ClusterClient,
  ClusterConfig,
  DeleteOptions,
  Informer,
  InformerHandlers,
  InformerOptions,
  ListOptions,
  ListResult,
  PatchOptions,
  UpdateOptions,
  WriteOptions,
} from './types.ts';
