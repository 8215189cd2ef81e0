/** The kubectls that the tests drive the embedded API server with, and where they are kept. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The oldest that Debian 12 users have, and a current one, by the suite and the package that bring them. */
export const KUBECTLS = [
  { name: 'old', version: '1.20', suite: 'bookworm', package: 'kubernetes-client' },
  { name: 'current', version: '1.32', suite: 'trixie', package: 'kubectl' },
];

/** Where the program of one of {@link KUBECTLS} is, or will be: outside the checkout, shared by all. */
export function kubectlPath({ suite }) {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(cache, 'fimbria', 'kubectl', suite, 'kubectl');
}

/** Those that have not been fetched yet. */
export function missingKubectls() {
  return KUBECTLS.filter(kubectl => !existsSync(kubectlPath(kubectl)));
}
