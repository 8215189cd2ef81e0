import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { assetPath } from '../base/paths.ts';
import { type PauseOptions, pauseArguments, pauseProgram } from './pause.ts';

/** A network configuration list as it lies in a node's /etc/cni/net.d. */
export interface CniConfig {
  cniVersion: string;
  name: string;
  plugins: ({ type: string } & Record<string, unknown>)[];
}

/** A plugin's answer to ADD, as far as it is read here. */
export interface CniResult {
  ips?: { address: string; gateway?: string }[];
  [field: string]: unknown;
}

const TIMEOUT_MS = 60_000;

/** The first list of the directory, in the order that container runtimes take; undefined when there is none. */
export function readCniConfig(dir: string): CniConfig | undefined {
  if (!existsSync(dir)) return undefined;
  const [first] = readdirSync(dir)
    .filter(name => name.endsWith('.conflist'))
    .sort();
  if (first === undefined) return undefined;
  try {
    return JSON.parse(readFileSync(join(dir, first), 'utf8')) as CniConfig;
  } catch (error) {
    throw new FimbriaError({
      code: 'INVALID',
      op: 'read',
      object: join(dir, first),
      why: messageOf(error),
      cause: error,
    });
  }
}

/** One call of one plugin, within a node. */
export interface CniCall {
  lab: string;
  node: string;
  /** How to get into the node. */
  enter: Pick<PauseOptions, 'joinNet' | 'joinMount' | 'cgroup'>;
  containerId: string;
  /** Empty for a DEL whose namespace is gone. */
  netns: string;
  args: Record<string, string>;
}

/** The message of a CNI error document, put together as libcni does. Pure. */
export function cniErrorText(stdout: string, stderr: string, exitCode: number | string): string {
  try {
    const { msg, details } = JSON.parse(stdout) as { msg?: string; details?: string };
    if (msg) return details ? `${msg}; ${details}` : msg;
  } catch {
    // Not an error document: say what there is.
  }
  return `netplugin failed: ${JSON.stringify((stderr || stdout).trim() || `exit status ${exitCode}`)}`;
}

/** Failures read as container runtimes tell them: `plugin type="T" failed (add): message`. */
async function runPlugin(
  call: CniCall,
  command: 'ADD' | 'DEL',
  type: string,
  stdin: string,
): Promise<string> {
  const own = assetPath('build/bin/fimbria-cni');
  const path = `${dirname(own)}:/opt/cni/bin`;
  const program = path
    .split(':')
    .map(dir => join(dir, type))
    .find(existsSync);
  if (!program) {
    throw new FimbriaError({
      code: 'ENOENT',
      op: 'find',
      object: `plugin ${type}`,
      why: `failed to find plugin "${type}" in path [${path}]`,
    });
  }
  const options: PauseOptions = {
    lab: call.lab,
    role: 'exec',
    name: call.node,
    ...call.enter,
    exec: true,
    command: [program],
  };
  const child = spawn(pauseProgram(), pauseArguments(options), {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
    env: {
      PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: command,
      CNI_CONTAINERID: call.containerId,
      CNI_NETNS: call.netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: path,
      CNI_ARGS: Object.entries(call.args)
        .map(([key, value]) => `${key}=${value}`)
        .join(';'),
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', chunk => {
    stdout += chunk;
  });
  child.stderr.on('data', chunk => {
    stderr += chunk;
  });
  child.stdin.on('error', () => {}); // a plugin that ends without reading says why by itself
  child.stdin.end(stdin);
  const exit = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? `signal ${signal}`));
  });
  if (exit === 0) return stdout;
  throw new FimbriaError({
    code: 'CNI',
    op: 'plugin',
    object: `type="${type}" failed (${command.toLowerCase()})`,
    why: cniErrorText(stdout, stderr, exit),
  });
}

/** Runs the list's plugins in order and returns the last result. @throws when one fails; the caller then calls DEL */
export async function cniAdd(config: CniConfig, call: CniCall): Promise<CniResult> {
  let prevResult: CniResult | undefined;
  for (const plugin of config.plugins) {
    const stdin = {
      cniVersion: config.cniVersion,
      name: config.name,
      ...plugin,
      ...(prevResult ? { prevResult } : {}),
    };
    prevResult = JSON.parse(await runPlugin(call, 'ADD', plugin.type, JSON.stringify(stdin))) as CniResult;
  }
  return prevResult ?? {};
}

/** Runs the list's plugins in reverse. Repeatable, as the plugins are. */
export async function cniDelete(config: CniConfig, call: CniCall, prevResult?: CniResult): Promise<void> {
  for (const plugin of [...config.plugins].reverse()) {
    const stdin = {
      cniVersion: config.cniVersion,
      name: config.name,
      ...plugin,
      ...(prevResult ? { prevResult } : {}),
    };
    await runPlugin(call, 'DEL', plugin.type, JSON.stringify(stdin));
  }
}
