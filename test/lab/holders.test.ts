import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { cgroupPids, labCgroups } from '../../src/lab/cgroup.ts';
import { takeDown } from '../../src/lab/down.ts';
import { makeMountPoints } from '../../src/lab/mountpoints.ts';
import { labPaths, parseNodes } from '../../src/lab/names.ts';
import {
  NODE_DIRECTORIES,
  netnsOf,
  startNode,
  startOutside,
  startUnderlay,
} from '../../src/lab/namespaces.ts';
import { connectUnderlay } from '../../src/lab/network.ts';
import { pauseArguments, pauseProgram, startDetached } from '../../src/lab/pause.ts';
import { isAlive, labProcesses, signal, waitGone } from '../../src/lab/processes.ts';

const lab = `test-${process.pid}`;

async function startHolders(): Promise<{ underlay: number; outside: number; nodes: number[] }> {
  mkdirSync(labPaths(lab).dir, { recursive: true });
  await makeMountPoints(Object.values(NODE_DIRECTORIES));
  const underlay = await startUnderlay(lab);
  const outside = await startOutside(lab);
  const nodes = [];
  for (const node of parseNodes('2')) nodes.push({ ...node, pid: await startNode(lab, node) });
  await connectUnderlay(underlay, outside, nodes);
  return { underlay, outside, nodes: nodes.map(n => n.pid) };
}

/** Runs a command in the namespaces of a process. */
function within(pid: number, ...command: string[]): string {
  const enter = { joinNet: netnsOf(pid), joinMount: `/proc/${pid}/ns/mnt` };
  const args = pauseArguments({ lab, role: 'exec', name: 'test', ...enter, exec: true, command });
  return execFileSync(pauseProgram(), args, { encoding: 'utf8' });
}

function nothingLeft(): string[] {
  const left = [labPaths(lab).dir, labCgroups(lab).dir].filter(existsSync);
  const namespaces = execFileSync('lsns', ['-n', '-o', 'NS,COMMAND'], { encoding: 'utf8' });
  if (namespaces.includes(`--lab ${lab} `)) left.push(namespaces);
  return [...left, ...labProcesses(lab).map(p => `process ${p.pid} ${p.role}`)];
}

test.afterEach.always(() => takeDown(lab));

test.serial(
  'nodes and outside reach each other; each node has its own /sys, bpffs, cgroup tree and directories',
  async t => {
    const { outside, nodes } = await startHolders();
    const [first = 0, second = 0] = nodes;
    t.regex(within(outside, 'ping', '-c', '1', '-W', '2', '192.168.10.101'), / 0% packet loss/);
    t.regex(within(first, 'ping', '-c', '1', '-W', '2', '192.168.10.101'), / 0% packet loss/);
    t.regex(within(first, 'ip', 'route'), /default via 192.168.10.1 dev eth0/);
    t.is(within(first, 'cat', '/proc/sys/net/ipv4/ip_forward'), '1\n');
    t.deepEqual(within(first, 'ls', '/sys/class/net').trim().split('\n'), ['eth0', 'lo']);
    within(first, 'mkdir', '/sys/fs/bpf/mine');
    t.notRegex(within(second, 'ls', '/sys/fs/bpf'), /mine/);
    t.false(existsSync('/sys/fs/bpf/mine'));
    for (const directory of Object.values(NODE_DIRECTORIES)) {
      within(first, 'touch', `${directory}/mine`);
      t.is(within(second, 'ls', directory), '');
    }
    t.deepEqual(within(first, 'cat', '/sys/fs/cgroup/cgroup.procs').trim().split('\n'), [String(first)]);
  },
);

test.serial('taking down after every holder was killed leaves nothing; doing it again is fine', async t => {
  const { underlay, outside, nodes } = await startHolders();
  const pids = [underlay, outside, ...nodes];
  for (const pid of pids) signal(pid, 'SIGKILL');
  t.deepEqual(await waitGone(pids, 10_000), []);
  await takeDown(lab);
  t.deepEqual(nothingLeft(), []);
  await takeDown(lab);
  t.deepEqual(nothingLeft(), []);
});

test.serial('whoever entered a namespace of the lab by itself goes with it; others stay', async t => {
  const { nodes } = await startHolders();
  const guest = spawn('nsenter', ['-t', String(nodes[0]), '-n', 'sleep', '1000'], { stdio: 'ignore' });
  const stranger = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.teardown(() => stranger.kill('SIGKILL'));
  const node = readlinkSync(netnsOf(nodes[0] ?? 0));
  const inside = () => readlinkSync(netnsOf(guest.pid ?? 0)) === node;
  while (!inside()) await new Promise(resolve => setImmediate(resolve));
  const ended = new Promise(resolve => guest.once('exit', (_, how) => resolve(how)));
  await takeDown(lab);
  t.is(await ended, 'SIGKILL');
  t.true(isAlive(stranger.pid ?? 0));
  t.deepEqual(nothingLeft(), []);
});

test.serial('taking down ends a group that forks faster than one can look', async t => {
  const cgroup = labCgroups(lab).beside('control');
  mkdirSync(cgroup, { recursive: true });
  const command = ['sh', '-c', 'while :; do sleep 1000 & kill $!; done'];
  const pid = await startDetached({ lab, role: 'exec', name: 'forks', cgroup, exec: true, command });
  t.true(cgroupPids(labCgroups(lab).dir).includes(pid));
  await takeDown(lab);
  t.deepEqual(nothingLeft(), []);
  t.false(isAlive(pid));
});

test.serial(
  'a supervised command leaves its exit status, and goes when its supervisor is killed',
  async t => {
    const dir = join(labPaths(lab).dir, 'status');
    mkdirSync(dir, { recursive: true });
    const run = async (name: string, ...command: string[]) => {
      const statusFile = join(dir, name);
      const pid = await startDetached({ lab, role: 'container', name, statusFile, command });
      return { pid, statusFile };
    };
    const exits = await run('exits', 'sh', '-c', 'exit 7');
    const killed = await run('killed', 'sh', '-c', 'kill -9 $$');
    // A command that cannot begin is no container that ran and failed: who starts it hears why.
    await t.throwsAsync(run('missing', '/no/such/program'), {
      code: 'START_FAILED',
      message: 'start container missing: run /no/such/program: No such file or directory',
    });
    t.deepEqual(await waitGone([exits.pid, killed.pid], 10_000), []);
    t.is(readFileSync(exits.statusFile, 'utf8'), 'exit 7\n');
    t.is(readFileSync(killed.statusFile, 'utf8'), 'signal 9\n');
    t.false(existsSync(join(dir, 'missing')));

    const pidFile = join(dir, 'pid');
    const sleeper = await run(
      'sleeper',
      'sh',
      '-c',
      `echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 1000`,
    );
    while (!existsSync(pidFile)) await new Promise(resolve => setImmediate(resolve));
    signal(sleeper.pid, 'SIGKILL');
    t.deepEqual(await waitGone([sleeper.pid, Number(readFileSync(pidFile, 'utf8'))], 10_000), []);
  },
);

test.serial('a holder that cannot set itself up says why', async t => {
  writeFileSync(`/tmp/${lab}`, '');
  t.teardown(() => rmSync(`/tmp/${lab}`, { force: true }));
  const error = await t.throwsAsync(
    startDetached({
      lab,
      role: 'node',
      name: 'x',
      newNet: true,
      newMount: true,
      binds: [`/tmp/${lab}:/no/such`],
    }),
  );
  t.is(error?.message, `start node x: bind /tmp/${lab} to /no/such: No such file or directory`);
});
