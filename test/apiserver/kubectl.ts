import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { KUBECTLS, kubectlPath } from '../../scripts/lib/kubectl.mjs';
import { formatKubeconfig } from '../../src/cluster/index.ts';
import { scratch, serve, type TestServer, TOKEN } from './helpers.ts';

export { KUBECTLS };
export type KubectlRelease = (typeof KUBECTLS)[number];

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface Kubectl {
  cluster: TestServer;
  /** Runs kubectl; `input` is its stdin. Fails the test where it exits otherwise than with 0. Resolves to its stdout. */
  run(args: string, input?: string): Promise<string>;
  /** Runs kubectl, however it ends. */
  attempt(args: string, input?: string): Promise<Result>;
  /** Starts kubectl. `line` resolves to the next line that it prints; it is ended with the test. */
  start(args: string): { line(): Promise<string> };
}

/** A server, and one of the kubectls before it, with a home of its own. Everything ends with the test. */
export async function withKubectl(t: ExecutionContext, release: KubectlRelease): Promise<Kubectl> {
  const program = kubectlPath(release);
  if (!existsSync(program)) {
    throw new Error(
      `find kubectl ${release.version}: ${program} is not there; npm run setup fetches it from Debian's mirror, which may be away`,
    );
  }
  const home = scratch(t);
  const cluster = await serve(t, home);
  const { url, ca } = cluster.server;
  const kubeconfig = join(home, 'kubeconfig');
  mkdirSync(join(home, 'home'));
  writeFileSync(kubeconfig, formatKubeconfig('test', { server: url, ca, token: TOKEN }));
  const env = { PATH: '/usr/bin:/bin', HOME: join(home, 'home'), KUBECONFIG: kubeconfig };
  const launch = (args: string) => spawn(program, split(args), { env, stdio: ['pipe', 'pipe', 'pipe'] });

  const attempt = async (args: string, input = ''): Promise<Result> => {
    const child = launch(args);
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', text => {
        output[stream] += text;
      });
    }
    child.stdin.end(input);
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject).on('close', resolve);
    });
    return { status, ...output };
  };
  return {
    cluster,
    attempt,
    async run(args, input) {
      const { status, stdout, stderr } = await attempt(args, input);
      t.is(status, 0, `kubectl ${args}: ${stderr}${stdout}`);
      return stdout;
    },
    start(args) {
      const child = launch(args);
      t.teardown(() => child.kill('SIGKILL'));
      let rest = '';
      let wake = (): void => {};
      child.stdout.setEncoding('utf8').on('data', text => {
        rest += text;
        wake();
      });
      return {
        async line() {
          while (!rest.includes('\n')) {
            await new Promise<void>(resolve => {
              wake = resolve;
            });
          }
          const line = rest.slice(0, rest.indexOf('\n'));
          rest = rest.slice(line.length + 1);
          return line;
        },
      };
    },
  };
}

/** Arguments of a line; what stands in single quotes is one. */
function split(args: string): string[] {
  return [...args.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
}
