import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ip, NetnsHost } from '../../scripts/bench/netns.ts';
import { Scratch } from '../../scripts/bench/peers.ts';
import { slice } from '../../scripts/bench/traffic.ts';

const scratch = new Scratch();

test.after.always(async () => {
  await NetnsHost.endAll();
  scratch.remove();
});

const options = { cpu: 0, milliseconds: 20 };

test.serial('every kind of slice measures between two namespaces', async t => {
  const host = NetnsHost.start();
  const [left, right] = [await host.create(), await host.create()];
  ip(left, [
    `link add e0 type veth peer name e0 netns ${right}`,
    'addr add 10.1.1.1/24 dev e0',
    'link set e0 up',
  ]);
  ip(right, ['addr add 10.1.1.2/24 dev e0', 'link set e0 up']);
  const from = { netns: left, address: '10.1.1.1', cgroup: '' };
  const to = { netns: right, address: '10.1.1.2', cgroup: '' };
  const rr = await slice('rr', from, to, options);
  const crr = await slice('crr', from, to, options);
  t.true(rr > 0.1 && crr > rr, `${rr} µs, ${crr} µs`);
  t.true((await slice('stream', from, to, options)) > 1);
  ip(right, ['link set e0 down']);
  await t.throwsAsync(slice('rr', from, { ...to, address: '10.9.9.9' }, options), {
    message: /rr to 10\.9\.9\.9: connect: Network is unreachable/,
  });
  await host.end();
});

test.serial('a plugin runs in the namespace of its runner, timed, with what CNI gives it', async t => {
  const program = join(scratch.dir, 'plugin');
  writeFileSync(
    program,
    '#!/bin/sh\nread config\necho "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS"\necho "$config $(stat -Lc %i /proc/self/ns/net)"\nexit 3\n',
  );
  chmodSync(program, 0o755);
  const config = scratch.config('plugin', { name: 'x' });
  const holder = NetnsHost.start();
  const node = await holder.create();
  const runner = NetnsHost.start(node);
  const call = { command: 'ADD' as const, program, config, container: 'c1', netns: '/n', args: 'A=b' };
  const { status, milliseconds, output } = await runner.plugin(call);
  const own = await NetnsHost.start().plugin(call);
  t.is(status, 3);
  t.true(milliseconds > 0);
  t.regex(output, /^ADD c1 \/n eth0 A=b \{"name":"x"\} \d+ $/);
  t.not(output, own.output, 'another namespace');
  t.deepEqual(await runner.plugin({ ...call, program: '/none' }), {
    status: -1,
    milliseconds: 0,
    output: 'No such file or directory',
  });
});

test.serial('what a helper holds is gone with it', async t => {
  const host = NetnsHost.start();
  const path = await host.create();
  ip(path, ['link show lo']);
  await host.end();
  t.throws(() => ip(path, ['link show lo']), { message: /nsenter/ });
  await t.throwsAsync(host.create(), { message: /has ended/ });
});
