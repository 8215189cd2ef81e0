import test from 'ava';
import fc from 'fast-check';
import { codeOf } from '../../src/base/errors.ts';
import { nonMasqueradeCidrs } from '../../src/config/masquerade-list.ts';

test('a file that is not there, or says nothing, stands for the usual ranges', t => {
  const usual = nonMasqueradeCidrs(undefined);
  for (const range of ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'])
    t.true(usual.includes(range), range);
  t.is(usual.length, 12);
  for (const text of ['', '{}', '# nothing\n']) t.deepEqual(nonMasqueradeCidrs(text), usual);
});

test('what is listed is the list, with link-local addresses unless they are masqueraded', t => {
  const yaml = 'nonMasqueradeCIDRs:\n- 192.0.2.0/24\n- 10.0.0.0/8\n- fd00::/8\n';
  t.deepEqual(nonMasqueradeCidrs(yaml), ['10.0.0.0/8', '169.254.0.0/16', '192.0.2.0/24']);
  t.deepEqual(nonMasqueradeCidrs(`${yaml}masqLinkLocal: true\n`), ['10.0.0.0/8', '192.0.2.0/24']);
  t.deepEqual(nonMasqueradeCidrs('{"nonMasqueradeCIDRs": [], "masqLinkLocal": true}'), []);
});

test('what cannot be read is refused with its key', t => {
  const refusals: [string, RegExp][] = [
    ['nonMasqueradeCIDRs: 10.0.0.0/8', /nonMasqueradeCIDRs: it is no list/],
    ['nonMasqueradeCIDRs: [10.0.0.1/8]', /nonMasqueradeCIDRs: .*10\.0\.0\.1\/8/],
    ['masqLinkLocal: maybe', /masqLinkLocal: it is neither/],
    ['nonMasqueradeCIDR: []', /nonMasqueradeCIDR: unknown key; use nonMasqueradeCIDRs/],
    ['- a', /it is no table/],
    ['a: [', /it is no YAML/],
  ];
  for (const [text, message] of refusals)
    t.throws(() => nonMasqueradeCidrs(text), { code: 'BAD_VALUES', message }, text);
});

test('any text is read or refused', t => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), text => {
      try {
        nonMasqueradeCidrs(text);
      } catch (error) {
        t.is(codeOf(error), 'BAD_VALUES', text);
      }
    }),
  );
});
