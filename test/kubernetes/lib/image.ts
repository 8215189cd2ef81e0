import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unpackedPackages } from '../../../scripts/lib/debian.mjs';

/** Images that every test node has. */
export const PAUSE_IMAGE = 'localhost/pause:1';
export const BUSYBOX_IMAGE = 'localhost/busybox:1';

const ARCHITECTURE: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Packs busybox as images under these names, in the form that `ctr images import` and `podman load` take. Without a
 * command of its own a container of it sleeps, which is all that a pause container does.
 */
export function packBusybox(output: string, tags: readonly string[] = [PAUSE_IMAGE, BUSYBOX_IMAGE]): void {
  const [packages] = unpackedPackages([{ suite: 'bookworm', package: 'busybox-static' }]);
  const busybox = join(packages!, 'bin/busybox');
  const work = mkdtempSync(join(tmpdir(), 'fimbria-test-image-'));
  const run = (command: string, ...args: string[]): string =>
    execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const rootfs = join(work, 'rootfs');
    for (const folder of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'root', 'var', 'run'])
      mkdirSync(join(rootfs, folder), { recursive: true });
    cpSync(busybox, join(rootfs, 'bin/busybox'));
    chmodSync(join(rootfs, 'bin/busybox'), 0o755);
    for (const applet of run(busybox, '--list').split('\n'))
      if (applet && applet !== 'busybox') symlinkSync('busybox', join(rootfs, 'bin', applet));
    writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\n');
    run(
      'tar',
      '-C',
      rootfs,
      '--owner=0',
      '--group=0',
      '--mtime=@0',
      '--sort=name',
      '-cf',
      join(work, 'layer.tar'),
      '.',
    );
    const layer = createHash('sha256')
      .update(readFileSync(join(work, 'layer.tar')))
      .digest('hex');
    const config = {
      architecture: ARCHITECTURE[process.arch],
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: { Env: ['PATH=/bin'], Cmd: ['/bin/sleep', '2147483647'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] },
      history: [{ created: '1970-01-01T00:00:00Z' }],
    };
    writeFileSync(join(work, 'config.json'), JSON.stringify(config));
    const manifest = [{ Config: 'config.json', RepoTags: tags, Layers: ['layer.tar'] }];
    writeFileSync(join(work, 'manifest.json'), JSON.stringify(manifest));
    run('tar', '-C', work, '-cf', output, 'manifest.json', 'config.json', 'layer.tar');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
