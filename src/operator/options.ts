import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../base/log.ts';

/** How one operator process is run. */
export interface OperatorOptions {
  kubeconfig: string;
  configDir: string;
  /** Who this process is among several operators; the lease carries it. */
  identity: string;
  logLevel: LogLevel;
}

const FLAGS = {
  kubeconfig: ['FILE', 'how to reach the API server (default: $KUBECONFIG)'],
  'config-dir': ['DIR', 'folder of flat keys, as a mounted ConfigMap (default: /etc/fimbria/config)'],
  identity: ['NAME', "this operator's name among several (default: host name and a random part)"],
  lab: ['NAME', 'the lab this operator belongs to; it has one operator only'],
  'log-level': ['LEVEL', `${LOG_LEVELS.join(', ')} (default: info)`],
} as const;

/** The text of `fimbria-operator --help`. */
export function operatorUsage(): string {
  const rows = Object.entries(FLAGS).map(
    ([flag, [value, text]]) => `  ${`--${flag} ${value}`.padEnd(22)}${text}`,
  );
  return `fimbria-operator: hands out pod ranges and clears away what is left over, once per cluster\n\nFlags:\n${rows.join('\n')}\n  --help                this text\n`;
}

function usage(why: string): FimbriaError {
  return new FimbriaError({
    code: 'USAGE',
    op: 'read',
    object: 'command line',
    why,
    hint: 'see fimbria-operator --help',
  });
}

/** Reads the command line; undefined when help was asked for. Throws USAGE that names the flag. */
export function parseOperatorOptions(argv: string[], env: NodeJS.ProcessEnv): OperatorOptions | undefined {
  const options = Object.fromEntries(Object.keys(FLAGS).map(flag => [flag, { type: 'string' as const }]));
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: argv, options: { ...options, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    throw usage(messageOf(error));
  }
  if (values.help) return undefined;
  const text = (flag: keyof typeof FLAGS): string | undefined => values[flag] as string | undefined;
  const kubeconfig = text('kubeconfig') ?? env.KUBECONFIG;
  if (!kubeconfig) throw usage('--kubeconfig is missing');
  const logLevel = text('log-level') ?? 'info';
  if (!LOG_LEVELS.includes(logLevel as LogLevel)) {
    throw usage(`--log-level ${logLevel} is not one of ${LOG_LEVELS.join(', ')}`);
  }
  const lab = text('lab');
  return {
    kubeconfig,
    configDir: text('config-dir') ?? '/etc/fimbria/config',
    // A lab starts one operator at a time: with a name of its own the next one need not wait for the lease to end.
    identity: text('identity') ?? (lab ? `lab ${lab}` : `${hostname()}_${randomUUID()}`),
    logLevel: logLevel as LogLevel,
  };
}
