import test from 'ava';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { Nftables, NftablesMonitor, type NftChange, type NftTable } from '../../src/kernel/nftables.ts';

/** Runs `body` in a namespace of its own. */
async function inside(body: (nft: Nftables, netns: number) => Promise<void>): Promise<void> {
  const netns = await createHeldNetns();
  const nft = Nftables.open({ netns: netns.fd });
  try {
    await body(nft, netns.fd);
  } finally {
    nft.close();
    netns.close();
  }
}

/** A table with pods' ranges of so many addresses each, and another rule set for each `not`. */
function table(ranges: [number, number][], not = true): NftTable {
  return {
    name: 'fimbria-test',
    sets: [
      { name: 'pods', kind: 'ipv4Ranges', elements: ranges },
      { name: 'devices', kind: 'interfaces', elements: ['eth0', 'eth1'] },
    ],
    chain: {
      name: 'postrouting',
      rules: [
        {
          matches: [
            { field: 'sourceIpv4', set: 'pods' },
            { field: 'outputInterface', set: 'devices' },
            { field: 'destinationIpv4', set: 'pods', not },
          ],
          action: 'masquerade',
        },
      ],
    },
  };
}

const NAME = 'fimbria-test';

test('a table comes, is another one in one step, and goes; twice is as good as once', t =>
  inside(async nft => {
    t.deepEqual(await nft.tables(), []);
    t.is(await nft.fingerprint(NAME), undefined);
    t.false(await nft.delete(NAME));
    await nft.replace(table([[1, 10]]));
    t.deepEqual(await nft.tables(), [NAME]);
    const first = await nft.fingerprint(NAME);
    t.is(await nft.fingerprint(NAME), first);
    await nft.replace(table([[1, 10]], false));
    t.not(await nft.fingerprint(NAME), first);
    await nft.replace({ ...table([]), name: 'fimbria-other' });
    t.deepEqual((await nft.tables()).sort(), ['fimbria-other', NAME]);
    t.true(await nft.delete(NAME));
    t.false(await nft.delete(NAME));
    t.deepEqual(await nft.tables(), ['fimbria-other']);
  }));

test('thousands of ranges, also to the very ends', t =>
  inside(async nft => {
    const ranges = Array.from({ length: 8000 }, (_, i): [number, number] => [i * 16, i * 16 + 3]);
    await nft.replace(table([...ranges, [0xffff_ff00, 0xffff_ffff]]));
    const print = await nft.fingerprint(NAME);
    await nft.replace(table(ranges));
    t.not(await nft.fingerprint(NAME), print);
  }));

test('what is refused changes nothing, and the socket goes on', t =>
  inside(async nft => {
    await nft.replace(table([[1, 10]]));
    const print = await nft.fingerprint(NAME);
    const overlapping = table([
      [1, 10],
      [5, 20],
    ]);
    await t.throwsAsync(nft.replace(overlapping), { message: /replace nftables table ip fimbria-test/ });
    t.is(await nft.fingerprint(NAME), print);
    const dangling = table([[1, 10]]);
    await t.throwsAsync(nft.replace({ ...dangling, sets: dangling.sets.slice(1) }));
    t.is(await nft.fingerprint(NAME), print);
    await nft.replace(table([[1, 11]]));
  }));

test('changes are told, with who made them', t =>
  inside(async (nft, netns) => {
    const other = Nftables.open({ netns });
    const heard: NftChange[] = [];
    let wake = (): void => {};
    const monitor = new NftablesMonitor({
      netns,
      onChange: change => {
        heard.push(change);
        wake();
      },
      onOverrun: () => t.fail(),
    });
    try {
      await nft.replace(table([[1, 10]]));
      await other.delete(NAME);
      while (!heard.some(change => change.port === other.port))
        await new Promise<void>(resolve => (wake = resolve));
      t.not(nft.port, other.port);
      t.deepEqual(new Set(heard.map(change => change.port)), new Set([nft.port, other.port]));
      t.deepEqual(new Set(heard.map(change => change.table)), new Set([NAME]));
    } finally {
      monitor.close();
      other.close();
    }
  }));
