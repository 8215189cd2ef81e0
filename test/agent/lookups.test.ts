import test from 'ava';
import { monitorLookups } from '../../src/agent/lookups.ts';
import type { EndpointStore } from '../../src/endpoint/store.ts';
import type { Rtnetlink } from '../../src/kernel/rtnetlink.ts';

test("the first event of a pod already shows its device's name; others are learnt", async t => {
  let links = [{ ifindex: 2, name: 'eth0' }];
  const answers: Promise<unknown>[] = [];
  const rtnl = {
    links: () => {
      const answer = Promise.resolve(links);
      answers.push(answer);
      return answer;
    },
  } as unknown as Rtnetlink;
  const store = {
    list: () => [{ ifindex: 7, hostIfname: 'lxc0123456789ab' }],
  } as unknown as EndpointStore;
  const lookups = monitorLookups(rtnl, store);
  t.is(lookups.ifname(7), 'lxc0123456789ab');
  await Promise.all(answers);
  t.is(lookups.ifname(2), 'eth0');
  links = [...links, { ifindex: 9, name: 'cilium_vxlan' }];
  t.is(lookups.ifname(9), undefined);
  t.is(lookups.ifname(2), 'eth0', 'while names are learnt, the known ones stay known');
  await Promise.all(answers);
  await Promise.resolve();
  t.is(lookups.ifname(9), 'cilium_vxlan');
});
