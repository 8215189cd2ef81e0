import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { answerWith, fakeAgent, netconf, parsed, runPlugin, temporaryFolder } from './support.ts';

const queued = (folder: string): string[] =>
  readdirSync(join(folder, 'deleteQueue')).filter(name => name !== 'lock');

test('DEL without an agent is queued as one file that can be replayed', async t => {
  const folder = join(temporaryFolder(t), 'not', 'yet', 'there');
  const stdin = JSON.stringify(
    netconf(join(folder, 'a.sock'), { quote: '"\\\u007f\n é \u{1f41d}' }),
    null,
    1,
  );
  const outcome = await runPlugin({ command: 'DEL', env: { CNI_NETNS: null }, stdin });
  t.deepEqual(outcome, { status: 0, stdout: '', stderr: '' });
  const [name = '', ...others] = queued(folder);
  t.deepEqual(others, []);
  const path = join(folder, 'deleteQueue', name);
  const content = readFileSync(path);
  t.deepEqual(JSON.parse(content.toString('utf8')), {
    command: 'DEL',
    env: {
      CNI_CONTAINERID: 'c0ffee',
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'K8S_POD_NAMESPACE=default;K8S_POD_NAME=p1',
      CNI_PATH: '/opt/cni/bin',
    },
    stdin,
  });
  t.is(name, `${createHash('sha256').update(content).digest('hex')}.json`);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is(statSync(join(folder, 'deleteQueue')).mode & 0o777, 0o700);
});

test('a repeated DEL stays one file, another container is another file', async t => {
  const folder = temporaryFolder(t);
  const stdin = netconf(join(folder, 'a.sock'));
  await runPlugin({ command: 'DEL', stdin });
  await runPlugin({ command: 'DEL', stdin });
  t.is(queued(folder).length, 1);
  await runPlugin({ command: 'DEL', env: { CNI_CONTAINERID: 'other' }, stdin });
  t.is(queued(folder).length, 2);
});

test('names are SHA-256 whatever the length of the request', async t => {
  const folder = temporaryFolder(t);
  // Every remainder of the block size, where padding takes one block or two.
  await Promise.all(
    Array.from({ length: 65 }, (_, length) =>
      runPlugin({ command: 'DEL', stdin: netconf(join(folder, 'a.sock'), { pad: 'x'.repeat(length) }) }),
    ),
  );
  const names = queued(folder);
  t.is(names.length, 65);
  for (const name of names) {
    const content = readFileSync(join(folder, 'deleteQueue', name));
    t.is(name, `${createHash('sha256').update(content).digest('hex')}.json`);
  }
});

test('a full queue is an error, but what it holds already is no new entry', async t => {
  const folder = temporaryFolder(t);
  const stdin = netconf(join(folder, 'a.sock'));
  await runPlugin({ command: 'DEL', stdin });
  for (let i = 1; i < 256; i++) writeFileSync(join(folder, 'deleteQueue', `${i}.json`), '{}');
  t.is((await runPlugin({ command: 'DEL', stdin })).status, 0);
  const refused = await runPlugin({ command: 'DEL', env: { CNI_CONTAINERID: 'other' }, stdin });
  t.is(refused.status, 1);
  t.is(parsed(refused)['code'], 5);
  t.regex(String(parsed(refused)['msg']), /deletion queue directory .* has too many entries; aborting/);
  t.is(queued(folder).length, 256);
});

test('a queue that cannot be written is an error', async t => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'deleteQueue'), 'a file where the folder should be');
  const outcome = await runPlugin({ command: 'DEL', stdin: netconf(join(folder, 'a.sock')) });
  t.is(outcome.status, 1);
  t.is(parsed(outcome)['code'], 5);
});

test('a DEL whose agent dies in the middle is queued, one whose agent refuses is not', async t => {
  const folder = temporaryFolder(t);
  const socketPath = join(folder, 'a.sock');
  let answer = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{';
  await fakeAgent(t, socket => socket.end(answer), socketPath);
  t.is((await runPlugin({ command: 'DEL', stdin: netconf(socketPath) })).status, 0);
  t.is(queued(folder).length, 1);
  answer = answerWith(500, { cniVersion: '1.1.0', code: 999, msg: 'cannot' });
  const refused = await runPlugin({
    command: 'DEL',
    env: { CNI_CONTAINERID: 'other' },
    stdin: netconf(socketPath),
  });
  t.is(parsed(refused)['msg'], 'cannot');
  t.is(queued(folder).length, 1);
});

/** Holds the queue's lock exclusively, as an agent does while it starts; resolves when it is held. */
async function holdLock(folder: string): Promise<{ release(): Promise<void> }> {
  mkdirSync(join(folder, 'deleteQueue'), { recursive: true });
  const holder = spawn(
    'flock',
    ['--exclusive', join(folder, 'deleteQueue/lock'), 'sh', '-c', 'echo held; read line'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  await once(holder.stdout, 'data');
  return {
    async release() {
      const ended = once(holder, 'close');
      holder.stdin.end('\n');
      await ended;
    },
  };
}

test('a DEL that meets a starting agent waits for its lock and is then served, not queued', async t => {
  const folder = temporaryFolder(t);
  const socketPath = join(folder, 'a.sock');
  const lock = await holdLock(folder);
  const outcome = runPlugin({ command: 'DEL', stdin: netconf(socketPath) });
  const agent = await fakeAgent(t, socket => socket.end(answerWith(200, {})), socketPath);
  await lock.release();
  t.is((await outcome).status, 0);
  t.is(agent.requests.length, 1);
  t.deepEqual(queued(folder), []);
});

test('a lock that is held past the deadline asks the runtime to come again', async t => {
  const folder = temporaryFolder(t);
  const lock = await holdLock(folder);
  t.teardown(() => lock.release());
  const outcome = await runPlugin({
    command: 'DEL',
    stdin: netconf(join(folder, 'a.sock'), { timeoutMs: 60 }),
  });
  t.is(outcome.status, 1);
  t.is(parsed(outcome)['code'], 11);
  t.false(existsSync(join(folder, 'a.sock')));
});
