import { join } from 'node:path';
import test from 'ava';
import { answerWith, fakeAgent, netconf, parsed, runPlugin, temporaryFolder } from './support.ts';

const RESULT = { cniVersion: '1.0.0', ips: [{ address: '10.0.0.7/32' }], routes: [{ dst: '0.0.0.0/0' }] };

test('VERSION is answered without an agent, with the caller’s version', async t => {
  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0', '1.1.0', '0.2.0']) {
    const outcome = await runPlugin({ command: 'VERSION', stdin: { cniVersion } });
    t.is(outcome.status, 0);
    t.deepEqual(parsed(outcome), {
      cniVersion,
      supportedVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    });
  }
  const silent = await runPlugin({ command: 'VERSION', stdin: '' });
  t.is(parsed(silent)['cniVersion'], '1.1.0');
});

test('ADD carries variables as headers and stdin as body, and prints the result as it is', async t => {
  const text = `${JSON.stringify(RESULT, null, 3)}\n`;
  const agent = await fakeAgent(t, socket => socket.end(answerWith(200, text)));
  const stdin = JSON.stringify(
    netconf(agent.socketPath, { prevResult: { deep: ['ä', '\u{1f41d}'] } }),
    null,
    2,
  );
  const outcome = await runPlugin({ command: 'ADD', stdin });
  t.is(outcome.stderr, '');
  t.is(outcome.status, 0);
  t.is(outcome.stdout, text);
  t.is(agent.requests.length, 1);
  const [request] = agent.requests;
  t.is(request?.head, 'POST /v1/cni HTTP/1.1');
  t.is(request?.body, stdin);
  t.like(request?.headers, {
    'x-cni-command': 'ADD',
    'x-cni-containerid': 'c0ffee',
    'x-cni-netns': '/var/run/netns/cni-1',
    'x-cni-ifname': 'eth0',
    'x-cni-args': 'K8S_POD_NAMESPACE=default;K8S_POD_NAME=p1',
    'x-cni-path': '/opt/cni/bin',
    'content-type': 'application/json',
  });
});

test('DEL, CHECK, STATUS and GC are forwarded; what has no result may be answered with nothing', async t => {
  const agent = await fakeAgent(t, socket => socket.end('HTTP/1.1 204 No Content\r\n\r\n'));
  for (const command of ['DEL', 'CHECK', 'STATUS', 'GC']) {
    const outcome = await runPlugin({ command, stdin: netconf(agent.socketPath) });
    t.deepEqual(outcome, { status: 0, stdout: '', stderr: '' }, command);
  }
  t.deepEqual(
    agent.requests.map(request => request.headers['x-cni-command']),
    ['DEL', 'CHECK', 'STATUS', 'GC'],
  );
});

test('variables that are not set are not sent', async t => {
  const agent = await fakeAgent(t, socket => socket.end(answerWith(200, {})));
  await runPlugin({
    command: 'DEL',
    env: { CNI_NETNS: null, CNI_ARGS: '', CNI_PATH: null },
    stdin: netconf(agent.socketPath),
  });
  const names = Object.keys(agent.requests[0]?.headers ?? {}).filter(name => name.startsWith('x-cni-'));
  t.deepEqual(names.sort(), ['x-cni-command', 'x-cni-containerid', 'x-cni-ifname']);
});

test('an error of the agent is printed as it is, with exit status 1', async t => {
  const error = {
    cniVersion: '1.1.0',
    code: 102,
    msg: 'unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "range is full"',
  };
  for (const status of [400, 502]) {
    const agent = await fakeAgent(t, socket => socket.end(answerWith(status, error)));
    const outcome = await runPlugin({ command: 'ADD', stdin: netconf(agent.socketPath) });
    t.is(outcome.status, 1);
    t.is(outcome.stdout, JSON.stringify(error));
  }
});

test('an agent that refuses in other words is put into CNI’s', async t => {
  const cases: [number, string, string, number][] = [
    [404, '404 Not Found', 'ADD', 100],
    [500, 'oops', 'ADD', 11],
    [200, 'not json', 'ADD', 11],
    [200, '', 'ADD', 11],
    [200, '[]', 'ADD', 11],
    [503, '{"msg":"no code"}', 'STATUS', 50],
  ];
  for (const [status, body, command, code] of cases) {
    const agent = await fakeAgent(t, socket => socket.end(answerWith(status, body)));
    const outcome = await runPlugin({ command, stdin: netconf(agent.socketPath) });
    t.is(outcome.status, 1, body);
    t.like(parsed(outcome), { cniVersion: '1.1.0', code }, body);
    t.true(String(parsed(outcome)['msg']).includes(`answered ${status}`), body);
  }
});

test('variables are checked before anything is sent: code 4', async t => {
  const agent = await fakeAgent(t, socket => socket.end(answerWith(200, {})));
  const cases: [string, Record<string, string | null>, RegExp][] = [
    ['ADD', { CNI_CONTAINERID: null }, /\[CNI_CONTAINERID\] missing/],
    [
      'ADD',
      { CNI_CONTAINERID: '', CNI_NETNS: null, CNI_IFNAME: null },
      /\[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\]/,
    ],
    ['CHECK', { CNI_NETNS: null }, /\[CNI_NETNS\] missing/],
    ['DEL', { CNI_IFNAME: null }, /\[CNI_IFNAME\] missing/],
    ['ADD', { CNI_IFNAME: 'sixteencharacter' }, /invalid CNI_IFNAME/],
    ['ADD', { CNI_IFNAME: '..' }, /invalid CNI_IFNAME/],
    ['ADD', { CNI_IFNAME: 'a/b' }, /invalid CNI_IFNAME/],
    ['ADD', { CNI_CONTAINERID: '-x' }, /invalid CNI_CONTAINERID/],
    ['ADD', { CNI_CONTAINERID: '../etc' }, /invalid CNI_CONTAINERID/],
    ['ADD', { CNI_CONTAINERID: 'x'.repeat(256) }, /invalid CNI_CONTAINERID/],
    ['ADD', { CNI_ARGS: 'a=b\r\nx-cni-netns: /proc/1/ns/net' }, /invalid CNI_ARGS/],
    ['ADD', { CNI_NETNS: '/x\ny' }, /invalid CNI_NETNS/],
    ['ADD', { CNI_NETNS: 'relative' }, /invalid CNI_NETNS/],
    ['ADD', { CNI_ARGS: 'x'.repeat(4097) }, /invalid CNI_ARGS/],
    ['ADD', { CNI_PATH: '/ä' }, /invalid CNI_PATH/],
    ['EXPLODE', {}, /unknown CNI_COMMAND: EXPLODE/],
  ];
  for (const [command, env, pattern] of cases) {
    const outcome = await runPlugin({
      command,
      env,
      stdin: netconf(agent.socketPath, { cniVersion: '0.4.0' }),
    });
    t.is(outcome.status, 1, command);
    t.like(parsed(outcome), { cniVersion: '0.4.0', code: 4 });
    t.regex(String(parsed(outcome)['msg']), pattern);
  }
  t.like(parsed(await runPlugin({})), { code: 4, msg: 'required env variables [CNI_COMMAND] missing' });
  t.is(agent.requests.length, 0);
});

test('a configuration that is not JSON is refused: code 6', async t => {
  const whole = JSON.stringify(netconf('/nowhere.sock'));
  const cases: [string | Uint8Array, RegExp][] = [
    ['', /end of input/],
    [whole.slice(0, -1), /end of input/],
    [`${whole}x`, /something follows/],
    ['{"cniVersion":"1.0.0","name":"a","name":"b"}', /stands twice/],
    ['{"cniVersion":"1.0.0","x":{"a":1,"\\u0061":2}}', /stands twice/],
    ['['.repeat(100_000), /too deeply/],
    [`{"name":"a","x":${'['.repeat(65)}${']'.repeat(65)}}`, /too deeply/],
    ['{"x":01}', /./],
    ["{'x':1}", /expected a key/],
    ['{"x":"\u0001"}', /control character/],
    ['{"x":"\\ud800"}', /lone surrogate/],
    [new Uint8Array([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]), /UTF-8/],
    [`[${'0,'.repeat(70_000)}0]`, /too many values/],
    [`{${Array.from({ length: 1025 }, (_, i) => `"k${i}":0`).join()}}`, /too many keys/],
    [JSON.stringify({ name: 'x', pad: 'x'.repeat(1024 * 1024) }), /larger than 1 MiB/],
  ];
  for (const [stdin, pattern] of cases) {
    const outcome = await runPlugin({ command: 'ADD', stdin });
    t.is(outcome.status, 1);
    t.is(parsed(outcome)['code'], 6, String(stdin).slice(0, 60));
    t.regex(String(parsed(outcome)['details']), pattern);
  }
});

test('a configuration that means nothing is refused: code 7, or 1 or 6 for its version', async t => {
  const base = { cniVersion: '1.0.0', name: 'fimbria' };
  const cases: [string, unknown, number][] = [
    ['ADD', [], 7],
    ['ADD', { ...base, cniVersion: 1 }, 6],
    ['ADD', { ...base, cniVersion: '1.0.0\n' }, 6],
    ['ADD', { ...base, name: undefined }, 7],
    ['ADD', { ...base, name: '-a' }, 7],
    ['ADD', { ...base, name: ['x'] }, 7],
    ['ADD', { ...base, socket: 7 }, 7],
    ['ADD', { ...base, socket: 'relative.sock' }, 7],
    ['ADD', { ...base, socket: '/x\0y' }, 7],
    ['ADD', { ...base, socket: `/${'x'.repeat(108)}` }, 7],
    ['ADD', { ...base, timeoutMs: '5' }, 7],
    ['ADD', { ...base, timeoutMs: 1.5 }, 7],
    ['ADD', { ...base, timeoutMs: 1e9 }, 7],
    ['ADD', { ...base, cniVersion: undefined }, 1],
    ['ADD', { ...base, cniVersion: '0.2.0' }, 1],
    ['ADD', { ...base, cniVersion: '2.0.0' }, 1],
    ['CHECK', { ...base, cniVersion: '0.3.1' }, 1],
    ['STATUS', base, 1],
    ['GC', base, 1],
  ];
  for (const [command, stdin, code] of cases) {
    const outcome = await runPlugin({ command, stdin: JSON.stringify(stdin) });
    t.is(outcome.status, 1);
    t.is(parsed(outcome)['code'], code, JSON.stringify(stdin));
  }
  const future = await runPlugin({ command: 'ADD', stdin: { ...base, cniVersion: '2.0.0' } });
  t.like(parsed(future), { cniVersion: '2.0.0', msg: 'incompatible CNI versions' });
});

test('without an agent ADD, CHECK and GC say 11 and STATUS says 50', async t => {
  const socket = join(temporaryFolder(t), 'nobody.sock');
  for (const [command, code] of Object.entries({ ADD: 11, CHECK: 11, GC: 11, STATUS: 50 })) {
    const outcome = await runPlugin({ command, stdin: netconf(socket) });
    t.is(outcome.status, 1);
    t.like(parsed(outcome), { cniVersion: '1.1.0', code, details: 'No such file or directory' });
    t.regex(String(parsed(outcome)['msg']), /unable to connect to fimbria agent at .*nobody\.sock/);
  }
});
