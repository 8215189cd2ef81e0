import test from 'ava';
import { native } from '../../src/kernel/addon.ts';
import { ServiceNotifier } from '../../src/kernel/notify.ts';
import { Datagrams } from './datagrams.ts';

for (const abstract of [false, true]) {
  test(`a service manager hears of every step, ${abstract ? 'by an abstract name' : 'by a path'}`, async t => {
    const manager = await Datagrams.open(abstract);
    t.teardown(() => manager.close());
    const notifier = new ServiceNotifier({ NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '20000' });
    notifier.status('waiting\nfor a PodCIDR');
    await manager.next('STATUS=waiting for a PodCIDR');
    notifier.ready();
    await manager.next('READY=1');
    // Fed again and again: the test ends only when it was.
    for (let n = 0; n < 3; n++) await manager.next('WATCHDOG=1');
    notifier.stopping();
    await manager.next('STOPPING=1');
    t.pass();
  });
}

test('nobody to notify is no failure', t => {
  for (const env of [{}, { NOTIFY_SOCKET: '/nonexistent/socket' }, { NOTIFY_SOCKET: 'x'.repeat(200) }]) {
    const notifier = new ServiceNotifier(env);
    notifier.status('x');
    notifier.ready();
    notifier.stopping();
  }
  t.pass();
});

test("a watchdog that is another process's is not fed", async t => {
  const manager = await Datagrams.open();
  t.teardown(() => manager.close());
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' };
  const notifier = new ServiceNotifier(env, 2);
  notifier.ready();
  notifier.stopping();
  await manager.next('READY=1');
  // Next in line: nothing lies between.
  await manager.next('STOPPING=1');
  t.pass();
});

test('the addon says why a datagram did not go', t => {
  const send = (path: string) => native().unixDatagramSend(path, Buffer.from('x'));
  t.throws(() => send('/nonexistent/socket'), { code: 'ENOENT' });
  t.throws(() => send(''), { code: 'ENAMETOOLONG' });
  t.throws(() => send('x'.repeat(108)), { code: 'ENAMETOOLONG' });
});
