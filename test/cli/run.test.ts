import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createApiServer } from '../../src/api/server.ts';
import type { AgentHandlers, StatusResponse } from '../../src/api/types.ts';
import { silent } from '../../src/base/log.ts';
import { ENDPOINTS, FakeMonitor, fakeHandlers, status, temporaryDirectory } from '../api/fixtures.ts';
import { finish, type Result, start } from './program.ts';

const fimbria = async (args: string[], env: Record<string, string> = {}): Promise<Result> =>
  await finish(start(args, env));

async function agent(
  t: ExecutionContext,
  replace: Partial<AgentHandlers> = {},
): Promise<Record<string, string>> {
  const socketPath = join(temporaryDirectory(t), 'agent.sock');
  const server = await createApiServer({ handlers: fakeHandlers(replace), socketPath, log: silent });
  t.teardown(() => server.close());
  return { FIMBRIA_SOCK: socketPath };
}

test.serial('lists are printed as tables, JSON, YAML and by jsonpath', async t => {
  const env = await agent(t);
  const plain = await fimbria(['endpoint', 'list'], env);
  t.is(plain.code, 0);
  t.regex(plain.stdout, /^ENDPOINT {3}POLICY \(ingress\)/);
  const json = await fimbria(['endpoint', 'list', '-o', 'json'], env);
  t.deepEqual(
    JSON.parse(json.stdout),
    ENDPOINTS.toSorted((a, b) => a.id - b.id),
  );
  const yaml = await fimbria(['config', 'view', '-o', 'yaml'], env);
  t.true(yaml.stdout.includes('ipam: cluster-pool\n'));
  const path = await fimbria(['endpoint', 'list', '-o', 'jsonpath={[*].id}'], env);
  t.is(path.stdout, '235 1334 1364');
  const metrics = await fimbria(['bpf', 'metrics', 'list', '-o', 'json'], env);
  t.like(JSON.parse(metrics.stdout)[0], {
    reason: 0,
    text: 'Success',
    direction: 'EGRESS',
    packets: 12,
    bytes: 982,
  });
});

test.serial('one service, by its number; those that fit; what nobody has is told', async t => {
  const backends = [{ address: '10.244.1.7:8080/TCP', state: 'active' as const }];
  const all = [
    { id: 1, name: 'shop/web', frontend: '10.96.0.1:80/TCP', type: 'ClusterIP' as const, backends },
    { id: 2, name: 'shop/web', frontend: '0.0.0.0:30001/TCP', type: 'NodePort' as const, backends },
  ];
  const flushed: string[] = [];
  const env = await agent(t, {
    services: async () => all,
    bpfFlush: async table => {
      flushed.push(table);
      return [{ map: 'cilium_snat_v4_external', entries: 3 }];
    },
  });
  const one = await fimbria(['service', 'get', '2'], env);
  t.regex(one.stdout, /^ID .*\n2 {4}0\.0\.0\.0:30001\/TCP {3}NodePort /);
  t.deepEqual(JSON.parse((await fimbria(['service', 'get', '1', '-o', 'json'], env)).stdout), [all[0]]);
  const none = await fimbria(['service', 'get', '7'], env);
  t.is(none.code, 1);
  t.regex(
    none.stderr,
    /^fimbria: get service 7: this node balances none with that ID; see `fimbria service list`\n$/,
  );
  const wide = await fimbria(['service', 'list', '--type', 'nodeport', '-o', 'wide'], env);
  t.regex(wide.stdout, /Name.*\n2 .* shop\/web *\n$/);
  t.is((await fimbria(['service', 'list', '--type', 'Cluster'], env)).code, 2);
  const two = await fimbria(['bpf', 'lb', 'list', '--backends', '--revnat'], env);
  t.is(two.code, 2);
  t.is((await fimbria(['bpf', 'ct', 'list', 'local'], env)).code, 2);
  const flush = await fimbria(['bpf', 'nat', 'flush'], env);
  t.is(flush.stdout, 'Flushed 3 entries from cilium_snat_v4_external\n');
  t.deepEqual(flushed, ['nat']);
});

test.serial('endpoint get prints an array of one, as Cilium does', async t => {
  const env = await agent(t);
  const byPod = await fimbria(['endpoint', 'get', 'pod-name:kube-system/coredns-674b8bbfcf-7ltmp'], env);
  t.is(JSON.parse(byPod.stdout)[0].id, 235);
  t.true(
    byPod.stdout.includes(`      "networking": {
        "addressing": [
          {
            "ipv4": "172.20.0.3",
            "ipv4-pool-name": "default"
          }
        ],
        "container-interface-name": "eth0",
        "host-mac": "2e:a3:f9:4b:05:20",
        "interface-index": 11,
        "interface-name": "lxcd4c5e765631e",
        "mac": "86:0a:05:59:44:d9"
      },
`),
  );
  const missing = await fimbria(['endpoint', 'get', '99'], env);
  t.is(missing.code, 1);
  t.is(missing.stderr, 'fimbria: get endpoint 99: this node has none; see `fimbria endpoint list`\n');
});

test.serial('failures are one line with what, why and what to do, exit 1', async t => {
  const nowhere = join(temporaryDirectory(t), 'none.sock');
  t.deepEqual(await fimbria(['status', '--socket', nowhere]), {
    code: 1,
    signal: null,
    stdout: '',
    stderr: `fimbria: reach agent at ${nowhere}: no socket there; start fimbria-agent, or name its socket with --socket or $FIMBRIA_SOCK\n`,
  });
});

test.serial('wrong usage exits 2 and says where to read', async t => {
  for (const [args, stderr] of [
    [['nonsense'], "fimbria: unknown command 'nonsense'; see `fimbria --help`\n"],
    [['status', '--nonsense'], "fimbria: unknown option '--nonsense'; see `fimbria status --help`\n"],
    [['endpoint', 'get'], "fimbria: missing required argument 'id'; see `fimbria endpoint get --help`\n"],
    [['staus'], "fimbria: unknown command 'staus' (Did you mean status?); see `fimbria --help`\n"],
  ] as const) {
    const result = await fimbria([...args]);
    t.is(result.code, 2, args.join(' '));
    t.is(result.stderr, stderr);
    t.is(result.stdout, '');
  }
  t.is((await fimbria(['node', 'list', '-o', 'xml'], await agent(t))).code, 2);
  t.is((await fimbria(['monitor', '--type', 'rain'])).code, 2);
});

test.serial('help lists every command and exits 0; no command at all exits 2', async t => {
  const help = await fimbria(['--help']);
  t.is(help.code, 0);
  for (const word of ['status', 'endpoint', 'bpf', 'monitor', 'apply', 'lab', 'apiserver', 'completion']) {
    t.regex(help.stdout, new RegExp(`^  ${word}\\b`, 'm'));
  }
  t.is((await fimbria([])).code, 2);
});

test.serial('status exits 1 when the agent is not well, and --brief says why', async t => {
  const sick: StatusResponse = { ...status(), cilium: { state: 'Failure', msg: 'no datapath' } };
  const env = await agent(t, { healthz: async () => sick });
  const brief = await fimbria(['status', '--brief'], env);
  t.deepEqual([brief.code, brief.stdout], [1, 'error in cilium: no datapath\n']);
  t.is((await fimbria(['status'], env)).code, 1);
  const wait = await fimbria(['status', '--wait', '--wait-duration', '0s'], env);
  t.is(wait.code, 1);
  t.regex(wait.stderr, /^fimbria: wait for agent: cilium: no datapath; /);
});

test.serial('status --wait returns when the agent has become well', async t => {
  let asked = 0;
  const env = await agent(t, {
    healthz: async () => {
      asked++;
      return asked < 3 ? { ...status(), kubernetes: { state: 'Failure', msg: 'not yet' } } : status();
    },
  });
  const result = await fimbria(['status', '--wait'], env);
  t.is(result.code, 0);
  t.is(asked, 3);
});

test.serial('monitor prints lines or JSON until it is interrupted, then exits 0', async t => {
  for (const [args, first] of [
    [['monitor', '--type', 'drop'], 'Press Ctrl-C to quit\nxx drop (Policy denied)\n'],
    [['monitor', '-o', 'json'], '{"type":"drop","text":"xx drop (Policy denied)"}\n'],
  ] as const) {
    const monitor = new FakeMonitor();
    monitor.emit({ type: 'drop', text: 'xx drop (Policy denied)' });
    const env = await agent(t, { monitor: (_, signal) => monitor.listen(signal) });
    const child = start([...args], env);
    let seen = '';
    child.stdout?.on('data', chunk => {
      seen += chunk;
      if (seen.includes('drop (Policy denied)')) child.kill('SIGINT');
    });
    const result = await finish(child);
    t.is(result.stdout, first);
    t.is(result.code, 0);
    t.is(result.stderr, '');
    await monitor.ended;
  }
});

test.serial('monitor says so when the agent goes away', async t => {
  const env = await agent(t, {
    monitor: async function* () {
      yield { type: 'drop', text: 'last' };
    },
  });
  const result = await fimbria(['monitor'], env);
  t.is(result.code, 1);
  t.is(result.stdout, 'Press Ctrl-C to quit\nlast\n');
  t.regex(result.stderr, /^fimbria: monitor: the agent ended the stream; /);
});

test.serial('an interrupted command exits 130', async t => {
  let reached: () => void = () => {};
  const asked = new Promise<void>(resolve => {
    reached = resolve;
  });
  const env = await agent(t, {
    healthz: () => {
      reached();
      return new Promise(() => {});
    },
  });
  const child = start(['status'], env);
  const result = finish(child);
  await asked;
  child.kill('SIGINT');
  t.is((await result).code, 130);
});

test.serial('a reader that goes away ends the program quietly', async t => {
  const rows = Array.from({ length: 20_000 }, (_, id) => ({ id, labels: [`k8s:app=number-${id}`] }));
  const env = await agent(t, { identities: async () => rows });
  const child = start(['identity', 'list'], env);
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', chunk => {
    stderr += chunk;
  });
  child.stdout?.once('data', () => child.stdout?.destroy());
  const [code] = await once(child, 'close');
  t.is(stderr, '');
  t.is(code, 0);
});

test.serial('a long list arrives whole through a pipe', async t => {
  const rows = Array.from({ length: 20_000 }, (_, id) => ({ id, labels: [`k8s:app=number-${id}`] }));
  const env = await agent(t, { identities: async () => rows });
  const { stdout } = await fimbria(['identity', 'list'], env);
  t.is(stdout.split('\n').length, 20_002);
});

test.serial('completion scripts are valid and complete what is there', async t => {
  const script = (await fimbria(['completion', 'bash'])).stdout;
  const probe = `${script}
COMP_WORDS=(fimbria bpf ""); COMP_CWORD=2; _fimbria; echo "\${COMPREPLY[@]}"
COMP_WORDS=(fimbria endpoint get --o); COMP_CWORD=3; _fimbria; echo "\${COMPREPLY[@]}"`;
  const shell = await finish(spawn('bash', ['-s'], { stdio: ['pipe', 'pipe', 'pipe'] }), probe);
  t.is(shell.stdout, 'endpoint ipcache metrics policy lb ct nat l2-responder ipmasq\n--output\n');
  t.is(shell.stderr, '');
  t.regex((await fimbria(['completion', 'zsh'])).stdout, /^#compdef fimbria cilium cilium-dbg\n/);
  t.regex((await fimbria(['completion', 'fish'])).stdout, /complete -c cilium-dbg -w fimbria\n$/);
  t.is((await fimbria(['completion', 'tcsh'])).code, 2);
});
