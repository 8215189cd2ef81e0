import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { daemonUsage, parseDaemonCommandLine } from '../../src/config/index.ts';

const FLAGS = { socket: ['PATH', 'where it listens'] } as const;
const parse = (...argv: string[]) => parseDaemonCommandLine('fimbria-x', FLAGS, argv, { KUBECONFIG: '/k' });

test('flat keys given as flags win over the directory', t => {
  const dir = mkdtempSync(join(tmpdir(), 'fimbria-test-config-'));
  writeFileSync(join(dir, 'routing-mode'), 'tunnel\n');
  writeFileSync(join(dir, 'mtu'), '1400');
  const line = parse('--config-dir', dir, '--routing-mode', 'native', '--socket=/s')!;
  const flat = line.readFlat();
  rmSync(dir, { recursive: true });
  t.deepEqual(flat, { 'routing-mode': 'native', mtu: '1400' });
  t.is(line.text('socket'), '/s');
  t.is(line.kubeconfig, '/k');
  t.is(line.logLevel, 'info');
});

test('help lists own flags and the keys of the configuration', t => {
  t.is(parse('--help'), undefined);
  t.regex(daemonUsage('fimbria-x', 'does things', FLAGS), /--socket PATH[\s\S]*--routing-mode VALUE/);
});

test('what makes no sense is named', t => {
  t.throws(() => parse('--nonsense'), { code: 'USAGE', message: /--nonsense.*see fimbria-x --help/s });
  t.throws(() => parse('--log-level', 'loud'), { code: 'USAGE', message: /loud is not one of debug/ });
  t.throws(() => parse('--config-dir', '/nonexistent')!.readFlat(), { code: 'CONFIG_DIR' });
  t.throws(() => parseDaemonCommandLine('fimbria-x', FLAGS, [], {}), { message: /--kubeconfig is missing/ });
});
