import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { packageRoot } from '../../src/base/paths.ts';
import { collect, type Outcome, printed, TestLab } from './lab.ts';

/**
 * Each bad input gets one clear line, and nothing is changed. The agent's own are tried with the real program in
 * namespaces that are thrown away; the plugin's end to end in a lab of one node.
 */
const lab = new TestLab('bad');
const files = mkdtempSync(join(tmpdir(), 'fimbria-test-bad-'));
const agentProgram = join(packageRoot(), 'dist', 'fimbria-agent.js');
const plugin = join(packageRoot(), 'build', 'bin', 'fimbria-cni');
const KUBECONFIG = `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c}}]
clusters: [{name: c, cluster: {server: "unix:///nowhere.sock"}}]
`;

interface AgentCase {
  /** What is wrong, as a title. */
  wrong: string;
  /** Flat keys of the configuration. */
  config?: Record<string, string>;
  /** Shell, run as root in new network and mount namespaces before the agent; \`DIR\` is the case's folder. */
  before?: string;
  /** Words before the agent's command line. */
  as?: string;
  flags?: string[];
  says: RegExp;
  status?: number;
}

const pools = 'cluster-pool-ipv4-cidr';
const AGENT: AgentCase[] = [
  {
    wrong: 'unknown option',
    flags: ['--bogus'],
    says: /command line: .*--bogus.*see fimbria-agent --help/,
    status: 2,
  },
  {
    wrong: 'bad option value',
    flags: ['--log-level', 'loud'],
    says: /--log-level loud is not one of/,
    status: 2,
  },
  { wrong: 'no kubeconfig', flags: ['--kubeconfig', '/nowhere'], says: /kubeconfig \/nowhere: no such file/ },
  {
    wrong: 'feature not built',
    config: { 'enable-ipv6': 'true' },
    says: /enable-ipv6: .*not built yet/,
  },
  {
    wrong: 'bad range',
    config: { [pools]: '10.0.0.0/33' },
    says: /cluster-pool-ipv4-cidr: .*10\.0\.0\.0\/33/,
  },
  {
    wrong: 'mask longer than the range',
    config: { [pools]: '10.1.0.0/16', 'cluster-pool-ipv4-mask-size': '12' },
    says: /mask-size: 12 is not a mask for 10\.1\.0\.0\/16; use 16/,
  },
  {
    wrong: 'bad combination',
    config: { 'routing-mode': 'tunnel', 'auto-direct-node-routes': 'true' },
    says: /auto-direct-node-routes: true makes no sense in tunnel mode/,
  },
  {
    wrong: 'not root',
    as: 'setpriv --reuid=65534 --regid=65534 --clear-groups',
    says: /only root can set up a node; run it as root/,
  },
  {
    wrong: 'root without a capability',
    as: 'setpriv --bounding-set=-net_admin',
    says: /lacks CAP_NET_ADMIN \(devices, routes and filters\)/,
  },
  {
    wrong: 'bpf(2) refused',
    before: 'mount -t bpf bpffs /sys/fs/bpf',
    as: 'unshare --user --map-root-user',
    says: /eBPF maps of type hash: the kernel refuses to make one/,
  },
  {
    wrong: 'read-only state folder',
    before: 'mount -t tmpfs -o ro none DIR/run',
    says: /state folder .*read-only; mount it read-write, or name another with --state-dir/,
  },
  {
    wrong: 'full disk',
    before: 'mount -t tmpfs -o size=8k none DIR/run',
    says: /state folder .*: no space left; free some space/,
  },
  {
    wrong: 'file in place of the state folder',
    before: 'touch DIR/run/state',
    says: /state folder .*run\/state/,
  },
  {
    wrong: 'no bpffs, and no place for one',
    before: 'mkdir DIR/ro; mount -t tmpfs -o ro none DIR/ro',
    flags: ['--bpf-root', 'DIR/ro/bpf'],
    says: /bpffs on .*ro\/bpf: there is none, and mounting one failed: .*mount -t bpf bpffs/,
  },
  {
    wrong: 'file in place of the socket',
    before: 'touch DIR/run/s',
    says: /run\/s: a file that is not a socket is there/,
  },
  {
    wrong: 'socket path too long',
    flags: ['--socket', `/run/${'x'.repeat(120)}`],
    says: /xxx: .*socket's path holds 107/,
  },
];

test.before(async () => {
  await lab.up('n1', 'ipam.operator.clusterPoolIPv4PodCIDRList=10.46.0.0/16');
});

test.after.always(async () => {
  await lab.down();
  rmSync(files, { recursive: true, force: true });
});

/** An agent of a folder of its own, in namespaces of its own unless it shall join one. */
function agent(o: Omit<AgentCase, 'wrong' | 'says'> & { name: string; netns?: string }): ChildProcess {
  const dir = join(files, o.name.replaceAll(/\W+/g, '-'));
  mkdirSync(join(dir, 'config'), { recursive: true });
  mkdirSync(join(dir, 'run'), { recursive: true });
  writeFileSync(join(dir, 'kubeconfig'), KUBECONFIG);
  for (const [key, value] of Object.entries(o.config ?? {})) writeFileSync(join(dir, 'config', key), value);
  const options = {
    kubeconfig: 'kubeconfig',
    'config-dir': 'config',
    'state-dir': 'run/state',
    socket: 'run/s',
  };
  const flags = Object.entries(options).flatMap(([flag, path]) => [`--${flag}`, join(dir, path)]);
  const command = [process.execPath, agentProgram, '--node-name', 'n', ...flags, ...(o.flags ?? [])].join(
    ' ',
  );
  const script = `${o.before ?? 'true'} && exec ${o.as ?? ''} ${command}`.replaceAll('DIR', dir);
  const enter = o.netns ? ['nsenter', `--net=${o.netns}`, 'unshare', '-m'] : ['unshare', '-n', '-m'];
  // One that is not refused would wait for its API server: it is ended, and what it said shows why.
  return spawn(enter[0]!, [...enter.slice(1), 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
}

/** The lines that are no log lines: what a person is told. */
const told = ({ stderr }: Outcome): string[] =>
  stderr.split('\n').filter(line => line !== '' && !line.startsWith('time='));

for (const { wrong, says, ...rest } of AGENT) {
  test.serial(`agent: ${wrong}`, async t => {
    const outcome = await collect(agent({ name: wrong, ...rest }));
    if (!t.is(told(outcome).length, 1, outcome.stderr)) return;
    t.regex(told(outcome)[0]!, says);
    t.true(told(outcome)[0]!.startsWith('fimbria-agent: '));
    t.is(outcome.status, rest.status ?? 1);
  });
}

test.serial('agent: a socket that a living process answers at', async t => {
  const path = join(files, 'taken');
  const server = createServer().listen(path);
  const outcome = await collect(agent({ name: 'taken socket', flags: ['--socket', path] }));
  server.close();
  t.regex(told(outcome).join('|'), /taken: a running agent answers there; stop it first[^|]*$/);
});

test.serial(
  'agent: mounts a missing bpffs, says that cgroup2 is missing, and keeps a second agent off the node',
  async t => {
    const first = agent({
      name: 'first',
      config: { 'no-such-key': '1' },
      before: 'umount -R /sys && mount -t sysfs none /sys',
    });
    const ended = collect(first);
    const words = await printed(first, /waiting for the InternalIP/);
    t.regex(words, /mounted a bpffs.*\/sys\/fs\/bpf/);
    t.regex(words, /no cgroup v2/);
    t.regex(words, /no effect.*no-such-key/);
    const second = await collect(agent({ name: 'second', netns: `/proc/${first.pid}/ns/net` }));
    t.deepEqual(told(second), [
      `fimbria-agent: start agent: another agent runs on this node (pid ${first.pid}); there is one per node; stop the other first`,
    ]);
    first.kill('SIGKILL');
    await ended;
  },
);

test.serial('lab: values that cannot work are refused before anything is there or changed', async t => {
  const other = new TestLab('bad-up');
  const range = 'ipam.operator.clusterPoolIPv4PodCIDRList';
  const cases: [string, RegExp][] = [
    [
      `${range}=192.168.0.0/16`,
      /192\.168\.0\.0\/16 overlaps 192\.168\.10\.0\/24, the network between the lab's nodes/,
    ],
    ['ipam.operator.clusterPoolIPv4MaskSize=8', /MaskSize: 8 is not a mask for 10\.244\.0\.0\/16/],
    ['no.such=1', /values: no: unknown key/],
    ['routingMode=native,tunnelProtocol=geneve', /tunnelProtocol: .*geneve/],
  ];
  for (const [set, says] of cases) {
    const outcome = await other.fimbria('lab', 'up', '--nodes', '1', '--set', set);
    t.is(outcome.status, 1, set);
    t.regex(outcome.stderr, says);
    t.is(outcome.stderr.trim().split('\n').length, 1, outcome.stderr);
  }
  t.false(existsSync(`/run/fimbria-lab/${other.name}`));
  const before = await lab.execMust('n1', 'cilium', 'config', 'view');
  const upgrade = await lab.fimbria('lab', 'upgrade', '--set', `${range}=192.168.10.0/24`);
  t.regex(upgrade.stderr, /192\.168\.10\.0\/24 overlaps/);
  t.is(await lab.execMust('n1', 'cilium', 'config', 'view'), before);
});

/** Calls the plugin within the node as a runtime would. */
function cni(stdin: string | Buffer, env: Record<string, string> = {}): Promise<Outcome> {
  const variables = Object.entries({
    ...{
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'bad',
      CNI_NETNS: '/nowhere',
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/x',
    },
    ...env,
  }).map(([key, value]) => `${key}=${value}`);
  const child = lab.spawn(['lab', 'exec', 'n1', '--', 'env', ...variables, plugin]);
  child.stdin?.on('error', () => {});
  child.stdin?.end(stdin);
  return collect(child);
}

const conf = (fields: Record<string, unknown> = {}): string =>
  JSON.stringify({
    cniVersion: '1.0.0',
    name: 'n',
    type: 'fimbria-cni',
    socket: '/run/fimbria/fimbria.sock',
    ...fields,
  });

test.serial(
  'plugin: whatever is wrong with a call, the answer is one error of CNI and the node stays as it was',
  async t => {
    const CASES: [string, string | Buffer, Record<string, string>, number[], RegExp][] = [
      ['empty stdin', '', {}, [6, 7], /config/],
      ['truncated', conf().slice(0, -9), {}, [6], /config/],
      ['10 MB', `${conf().slice(0, -1)},"x":"${'y'.repeat(10_000_000)}"}`, {}, [5, 6, 7, 100, 999], /./],
      ['a list', '[]', {}, [6, 7], /config/],
      ['wrong types', conf({ cniVersion: 1 }), {}, [6], /cniVersion/],
      ['wrong type of the socket', conf({ socket: 7 }), {}, [7], /socket/],
      ['unknown version', conf({ cniVersion: '9.9.9' }), {}, [1], /incompatible CNI version/],
      ['duplicate keys', conf().replace('{', '{"cniVersion":"1.0.0",'), {}, [6, 7], /stands twice/],
      ['no namespace there', conf(), {}, [999], /network namespace \/nowhere/],
      [
        'dead namespace',
        conf(),
        { CNI_NETNS: '/proc/4194303/ns/net' },
        [999],
        /network namespace \/proc\/4194303/,
      ],
      [
        'a file that is no namespace',
        conf(),
        { CNI_NETNS: '/etc/passwd' },
        [999],
        /network namespace \/etc\/passwd/,
      ],
      ['interface name too long', conf(), { CNI_IFNAME: 'sixteencharacter' }, [4], /invalid CNI_IFNAME/],
      ['no container', conf(), { CNI_CONTAINERID: '' }, [4], /CNI_CONTAINERID/],
      ['unknown command', conf(), { CNI_COMMAND: 'FROB' }, [4], /CNI_COMMAND/],
    ];
    const look = async (): Promise<string> => {
      const parts = ['ip -o link; ip route; ls /sys/fs/bpf/tc/globals', 'cilium endpoint list'];
      const text = await lab.execMust('n1', 'sh', '-c', parts.join(';'));
      return text + JSON.stringify((await lab.json<{ ipam: unknown }>('n1', 'cilium', 'status')).ipam);
    };
    const before = await look();
    for (const [what, stdin, env, codes, says] of CASES) {
      const outcome = await cni(stdin, env);
      t.is(outcome.status, 1, what);
      const error = JSON.parse(outcome.stdout);
      t.true(codes.includes(error.code), `${what}: ${outcome.stdout}`);
      t.regex(`${error.msg} ${error.details ?? ''}`, says, what);
    }
    t.is(await look(), before);
  },
);

test.serial('plugin: a second ADD of a container is refused and the first stays', async t => {
  const netns = '/run/fimbria/netns-second';
  const steps = `touch ${netns} && unshare --net=${netns} true`;
  await lab.execMust('n1', 'sh', '-c', steps);
  const env = { CNI_CONTAINERID: 'twice', CNI_NETNS: netns };
  const first = await cni(conf(), env);
  t.is(first.status, 0, first.stdout);
  const list = await lab.execMust('n1', 'cilium', 'endpoint', 'list');
  const second = await cni(conf(), env);
  t.is(second.status, 1);
  t.regex(
    JSON.parse(second.stdout).msg,
    /container twice interface eth0: it is endpoint \d+ with 10\.46\.[\d.]+ already; DEL it first/,
  );
  const taken = await cni(conf(), { ...env, CNI_CONTAINERID: 'other' });
  t.regex(JSON.parse(taken.stdout).msg, /interface eth0 in .*netns-second: the namespace already has one/);
  t.is(await lab.execMust('n1', 'cilium', 'endpoint', 'list'), list);
  for (const command of ['DEL', 'DEL'])
    t.is((await cni(conf(), { ...env, CNI_COMMAND: command })).status, 0, 'DEL is repeatable');
  await lab.execMust('n1', 'sh', '-c', `umount ${netns}; rm ${netns}`);
  t.false(readFileSync(`/run/fimbria-lab/${lab.name}/logs/agent-n1.log`, 'utf8').includes('level=error'));
});
