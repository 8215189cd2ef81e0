import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../src/base/paths.ts';

/** What a command printed and how it ended. */
export interface Outcome {
  stdout: string;
  stderr: string;
  status: number | null;
}

/**
 * A lab of a test, driven as a user would: through the command line. Names are the test's own, so several run side
 * by side and nothing of anybody else is touched.
 */
export class TestLab {
  readonly name: string;

  constructor(test: string) {
    this.name = `t-${test}-${process.pid}`;
  }

  /** Runs `fimbria …` against this lab. */
  fimbria(...args: string[]): Promise<Outcome> {
    return collect(this.spawn(args));
  }

  /** Starts `fimbria …`; the caller reads and ends it. */
  spawn(args: string[]): ChildProcess {
    const env = {
      ...process.env,
      FIMBRIA_LAB: this.name,
      KUBECONFIG: `/run/fimbria-lab/${this.name}/kubeconfig`,
    };
    return spawn(process.execPath, [join(packageRoot(), 'dist', 'fimbria.js'), ...args], { env });
  }

  /** As `fimbria`, throwing with what it said when it fails. */
  async must(...args: string[]): Promise<string> {
    const outcome = await this.fimbria(...args);
    if (outcome.status !== 0) {
      throw new Error(
        `fimbria ${args.join(' ')} ended with ${outcome.status}: ${outcome.stderr}${outcome.stdout}`,
      );
    }
    return outcome.stdout;
  }

  up(nodes: string, ...values: string[]): Promise<string> {
    return this.must('lab', 'up', '--nodes', nodes, ...values.flatMap(v => ['--set', v]));
  }

  async upgrade(values: Record<string, unknown>): Promise<void> {
    const sets = Object.entries(values).flatMap(([k, v]) => ['--set', `${k}=${v}`]);
    await this.must('lab', 'upgrade', '--reset-values', ...sets);
  }

  async down(): Promise<void> {
    await this.must('lab', 'down');
  }

  /** Adds a pod and returns its address. */
  async pod(name: string, node: string, ...command: string[]): Promise<string> {
    await this.must(
      'lab',
      'pod',
      'add',
      name,
      '--node',
      node,
      ...(command.length > 0 ? ['--', ...command] : []),
    );
    return (await this.pods()).find(p => p.name === name)!.ip;
  }

  async pods(): Promise<
    { namespace: string; name: string; node: string; ip: string; phase: string; message: string }[]
  > {
    return JSON.parse(await this.must('lab', 'pod', 'list', '-o', 'json'));
  }

  exec(target: string, ...command: string[]): Promise<Outcome> {
    return this.fimbria('lab', 'exec', target, '--', ...command);
  }

  async execMust(target: string, ...command: string[]): Promise<string> {
    return this.must('lab', 'exec', target, '--', ...command);
  }

  async json<T>(target: string, ...command: string[]): Promise<T> {
    return JSON.parse(await this.execMust(target, ...command, '-o', 'json'));
  }

  /** Pings all addresses side by side, three packets each: how many got no answer, by address. */
  async lost(target: string, addresses: string[], options = ''): Promise<Record<string, number>> {
    const pings = addresses.map(a => `ping -q -c 3 -i 0.05 -W 2 ${options} ${a} &`).join(' ');
    const { stdout } = await this.exec(target, 'sh', '-c', `${pings} wait`);
    const found = [
      ...stdout.matchAll(/--- ([\d.]+) ping statistics ---\s+(\d+) packets transmitted, (\d+) received/g),
    ];
    return Object.fromEntries(
      found.map(([, address, sent, received]) => [address!, Number(sent) - Number(received)]),
    );
  }

  /** Whether every packet to every address was answered. */
  async reaches(target: string, addresses: string[], options = ''): Promise<boolean> {
    const lost = await this.lost(target, addresses, options);
    return addresses.every(a => lost[a] === 0);
  }

  /** Packets dropped on a node by reason, both directions. */
  async drops(node: string): Promise<Record<number, number>> {
    const rows = await this.json<{ reason: number; packets: number }[]>(
      node,
      'cilium',
      'bpf',
      'metrics',
      'list',
    );
    const sums: Record<number, number> = { 132: 0, 151: 0, 160: 0 };
    for (const { reason, packets } of rows) sums[reason] = (sums[reason] ?? 0) + packets;
    return sums;
  }
}

/** Waits for a process and what it printed. */
export function collect(child: ChildProcess): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', chunk => (stdout += chunk));
    child.stderr?.on('data', chunk => (stderr += chunk));
    child.on('error', reject);
    child.on('close', status => resolve({ stdout, stderr, status }));
    child.stdin?.end();
  });
}

/** Resolves with everything a process printed until `pattern` is in it. @throws Error when it ends before */
export function printed(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const look = (chunk: Buffer): void => {
      text += chunk;
      if (pattern.test(text)) resolve(text);
    };
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
    child.on('close', status =>
      reject(new Error(`ended with ${status} before it printed ${pattern}: ${text}`)),
    );
  });
}
