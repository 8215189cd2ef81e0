import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/base/paths.ts';
import { BpfObject, TcFilter } from '../../src/kernel/libbpf/index.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import type { Place } from './labs.ts';
import { execute, ip, type NetnsHost } from './netns.ts';

const MACS = ['02:46:00:00:00:01', '02:46:00:00:00:02'] as const;
const ADDRESSES = ['10.74.0.1', '10.74.0.2'] as const;

/** Compiles the program when it changed. Returns its path. */
function compiledProgram(): string {
  const source = join(packageRoot(), 'scripts/bench/native/floor.bpf.c');
  const target = join(packageRoot(), 'build/bench/floor.o');
  if (existsSync(target) && statSync(target).mtimeMs > statSync(source).mtimeMs) return target;
  mkdirSync(join(packageRoot(), 'build/bench'), { recursive: true });
  const include = `/usr/include/${execute('gcc', ['-dumpmachine']).trim()}`;
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I${include}`];
  execute('clang', [...flags, '-c', source, '-o', target]);
  return target;
}

/**
 * Two pods that nothing but a clsact filter with an empty program joins: what veth, hook and redirect_peer cost by
 * themselves, and so the least that programs in filters on pod devices can reach.
 */
export async function setUpFloor(host: NetnsHost): Promise<[Place, Place]> {
  const node = await host.create();
  const pods = [await host.create(), await host.create()] as const;
  for (const [i, pod] of pods.entries()) {
    const other = 1 - i;
    ip(node, [
      `link add pod${i} type veth peer name eth0 address ${MACS[i]} netns ${pod}`,
      `link set pod${i} up`,
    ]);
    ip(pod, [
      'link set eth0 up',
      `addr add ${ADDRESSES[i]}/24 dev eth0`,
      `neigh add ${ADDRESSES[other]} lladdr ${MACS[other]} dev eth0 nud permanent`,
    ]);
  }
  const rtnl = Rtnetlink.open({ netns: node });
  const ifindexes = [(await rtnl.link('pod0'))!.ifindex, (await rtnl.link('pod1'))!.ifindex];
  rtnl.close();
  for (const [i, ifindex] of ifindexes.entries()) {
    const object = BpfObject.open(compiledProgram());
    object.setRodata({ cfg_peer_ifindex: ifindexes[1 - i]! });
    object.load();
    TcFilter.attach({ ifindex, direction: 'ingress', program: object.program('floor'), netns: node });
    object.close();
  }
  const place = (i: 0 | 1): Place => ({ netns: pods[i], address: ADDRESSES[i], cgroup: '' });
  return [place(0), place(1)];
}
