import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { packageRoot } from '../../src/base/paths.ts';
import { labCgroups } from '../../src/lab/cgroup.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { PodRow } from '../../src/lab/pods.ts';
import { isAlive, type LabProcess, labProcesses, signal, waitGone } from '../../src/lab/processes.ts';
import type { LabStatus } from '../../src/lab/status.ts';

const lab = `test-${process.pid}`;
const program = join(packageRoot(), 'dist/fimbria.js');

interface Answer {
  status: number | null;
  stdout: string;
  stderr: string;
}

function fimbria(args: string[], options: { input?: string; cwd?: string } = {}): Answer {
  return spawnSync(process.execPath, [program, 'lab', '--lab', lab, ...args], {
    encoding: 'utf8',
    ...options,
  });
}

function must(...args: string[]): string {
  const { status, stdout, stderr } = fimbria(args);
  if (status !== 0) throw new Error(`fimbria lab ${args.join(' ')}: ${stderr}`);
  return stdout;
}

const status = (): LabStatus => JSON.parse(must('status', '-o', 'json'));
const pods = (): PodRow[] => JSON.parse(must('pod', 'list', '-o', 'json'));
const pod = (name: string): PodRow | undefined => pods().find(p => p.name === name);
const find = (role: string, name?: string): LabProcess | undefined =>
  labProcesses(lab).find(p => p.role === role && (name === undefined || p.name === name));

/** Asks until the answer is there; ava's own limit ends what never comes. */
async function eventually<T>(probe: () => T | undefined | false): Promise<T> {
  for (;;) {
    const value = probe();
    if (value) return value;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

test.before(() => must('up', '--nodes', 'ctr,w1'));
test.after.always(() => must('down'));

test.serial('status names every process, each with the lab in its command line', t => {
  const { name, kubeconfig, nodes, operator, apiserver, processes } = status();
  t.is(name, lab);
  t.true(existsSync(kubeconfig));
  t.deepEqual(
    nodes.map(n => [n.name, n.ip, n.agent.state]),
    [
      ['ctr', '192.168.10.100', 'ready'],
      ['w1', '192.168.10.101', 'ready'],
    ],
  );
  t.true(nodes.every(n => existsSync(n.agent.socket)));
  t.is(operator.state, 'running');
  t.regex(apiserver.url, /^https:\/\/127\.0\.0\.1:\d+$/);
  for (const { pid } of processes) {
    t.true(readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`--lab\0${lab}\0`), `${pid}`);
  }
  for (const { agent } of nodes) t.true(processes.some(p => p.pid === agent.pid && p.role === 'agent'));
});

test.serial(
  'a second lab of that name is refused, and so are values that are wrong, before anything changes',
  t => {
    const again = fimbria(['up']);
    t.is(again.status, 1);
    t.regex(again.stderr, /^fimbria: start lab \S+: it is running; /);
    const before = readFileSync(labPaths(lab).state, 'utf8');
    t.regex(fimbria(['upgrade', '--set', 'no.such=1']).stderr, /no(\.such)?: unknown key/);
    t.regex(fimbria(['upgrade', '--set', 'ipam.mode=multi-pool']).stderr, /ipam\.mode/);
    const pool = 'ipam.operator.clusterPoolIPv4';
    const shorter = fimbria(['upgrade', '--set', `${pool}PodCIDRList={10.9.0.0/16}`]);
    t.regex(
      shorter.stderr,
      /values: ipam\.operator\.clusterPoolIPv4PodCIDRList: ranges can only be appended/,
    );
    const mask = fimbria(['upgrade', '--reset-values', '--set', `${pool}MaskSize=25`]);
    t.regex(mask.stderr, /values: ipam\.operator\.clusterPoolIPv4MaskSize: cannot change from 24 to 25/);
    t.is(readFileSync(labPaths(lab).state, 'utf8'), before);
    const other = spawnSync(
      process.execPath,
      [program, 'lab', 'up', '--lab', `${lab}x`, '--set', 'no.such=1'],
      { encoding: 'utf8' },
    );
    t.is(other.status, 1);
    t.false(existsSync(labPaths(`${lab}x`).dir));
  },
);

test.serial(
  'exec passes stdin, stdout, exit status and working directory through, and has our commands on PATH',
  t => {
    const dir = realpathSync(mkdtempSync(join(tmpdir(), 'fimbria-test-')));
    t.teardown(() => rmSync(dir, { recursive: true }));
    for (const target of ['ctr', 'outside']) {
      const { status, stdout } = fimbria(['exec', target, '--', 'sh', '-c', 'pwd; cat; exit 7'], {
        input: 'in\n',
        cwd: dir,
      });
      t.is(stdout, `${dir}\nin\n`);
      t.is(status, 7);
    }
    t.is(fimbria(['exec', 'ctr', '--', 'sh', '-c', 'kill -9 $$']).status, 137);
    t.is(fimbria(['exec', 'ctr', '--', 'no-such-program']).status, 127);
    t.regex(must('exec', 'ctr', '--', 'cilium', 'status', '--brief'), /^OK/);
    t.regex(must('exec', 'w1', '--', 'cilium-dbg', 'node', 'list'), /w1/);
    const unknown = fimbria(['exec', 'nobody', '--', 'true']);
    t.is(unknown.status, 1);
    t.regex(unknown.stderr, /^fimbria: enter nobody: .*there is: .*ctr/);
  },
);

test.serial('a pod is a namespace with an address; its command runs in it and ends with it', async t => {
  must('pod', 'add', 'quiet', '--node', 'ctr', '--label', 'app=quiet');
  const seen = join(labPaths(lab).logs, 'default_talks_talks.log');
  must(
    'pod',
    'add',
    'talks',
    '--node',
    'w1',
    '--',
    'sh',
    '-c',
    'readlink /proc/self/ns/net; exec sleep 1000',
  );
  t.like(pod('talks'), { namespace: 'default', node: 'w1', phase: 'Running', message: '' });
  const holder = find('pod', 'default/talks')?.pid ?? 0;
  await eventually(
    () => existsSync(seen) && readFileSync(seen, 'utf8').trim() === readlinkSync(`/proc/${holder}/ns/net`),
  );
  t.regex(
    must('exec', 'quiet', '--', 'ping', '-c', '1', '-W', '2', pod('talks')?.ip ?? ''),
    / 0% packet loss/,
  );
  const pids = [holder, find('container', 'default/talks/talks')?.pid ?? 0];
  must('pod', 'delete', 'talks');
  t.is(pod('talks'), undefined);
  t.deepEqual(pids.filter(isAlive), []);
  t.false(existsSync(join(labCgroups(lab).node('w1'), 'kubepods', 'pod')));
  t.regex(fimbria(['pod', 'delete', 'talks']).stderr, /not found/i);
});

test.serial('a command that ends is started again, as the restart policy has it', async t => {
  must('pod', 'add', 'ends', '--node', 'ctr', '--wait', '0', '--', 'sh', '-c', 'echo bye; exit 3');
  const row = await eventually(() => pods().find(p => p.name === 'ends' && p.phase === 'CrashLoopBackOff'));
  t.regex(row.message, /back-off restarting failed container ends/);
  must('pod', 'delete', 'ends');
});

test.serial('controllers that are killed and started anew take up the pods that run', async t => {
  must('pod', 'add', 'kept', '--node', 'w1', '--', 'sleep', '1000');
  const { ip } = pod('kept') ?? {};
  const held = [find('pod', 'default/kept')?.pid, find('container', 'default/kept/kept')?.pid];
  const controllers = find('controllers')?.pid ?? 0;
  signal(controllers, 'SIGKILL');
  t.deepEqual(await waitGone([controllers], 10_000), []);
  const args = [program, 'lab-controllers', '--lab', lab];
  spawn(process.execPath, args, { stdio: 'ignore', detached: true }).unref();
  must('pod', 'add', 'after', '--node', 'w1');
  t.deepEqual([find('pod', 'default/kept')?.pid, find('container', 'default/kept/kept')?.pid], held);
  t.like(pod('kept'), { phase: 'Running', ip });
  must('pod', 'delete', 'kept');
  must('pod', 'delete', 'after');
});

test.serial('a pod whose holder dies gets a new sandbox', async t => {
  must('pod', 'add', 'phoenix', '--node', 'ctr');
  const before = find('pod', 'default/phoenix')?.pid ?? 0;
  signal(before, 'SIGKILL');
  await eventually(() => {
    const now = find('pod', 'default/phoenix')?.pid;
    return now !== undefined && now !== before;
  });
  await eventually(() => pod('phoenix')?.phase === 'Running');
  t.regex(
    must('exec', 'ctr', '--', 'ping', '-c', '1', '-W', '2', pod('phoenix')?.ip ?? ''),
    / 0% packet loss/,
  );
  must('pod', 'delete', 'phoenix');
});

test.serial(
  'while the agent is away pods wait with the plugin’s message, and run when it is back',
  async t => {
    must('node', 'kill', 'w1');
    t.is(status().nodes[1]?.agent.state, 'stopped');
    const { status: code, stderr } = fimbria(['pod', 'add', 'late', '--node', 'w1', '--wait', '1s']);
    t.is(code, 1);
    t.regex(stderr, /^fimbria: add pod default\/late: it does not run after 1 s: ContainerCreating/);
    const row = await eventually(() => pods().find(p => p.name === 'late' && p.message !== ''));
    t.is(row.phase, 'ContainerCreating');
    t.regex(
      row.message,
      /^Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "[0-9a-f]{64}": plugin type="fimbria-cni" failed \(add\): /,
    );
    must('node', 'start', 'w1');
    t.is(status().nodes[1]?.agent.state, 'ready');
    await eventually(() => pod('late')?.phase === 'Running');
    must('pod', 'delete', 'late');
  },
);

test.serial('the operator and an agent stop and start', t => {
  must('operator', 'stop');
  t.is(status().operator.pid, null);
  must('operator', 'start');
  must('operator', 'kill');
  must('operator', 'start');
  t.is(status().operator.state, 'running');
  must('node', 'stop', 'ctr');
  t.is(status().nodes[0]?.agent.pid, null);
  must('node', 'start', 'ctr');
  t.is(status().nodes[0]?.agent.state, 'ready');
});

test.serial('upgrade restarts operator and agents with the merged values', t => {
  const before = status();
  must(
    'upgrade',
    '--set',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.244.0.0/16',
  );
  must('upgrade', '--set', 'endpointRoutes.enabled=true');
  must('upgrade', '--set', 'ipam.operator.clusterPoolIPv4PodCIDRList={10.244.0.0/16,10.9.0.0/16}');
  const after = status();
  t.not(after.nodes[0]?.agent.pid, before.nodes[0]?.agent.pid);
  t.not(after.operator.pid, before.operator.pid);
  t.regex(must('exec', 'ctr', '--', 'ip', 'route'), /via 192\.168\.10\.101 dev eth0 proto kernel/);
  t.regex(must('exec', 'ctr', '--', 'cilium', 'config', 'view'), /routing-mode +native/);
  t.regex(
    must('exec', 'ctr', '--', 'cilium', 'config', 'view'),
    /cluster-pool-ipv4-cidr +10\.244\.0\.0\/16 10\.9\.0\.0\/16/,
  );
});

test.serial('after kill -9 of every process, down leaves no process, namespace, cgroup or file', async t => {
  const processes = labProcesses(lab);
  t.true(processes.length > 6);
  for (const { pid } of processes) signal(pid, 'SIGKILL');
  await waitGone(
    processes.map(p => p.pid),
    10_000,
  );
  must('down');
  t.deepEqual(labProcesses(lab), []);
  t.false(existsSync(labPaths(lab).dir));
  t.false(existsSync(labCgroups(lab).dir));
  const { stdout } = spawnSync('lsns', ['-n', '-o', 'NS,COMMAND'], { encoding: 'utf8' });
  t.false(stdout.includes(`--lab ${lab}`));
  must('down');
});

test.serial(
  'a start that is interrupted takes everything back; one that is killed is taken down afterwards',
  async t => {
    const start = async () => {
      const up = spawn(process.execPath, [program, 'lab', '--lab', lab, 'up', '--nodes', '1'], {
        stdio: 'ignore',
      });
      const ended = new Promise<number | null>(resolve => up.once('exit', resolve));
      await eventually(() => find('controllers'));
      return { up, ended };
    };
    must('down');
    const interrupted = await start();
    interrupted.up.kill('SIGINT');
    t.is(await interrupted.ended, 130);
    t.deepEqual(labProcesses(lab), []);
    t.false(existsSync(labPaths(lab).dir));

    const killed = await start();
    killed.up.kill('SIGKILL');
    await killed.ended;
    t.regex(fimbria(['up']).stderr, /an earlier start was cut short; take it down first/);
    t.regex(fimbria(['status']).stderr, /it has not come up/);
    must('down');
    t.deepEqual(labProcesses(lab), []);
    t.false(existsSync(labPaths(lab).dir));
    t.false(existsSync(labCgroups(lab).dir));
  },
);
