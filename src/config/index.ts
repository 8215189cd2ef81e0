export { type DaemonFlags, daemonUsage, parseDaemonCommandLine } from './command-line.ts';
export { deploymentValues, LEASE_NAME, MASQUERADE_LIST, valueAt } from './deployment.ts';
export { loadConfigDir, parseFlat, readConfigDir, unknownFlatKeys } from './flat.ts';
export { parseSet } from './set.ts';
export { loadValues, mergeValues, parseValues, type Values } from './tree.ts';
export type { AgentConfig, AutoCreatePool, IpamMode, PoolFamily, TcxMode } from './types.ts';
export { checkUpgrade } from './upgrade.ts';
export { valuesToFlat } from './values.ts';
