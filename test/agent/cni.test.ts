import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { CniHandler, podOf } from '../../src/agent/cni.ts';
import { addResult } from '../../src/agent/cni-result.ts';
import { hasQueuedDeletes, replayDeleteQueue } from '../../src/agent/delete-queue.ts';
import { silent } from '../../src/base/log.ts';
import type { EndpointDeps } from '../../src/endpoint/deps.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';

const endpoint = {
  hostIfname: 'lxc162d38bc0dae',
  hostMac: 'b6:11:82:28:11:c9',
  ifname: 'eth0',
  mac: '26:98:44:5b:ad:22',
  netns: '/var/run/netns/pod-1',
  ipv4: '172.20.2.229',
} as Endpoint;

test('the result of ADD is what Cilium prints', t => {
  t.deepEqual(addResult('0.4.0', endpoint, { routerIpv4: '172.20.2.36', routeMtu: 1500 }), {
    cniVersion: '0.4.0',
    interfaces: [
      { name: 'lxc162d38bc0dae', mac: 'b6:11:82:28:11:c9' },
      { name: 'eth0', mac: '26:98:44:5b:ad:22', sandbox: '/var/run/netns/pod-1' },
    ],
    ips: [{ version: '4', interface: 1, address: '172.20.2.229/32', gateway: '172.20.2.36' }],
    routes: [{ dst: '172.20.2.36/32' }, { dst: '0.0.0.0/0', gw: '172.20.2.36', mtu: 1500 }],
    dns: {},
  });
});

test('from 1.0.0 on an address does not name its version', t => {
  t.false(
    'version' in
      (addResult('1.0.0', endpoint, { routerIpv4: '10.0.0.1', routeMtu: 1450 }) as { ips: object[] }).ips[0]!,
  );
});

test('the pod is found in CNI_ARGS whatever the order', t => {
  t.deepEqual(podOf('IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u-1'), {
    name: 'web',
    namespace: 'default',
    uid: 'u-1',
  });
  t.is(podOf(''), undefined);
  t.is(podOf('K8S_POD_NAME=web'), undefined);
});

test('an ADD comes after the DELs that were queued before it', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-queue-'));
  const env = { CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/nowhere' };
  const stdin = '{"cniVersion":"1.0.0"}';
  writeFileSync(join(folder, 'a.json'), JSON.stringify({ command: 'DEL', env, stdin }));
  writeFileSync(join(folder, '.17'), '{"command":"DEL"');
  const story: string[] = [];
  const store = {
    byAttachment: (id: string) => void story.push(`DEL ${id}`),
  };
  const cni: CniHandler = new CniHandler({
    endpoints: { store } as unknown as EndpointDeps,
    addressing: () => ({ routerIpv4: '10.0.0.1', routeMtu: 1450 }),
    notReady: () => {
      story.push('ADD');
      return 'this is a test';
    },
    queuedDeletes: () =>
      hasQueuedDeletes(folder)
        ? replayDeleteQueue(folder, call => cni.handle(call), silent).then(() => {})
        : undefined,
  });
  const add = { command: 'ADD', env, stdin } as const;
  t.is((await cni.handle(add)).status, 500);
  await cni.handle(add);
  t.deepEqual(story, ['DEL c1', 'ADD', 'ADD']);
  t.deepEqual(readdirSync(folder), ['.17']);
  rmSync(folder, { recursive: true, force: true });
});
