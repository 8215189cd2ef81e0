import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../../src/base/paths.ts';
import { collect } from '../../e2e/lab.ts';

let packed: Promise<string> | undefined;

/** The image of this checkout as an archive, packed once a process as `node scripts/image.mjs` packs it for users. */
export function agentImage(): Promise<string> {
  packed ??= pack();
  return packed;
}

async function pack(): Promise<string> {
  const path = join(packageRoot(), 'build/image/fimbria-test.tar');
  const script = join(packageRoot(), 'scripts/image.mjs');
  const { status, stdout, stderr } = await collect(spawn(process.execPath, [script, '--output', path]));
  if (status !== 0) throw new Error(`pack image: exit status ${status}: ${stderr}${stdout}`);
  return path;
}
