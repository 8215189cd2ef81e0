import test from 'ava';
import { createPodLink } from '../../src/datapath/pod-link.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';

test('a namespace that is gone is told once, with what to do', async t => {
  const rtnl = Rtnetlink.open();
  try {
    await t.throwsAsync(
      createPodLink(rtnl, {
        hostName: 'lxc0123456789ab',
        netns: '/no/such/netns',
        ifname: 'eth0',
        ipv4: '10.0.0.2',
        routerIpv4: '10.0.0.1',
        deviceMtu: 1500,
        routeMtu: 1500,
      }),
      {
        code: 'ENOENT',
        message:
          'open network namespace /no/such/netns: No such file or directory (ENOENT); the container is gone; let the runtime create it again',
      },
    );
  } finally {
    rtnl.close();
  }
});
