import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ApiClient } from '../../src/api/client.ts';
import { MAX_BODY_BYTES, operations } from '../../src/api/schema.ts';
import { type ApiServer, createApiServer } from '../../src/api/server.ts';
import type { AgentHandlers, MonitorEvent, MonitorFilter } from '../../src/api/types.ts';
import { codeOf, FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import { AddressPool } from '../../src/ipam/pool.ts';
import { CONFIG, ENDPOINTS, FakeMonitor, fakeHandlers, temporaryDirectory } from './fixtures.ts';

interface Running {
  socketPath: string;
  client: ApiClient;
  server: ApiServer;
}

async function serve(t: ExecutionContext, replace: Partial<AgentHandlers> = {}): Promise<Running> {
  const socketPath = join(temporaryDirectory(t), 'agent.sock');
  const server = await createApiServer({ handlers: fakeHandlers(replace), socketPath, log: silent });
  t.teardown(() => server.close());
  return { socketPath, client: new ApiClient(socketPath), server };
}

interface Answer {
  status: number;
  body: string;
}

async function call(
  socketPath: string,
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const sent = request(
      { socketPath, method, path, agent: false, headers: options.headers ?? {} },
      response => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', chunk => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      },
    );
    sent.on('error', reject);
    sent.end(options.body);
  });
}

test('reads go through the client unchanged', async t => {
  const { client } = await serve(t);
  t.deepEqual(await client.endpoints(), ENDPOINTS);
  t.deepEqual(await client.config(), CONFIG);
  t.is((await client.healthz()).ipam.status, 'IPv4: 3/6 allocated from 172.20.42.0/29, ');
  t.is((await client.nodes()).length, 2);
  t.is((await client.identities()).length, 2);
  t.is((await client.ips()).length, 4);
  t.is((await client.maps()).length, 2);
  t.deepEqual(await client.services(), []);
  t.is((await client.bpf('metrics'))[1]?.packets, 181);
  t.is((await client.bpf('policy', '235')).length, 2);
});

test('an endpoint is found by every form of its id', async t => {
  const { client } = await serve(t);
  for (const id of [
    '235',
    'cilium-local:235',
    'pod-name:kube-system/coredns-674b8bbfcf-7ltmp',
    'ipv4:172.20.0.3',
    'container-id:c-235',
  ]) {
    t.is((await client.endpoint(id))?.id, 235, id);
  }
  t.is(await client.endpoint('99'), undefined);
  t.true(await client.endpointDelete('235'));
  t.false(await client.endpointDelete('99'));
});

test('bad input is refused with 400 and says what is wrong', async t => {
  const { socketPath } = await serve(t);
  for (const [method, path] of [
    ['GET', '/v1/endpoint/nonsense'],
    ['GET', '/v1/endpoint/name:x'],
    ['POST', '/v1/ipam/300.1.2.3'],
    ['DELETE', '/v1/ipam/x'],
    ['POST', '/v1/ipam?family=ipx'],
    ['GET', '/v1/bpf/nothing'],
    ['GET', '/v1/monitor?type=drop,rain'],
    ['POST', '/v1/cni'],
    ['DELETE', '/v1/endpoint'],
  ] as const) {
    const { status, body } = await call(socketPath, method, path);
    t.is(status, 400, `${method} ${path}`);
    t.is(JSON.parse(body).code, 'INVALID');
    t.regex(JSON.parse(body).message, /^read /);
  }
});

test('codes follow the thrown error', async t => {
  for (const [code, status] of [
    ['INVALID', 400],
    ['FORBIDDEN', 403],
    ['NOT_FOUND', 404],
    ['CONFLICT', 409],
    ['TOO_MANY_REQUESTS', 429],
    ['NOT_IMPLEMENTED', 501],
    ['UNAVAILABLE', 503],
    ['EIO', 500],
  ] as const) {
    const { socketPath, client } = await serve(t, {
      healthz: async () => {
        throw new FimbriaError({ code, op: 'read', object: 'state', why: 'of a test', hint: 'go on' });
      },
    });
    const answer = await call(socketPath, 'GET', '/v1/healthz');
    t.is(answer.status, status);
    t.deepEqual(JSON.parse(answer.body), {
      code,
      message: 'read state: of a test; go on',
      op: 'read',
      object: 'state',
      why: 'of a test',
      hint: 'go on',
    });
    t.is((await t.throwsAsync(client.healthz()))?.message, 'read state: of a test; go on');
  }
});

test('an exhausted range is 502 with the JSON string that the plugin prints', async t => {
  const { socketPath } = await serve(t);
  t.deepEqual(await call(socketPath, 'POST', '/v1/ipam?family=ipv4&owner=x'), {
    status: 502,
    body: '"range is full"',
  });
});

test('addresses are allocated with 201, claimed with 200 and released', async t => {
  const owners: string[] = [];
  const { socketPath, client } = await serve(t, {
    ipamAllocate: async ({ owner }) => {
      owners.push(owner);
      return await fakeHandlers().ipamClaim('172.20.42.4', owner);
    },
  });
  t.is((await call(socketPath, 'POST', '/v1/ipam?owner=a')).status, 201);
  t.is((await client.ipamAllocate('ns/pod')).address.ipv4, '172.20.42.4');
  t.deepEqual(owners, ['a', 'ns/pod']);
  t.is((await client.ipamClaim('172.20.42.6', 'b')).ipv4.ip, '172.20.42.6');
  t.true(await client.ipamRelease('172.20.42.5'));
  t.false(await client.ipamRelease('172.20.42.6'));
});

test('claiming an address that somebody has is 409 with Cilium’s words', async t => {
  const pool = new AddressPool(['172.20.42.0/29']);
  pool.claim('172.20.42.2', { kind: 'router' });
  const { socketPath } = await serve(t, {
    ipamClaim: async (ip, owner) => {
      pool.claim(ip, { kind: 'named', name: owner });
      return await fakeHandlers().ipamClaim(ip, owner);
    },
  });
  t.deepEqual(await call(socketPath, 'POST', '/v1/ipam/172.20.42.2?owner=x'), {
    status: 409,
    body: '"IP 172.20.42.2 is already in use by router"',
  });
});

test('what belongs elsewhere is refused with 403', async t => {
  const { socketPath } = await serve(t);
  t.is((await call(socketPath, 'PATCH', '/v1/config', { body: '{}' })).status, 403);
  t.is((await call(socketPath, 'PUT', '/v1/endpoint/5', { body: '{}' })).status, 403);
  t.is((await call(socketPath, 'GET', '/v1/nothing')).status, 404);
});

test('a container is deleted by its id', async t => {
  const { socketPath } = await serve(t);
  const remove = (id: string) => {
    const body = JSON.stringify({ 'container-id': id });
    // Node sends no length with a DELETE unless told to.
    return call(socketPath, 'DELETE', '/v1/endpoint', {
      headers: { 'content-length': String(body.length) },
      body,
    });
  };
  t.is((await remove('c-235')).status, 200);
  t.is((await remove('c-9')).status, 404);
});

test('a CNI call arrives with its environment and its body, and the reply is passed on', async t => {
  const { socketPath } = await serve(t);
  const stdin = '{ "cniVersion": "1.0.0",\n "name": "fimbria" }';
  const headers = {
    'x-cni-command': 'ADD',
    'x-cni-containerid': 'abc',
    'x-cni-netns': '/proc/1/ns/net',
    'x-cni-ifname': 'eth0',
    'x-cni-args': 'K8S_POD_NAME=p;K8S_POD_NAMESPACE=default',
  };
  const answer = await call(socketPath, 'POST', '/v1/cni', { headers, body: stdin });
  t.is(answer.status, 200);
  t.deepEqual(JSON.parse(answer.body), {
    command: 'ADD',
    env: {
      CNI_CONTAINERID: 'abc',
      CNI_NETNS: '/proc/1/ns/net',
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'K8S_POD_NAME=p;K8S_POD_NAMESPACE=default',
    },
    stdin,
  });
});

test('a CNI error keeps its status and a reply may be empty', async t => {
  const error = { cniVersion: '1.0.0', code: 11, msg: 'try again later' };
  const { socketPath } = await serve(t, {
    cni: async ({ command }) =>
      command === 'ADD' ? { status: 503, body: error } : { status: 200, body: undefined },
  });
  const add = await call(socketPath, 'POST', '/v1/cni', { headers: { 'x-cni-command': 'ADD' }, body: '{}' });
  t.deepEqual({ ...add, body: JSON.parse(add.body) }, { status: 503, body: error });
  t.deepEqual(
    await call(socketPath, 'POST', '/v1/cni', { headers: { 'x-cni-command': 'DEL' }, body: '{}' }),
    {
      status: 200,
      body: '',
    },
  );
});

test('a body beyond the bound is refused with 413, with and without a length', async t => {
  const { socketPath } = await serve(t);
  const body = 'x'.repeat(MAX_BODY_BYTES + 1);
  const headers = { 'x-cni-command': 'ADD' };
  t.is((await call(socketPath, 'POST', '/v1/cni', { headers, body })).status, 413);
  const chunked = { ...headers, 'transfer-encoding': 'chunked' };
  t.is((await call(socketPath, 'POST', '/v1/cni', { headers: chunked, body })).status, 413);
});

test('monitor streams events until the client goes, and gives the filter on', async t => {
  const monitor = new FakeMonitor();
  const filters: MonitorFilter[] = [];
  const { client } = await serve(t, {
    monitor: (filter, signal) => {
      filters.push(filter);
      return monitor.listen(signal);
    },
  });
  const abort = new AbortController();
  const seen: MonitorEvent[] = [];
  monitor.emit({ type: 'drop', text: 'one' });
  for await (const event of client.monitor({ types: ['drop', 'trace'], related: [5, 6] }, abort.signal)) {
    seen.push(event);
    if (seen.length === 1) monitor.emit({ type: 'trace', text: 'two', reason: 3 });
    else abort.abort();
  }
  await monitor.ended;
  t.deepEqual(seen, [
    { type: 'drop', text: 'one' },
    { type: 'trace', text: 'two', reason: 3 },
  ]);
  t.deepEqual(filters, [{ types: ['drop', 'trace'], related: [5, 6] }]);
});

test('closing the server ends idle streams', async t => {
  const monitor = new FakeMonitor();
  const { client, server } = await serve(t, { monitor: (_, signal) => monitor.listen(signal) });
  monitor.emit({ type: 'drop', text: 'one' });
  const events = client.monitor({}, new AbortController().signal);
  t.is((await events.next()).value?.text, 'one');
  const ended = events.next();
  await server.close();
  t.true((await ended).done);
  await monitor.ended;
});

test('the socket is 0600 unless a group is named, and goes with the server', async t => {
  const { socketPath, server } = await serve(t);
  t.is(statSync(socketPath).mode & 0o777, 0o600);
  await server.close();
  t.false(existsSync(socketPath));
  const grouped = await createApiServer({
    handlers: fakeHandlers(),
    socketPath,
    group: 'daemon',
    log: silent,
  });
  t.teardown(() => grouped.close());
  t.is(statSync(socketPath).mode & 0o777, 0o660);
  t.is(statSync(socketPath).gid, 1);
  await t.throwsAsync(
    createApiServer({
      handlers: fakeHandlers(),
      socketPath: `${socketPath}2`,
      group: 'nobody-has-this',
      log: silent,
    }),
    { message: /^find group nobody-has-this: / },
  );
});

test('a socket that a living agent answers at is refused, a dead one is replaced', async t => {
  const { socketPath, client } = await serve(t);
  const error = await t.throwsAsync(createApiServer({ handlers: fakeHandlers(), socketPath, log: silent }));
  t.is(codeOf(error), 'EADDRINUSE');
  t.regex(error?.message ?? '', /a running agent answers there; stop it first/);
  t.is((await client.endpoints()).length, 3);

  const dead = join(temporaryDirectory(t), 'dead.sock');
  // One was killed before it had its name.
  const script = `
    const [net, path] = [require('net'), ${JSON.stringify(dead)}];
    net.createServer().listen(path + '.4242', () =>
      net.createServer().listen(path, () => process.kill(process.pid, 'SIGKILL')));`;
  const killed = spawnSync(process.execPath, ['-e', script]);
  t.is(killed.signal, 'SIGKILL');
  t.true(existsSync(dead) && existsSync(`${dead}.4242`));
  const server = await createApiServer({ handlers: fakeHandlers(), socketPath: dead, log: silent });
  t.teardown(() => server.close());
  t.is((await new ApiClient(dead).endpoints()).length, 3);
  t.false(existsSync(`${dead}.4242`));
});

test('a file that is not a socket is left alone', async t => {
  const socketPath = join(temporaryDirectory(t), 'file');
  writeFileSync(socketPath, 'precious');
  const error = await t.throwsAsync(createApiServer({ handlers: fakeHandlers(), socketPath, log: silent }));
  t.is(codeOf(error), 'EEXIST');
  const long = join('/tmp', 'x'.repeat(120));
  t.is(
    codeOf(await t.throwsAsync(createApiServer({ handlers: fakeHandlers(), socketPath: long, log: silent }))),
    'ENAMETOOLONG',
  );
});

test('an agent that is away is named with its socket and what to do', async t => {
  const socketPath = join(temporaryDirectory(t), 'nobody.sock');
  const error = await t.throwsAsync(new ApiClient(socketPath).healthz());
  t.is(codeOf(error), 'AGENT_UNREACHABLE');
  t.is(
    error?.message,
    `reach agent at ${socketPath}: no socket there; start fimbria-agent, or name its socket with --socket or $FIMBRIA_SOCK`,
  );
});

test('an agent that hangs up or says nothing is reported', async t => {
  const socketPath = join(temporaryDirectory(t), 'rude.sock');
  const rude = createServer(connection => connection.once('data', () => connection.destroy())).listen(
    socketPath,
  );
  await once(rude, 'listening');
  t.teardown(() => rude.close());
  t.is(codeOf(await t.throwsAsync(new ApiClient(socketPath).healthz())), 'AGENT_UNREACHABLE');

  const { socketPath: slow } = await serve(t, { healthz: () => new Promise(() => {}) });
  const error = await t.throwsAsync(new ApiClient(slow, { timeoutMs: 50 }).healthz());
  t.is(codeOf(error), 'TIMEOUT');
});

test('the OpenAPI document names every operation once', async t => {
  const { socketPath } = await serve(t);
  const document = JSON.parse((await call(socketPath, 'GET', '/v1/openapi.json')).body);
  t.is(document.openapi, '3.1.0');
  const ids = Object.values(document.paths as Record<string, Record<string, { operationId: string }>>)
    .flatMap(path => Object.values(path))
    .map(operation => operation.operationId);
  t.deepEqual(ids.toSorted(), Object.keys(operations).toSorted());
  t.is(document.paths['/ipam'].post.responses['502'].content['application/json'].schema.type, 'string');
  const parameters = document.paths['/ipam/{ip}'].delete.parameters as {
    name: string;
    in: string;
    required: boolean;
  }[];
  t.like(parameters[0], { name: 'ip', in: 'path', required: true });
  t.false(JSON.stringify(document).includes('"$schema"'));
});
