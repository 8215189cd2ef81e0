#!/usr/bin/env node
/**
 * Fetches the kubectls that tests need out of Debian's packages into a cache outside the checkout. Nothing is installed.
 * A matter of milliseconds when they are there.
 *
 *   node scripts/fetch-kubectl.mjs          FIMBRIA_DEBIAN_MIRROR=URI names a mirror where apt has none of Debian's
 */
import { chmodSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { outputOf, withPackages } from './lib/apt.mjs';
import { kubectlPath, missingKubectls } from './lib/kubectl.mjs';
import { say } from './lib/project.mjs';

function install(kubectl, folder) {
  const program = join(folder, 'usr/bin/kubectl');
  chmodSync(program, 0o755);
  const { clientVersion } = JSON.parse(outputOf(program, ['version', '--client', '-o', 'json']));
  // Into place in one step: another checkout may be about the same.
  const target = kubectlPath(kubectl);
  mkdirSync(dirname(target), { recursive: true });
  outputOf('mv', ['-f', program, `${target}.${process.pid}`]);
  renameSync(`${target}.${process.pid}`, target);
  say(`kubectl ${clientVersion.gitVersion} is at ${target}`);
}

const missing = missingKubectls();
if (missing.length > 0) {
  const list = missing.map(one => `${one.version} (${one.suite})`).join(', ');
  say(
    `kubectl ${list}: tests drive the API server with them; out of Debian's packages, nothing is installed`,
  );
  try {
    withPackages(missing, folders => {
      for (const [index, kubectl] of missing.entries()) install(kubectl, folders[index]);
    });
  } catch (error) {
    process.stderr.write(
      `warning: fetch kubectl: ${error.message}; all but the tests with kubectl works without\n`,
    );
    process.exitCode = 1;
  }
}
