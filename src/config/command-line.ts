import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../base/log.ts';
import { readConfigDir } from './flat.ts';
import { settings } from './settings.ts';

/** A daemon's own flags: what stands for the value in the help, and what the flag is for. */
export type DaemonFlags = Readonly<Record<string, readonly [value: string, text: string]>>;

const DEFAULT_CONFIG_DIR = '/etc/fimbria/config';

/** Flags that every daemon has. */
const COMMON = {
  kubeconfig: ['FILE', "how to reach the API server (default: $KUBECONFIG, else the Pod's service account)"],
  'config-dir': ['DIR', `folder of flat keys, as a mounted ConfigMap (default: ${DEFAULT_CONFIG_DIR})`],
  'log-level': ['LEVEL', `${LOG_LEVELS.join(', ')} (default: info)`],
} as const satisfies DaemonFlags;

/** What a daemon was started with. */
export interface DaemonCommandLine<F extends string> {
  /** A flag's value; undefined when it was not given. */
  text(flag: F): string | undefined;
  /** Undefined in a Pod that is to use its service account. */
  kubeconfig: string | undefined;
  logLevel: LogLevel;
  /** Reads the flat keys of the directory, and over them those given as flags. @throws FimbriaError CONFIG_DIR */
  readFlat(): Record<string, string>;
}

/** The text of `--help`. Pure. */
export function daemonUsage(program: string, summary: string, flags: DaemonFlags): string {
  const row = (flag: string, text: string): string => `  ${flag.padEnd(30)}${text}`;
  const own = Object.entries({ ...flags, ...COMMON }).map(([flag, [value, text]]) =>
    row(`--${flag} ${value}`, text),
  );
  const keys = settings.flatMap(s => (s.flat === undefined ? [] : [row(`--${s.flat} VALUE`, s.doc)]));
  return [
    `${program}: ${summary}`,
    '',
    'Flags:',
    ...own,
    row('--help', 'this text'),
    '',
    'Configuration, over what --config-dir says:',
    ...keys,
    '',
  ].join('\n');
}

/**
 * Reads a daemon's command line: its own flags, the common ones, and every flat key of the configuration as a flag
 * that wins over the directory. The default directory may be missing. Undefined when help was asked for.
 * Nothing is read yet: a daemon says first what it lacks. @throws FimbriaError USAGE naming the flag
 */
export function parseDaemonCommandLine<F extends string>(
  program: string,
  flags: Readonly<Record<F, readonly [string, string]>>,
  argv: string[],
  env: NodeJS.ProcessEnv,
): DaemonCommandLine<F> | undefined {
  const keys = settings.flatMap(s => (s.flat === undefined ? [] : [s.flat]));
  const known = [...Object.keys(flags), ...Object.keys(COMMON), ...keys];
  const options = Object.fromEntries(known.map(flag => [flag, { type: 'string' as const }]));
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: argv, options: { ...options, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    throw usageError(program, messageOf(error));
  }
  if (values['help']) return undefined;
  const text = (flag: string): string | undefined => values[flag] as string | undefined;
  const kubeconfig = text('kubeconfig') || env['KUBECONFIG'] || undefined;
  if (kubeconfig === undefined && !env['KUBERNETES_SERVICE_HOST'])
    throw usageError(program, '--kubeconfig is missing');
  const logLevel = text('log-level') ?? 'info';
  if (!LOG_LEVELS.includes(logLevel as LogLevel)) {
    throw usageError(program, `--log-level ${logLevel} is not one of ${LOG_LEVELS.join(', ')}`);
  }
  const readFlat = (): Record<string, string> => {
    const directory = text('config-dir') ?? (existsSync(DEFAULT_CONFIG_DIR) ? DEFAULT_CONFIG_DIR : undefined);
    const flat = directory === undefined ? {} : readConfigDir(directory);
    for (const key of keys) {
      const value = text(key);
      if (value !== undefined) flat[key] = value;
    }
    return flat;
  };
  return { text, kubeconfig, logLevel: logLevel as LogLevel, readFlat };
}

/** A command line that makes no sense: exit status 2. */
function usageError(program: string, why: string): FimbriaError {
  return new FimbriaError({
    code: 'USAGE',
    op: 'read',
    object: 'command line',
    why,
    hint: `see ${program} --help`,
  });
}
