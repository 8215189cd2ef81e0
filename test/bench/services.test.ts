import test from 'ava';
import { NetnsHost } from '../../scripts/bench/netns.ts';
import { setUpRuleNodes } from '../../scripts/bench/services/kube-proxy.ts';
import { iptablesRules, nftablesRules } from '../../scripts/bench/services/kube-proxy-rules.ts';
import { packetCosts } from '../../scripts/bench/services/packet-cost.ts';
import { programmingCosts } from '../../scripts/bench/services/programming.ts';
import { MEASURED, MEASURED_CLUSTER_IP, workload } from '../../scripts/bench/services/workload.ts';
import { SLICE_PORTS, slice } from '../../scripts/bench/traffic.ts';

test.after.always(() => NetnsHost.endAll());

const ONE = {
  name: 'default/web',
  clusterIp: '10.96.0.1',
  port: 80,
  nodePort: 30080,
  backends: [
    { address: '10.0.0.1', port: 8080 },
    { address: '10.0.0.2', port: 8080 },
    { address: '10.0.0.3', port: 8080 },
  ],
};

test('each backend gets its share of the rules that are left', t => {
  const random = [...iptablesRules([ONE], '10.0.0.0/8').matchAll(/--probability (\S+)/g)].map(m =>
    Number(m[1]),
  );
  t.deepEqual(
    random.map(p => p.toFixed(2)),
    ['0.33', '0.50'],
  );
  t.regex(
    nftablesRules([ONE], '10.0.0.0/8', ['192.168.0.1']),
    /numgen random mod 3 vmap \{ 0 : goto \S+, 1 : /,
  );
});

test('the service that is measured is in the middle', t => {
  const all = workload(11, ONE.backends);
  t.is(all.length, 11);
  t.is(all[5]!.clusterIp, MEASURED_CLUSTER_IP);
  t.is(new Set(all.map(s => s.clusterIp)).size, 11);
});

test.serial('both kinds of rules lead to the backends, by cluster IP and node port', async t => {
  const nodes = await setUpRuleNodes(NetnsHost.start());
  for (const { family, client, server, outside, node, load } of Object.values(nodes)) {
    const backends = SLICE_PORTS.map(port => ({ address: server.address, port }));
    // The second time over the first: rules are replaced.
    for (const count of [2, 4]) load(workload(count, backends));
    const options = { cpu: 0, milliseconds: 20 };
    const asked = (address: string, port: number) => ({ ...options, frontend: { address, port } });
    const inside = await slice('connect', client, server, asked(MEASURED_CLUSTER_IP, MEASURED.port));
    const whole = await slice('crr', client, server, asked(MEASURED_CLUSTER_IP, MEASURED.port));
    t.true(inside > 0 && inside < whole, `${family}: ${inside} µs of ${whole} µs`);
    t.true((await slice('connect', outside, server, asked(node.address, MEASURED.nodePort))) > 0, family);
  }
});

test.serial('packets on their own get into the other pod, and tables into the kernel', async t => {
  const costs = await packetCosts({ rounds: 1, batches: 1 });
  for (const { title, requestNs, replyNs } of costs) t.true(requestNs.p50 > 0 && replyNs.p50 > 0, title);
  t.true(programmingCosts(20, 1).allMs.p50 > 0);
});
