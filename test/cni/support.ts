import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';

export const pluginPath = fileURLToPath(new URL('../../build/bin/fimbria-cni', import.meta.url));

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** What a runtime hands to the plugin; `null` in env leaves a variable out. */
export interface Call {
  command?: string;
  env?: Record<string, string | null>;
  /** An object is sent as JSON; text and bytes as they are. */
  stdin?: object | string | Uint8Array;
}

/** Runs the plugin as a runtime does and resolves when it has ended. */
export function runPlugin(call: Call): Promise<Outcome> {
  const env: Record<string, string> = {};
  const variables: Record<string, string | null> = {
    CNI_COMMAND: call.command ?? null,
    CNI_CONTAINERID: 'c0ffee',
    CNI_NETNS: '/var/run/netns/cni-1',
    CNI_IFNAME: 'eth0',
    CNI_ARGS: 'K8S_POD_NAMESPACE=default;K8S_POD_NAME=p1',
    CNI_PATH: '/opt/cni/bin',
    ...call.env,
  };
  for (const [name, value] of Object.entries(variables)) if (value !== null) env[name] = value;
  const input = call.stdin ?? '';
  const bytes = typeof input === 'string' || input instanceof Uint8Array ? input : JSON.stringify(input);
  return new Promise((resolve, reject) => {
    const child = spawn(pluginPath, [], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    const outcome: Outcome = { status: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      outcome.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      outcome.stderr += text;
    });
    child.once('error', reject);
    child.once('close', status => resolve({ ...outcome, status }));
    // The plugin may refuse and end before it has read everything.
    child.stdin.on('error', () => {});
    child.stdin.end(bytes);
  });
}

/** The JSON a plugin printed. */
export function parsed(outcome: Outcome): Record<string, unknown> {
  return JSON.parse(outcome.stdout) as Record<string, unknown>;
}

/** A folder of the test's own, gone when the test ends. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-cni-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** One request as it arrived at the agent's socket. */
export interface SeenRequest {
  head: string;
  headers: Record<string, string>;
  body: string;
}

export interface FakeAgent {
  socketPath: string;
  requests: SeenRequest[];
}

function splitRequest(bytes: Buffer): SeenRequest | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [head = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(': ');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 2);
  }
  const body = bytes.subarray(end + 4);
  if (body.length < Number(headers['content-length'] ?? 0)) return undefined;
  return { head, headers, body: body.toString('utf8') };
}

/**
 * An agent that speaks in bytes, so that it can also speak badly: `answer` gets each whole request and the
 * connection to write to. Closed when the test ends.
 */
export async function fakeAgent(
  t: ExecutionContext,
  answer: (socket: Socket, request: SeenRequest) => void,
  socketPath = join(temporaryFolder(t), 'agent.sock'),
): Promise<FakeAgent> {
  const requests: SeenRequest[] = [];
  const open = new Set<Socket>();
  const server = createServer(socket => {
    const parts: Buffer[] = [];
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.on('data', part => {
      parts.push(part);
      const request = splitRequest(Buffer.concat(parts));
      if (!request) return;
      parts.length = 0;
      requests.push(request);
      answer(socket, request);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  t.teardown(
    () =>
      new Promise<void>(resolve => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  );
  return { socketPath, requests };
}

/** A well-formed answer with a length. */
export function answerWith(status: number, body: object | string): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return `HTTP/1.1 ${status} Word\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

/** The least configuration a runtime may send, naming a socket. */
export function netconf(socket: string, more: object = {}): object {
  return { cniVersion: '1.1.0', name: 'fimbria', type: 'fimbria-cni', socket, ...more };
}
