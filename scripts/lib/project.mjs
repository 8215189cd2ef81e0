/** What every script of the project shares: where it lives, how it speaks, how it runs commands. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout or of the installed package. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** One line of progress, so that a long step is never silent. */
export function say(text) {
  process.stdout.write(`==> ${text}\n`);
}

/** A line about something that is not as it should be, but does not stop the work. */
export function warn(text) {
  process.stderr.write(`warning: ${text}\n`);
}

/**
 * Runs a program in the project's root with its output passed through.
 * Throws an error that names the command when it cannot be started or ends badly.
 */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  const line = [command, ...args].join(' ');
  if (result.error)
    throw new Error(`run ${command}: ${result.error.message}; npm run setup installs what is needed`);
  if (result.signal) throw new Error(`run ${line}: ended by ${result.signal}`);
  if (result.status !== 0) throw new Error(`run ${line}: exit status ${result.status}`);
  return result;
}

/** The trimmed stdout of a program, or undefined when it is not installed or fails. */
export function output(command, args) {
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** Whether a program answers to `--version`. */
export function installed(command) {
  return output(command, ['--version']) !== undefined;
}

/** A file of an npm package, wherever npm put the package: below the project or beside it. */
export function packageFile(name, path) {
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), path);
}

/** All files below a folder (absolute paths, sorted), or none where the folder is not there. */
export function filesBelow(folder, keep = () => true) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name))
    .filter(keep)
    .sort();
}

/** Whether `target` is missing or older than any of its sources. */
export function outdated(target, sources) {
  if (!existsSync(target)) return true;
  const builtMs = statSync(target).mtimeMs;
  return sources.some(source => existsSync(source) && statSync(source).mtimeMs > builtMs);
}

/** The arguments meant for a script, whether node or zx (which puts the script's own path among them) started it. */
export function scriptArguments(scriptUrl) {
  const args = process.argv.slice(2);
  const script = fileURLToPath(scriptUrl);
  return args[0] !== undefined && resolve(args[0]) === script ? args.slice(1) : args;
}
