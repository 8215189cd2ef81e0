import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { lockState } from '../../src/apiserver/lock.ts';
import { waitUntil } from '../../src/lab/deadline.ts';

const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-lock-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const fields = (pid: number): string[] =>
  readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');

test('one owner at a time; what it gave up is free', t => {
  const path = join(folder, 'one');
  const giveUp = lockState(path);
  t.throws(() => lockState(path), {
    message: `lock ${path}: process ${process.pid} is using this state; stop it first`,
  });
  giveUp();
  t.false(existsSync(path));
  lockState(path)();
});

test('a killed owner that its parent never asked for holds nothing', async t => {
  const path = join(folder, 'zombie');
  // The shell becomes a program that knows nothing of children.
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => parent.kill('SIGKILL'));
  const [line] = await once(parent.stdout, 'data');
  const pid = Number(String(line));
  await waitUntil('the child to end', 10_000, async () => fields(pid)[0] === 'Z' || undefined);
  writeFileSync(path, `${pid} ${fields(pid)[19]} ${boot}`);
  lockState(path)();
  t.false(existsSync(path));
});

test('another process that has the id of the owner by now is none', t => {
  const path = join(folder, 'reused');
  writeFileSync(path, `${process.pid} 1 ${boot}`);
  lockState(path)();
  t.false(existsSync(path));
});
