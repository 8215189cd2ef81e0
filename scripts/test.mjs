#!/usr/bin/env node
/**
 * Runs the tests and closes with one plain line, `N passed, N failed`; exit status 0 only when none failed and some ran.
 * A file that cannot be loaded, dies, or holds no test counts as one failure.
 *
 *   node scripts/test.mjs [FILE | GLOB]… [AVA OPTION]…      without arguments: every test of the project
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root, scriptArguments } from './lib/project.mjs';

/** Reads ava's own report, which stays readable where its TAP output stops at a test process that ended too early. */
class Tally {
  passed = 0;
  #failedTests = 0;
  #failedFiles = new Set();

  get failed() {
    return this.#failedTests + this.#failedFiles.size;
  }

  /** Takes one line of the report into account. */
  read(line) {
    if (/^ {2}✔ /.test(line)) this.passed++;
    else if (/^ {2}✘ \[fail\]: /.test(line)) this.#failedTests++;
    else if (/^ {2}✘ /.test(line)) this.#failedFiles.add(/\S+\.test\.ts/.exec(line)?.[0] ?? line);
    else {
      const lost = /^ {2}(?:Uncaught exception|Unhandled rejection) in (\S+)$/.exec(line);
      if (lost) this.#failedFiles.add(lost[1]);
    }
  }
}

/** Runs ava on the files given; resolves to what was counted and ava's exit status. */
async function runAva(args) {
  const child = spawn(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...args], {
    cwd: root,
    env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const tally = new Tally();
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  for await (const line of createInterface({ input: child.stdout })) {
    tally.read(line);
    process.stdout.write(`${line}\n`);
  }
  return { tally, status: await ended };
}

const { tally, status } = await runAva(scriptArguments(import.meta.url));
let failed = tally.failed;
if (failed === 0 && (status !== 0 || tally.passed === 0)) {
  process.stderr.write(`fimbria test: ava ended with ${status} and ${tally.passed} passed tests\n`);
  failed = 1;
}
process.stdout.write(`\n${tally.passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
