import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseAgentOptions } from '../../src/agent/options.ts';
import { packageRoot } from '../../src/base/paths.ts';
import { parseOperatorOptions } from '../../src/operator/options.ts';

/** The settings of a unit's [Service] section, last one wins as in systemd; lists are joined. */
function serviceOf(name: string): Map<string, string> {
  const text = readFileSync(join(packageRoot(), 'deploy/systemd', name), 'utf8');
  const section = /\[Service\]\n([\s\S]*?)\n\[/.exec(text)![1]!;
  const settings = new Map<string, string>();
  for (const line of section.split('\n')) {
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined) settings.set(key, value!);
    else if (line !== '' && !line.startsWith('#'))
      throw new Error(`${name}: neither setting nor comment: ${line}`);
  }
  return settings;
}

const bin: Record<string, string> = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')).bin;

for (const [name, parse] of [
  ['fimbria-agent', parseAgentOptions],
  ['fimbria-operator', parseOperatorOptions],
] as const) {
  test(`${name}.service starts a program of the package with flags that it has`, t => {
    const service = serviceOf(`${name}.service`);
    const [program, ...args] = service.get('ExecStart')!.split(' ');
    t.true(program! in bin);
    const flags = args.filter(arg => !/^\$FIMBRIA_\w+_FLAGS$/.test(arg));
    t.notThrows(() => parse(flags, { KUBECONFIG: '/etc/fimbria/kubeconfig' }));
    t.is(service.get('Type'), 'notify');
    t.true(Number(service.get('WatchdogSec')) > 0);
  });
}

test("the agent's unit keeps the node's mounts its own, and its state over a restart", t => {
  const service = serviceOf('fimbria-agent.service');
  const mounts =
    /^(Protect(System|Home|Kernel\w+|ControlGroups|Proc)|Private(Tmp|Devices|Mounts)|(ReadWrite|ReadOnly|Inaccessible)Paths|MountFlags|ProcSubset|TemporaryFileSystem|Bind\w*Paths|RootDirectory|DynamicUser)$/;
  t.deepEqual(
    [...service.keys()].filter(key => mounts.test(key)),
    [],
  );
  t.is(service.get('RuntimeDirectory'), 'fimbria');
  t.is(service.get('RuntimeDirectoryPreserve'), 'yes');
});

test("the operator's unit gives it no rights", t => {
  t.is(serviceOf('fimbria-operator.service').get('CapabilityBoundingSet'), '');
});
