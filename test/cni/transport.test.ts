import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { answerWith, fakeAgent, netconf, parsed, pluginPath, runPlugin, temporaryFolder } from './support.ts';

const RESULT = JSON.stringify({ cniVersion: '1.1.0', ips: [], dns: { search: ['é'.repeat(40)] } });

function chunked(body: string, sizes: number[], extra = ''): string {
  const bytes = Buffer.from(body);
  let text = '';
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    const part = bytes.subarray(at, at + size);
    if (part.length === 0) break;
    text += `${part.length.toString(16)}${extra}\r\n${part.toString('latin1')}\r\n`;
    at += part.length;
  }
  return `HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n${text}0\r\n${extra && 'Trailer: x\r\n'}\r\n`;
}

test('answers of every lawful framing are read', async t => {
  const bytes = Buffer.from(RESULT).toString('latin1');
  const answers = {
    length: `HTTP/1.1 200 OK\r\nCONTENT-LENGTH:   ${bytes.length}  \r\nX: y\r\n\r\n${bytes}`,
    'no reason phrase': `HTTP/1.0 200\r\ncontent-length: ${bytes.length}\r\n\r\n${bytes}`,
    'bare line feeds': `HTTP/1.1 200 OK\ncontent-length: ${bytes.length}\n\n${bytes}`,
    chunks: chunked(RESULT, [1, 2, 30]),
    'chunks with extensions and trailers': chunked(RESULT, [5], ';name=value'),
    'interim answer first': `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\n\r\n${bytes}`,
  };
  for (const [what, answer] of Object.entries(answers)) {
    const agent = await fakeAgent(t, socket => socket.write(answer, 'latin1'));
    const outcome = await runPlugin({ command: 'ADD', stdin: netconf(agent.socketPath) });
    t.deepEqual(outcome, { status: 0, stdout: RESULT, stderr: '' }, what);
  }
});

test('an answer that comes byte by byte is read', async t => {
  const agent = await fakeAgent(t, async socket => {
    socket.setNoDelay(true);
    for (const byte of Buffer.from(chunked(RESULT, [3, 7]), 'latin1')) {
      socket.write(Buffer.of(byte));
      await new Promise(resolve => setImmediate(resolve));
    }
  });
  const outcome = await runPlugin({ command: 'ADD', stdin: netconf(agent.socketPath) });
  t.deepEqual(outcome, { status: 0, stdout: RESULT, stderr: '' });
});

test('an agent that dies at any point of its answer is code 11, never half a result', async t => {
  for (const whole of [Buffer.from(answerWith(200, RESULT)), Buffer.from(chunked(RESULT, [9]), 'latin1')]) {
    for (let cut = 0; cut < whole.length; cut += 17) {
      const agent = await fakeAgent(t, socket => socket.end(whole.subarray(0, cut)));
      const outcome = await runPlugin({ command: 'ADD', stdin: netconf(agent.socketPath) });
      t.is(outcome.status, 1);
      t.is(parsed(outcome)['code'], 11, `cut at ${cut}`);
    }
  }
});

test('answers that cannot be told apart from a cut or forged one are refused', async t => {
  const answers = {
    'no framing': `HTTP/1.1 200 OK\r\n\r\n${RESULT}`,
    'two lengths': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}',
    'length and chunks': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}',
    'negative length': 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}',
    'huge length': 'HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}',
    'huge chunk': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n{}',
    'unknown coding': 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}',
    'chunk not closed': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n',
    'folded header': 'HTTP/1.1 200 OK\r\nx: y\r\n content-length: 2\r\ncontent-length: 2\r\n\r\n{}',
    'not HTTP': 'SSH-2.0-OpenSSH_9.2\r\n',
    'endless head': `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(4000)}`,
  };
  for (const [what, answer] of Object.entries(answers)) {
    const agent = await fakeAgent(t, socket => socket.write(answer));
    const outcome = await runPlugin({ command: 'ADD', stdin: netconf(agent.socketPath) });
    t.like(
      parsed(outcome),
      { code: 11, details: 'what answers there does not speak HTTP as the agent does' },
      what,
    );
  }
});

test('an agent that does not answer is given up at the deadline', async t => {
  for (const [command, code] of [
    ['ADD', 11],
    ['STATUS', 50],
  ] as const) {
    const agent = await fakeAgent(t, () => {});
    const outcome = await runPlugin({ command, stdin: netconf(agent.socketPath, { timeoutMs: 100 }) });
    t.like(parsed(outcome), { code, details: 'it did not answer in time' });
  }
});

test('a configuration of nearly 1 MiB goes through whole', async t => {
  const agent = await fakeAgent(t, socket => socket.end(answerWith(200, RESULT)));
  const stdin = JSON.stringify(netconf(agent.socketPath, { pad: 'ß'.repeat(500_000) }));
  const outcome = await runPlugin({ command: 'ADD', stdin });
  t.is(outcome.status, 0);
  t.true(agent.requests[0]?.body === stdin);
});

test('an answer that comes before the request was read whole is heard', async t => {
  const error = { cniVersion: '1.1.0', code: 7, msg: 'too large' };
  const socketPath = `${temporaryFolder(t)}/agent.sock`;
  const server = createServer(socket => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.pause();
      socket.end(answerWith(413, error));
    });
  });
  await new Promise<void>(resolve => server.listen(socketPath, resolve));
  t.teardown(() => server.close());
  const outcome = await runPlugin({
    command: 'ADD',
    stdin: netconf(socketPath, { pad: 'x'.repeat(900_000), timeoutMs: 3000 }),
  });
  t.is(outcome.status, 1);
  t.deepEqual(parsed(outcome), error);
});

test('a runtime that kills the plugin closes the agent’s connection', async t => {
  let arrived: () => void = () => {};
  const waiting = new Promise<void>(resolve => {
    arrived = resolve;
  });
  let closed: () => void = () => {};
  const gone = new Promise<void>(resolve => {
    closed = resolve;
  });
  const agent = await fakeAgent(t, socket => {
    socket.once('close', closed);
    arrived();
  });
  const child: ChildProcess = spawn(pluginPath, [], {
    env: { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'a', CNI_NETNS: '/n', CNI_IFNAME: 'eth0' },
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.stdin?.end(JSON.stringify(netconf(agent.socketPath)));
  await waiting;
  child.kill('SIGKILL');
  await Promise.all([gone, once(child, 'close')]);
  t.is(agent.requests.length, 1);
});
