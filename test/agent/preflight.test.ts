import test from 'ava';
import { checkKernel, checkPrivileges, refuseOverlap } from '../../src/agent/preflight.ts';

test('a kernel that is too old is named', t => {
  for (const good of ['5.15.0-91-generic', '6.1.0', '10.0']) t.notThrows(() => checkKernel(good), good);
  for (const old of ['5.14.21', '4.19.0-20-amd64', '5'])
    t.throws(() => checkKernel(old), { code: 'UNSUPPORTED', message: /Linux 5\.15 or newer/ }, old);
});

test('what a process lacks is named with what it is for', t => {
  const status = (uid: number, caps: string): string =>
    `Name:\tx\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nCapEff:\t${caps}\n`;
  t.notThrows(() => checkPrivileges(status(0, '000001ffffffffff')));
  t.throws(() => checkPrivileges(status(0, '00000000a80425fb')), {
    message: /CAP_NET_ADMIN .*CAP_SYS_ADMIN/,
  });
  t.throws(() => checkPrivileges(status(1000, '0')), { message: /only root .*run it as root/ });
});

test('a pod range that holds the node itself is refused, by block and by pool', t => {
  const node = '192.168.10.100';
  t.notThrows(() => refuseOverlap(node, ['10.0.0.0/16']));
  t.throws(() => refuseOverlap(node, ['10.0.0.0/16', '192.168.0.0/16']), {
    code: 'OVERLAP',
    message: /192\.168\.0\.0\/16: this node's own address 192\.168\.10\.100 lies in it/,
  });
  t.throws(() => refuseOverlap(node, ['192.168.10.0/24']), { code: 'OVERLAP' });
});
