import test from 'ava';
import { silent } from '../../src/base/log.ts';
import { type Drift, Reconciler } from '../../src/base/reconcile.ts';
import {
  MASQUERADE_TABLE,
  type MasqueradeSpec,
  MasqueradeTarget,
  masqueradeTable,
} from '../../src/datapath/masquerade-table.ts';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { Nftables } from '../../src/kernel/nftables.ts';

const SPEC: MasqueradeSpec = { devices: ['eth0'], sources: ['10.1.0.0/24'], direct: ['10.1.0.0/16'] };

test('rules that somebody deletes or changes come back; those that nobody wants go', async t => {
  const netns = await createHeldNetns();
  const nft = Nftables.open({ netns: netns.fd });
  const target = new MasqueradeTarget(netns.fd);
  const found: Drift[] = [];
  const log = silent;
  const table = new Reconciler(target, log, (_, drift) => found.push(...drift));
  try {
    table.set(MASQUERADE_TABLE, SPEC);
    await table.commit();
    table.allowPrune();
    t.deepEqual(await table.resync(), []);
    const theirs = { ...masqueradeTable(SPEC), name: 'somebody-elses' };
    await nft.replace(theirs);
    const before = await nft.fingerprint('somebody-elses');

    await nft.delete(MASQUERADE_TABLE);
    await table.resync();
    t.deepEqual(await nft.tables(), ['somebody-elses', MASQUERADE_TABLE]);
    const changed = masqueradeTable(SPEC);
    await nft.replace({ ...changed, chain: { ...changed.chain, rules: [] } });
    await table.resync();
    t.deepEqual(
      found.map(({ key, what }) => [key, what]),
      [
        [MASQUERADE_TABLE, 'missing'],
        [MASQUERADE_TABLE, 'changed'],
      ],
    );
    t.deepEqual(await table.resync(), []);

    // Another run that wants none finds what this one left.
    const next = new Reconciler(new MasqueradeTarget(netns.fd), log);
    await next.resync();
    t.true((await nft.tables()).includes(MASQUERADE_TABLE), 'not before the view is whole');
    next.allowPrune();
    await next.resync();
    t.deepEqual(await nft.tables(), ['somebody-elses']);
    t.is(await nft.fingerprint('somebody-elses'), before);
  } finally {
    target.close();
    nft.close();
    netns.close();
  }
});
