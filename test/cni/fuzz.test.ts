import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import fc from 'fast-check';

const run = promisify(execFile);
const sources = fileURLToPath(new URL('../../native/cni', import.meta.url));
const driver = fileURLToPath(new URL('fuzz/fuzz.c', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-fuzz-'));
const fuzz = join(folder, 'fuzz');

test.before('build with sanitizers', async () => {
  const units = readdirSync(sources).filter(name => name.endsWith('.c') && name !== 'main.c');
  await run('gcc', [
    ...['-std=gnu11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-I', sources],
    ...['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-o', fuzz, driver],
    ...units.map(name => join(sources, name)),
  ]);
});
test.after.always('remove what was built', () => rmSync(folder, { recursive: true, force: true }));

test('mutated configurations, answers and variables break nothing', async t => {
  const { stdout, stderr } = await run(fuzz, ['mutate', '20240607', '60000']);
  t.is(stderr, '');
  t.is(stdout, '60000 inputs\n');
});

/** What our reader says about each document: `ok` or why it is refused. */
async function verdicts(documents: string[]): Promise<string[]> {
  const child = spawn(fuzz, ['json'], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  child.stdin.end(documents.map(document => `${document}\0`).join(''));
  const status = await ended;
  if (status !== 0) throw new Error(`fuzz json: exit status ${status}`);
  return text.trimEnd().split('\n');
}

function oracle(document: string): boolean {
  try {
    JSON.parse(document);
    return true;
  } catch {
    return false;
  }
}

/** Bounds and strictness that JSON.parse does not have. */
const STRICTER = /stands twice|lone surrogate|too deeply|too many/;

test('the reader agrees with JSON.parse, except where it is stricter', async t => {
  const json = fc.oneof(fc.json({ maxDepth: 5 }), fc.json({ stringUnit: 'binary' }));
  const broken = fc
    .tuple(
      json,
      fc.nat(),
      fc.nat({ max: 3 }),
      fc.constantFrom('', '"', '\\', '{', ']', ',', '0', '1e', 'é', ' ', '\t'),
    )
    .map(([text, at, drop, word]) => {
      const from = at % (text.length + 1);
      return text.slice(0, from) + word + text.slice(from + drop);
    });
  const documents = fc
    .sample(fc.oneof(json, broken), { numRuns: 4000, seed: 7 })
    // A NUL ends a document on the way, and a text with lone surrogates cannot be sent as UTF-8.
    .filter(text => !text.includes('\0') && Buffer.from(text).toString('utf8') === text);
  const said = await verdicts(documents);
  t.is(said.length, documents.length);
  for (const [i, document] of documents.entries()) {
    if (oracle(document)) t.true(said[i] === 'ok' || STRICTER.test(said[i] ?? ''), `${said[i]}: ${document}`);
    else t.not(said[i], 'ok', document);
  }
  t.true(said.includes('ok'));
});
