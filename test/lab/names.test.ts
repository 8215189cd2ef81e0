import test from 'ava';
import { findCgroup2 } from '../../src/lab/cgroup.ts';
import { checkLabName, labPaths, parseNodes } from '../../src/lab/names.ts';
import { pauseArguments } from '../../src/lab/pause.ts';
import { parseCommandLine } from '../../src/lab/processes.ts';

test('--nodes is a count or a list of names, numbered from .100', t => {
  t.deepEqual(parseNodes('2'), [
    { name: 'node-0', ip: '192.168.10.100' },
    { name: 'node-1', ip: '192.168.10.101' },
  ]);
  t.deepEqual(
    parseNodes('ctr,w1,w2').map(n => `${n.name}=${n.ip}`),
    ['ctr=192.168.10.100', 'w1=192.168.10.101', 'w2=192.168.10.102'],
  );
});

for (const spec of ['0', '101', '', 'a,a', 'outside', 'A', 'a,', '-a', 'a_b', `${'x'.repeat(41)}`]) {
  test(`--nodes ${JSON.stringify(spec)} is refused`, t => {
    t.throws(() => parseNodes(spec), { code: 'INVALID' });
  });
}

for (const name of ['', '..', 'a/b', 'UPPER', 'x'.repeat(25)]) {
  test(`a lab called ${JSON.stringify(name)} is refused`, t => {
    t.throws(() => checkLabName(name), { code: 'INVALID' });
  });
}

test('the longest names still give socket paths that fit an address', t => {
  const path = labPaths('x'.repeat(24)).node('y'.repeat(40)).socket;
  t.true(path.length <= 107, `${path.length}`);
});

test('what fimbria-pause is told is read back from its command line', t => {
  const args = [
    '/x/fimbria-pause',
    ...pauseArguments({
      lab: 'l',
      role: 'pod',
      name: 'ns/p',
      labels: { uid: 'u' },
      newNet: true,
      command: ['a', '--lab', 'other'],
    }),
  ];
  t.like(parseCommandLine(7, args), { pid: 7, lab: 'l', role: 'pod', name: 'ns/p', options: { uid: 'u' } });
});

test('daemons are told from commands that only name a lab', t => {
  const role = (...args: string[]) => parseCommandLine(1, ['/usr/bin/node', ...args])?.role;
  t.is(role('/p/dist/fimbria-agent.js', '--lab', 'l', '--node-name', 'n'), 'agent');
  t.is(role('--enable-source-maps', '/p/dist/fimbria-operator.js', '--lab', 'l'), 'operator');
  t.is(role('/p/dist/fimbria.js', 'apiserver', '--lab', 'l'), 'apiserver');
  t.is(role('/p/dist/fimbria.js', 'lab-controllers', '--lab', 'l'), 'controllers');
  t.is(role('/p/dist/fimbria.js', 'lab', 'down', '--lab', 'l'), undefined);
  t.is(role('/p/dist/fimbria-agent.js', '--node-name', 'n'), undefined);
  t.is(parseCommandLine(1, ['vi', 'fimbria-agent.js', '--lab', 'l']), undefined);
  t.is(parseCommandLine(1, []), undefined);
});

test('the cgroup2 tree is found on unified and hybrid hosts', t => {
  const v1 = '30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu';
  const hybrid = `${v1}\n31 25 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw`;
  t.is(findCgroup2(hybrid), '/sys/fs/cgroup/unified');
  t.is(findCgroup2('31 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw'), '/sys/fs/cgroup');
  t.throws(() => findCgroup2(v1), { code: 'ENOENT' });
});
