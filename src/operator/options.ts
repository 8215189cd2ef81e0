import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { LogLevel } from '../base/log.ts';
import { daemonUsage, parseDaemonCommandLine } from '../config/index.ts';

/** How one operator process is run. */
export interface OperatorOptions {
  kubeconfig: string;
  /** Reads the configuration's flat keys. */
  readFlat(): Record<string, string>;
  /** Who this process is among several operators; the lease carries it. */
  identity: string;
  logLevel: LogLevel;
}

const PROGRAM = 'fimbria-operator';

const FLAGS = {
  identity: ['NAME', "this operator's name among several (default: host name and a random part)"],
  lab: ['NAME', 'the lab this operator belongs to; it has one operator only'],
} as const;

/** The text of `fimbria-operator --help`. */
export function operatorUsage(): string {
  return daemonUsage(
    PROGRAM,
    'hands out pod ranges and clears away what is left over, once per cluster',
    FLAGS,
  );
}

/** Reads the command line; undefined when help was asked for. Throws USAGE that names the flag. */
export function parseOperatorOptions(argv: string[], env: NodeJS.ProcessEnv): OperatorOptions | undefined {
  const line = parseDaemonCommandLine(PROGRAM, FLAGS, argv, env);
  if (!line) return undefined;
  const lab = line.text('lab');
  return {
    kubeconfig: line.kubeconfig,
    readFlat: line.readFlat,
    // A lab starts one operator at a time: with a name of its own the next one need not wait for the lease to end.
    identity: line.text('identity') ?? (lab ? `lab ${lab}` : `${hostname()}_${randomUUID()}`),
    logLevel: line.logLevel,
  };
}
