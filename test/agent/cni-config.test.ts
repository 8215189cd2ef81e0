import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  CONFLIST,
  configsAside,
  installPlugin,
  putOthersAside,
  restoreConfig,
  writeCniConfig,
} from '../../src/agent/cni-config.ts';
import { CniWatch } from '../../src/agent/cni-watch.ts';
import { ControllerSet } from '../../src/base/controller.ts';
import { createLogger } from '../../src/base/log.ts';

function folder(t: { teardown(f: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'fimbria-test-cni-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const list = (path: string): string[] => readdirSync(path).sort();

test("others' configurations are put aside and come back with their content", t => {
  const dir = folder(t);
  writeFileSync(join(dir, '10-bridge.conf'), 'bridge');
  writeFileSync(join(dir, '20-other.conflist'), 'other');
  writeFileSync(join(dir, 'README'), 'no configuration');
  writeCniConfig(dir, '/run/fimbria/fimbria.sock');
  t.deepEqual(putOthersAside(dir).sort(), ['10-bridge.conf', '20-other.conflist']);
  t.deepEqual(putOthersAside(dir), []);
  t.deepEqual(list(dir), [CONFLIST, '10-bridge.conf.cilium_bak', '20-other.conflist.cilium_bak', 'README']);
  for (const name of configsAside(dir)) restoreConfig(dir, name);
  t.deepEqual(configsAside(dir), []);
  t.is(readFileSync(join(dir, '10-bridge.conf'), 'utf8'), 'bridge');
});

test('a configuration that somebody wrote anew meanwhile stays', t => {
  const dir = folder(t);
  writeFileSync(join(dir, '10-a.conf.cilium_bak'), 'old');
  writeFileSync(join(dir, '10-a.conf'), 'new');
  restoreConfig(dir, '10-a.conf');
  t.deepEqual(list(dir), ['10-a.conf']);
  t.is(readFileSync(join(dir, '10-a.conf'), 'utf8'), 'new');
  t.deepEqual(configsAside(join(dir, 'none')), []);
});

test('the plugin is installed once, executable, in place of another version', t => {
  const dir = folder(t);
  const source = join(dir, 'source');
  writeFileSync(source, 'v1');
  const bin = join(dir, 'opt/cni/bin');
  t.true(installPlugin(source, bin));
  t.false(installPlugin(source, bin));
  writeFileSync(source, 'v2');
  t.true(installPlugin(source, bin));
  t.is(readFileSync(join(bin, 'fimbria-cni'), 'utf8'), 'v2');
  t.is(statSync(join(bin, 'fimbria-cni')).mode & 0o777, 0o755);
  t.deepEqual(list(bin), ['fimbria-cni']);
});

test('what somebody changes in the folder is put right while the agent runs', async t => {
  const dir = folder(t);
  const confDir = join(dir, 'net.d');
  mkdirSync(confDir);
  const log = createLogger('error', () => {});
  const controllers = new ControllerSet(log);
  const paths: string[] = [];
  let written: () => void = () => {};
  const watch = new CniWatch({
    confDir,
    socket: '/s',
    exclusive: true,
    controllers,
    log,
    written: path => {
      paths.push(path);
      written();
    },
  });
  // The watch itself keeps no process alive.
  const alive = setInterval(() => {}, 60_000);
  t.teardown(async () => {
    clearInterval(alive);
    watch.close();
    await controllers.stop();
  });
  await watch.start();
  t.deepEqual(paths, [join(confDir, CONFLIST)]);
  // Passes follow each change; the one that finds the folder right ends the wait.
  const settled = (wanted: string[]): Promise<void> =>
    new Promise(resolve => {
      const look = (): void => {
        if (JSON.stringify(list(confDir)) !== JSON.stringify(wanted)) return;
        written = () => {};
        resolve();
      };
      written = () => setImmediate(() => written === after && look());
      const after = written;
    });
  let wait = settled([CONFLIST]);
  rmSync(join(confDir, CONFLIST));
  await wait;
  wait = settled([CONFLIST, '10-other.conf.cilium_bak']);
  writeFileSync(join(confDir, '10-other.conf'), '{}');
  await wait;
  t.pass();
});
