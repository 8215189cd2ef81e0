import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { waitUntil } from '../../../src/lab/deadline.ts';
import { ClusterNode } from '../lib/node.ts';

/** The harness itself: what it makes is the node's alone, and ends with the test however that ends. */

test.serial('what a node has is its own, and goes with it', async t => {
  const node = await ClusterNode.create('own');
  try {
    await node.must(
      'sh',
      '-c',
      'echo mine >/etc/fimbria-test-own && mkdir -p /opt/cni/bin && ls /sys/fs/bpf',
    );
    t.false(existsSync('/etc/fimbria-test-own'));
    t.true(existsSync(node.path('/etc/fimbria-test-own')));
    t.regex(await node.must('ip', '-br', 'link'), /^lo\s[^\n]*\n$/);
    t.is((await node.must('cat', '/proc/self/cgroup')).match(/^0::(.*)$/m)?.[1], '/init');
    t.deepEqual(await node.run('sh', '-c', 'echo out; echo err >&2; exit 3'), {
      stdout: 'out\n',
      stderr: 'err\n',
      status: 3,
    });
  } finally {
    await node.remove();
  }
  t.false(existsSync(node.dir));
  t.false(existsSync(node.cgroups.unified));
});

test.serial('a test that is killed leaves no process, and the next one sweeps its files', async t => {
  const lib = fileURLToPath(new URL('../lib/node.ts', import.meta.url));
  const script = `
    const { ClusterNode } = await import(${JSON.stringify(lib)});
    const node = await ClusterNode.create('killed');
    const child = node.start('sleeper', ['sleep', '1000']);
    console.log(JSON.stringify({ pids: [node.pid, child.pid], dir: node.dir }));
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 10);`;
  const killed = spawnSync(process.execPath, ['--import=tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  t.is(killed.signal, 'SIGKILL', killed.stderr);
  const { pids, dir } = JSON.parse(killed.stdout) as { pids: number[]; dir: string };
  await waitUntil('its processes to end', 20_000, () =>
    pids.every(pid => !existsSync(`/proc/${pid}/ns/net`)) ? true : undefined,
  );
  t.true(existsSync(dir));
  const node = await ClusterNode.create('next');
  t.teardown(() => node.remove());
  t.false(existsSync(dir));
  t.deepEqual(
    readdirSync(tmpdir()).filter(name => name.startsWith('fimbria-test-node-killed')),
    [],
  );
});
