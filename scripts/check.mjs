#!/usr/bin/env node
/**
 * What a change must satisfy besides its tests: types, style, layers, generated files, words. Prints each finding
 * under its check and a table at the end; exit status 1 when a check failed.
 *
 *   node scripts/check.mjs [CHECK]…
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, say, scriptArguments } from './lib/project.mjs';

/** Runs a program; undefined when it ended well, else what it printed. */
function failureOf(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (result.error) return `${command}: ${result.error.message}; npm run setup installs what is needed`;
  return result.status === 0
    ? undefined
    : `${result.stdout}${result.stderr}`.trimEnd() || `exit status ${result.status}`;
}

const nodeModule = (path, args) => failureOf(process.execPath, [join('node_modules', path), ...args]);

/** Files of the project as git has or would have them, by suffix. */
function projectFiles(...suffixes) {
  const listed = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (listed.status !== 0) throw new Error('list files: git ls-files failed; checks need a git checkout');
  return listed.stdout.split('\n').filter(path => path && suffixes.some(suffix => path.endsWith(suffix)));
}

/** Words that mean work left undone, or a place that only one machine has. In halves, so that this file passes. */
const FORBIDDEN = [
  [/\bTO[D]O\b|\bFIX[M]E\b|\bX[X]X\b|\bHA[C]K\b|not[ ]implemented|un[i]mplemented/, 'unfinished'],
  [/\btest\.(?:only|sk[i]p|to[d]o|failing)\b/, 'narrowed test'],
  [/\/wor[k]\/|\/far[m]\//, 'path of one machine'],
  [/https?:\/\/(?:deb|registry|security)\.[a-z]+\.or[g]/, 'host of a registry'],
];

function forbiddenWords() {
  const findings = [];
  for (const path of projectFiles(
    '.ts',
    '.mjs',
    '.js',
    '.sh',
    '.c',
    '.h',
    '.cc',
    '.md',
    '.json',
    '.yaml',
    '.txt',
  )) {
    const lines = readFileSync(join(root, path), 'utf8').split('\n');
    for (const [i, line] of lines.entries()) {
      for (const [pattern, what] of FORBIDDEN) {
        if (pattern.test(line)) findings.push(`${path}:${i + 1}: ${what}: ${line.trim().slice(0, 100)}`);
      }
    }
  }
  return findings.length > 0 ? findings.join('\n') : undefined;
}

const CHECKS = {
  types: () => nodeModule('typescript/bin/tsc', ['-p', '.']),
  biome: () => nodeModule('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '.']),
  'c style': () => failureOf('clang-format', ['--dry-run', '-Werror', ...projectFiles('.c', '.h', '.cc')]),
  shell: () => failureOf('bash', ['-n', 'scripts/setup.sh']) ?? failureOf('bash', ['-n', '.ci/run']),
  layers: () => nodeModule('ava/entrypoints/cli.mjs', ['test/arch/layers.test.ts']),
  generated: () => failureOf(process.execPath, ['scripts/generate.mjs', '--check']),
  words: forbiddenWords,
};

const wanted = scriptArguments(import.meta.url);
const unknown = wanted.filter(name => !CHECKS[name]);
if (unknown.length > 0) {
  process.stderr.write(
    `fimbria check: no check ${unknown.join(', ')}; there are ${Object.keys(CHECKS).join(', ')}\n`,
  );
  process.exit(2);
}
const rows = [];
for (const name of wanted.length > 0 ? wanted : Object.keys(CHECKS)) {
  const startMs = performance.now();
  say(name);
  const failure = CHECKS[name]();
  if (failure) process.stdout.write(`${failure}\n`);
  rows.push({ name, ok: !failure, seconds: (performance.now() - startMs) / 1000 });
}
process.stdout.write('\n');
for (const { name, ok, seconds } of rows) {
  process.stdout.write(
    `${name.padEnd(12)}${(ok ? 'ok' : 'FAILED').padEnd(10)}${seconds.toFixed(1).padStart(6)} s\n`,
  );
}
process.exitCode = rows.every(row => row.ok) ? 0 : 1;
