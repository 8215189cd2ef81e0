import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../../src/lab/deadline.ts';
import { collect } from '../../e2e/lab.ts';
import { AgentNode, OUTSIDE_IP, POD_ADDRESSES, type Traces } from '../lib/agent.ts';
import { Containerd, type ContainerdSuite, writeConflist } from '../lib/containerd.ts';
import type { SandboxOptions } from '../lib/cri.ts';
import { BUSYBOX_IMAGE } from '../lib/image.ts';
import { ClusterNode, CNI_BIN, CNI_CONF } from '../lib/node.ts';

const PATIENCE_MS = 30_000;

/** A list that comes before the agent's own, which the agent leaves alone where it is not exclusive. */
const OVERRIDE = '00-override.conflist';

/** A pod that runs: its sandbox, a container in it, its address. */
interface RunningPod {
  options: SandboxOptions;
  id: string;
  container: string;
  ip: string;
}

/**
 * What a container runtime does with our plugin, driven through the CRI as kubelet does: the same for every containerd.
 * @param versions of the CNI specification that its lists may have
 */
export function criScenarios(suite: ContainerdSuite, versions: readonly string[]): void {
  let node: ClusterNode;
  let containerd: Containerd;
  let agent: AgentNode;
  let before: Traces;
  let count = 0;

  test.before(async () => {
    node = await ClusterNode.create(`cri-${suite}`);
    containerd = await Containerd.start(node, suite);
    agent = await AgentNode.start(node, [
      'routingMode=native',
      'endpointRoutes.enabled=true',
      'ipv4NativeRoutingCIDR=10.66.0.0/16',
      'cni.exclusive=false',
    ]);
    await networkIs(true);
    before = await agent.traces();
  });

  // A test that failed does not take the next one's addresses.
  test.afterEach.always(async () => {
    for (const { id } of await containerd.cri.sandboxes()) await end({ id });
  });

  test.after.always(async t => {
    if (process.env['FIMBRIA_TEST_LOGS'])
      for (const what of ['agent', 'containerd'])
        t.log((await collect(node.spawn(['cat', node.log(what)]))).stdout);
    containerd?.close();
    await agent?.close();
    await node?.remove();
  });

  const networkIs = async (ready: boolean): Promise<void> => {
    await waitUntil(`NetworkReady=${ready}`, PATIENCE_MS, async () =>
      (await containerd.networkReady()) === ready ? true : undefined,
    );
  };

  const options = (more: Partial<SandboxOptions> = {}): SandboxOptions => {
    const name = `p${++count}`;
    return { name, logDirectory: join(node.dir, 'logs', name), ...more };
  };

  const run = async (more: Partial<SandboxOptions> = {}): Promise<RunningPod> => {
    const own = options(more);
    await agent.createPod(own.name, { app: 'test' });
    const id = await containerd.cri.runSandbox(own);
    const container = await containerd.cri.runContainer(id, own, BUSYBOX_IMAGE, ['/bin/sleep', '1000000']);
    const { ip } = await containerd.cri.sandboxStatus(id);
    return { options: own, id, container, ip };
  };

  const end = async (pod: Pick<RunningPod, 'id'>): Promise<void> => {
    await containerd.cri.stopSandbox(pod.id);
    await containerd.cri.removeSandbox(pod.id);
  };

  const talks = async (t: ExecutionContext, pod: RunningPod, ...addresses: string[]): Promise<void> => {
    for (const address of addresses) {
      const { status, output } = await containerd.cri.exec(
        pod.container,
        ...['ping', '-c', '1', '-W', '5', address],
      );
      t.is(status, 0, `${pod.options.name} to ${address}: ${output}`);
    }
  };

  const nothingLeft = async (t: ExecutionContext): Promise<void> => {
    await t.notThrowsAsync(agent.untilTraces(before));
  };

  /** GC as a runtime asks for it that knows of these sandboxes only. */
  const collectGarbage = async (t: ExecutionContext, ...ids: string[]): Promise<void> => {
    const config = {
      ...{ cniVersion: '1.1.0', name: 'fimbria', type: 'fimbria-cni' },
      'cni.dev/valid-attachments': ids.map(containerID => ({ containerID, ifname: 'eth0' })),
    };
    const child = node.spawn([join(CNI_BIN, 'fimbria-cni')], { CNI_COMMAND: 'GC', CNI_PATH: CNI_BIN });
    child.stdin?.write(JSON.stringify(config));
    t.deepEqual(await collect(child), { stdout: '', stderr: '', status: 0 });
  };

  /** Makes the runtime use this list, and waits until it does. */
  const override = async (list: { cniVersion: string }): Promise<void> => {
    writeConflist(node, list, OVERRIDE);
    await waitUntil(`a list of version ${list.cniVersion} to be loaded`, PATIENCE_MS, async because => {
      const loaded = await containerd.cri.cniVersion();
      because(`${loaded} is`);
      return loaded === list.cniVersion || undefined;
    });
  };

  const noOverride = async (): Promise<void> => {
    rmSync(node.path(join(CNI_CONF, OVERRIDE)), { force: true });
    await waitUntil("the agent's own list to be loaded", PATIENCE_MS, async () =>
      (await containerd.cri.cniVersion()) === '1.0.0' ? true : undefined,
    );
  };

  const ours = (cniVersion: string): object => ({
    cniVersion,
    name: 'fimbria',
    plugins: [{ type: 'fimbria-cni', socket: '/run/fimbria/fimbria.sock' }],
  });

  test.serial(
    'pods come side by side, talk to each other, the node and outside, and go without a trace',
    async t => {
      const pods = await Promise.all([1, 2, 3, 4].map(() => run()));
      const addresses = pods.map(pod => pod.ip);
      t.is(new Set(addresses).size, 4);
      for (const address of addresses) t.regex(address, /^10\.66\.0\./);
      await talks(t, pods[0]!, ...addresses, OUTSIDE_IP);
      const shown = await containerd.cri.exec(pods[0]!.container, 'ip', 'route');
      t.regex(shown.output, /^default via (\S+) dev eth0[^\n]*\n\1 dev eth0 scope link/);
      const endpoints = await agent.api.endpoints();
      for (const pod of pods)
        t.truthy(
          endpoints.find(
            e => e.status['external-identifiers']?.['pod-name'] === `default/${pod.options.name}`,
          ),
        );
      await Promise.all(pods.map(end));
      await nothingLeft(t);
      t.deepEqual(await containerd.cri.sandboxes(), []);
    },
  );

  test.serial(
    'an agent that is killed: pods talk on, and pods that go meanwhile are cleared away when it is back',
    async t => {
      const [stays, goes] = await Promise.all([run(), run()]);
      await agent.stopAgent('SIGKILL');
      await talks(t, stays, goes.ip, OUTSIDE_IP);
      await end(goes);
      await t.throwsAsync(containerd.cri.runSandbox(options()), {
        message: /unable to connect to fimbria agent/,
      });
      await agent.startAgent();
      await waitUntil('the queued DEL to be done', PATIENCE_MS, async () =>
        (await agent.traces()).ipam.includes(goes.ip) ? undefined : true,
      );
      await talks(t, stays, OUTSIDE_IP);
      const late = await run();
      await talks(t, late, stays.ip);
      await Promise.all([stays, late].map(end));
      await nothingLeft(t);
    },
  );

  test.serial(
    'stopping and removing are asked for again and again, also for namespaces that are dead',
    async t => {
      const pod = await run();
      for (let n = 0; n < 3; n++) await containerd.cri.stopSandbox(pod.id);
      for (let n = 0; n < 3; n++) await containerd.cri.removeSandbox(pod.id);
      await nothingLeft(t);

      const dead = await run();
      // As after a crash of the node's processes: nobody is in the namespace and its mount is gone.
      const { pid } = await containerd.cri.sandboxStatus(dead.id);
      await node.must('sh', '-c', 'for f in /run/netns/cni-*; do umount "$f"; rm -f "$f"; done');
      process.kill(pid, 'SIGKILL');
      await waitUntil('the sandbox to end', PATIENCE_MS, async () => {
        const { state } = await containerd.cri.sandboxStatus(dead.id);
        return state === 'SANDBOX_NOTREADY' || undefined;
      });
      for (let n = 0; n < 2; n++) await containerd.cri.stopSandbox(dead.id);
      await containerd.cri.removeSandbox(dead.id);
      await nothingLeft(t);
    },
  );

  test.serial('a containerd that is killed and started again has its pods, and they go as any', async t => {
    const pods = await Promise.all([run(), run()]);
    await containerd.stop('SIGKILL');
    await containerd.start();
    await networkIs(true);
    t.deepEqual(
      (await containerd.cri.sandboxes()).map(s => s.state),
      ['SANDBOX_READY', 'SANDBOX_READY'],
    );
    for (const pod of pods) t.is((await containerd.cri.sandboxStatus(pod.id)).ip, pod.ip);
    await talks(t, pods[0]!, pods[1]!.ip, OUTSIDE_IP);
    await Promise.all(pods.map(end));
    await nothingLeft(t);
  });

  test.serial(
    'a sandbox that fails after ADD, and one for which there is no address, leave nothing',
    async t => {
      // runc refuses it when the network is there already.
      const refused = options({ sysctls: { 'net.ipv4.no_such_thing': '1' } });
      await t.throwsAsync(containerd.cri.runSandbox(refused), { message: /no_such_thing/ });
      await nothingLeft(t);

      const pods: RunningPod[] = [];
      while (pods.length < POD_ADDRESSES) pods.push(await run());
      await t.throwsAsync(containerd.cri.runSandbox(options()), {
        message:
          /unable to allocate IP via local cilium agent: \[POST \/ipam\]\[502\] postIpamFailure "range is full"/,
      });
      t.is((await agent.traces()).ipam.length, before.ipam.length + POD_ADDRESSES);
      await end(pods.pop()!);
      pods.push(await run());
      await Promise.all(pods.map(end));
      await nothingLeft(t);
      for (const { id } of await containerd.cri.sandboxes()) await end({ id });
      await nothingLeft(t);
    },
  );

  test.serial(
    "a pod of the host's network has no endpoint; host ports without a plugin for them do no harm",
    async t => {
      const host = await run({ hostNetwork: true });
      t.deepEqual(await agent.traces(), before);
      const shown = await containerd.cri.exec(host.container, 'ip', 'addr', 'show', 'eth0');
      t.regex(shown.output, /inet 192\.168\.77\.10\/24/);
      await end(host);
      t.deepEqual(await agent.traces(), before);
      const pod = await run({ portMappings: [{ containerPort: 80, hostPort: 8080 }] });
      t.not(pod.ip, '');
      await end(pod);
      await nothingLeft(t);
    },
  );

  for (const cniVersion of versions) {
    test.serial(`a list of version ${cniVersion}, alone and with a plugin behind ours`, async t => {
      const list = ours(cniVersion) as { cniVersion: string; plugins: object[] };
      await override(list);
      const alone = await run();
      await talks(t, alone, OUTSIDE_IP);
      await end(alone);
      // Its own name, so that the runtime is seen to have loaded it.
      const sysctl = { 'net.ipv4.conf.eth0.arp_announce': '2' };
      await override({ ...list, plugins: [...list.plugins, { type: 'tuning', sysctl }] } as {
        cniVersion: string;
      });
      await containerd.stop();
      await containerd.start();
      await networkIs(true);
      const chained = await run();
      const value = await containerd.cri.exec(
        chained.container,
        'cat',
        '/proc/sys/net/ipv4/conf/eth0/arp_announce',
      );
      t.is(value.output, '2\n');
      await talks(t, chained, OUTSIDE_IP);
      await end(chained);
      await nothingLeft(t);
    });
  }

  test.serial('GC takes away what the runtime does not know, and nothing else', async t => {
    const [kept, lost] = await Promise.all([run(), run()]);
    await collectGarbage(t, kept.id);
    const { ipam } = await agent.traces();
    t.true(ipam.includes(kept.ip));
    t.false(ipam.includes(lost.ip));
    await talks(t, kept, OUTSIDE_IP);
    await Promise.all([kept, lost].map(end));
    await nothingLeft(t);
  });

  test.serial('a containerd that is killed while it sets a pod up: GC takes what it forgot', async t => {
    for (const afterMs of [10, 40, 80, 120]) {
      const begun = containerd.cri.runSandbox(options()).catch(() => {});
      // Anywhere in it: nothing that could be awaited says where it is.
      await delay(afterMs);
      await containerd.stop('SIGKILL');
      await begun;
      await containerd.start();
      await networkIs(true);
      for (const { id } of await containerd.cri.sandboxes()) await end({ id });
      await collectGarbage(t);
      await nothingLeft(t);
    }
    const pod = await run();
    await talks(t, pod, OUTSIDE_IP);
    await end(pod);
    await nothingLeft(t);
  });

  if (versions.includes('1.1.0')) {
    test.serial('STATUS makes a node without its agent NotReady, and Ready again with it', async t => {
      await override(ours('1.1.0') as { cniVersion: string });
      await networkIs(true);
      await agent.stopAgent();
      await networkIs(false);
      const { NetworkReady } = await containerd.cri.conditions();
      t.regex(NetworkReady?.message ?? '', /unable to connect to fimbria agent/);
      await agent.startAgent();
      await networkIs(true);
    });
  }

  test.serial("the agent's own list is used when no other comes before it", async t => {
    await noOverride();
    const pod = await run();
    await talks(t, pod, OUTSIDE_IP);
    await end(pod);
    await nothingLeft(t);
  });
}
