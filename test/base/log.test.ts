import test from 'ava';
import { createLogger, silent } from '../../src/base/log.ts';

test('a line is logfmt with the fields quoted where they need it', t => {
  const lines: string[] = [];
  const log = createLogger('info', line => lines.push(line)).for('ipam');
  log.info('assigned "block"', {
    node: 'node-0',
    cidr: '10.0.0.0/24',
    text: 'two words',
    error: new Error('line\nbreak'),
    list: [1, 2],
    absent: undefined,
    empty: '',
  });
  t.is(lines.length, 1);
  t.regex(lines[0]!, /^time=\d{4}-\d\d-\d\dT\S+Z level=info subsys=ipam msg="assigned \\"block\\""/);
  t.true(
    lines[0]!.endsWith(
      ' node=node-0 cidr=10.0.0.0/24 text="two words" error="line\\nbreak" list="[1,2]" empty=""\n',
    ),
  );
});

test('lines below the level are not written', t => {
  const lines: string[] = [];
  const log = createLogger('warn', line => lines.push(line));
  log.debug('d');
  log.info('i');
  log.warn('w');
  log.for('sub').error('e');
  t.deepEqual(
    lines.map(line => /level=(\w+)/.exec(line)![1]),
    ['warn', 'error'],
  );
  t.notThrows(() => silent.error('nobody hears'));
});
