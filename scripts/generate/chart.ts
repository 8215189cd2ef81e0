/**
 * Writes deploy/chart/ from src/install and deploy/Dockerfile from the image's list of files.
 *
 *   node --import=tsx scripts/generate/chart.ts [--check]     --check: write nothing, exit 1 when a file differs
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chartFiles } from '../../src/install/helm/chart.ts';
import { dockerfile } from '../lib/dockerfile.mjs';
import { root } from '../lib/project.mjs';

const deploy = join(root, 'deploy');
const wanted = new Map([...chartFiles()].map(([name, text]) => [`chart/${name}`, text]));
wanted.set('Dockerfile', dockerfile());
const chart = join(deploy, 'chart');
const present = existsSync(chart)
  ? readdirSync(chart, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name).slice(deploy.length + 1))
  : [];
const differing = [...wanted].filter(([name, text]) => {
  const path = join(deploy, name);
  return !existsSync(path) || readFileSync(path, 'utf8') !== text;
});
const extra = present.filter(name => !wanted.has(name));
if (process.argv.includes('--check')) {
  for (const name of [...differing.map(([file]) => file), ...extra]) {
    process.stderr.write(
      `check deploy/${name}: differs from its source; run npm run generate and commit the result\n`,
    );
    process.exitCode = 1;
  }
} else {
  for (const [name, text] of differing) {
    mkdirSync(dirname(join(deploy, name)), { recursive: true });
    writeFileSync(join(deploy, name), text);
  }
  for (const name of extra) rmSync(join(deploy, name));
}
